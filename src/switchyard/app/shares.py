"""The shares of an account: what each process on a store has called, and may call without a further word.

Every process writes its own part and reads the others'. Instants are epoch seconds of the store's clock. Of any two
calls, whoever asked the store later knows of the other's: as ended at an instant, or as held and so possibly under
way. A process begins none of which the sum over both would be too much, and so the two together never do.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from switchyard.api.connectors import Limits
from switchyard.app.processes import is_gone

PATIENCE = 10.0
"""Seconds after which whoever waits is as urgent as anybody."""


@dataclass
class Part:
    """One process: until when it holds what it holds, which calls it has made or may make, and what it waits for.

    Args:
        process: its name.
        held: bucket → calls that it may have under way by now, or begin until `until`.
        places: how many at once.
        waiting: bucket → since when it waits, and for how urgent a kind.
        ended: bucket → when calls ended that still count in a window.
        used, kinds: calls of the day by bucket, and by kind.
        is_gone: it holds nothing any more; its calls of the day are counted elsewhere.
    """

    until: float
    process: str = ""
    held: dict[str, int] = field(default_factory=dict)
    places: int = 0
    waiting: dict[str, tuple[float, int]] = field(default_factory=dict)
    ended: dict[str, list[float]] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    is_gone: bool = False

    def goes_before(self, bucket: str, since: float, kind: int, now: float) -> bool:
        """Whether it may have the next calls of a bucket rather than one that waits since then for such a kind."""
        if bucket not in self.waiting:
            return False
        return _rank(*self.waiting[bucket], now) < _rank(since, kind, now)


class Shares:
    """The row of an account, taken apart.

    Args:
        state: as `dump` gave it; None for an account that was never called.
        day: which day it is where the account is.
        now: the store's clock.
    """

    def __init__(self, state: Mapping[str, Any] | None, limits: Limits, day: str, now: float) -> None:
        known = state or {}
        self.day = max(known.get("day", day), day)
        self.used = Counter(known.get("used", {}))
        self.kinds = Counter(known.get("kinds", {}))
        self.foreign: int = known.get("foreign", 0)
        self.daily: int | None = known.get("daily")
        self.closed_until: str | None = known.get("closed_until")
        # A clock that was set back must not make anybody wait longer than a day.
        self.not_before = {
            bucket: min(at, now + 86_400) for bucket, at in known.get("not_before", {}).items() if at > now
        }
        self.parts = {id: Part(**part) for id, part in known.get("parts", {}).items()}
        if known.get("day", day) < day:
            self._begin_day()
        self._spans = {
            bucket: max((window.seconds for window in windows), default=0.0)
            for bucket, windows in limits.windows.items()
        }
        self._bury(now)

    def others(self, id: str | None) -> Iterator[Part]:
        """Those that hold something, or wait."""
        return (part for key, part in self.parts.items() if key != id and not part.is_gone)

    def held(self, without: str | None) -> Counter[str]:
        """Calls by bucket that the others may begin, or have under way."""
        return _sum(part.held for part in self.others(without))

    def ended(self, bucket: str, without: str | None) -> list[float]:
        """When calls of the others ended."""
        return [at for key, part in self.parts.items() if key != without for at in part.ended.get(bucket, ())]

    def all_used(self) -> Counter[str]:
        """Calls of the day, by bucket."""
        return self.used + _sum(part.used for part in self.parts.values())

    def all_kinds(self) -> Counter[str]:
        """Calls of the day, by kind."""
        return self.kinds + _sum(part.kinds for part in self.parts.values())

    def places(self, id: str, concurrency: int, now: float) -> int:
        """How many calls one of them may have under way at once: as many as any other that is there."""
        others = [key for key, part in self.parts.items() if key != id and not part.is_gone]
        ids = sorted([id, *others])
        fair, over = divmod(concurrency, len(ids))
        # Where there are fewer places than processes, they go round.
        fair += (ids.index(id) + int(now / 2)) % len(ids) < over
        return min(fair, concurrency - sum(self.parts[key].places for key in others))

    def share(self, id: str, bucket: str, kind: int, available: int, now: float) -> int:
        """How many of the calls available now one of them may take: a half, where others wait for some too."""
        since = self.parts[id].waiting.get(bucket, (now, kind))[0]
        rivals = [part for part in self.others(id) if bucket in part.waiting]
        if not rivals:
            return available
        is_first = not any(part.goes_before(bucket, since, kind, now) for part in rivals)
        return (available + is_first) // 2

    def leave(self, id: str) -> None:
        """One of them holds nothing any more, and its calls are counted for good."""
        part = self.parts[id]
        self.used += Counter(part.used)
        self.kinds += Counter(part.kinds)
        part.held, part.waiting, part.used, part.kinds, part.places, part.is_gone = {}, {}, {}, {}, 0, True

    def dump(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "day": self.day,
            "used": dict(self.used),
            "kinds": dict(self.kinds),
            "foreign": self.foreign,
            "daily": self.daily,
            "closed_until": self.closed_until,
            "not_before": self.not_before,
            "parts": {id: asdict(part) for id, part in self.parts.items()},
        }

    def _begin_day(self) -> None:
        self.used.clear()
        self.kinds.clear()
        self.foreign = 0
        for part in self.parts.values():
            part.used, part.kinds = {}, {}

    def _bury(self, now: float) -> None:
        """Whoever has ended, or did not renew what it holds, has made all of those calls, as late as it might."""
        for id, part in list(self.parts.items()):
            if not part.is_gone and (part.until < now or is_gone(part.process)):
                for bucket, count in part.held.items():
                    part.ended.setdefault(bucket, []).extend([min(part.until, now)] * count)
                    part.used[bucket] = part.used.get(bucket, 0) + count
                self.leave(id)
            for bucket, log in part.ended.items():
                part.ended[bucket] = [min(at, now) for at in log if at > now - 1.01 * self._spans.get(bucket, 0.0)]
            if part.is_gone and not any(part.ended.values()):
                del self.parts[id]


def rounded_up(instant: float) -> float:
    """To a thousandth, which is enough for a window and short to write."""
    return math.ceil(instant * 1_000) / 1_000


def _rank(since: float, kind: int, now: float) -> tuple[int, float]:
    return (0 if now - since > PATIENCE else kind, since)


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total
