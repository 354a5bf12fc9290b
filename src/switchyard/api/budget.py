"""What one account may still call: several windows per bucket, a daily quota, calls under way at once."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from switchyard.api import lanes, priorities
from switchyard.api.connectors import Limits
from switchyard.api.errors import ConfigError, QuotaExhausted, TransientError
from switchyard.api.priorities import Priority, Turn, Turns

_DRIFT = 1.001
"""How much longer the vendor's clock may take for a window than ours: both are adjusted as they run."""
KEPT: Mapping[Priority, float] = {Priority.SYNC: 0.1, Priority.BACKFILL: 0.25}
"""The share of a day's calls that each kind leaves to the more urgent. Deliveries and the read-backs that prove them
may use all.
"""
_NO_ROOM = "the account's limits leave no room for this call in time"


class Budget:
    """The pace of one account, shared by every client that uses it. Safe to use from many threads.

    A call counts in a window until `seconds` after it *ended*, not after it began: calls reach the vendor at an unknown
    moment in between, so that no jitter of the network can put one call too many into a window of the vendor's. What
    it costs is the time that an answer takes, once per window.

    Where calls wait for the same bucket, `switchyard.api.priorities` says who goes first.

    Args:
        limits: what the vendor allows.
        clock, sleep: monotonic seconds, and how to wait; the client that paces by this budget uses the same.
        wall: seconds since the epoch, for the day of the quota.
        kept: kind of call → the share of a day's calls that it leaves to the more urgent.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = lanes.pause,
        wall: Callable[[], float] = time.time,
        kept: Mapping[Priority, float] = KEPT,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.sleep = sleep
        self.wall = wall
        self.daily = limits.daily
        """Calls in a day: the least that the limits or the vendor says; None for no such limit."""
        self._kept = kept
        self._zone = ZoneInfo(limits.day_zone)
        self._changed = threading.Condition()
        self._ended: dict[str, deque[float]] = {
            bucket: deque(maxlen=max((window.calls for window in windows), default=0))
            for bucket, windows in limits.windows.items()
        }
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._under_way: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._foreign = 0
        self._not_before: dict[str, float] = {}
        self._closed_until = datetime.min
        self._day = self.today()
        # What other processes may call without a further word: nothing, where the account is this one's alone.
        self._elsewhere: Counter[str] = Counter()
        self._places = limits.concurrency
        self._nap: float | None = None

    @property
    def used(self) -> Mapping[str, int]:
        """Calls begun since the last midnight of the account's zone, by bucket."""
        with self._changed:
            self._turn_day()
            return dict(self._used)

    @property
    def kinds(self) -> Mapping[str, int]:
        """The same by what they were for: `Priority` names in lower case."""
        with self._changed:
            self._turn_day()
            return dict(self._kinds)

    @contextmanager
    def acquire(self, bucket: str = "default", *, deadline: float | None = None) -> Iterator[None]:
        """Hold the right to one call, waiting for it until `deadline` (an instant of `clock`).

        Raises:
            QuotaExhausted: the day's calls are used up, or what is left of them is kept for what is more urgent.
            TransientError: the wait would end after the deadline; `retry_after` says how long it is.
            ConfigError: the limits have windows, but none for this bucket.
        """
        if self._ended and bucket not in self._ended and bucket != "default":
            raise ConfigError(f"no bucket {bucket!r} in the limits, which name {', '.join(sorted(self._ended))}")
        self._wait_for_turn(bucket, deadline)
        try:
            yield
        finally:
            with self._changed:
                self._end(bucket)
                self._changed.notify_all()

    def penalise(self, bucket: str, seconds: float) -> None:
        """Hold back every call of the bucket for so long: the vendor said that it is too fast."""
        with self._changed:
            self._not_before[bucket] = max(self._not_before.get(bucket, 0.0), self.clock() + seconds)

    def exhaust(self, until: datetime) -> None:
        """Refuse every call until then (UTC): the vendor said that the quota is used up."""
        with self._changed:
            self._closed_until = max(self._closed_until, until)

    def observed(self, used: int, limit: int) -> None:
        """Take the vendor's word for how many calls were made today, by anybody, and how many are allowed in a day."""
        with self._changed:
            self._turn_day()
            # Of the calls under way the vendor may not have counted any.
            own = self._used.total() - self._under_way.total()
            self._foreign = max(used - own, 0)
            self.daily = limit if self.limits.daily is None else min(limit, self.limits.daily)

    def left(self, kind: Priority | None = None) -> int | None:
        """Calls of a kind that the quota still allows today, None for no quota. Unless said, of the kind that would be
        made here.
        """
        with self._changed:
            self._turn_day()
            return self._left(priorities.current() if kind is None else kind)

    def until(self) -> datetime:
        """When the quota begins anew (UTC)."""
        tomorrow = datetime.fromtimestamp(self.wall(), self._zone).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=self._zone)
        return midnight.astimezone(UTC).replace(tzinfo=None)

    def today(self) -> str:
        """The day of the account's zone, as ISO date."""
        return datetime.fromtimestamp(self.wall(), self._zone).date().isoformat()

    def _wait_for_turn(self, bucket: str, deadline: float | None) -> None:
        kind = priorities.current()
        # Of all who wait one watches the clock: woken together, they would be slower than the limits.
        with self._changed:
            turns = self._turns[bucket]
        turn, begun = turns.join(kind), False
        try:
            while not begun:
                left = None if deadline is None else max(deadline - self.clock(), 0.0)
                if not turn.has_come.wait(left):
                    raise TransientError(_NO_ROOM)
                begun = self._reserve(bucket, kind, turns, turn, deadline)
        finally:
            turns.leave(turn, served=begun)

    def _reserve(self, bucket: str, kind: Priority, turns: Turns, turn: Turn, deadline: float | None) -> bool:
        """Begin a call as soon as the limits allow. False where it is somebody else's turn by now."""
        while True:
            lanes.check()
            stocked = self._stock(bucket, kind)
            if turns.yield_to_others(turn):
                return False
            with self._changed:
                self._refuse_if_exhausted(kind)
                wait = self._wait(bucket)
                if stocked == 0 and wait == 0:
                    self._begin(bucket, kind)
                    priorities.count()
                    return True
                left = None if deadline is None else deadline - self.clock()
                if wait is None and stocked == 0:
                    if left is not None and left <= 0:
                        raise TransientError("other calls of the account hold every place")
                    self._changed.wait(min((each for each in (left, self._nap) if each is not None), default=None))
                    continue
                longest = max(stocked, wait or 0)
                if left is not None and left < longest:
                    raise TransientError(_NO_ROOM, retry_after=longest)
            self.sleep(longest if self._nap is None else min(longest, self._nap))

    def _stock(self, bucket: str, kind: Priority) -> float:  # noqa: ARG002
        """Make sure that a call may be begun as far as others are concerned. 0, or seconds until it may be worth
        asking again.
        """
        return 0

    def _begin(self, bucket: str, kind: Priority) -> None:
        self._under_way[bucket] += 1
        self._used[bucket] += 1
        self._kinds[kind.name.lower()] += 1

    def _end(self, bucket: str) -> None:
        self._under_way[bucket] -= 1
        if bucket in self._ended:
            self._ended[bucket].append(self.clock())

    def _wait(self, bucket: str) -> float | None:
        """Seconds until a call may begin, or None where one under way has to end first."""
        if self._under_way.total() >= self._places:
            return None
        now = self.clock()
        penalty = max(self._not_before.get(bucket, now) - now, 0.0)
        room = self._room(bucket, 0, now)
        return None if room is None else max(penalty, room)

    def _room(self, bucket: str, ahead: int, now: float) -> float | None:
        """Seconds until a call may begin before which `ahead` others are begun; None where some have to end first."""
        wait, taken = 0.0, self._under_way[bucket] + self._elsewhere[bucket] + ahead
        for window in self.limits.windows.get(bucket, ()):
            free = window.calls - taken
            if free <= 0:
                return None
            log = self._ended[bucket]
            if free <= len(log):
                wait = max(wait, log[-free] + window.seconds * _DRIFT - now)
        return wait

    def _left(self, kind: Priority) -> int | None:
        if self.daily is None:
            return None
        allowed = self.daily - int(self.daily * self._kept.get(kind, 0.0))
        return max(allowed - self._used.total() - self._foreign - self._elsewhere.total(), 0)

    def _refuse_if_exhausted(self, kind: Priority) -> None:
        self._turn_day()
        now = datetime.fromtimestamp(self.wall(), UTC).replace(tzinfo=None)
        if self._closed_until > now:
            raise QuotaExhausted(
                _used_up("the account's quota is used up", self._closed_until), until=self._closed_until
            )
        if self._left(kind) == 0:
            until = self.until()
            more_urgent = f"what the account's quota leaves today is kept for what is more urgent than a {_named(kind)}"
            reason = more_urgent if self._left(Priority.DELIVERY) else "the account's quota is used up"
            raise QuotaExhausted(_used_up(reason, until), until=until)

    def _turn_day(self) -> bool:
        """Whether a new day has begun."""
        if (today := self.today()) <= self._day:
            return False
        self._day = today
        self._used.clear()
        self._kinds.clear()
        self._foreign = 0
        return True


def _used_up(reason: str, until: datetime) -> str:
    return f"{reason} until {until:%Y-%m-%d %H:%M} UTC"


def _named(kind: Priority) -> str:
    return kind.name.lower().replace("_", "-")
