"""What one account may still call: several windows per bucket, a daily quota, calls under way at once."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from switchyard.api import lanes
from switchyard.api.connectors import Limits
from switchyard.api.errors import ConfigError, QuotaExhausted, TransientError

_DRIFT = 1.001
"""How much longer the vendor's clock may take for a window than ours: both are adjusted as they run."""


class Budget:
    """The pace of one account, shared by every client that uses it. Safe to use from many threads.

    A call counts in a window until `seconds` after it *ended*, not after it began: calls reach the vendor at an unknown
    moment in between, so that no jitter of the network can put one call too many into a window of the vendor's. What
    it costs is the time that an answer takes, once per window.

    Args:
        limits: what the vendor allows.
        clock, sleep: monotonic seconds, and how to wait; the client that paces by this budget uses the same.
        wall: seconds since the epoch, for the day of the quota and for `state`.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = lanes.pause,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.sleep = sleep
        self.wall = wall
        self._zone = ZoneInfo(limits.day_zone)
        self._changed = threading.Condition()
        self._ended: dict[str, deque[float]] = {
            bucket: deque(maxlen=max((window.calls for window in windows), default=0))
            for bucket, windows in limits.windows.items()
        }
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._under_way: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._closed_until = datetime.min
        self._day = self._today()

    @property
    def used(self) -> Mapping[str, int]:
        """Calls begun since the last midnight of the account's zone, by bucket."""
        with self._changed:
            self._turn_day()
            return dict(self._used)

    @contextmanager
    def acquire(self, bucket: str = "default", *, deadline: float | None = None) -> Iterator[None]:
        """Hold the right to one call, waiting for it until `deadline` (an instant of `clock`).

        Raises:
            QuotaExhausted: the day's calls are used up.
            TransientError: the wait would end after the deadline; `retry_after` says how long it is.
            ConfigError: the limits have windows, but none for this bucket.
        """
        self._take_turn(bucket, deadline)
        try:
            yield
        finally:
            with self._changed:
                self._under_way[bucket] -= 1
                if bucket in self._ended:
                    self._ended[bucket].append(self.clock())
                self._changed.notify_all()

    def penalise(self, bucket: str, seconds: float) -> None:
        """Hold back every call of the bucket for so long: the vendor said that it is too fast."""
        with self._changed:
            self._not_before[bucket] = max(self._not_before.get(bucket, 0.0), self.clock() + seconds)

    def exhaust(self, until: datetime) -> None:
        """Refuse every call until then (UTC): the vendor said that the quota is used up."""
        with self._changed:
            self._closed_until = max(self._closed_until, until)

    def state(self) -> dict[str, Any]:
        """What a restarted process must know, as JSON. Calls under way count as ended now."""
        with self._changed:
            self._turn_day()
            now, wall = self.clock(), self.wall()
            return {
                "day": self._day,
                "used": dict(self._used),
                "ended": {
                    bucket: [wall - (now - at) for at in log] + [wall] * self._under_way[bucket]
                    for bucket, log in self._ended.items()
                },
                "not_before": {bucket: wall + at - now for bucket, at in self._not_before.items() if at > now},
                "closed_until": self._closed_until.isoformat(),
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`. A call that the wall clock puts into the future counts as ended now."""
        with self._changed:
            now, wall = self.clock(), self.wall()
            self._day = state["day"]
            self._used = Counter(state["used"])
            for bucket in self._ended.keys() & state["ended"].keys():
                self._ended[bucket].extend(now - max(wall - at, 0.0) for at in state["ended"][bucket])
            self._not_before = {bucket: now + at - wall for bucket, at in state["not_before"].items()}
            self._closed_until = datetime.fromisoformat(state["closed_until"])

    def _take_turn(self, bucket: str, deadline: float | None) -> None:
        if self._ended and bucket not in self._ended and bucket != "default":
            raise ConfigError(f"no bucket {bucket!r} in the limits, which name {', '.join(sorted(self._ended))}")
        # Of all who wait one watches the clock: woken together, they would be slower than the limits.
        with self._changed:
            turn = self._turns[bucket]
        left = -1.0 if deadline is None else max(deadline - self.clock(), 0.0)
        if not turn.acquire(timeout=left):
            raise TransientError("the account's limits leave no room for this call in time")
        try:
            self._reserve(bucket, deadline)
        finally:
            turn.release()

    def _reserve(self, bucket: str, deadline: float | None) -> None:
        while True:
            lanes.check()
            with self._changed:
                self._refuse_if_exhausted()
                wait = self._wait(bucket)
                if wait == 0:
                    self._under_way[bucket] += 1
                    self._used[bucket] += 1
                    return
                left = None if deadline is None else deadline - self.clock()
                if left is not None and left < (wait or 0):
                    raise TransientError("the account's limits leave no room for this call in time", retry_after=wait)
                if wait is None:
                    if not self._changed.wait(left):
                        raise TransientError("other calls of the account hold every place")
                    continue
            self.sleep(wait)

    def _wait(self, bucket: str) -> float | None:
        """Seconds until a call may begin, or None where one under way has to end first."""
        if sum(self._under_way.values()) >= self.limits.concurrency:
            return None
        now = self.clock()
        wait = max(self._not_before.get(bucket, now) - now, 0.0)
        for window in self.limits.windows.get(bucket, ()):
            free = window.calls - self._under_way[bucket]
            if free <= 0:
                return None
            log = self._ended[bucket]
            if free <= len(log):
                wait = max(wait, log[-free] + window.seconds * _DRIFT - now)
        return wait

    def _refuse_if_exhausted(self) -> None:
        self._turn_day()
        until = self._closed_until
        if self.limits.daily is not None and self._used.total() >= self.limits.daily:
            until = max(until, self._midnight())
        if until > datetime.fromtimestamp(self.wall(), UTC).replace(tzinfo=None):
            raise QuotaExhausted(f"the account's quota is used up until {until:%Y-%m-%d %H:%M} UTC", until=until)

    def _turn_day(self) -> None:
        if (today := self._today()) > self._day:
            self._day = today
            self._used.clear()

    def _today(self) -> str:
        return datetime.fromtimestamp(self.wall(), self._zone).date().isoformat()

    def _midnight(self) -> datetime:
        tomorrow = datetime.fromtimestamp(self.wall(), self._zone).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=self._zone)
        return midnight.astimezone(UTC).replace(tzinfo=None)
