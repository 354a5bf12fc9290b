"""What makes a simulator misbehave on purpose, and what makes it refuse as the vendor would."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from switchyard.testing.simulator_messages import Answer


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one matching call instead of, or beside, being answered.

    Args:
        answer: is given without the request being applied.
        delay: seconds to wait before anything is applied.
        drop: close the connection without an answer, "before" or "after" the request was applied.
        truncate: send only this many bytes of the answer's body, then close the connection.
        call: called before the request is applied, in the simulator's thread (kill somebody, advance a clock).
    """

    answer: Answer | None = None
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    truncate: int | None = None
    call: Callable[[], object] | None = None


NOTHING = Fault()


def fault_from_json(step: Mapping[str, Any]) -> Fault:
    """A fault as the control API takes it: `status`, `body`, `headers`, `delay`, `drop`, `truncate`; all optional."""
    answer = Answer(step["status"], step.get("body"), step.get("headers", {})) if "status" in step else None
    return Fault(answer, step.get("delay", 0.0), step.get("drop"), step.get("truncate"))


class Script:
    """Scripted faults per endpoint, taken in the order in which they were written."""

    def __init__(self) -> None:
        self._entries: list[tuple[str | None, re.Pattern[str], Iterator[Answer | Fault | None]]] = []

    def add(self, method: str | None, path: str, steps: Iterable[Answer | Fault | None]) -> None:
        """Each call with this method whose path the expression finds takes one step; None lets it pass."""
        self._entries.append((method, re.compile(path), iter(steps)))

    def take(self, method: str, path: str) -> Fault:
        """The step for this call. An entry whose steps are used up is forgotten."""
        for entry in list(self._entries):
            wanted, regex, steps = entry
            if wanted in (None, method) and regex.search(path):
                try:
                    step = next(steps)
                except StopIteration:
                    self._entries.remove(entry)
                    continue
                return Fault(answer=step) if isinstance(step, Answer) else step or NOTHING
        return NOTHING

    def clear(self) -> None:
        """Forget what was scripted."""
        self._entries.clear()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time, in epoch seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


class RateWindow:
    """At most `calls` calls in any `seconds` seconds, refused calls not counted."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls = calls
        self.seconds = seconds
        self._times: deque[float] = deque()

    def remaining(self, now: float) -> int:
        """How many calls would be let through at `now`."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return self.calls - len(self._times)

    def take(self, now: float) -> bool:
        """Count a call, and say whether it is let through."""
        if self.remaining(now) <= 0:
            return False
        self._times.append(now)
        return True


class DailyQuota:
    """At most `calls` calls between two midnights of a zone."""

    def __init__(self, calls: int, zone: str = "UTC") -> None:
        self.calls = calls
        self._zone = ZoneInfo(zone)
        self._used = 0
        self._resets_at = 0.0

    def remaining(self, now: float) -> int:
        """How many calls are left of the day of `now`."""
        if now >= self._resets_at:
            self._used, self._resets_at = 0, self._midnight_after(now)
        return self.calls - self._used

    def take(self, now: float) -> bool:
        """Count a call, and say whether it is let through."""
        if self.remaining(now) <= 0:
            return False
        self._used += 1
        return True

    def dump(self) -> dict[str, float]:
        """What is used of which day, as JSON."""
        return {"used": self._used, "resets_at": self._resets_at}

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from what `dump` gave."""
        self._used, self._resets_at = int(state["used"]), state["resets_at"]

    def _midnight_after(self, now: float) -> float:
        day = datetime.fromtimestamp(now, UTC).astimezone(self._zone).date() + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()
