"""The budget of an account that several processes on one store may use at once."""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlmodel import Session

from switchyard.api.budget import Budget
from switchyard.api.connectors import Limits
from switchyard.api.errors import SwitchyardError, TransientError
from switchyard.api.priorities import Priority
from switchyard.app.processes import own_name
from switchyard.app.shares import Part, Shares, rounded_up
from switchyard.store import budgets, tables
from switchyard.store.database import Database

LEASE = 10.0
"""Seconds after which what a process holds is taken for called, where it has not said a word."""
_MARGIN = 0.5
_RENEWED, _IDLE = 3.0, 1.0
"""Seconds between two words while calls are made, and without a call until everything is given back."""
_ALONE, _TOGETHER = 2.5, 0.5
"""How many seconds ahead calls are reserved."""
_FIRST, _MOST = 4, 50
"""Calls that are reserved at once: so many may be counted too much after a kill, and none too little. They double
while they are made at once, so that a process that makes few takes few from the next.
"""
_POLL = 0.1
_STALE = 5.0


class AccountBudget(Budget):
    """A budget whose row in the store is never behind what was called: a kill forgets no call, and processes that
    share an account never exceed its windows, its daily quota or its calls at once together.

    A process reserves calls that it is sure to be allowed within the next seconds, one transaction for many; what it
    has reserved counts for all others as if it were under way. It renews what it holds while it works, and gives it
    back when it has nothing to call for a second. What a killed process held counts as called: at once where it ran on
    this machine, else when its lease has run out.

    Args:
        account: names it in the store.
        entitle: raises where this hub may make no call any more.
    """

    def __init__(
        self,
        limits: Limits,
        database: Database,
        account: str,
        entitle: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        super().__init__(limits, **options)
        self.account = account
        self.made = 0
        self.connections: list[str] = []
        """Those that use the account, as far as they were used."""
        self.turn = threading.Lock()
        """For those who want the account for themselves for a while."""
        self._entitle = entitle
        self._database = database
        self._nap = 1.0
        self._settling = threading.Lock()
        self._process = own_name()
        self._id: str | None = None
        self._until = self._until_wall = self._looked = self._active = 0.0
        self._places = 0
        self._reserved: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()
        self._since: dict[str, tuple[float, int]] = {}
        self._own_ended = {bucket: deque(log, log.maxlen) for bucket, log in self._ended.items()}
        self._own_used: Counter[str] = Counter()
        self._own_kinds: Counter[str] = Counter()
        self._block: defaultdict[str, int] = defaultdict(lambda: _FIRST)
        self._granted: dict[str, float] = {}
        self._said: tuple[int, int] | None = None
        self._keeper: threading.Thread | None = None
        self._over = threading.Event()
        self._look()

    @contextmanager
    def acquire(self, bucket: str = "default", *, deadline: float | None = None) -> Iterator[None]:
        with self._changed:
            self._asking[bucket] += 1
        try:
            with super().acquire(bucket, deadline=deadline):
                self._entitle()
                with self._changed:
                    self.made += 1
                yield
        finally:
            with self._changed:
                self._asking[bucket] -= 1
                self._active = self.clock()

    def save(self) -> None:
        """Keep exactly what was called and give back the rest, at the end of the process.

        With a call under way, what is held stays held and is given back when nothing is called any more.
        """
        keeper, is_quiet = self._keeper, True
        try:
            with self._settling:
                is_quiet = self._id is None or self._settle(leaving=True)
        finally:
            if is_quiet and keeper is not None:
                self._over.set()
                keeper.join()
                self._over.clear()
                self._keeper = None

    def left(self, kind: Priority | None = None) -> int | None:
        if self.clock() - self._looked > _STALE:
            self._look()
        return super().left(kind)

    def observed(self, used: int, limit: int) -> None:
        super().observed(used, limit)
        self._said = (used, limit)

    def _stock(self, bucket: str, kind: Priority) -> float:
        if self._is_stocked(bucket):
            return 0
        with self._settling:
            if self._is_stocked(bucket):
                return 0
            self._settle(bucket, kind)
        with self._changed:
            self._keep()
            if self._reserved[bucket] and self._places:
                return 0
            room = self._room(bucket, 0, self.clock())
            return _POLL if room is None else max(room - _TOGETHER, _POLL)

    def _is_stocked(self, bucket: str) -> bool:
        with self._changed:
            return self._holds(bucket)

    def _holds(self, bucket: str) -> bool:
        # The monotonic clock stands still while a machine sleeps, the other one may be set back.
        is_held = self.clock() < self._until - _MARGIN and self.wall() < self._until_wall - _MARGIN
        return is_held and self._reserved[bucket] > 0 and self._places > 0

    def _begin(self, bucket: str, kind: Priority) -> None:
        super()._begin(bucket, kind)
        self._reserved[bucket] -= 1
        self._own_used[bucket] += 1
        self._own_kinds[kind.name.lower()] += 1

    def _end(self, bucket: str) -> None:
        super()._end(bucket)
        if bucket in self._own_ended:
            self._own_ended[bucket].append(self.clock())
        self._active = self.clock()

    def _turn_day(self) -> bool:
        is_new = super()._turn_day()
        if is_new:
            self._own_used.clear()
            self._own_kinds.clear()
        return is_new

    def _wait(self, bucket: str) -> float | None:
        # What is held may have run out, or been taken for called, since it was looked at.
        return super()._wait(bucket) if self._holds(bucket) else _POLL

    def _look(self) -> None:
        """Take in what the store says, without a word of one's own."""
        with self._database.read() as session:
            row = session.get(tables.AccountBudget, self.account)
            now = budgets.instant(session, self.wall)
        with self._changed:
            self._turn_day()
            self._learn(Shares(row.state if row else None, self.limits, self._day, now), now)

    def _settle(self, bucket: str | None = None, kind: Priority = Priority.DELIVERY, leaving: bool = False) -> bool:
        """Say what was called and what is held, learn the same of others, and reserve calls of a bucket; or give
        everything back, unless a call is under way. Whether all was given back.
        """

        def exchange(session: Session) -> tuple[float, float, int, int, bool]:
            row = budgets.locked(session, self.account)
            before, wall, now = self.clock(), self.wall(), budgets.instant(session, self.wall)
            with self._changed:
                self._turn_day()
                is_end = leaving and not self._asking.total()
                shares = Shares(row.state, self.limits, self._day, now)
                part = self._speak(shares, now, now - before, is_end)
                more = 0 if bucket is None or is_end else self._ask(shares, part, bucket, kind, now)
                if is_end:
                    shares.leave(str(self._id))
                row.state = shares.dump()
                places = part.places
            session.add(row)
            return before, wall, more, places, is_end

        before, wall, more, places, has_left = self._database.transact(exchange)
        with self._changed:
            self._said = None
            if has_left:
                self._keeper, self._until, self._places = None, 0.0, 0
                self._begin_anew()
                return True
            self._until, self._until_wall, self._places = before + LEASE, wall + LEASE, places
            if bucket is not None:
                self._reserved[bucket] += more
                if self._reserved[bucket] and places:
                    self._since.pop(bucket, None)
                else:
                    self._since.setdefault(bucket, (before, int(kind)))
            self._changed.notify_all()
        return False

    def _speak(self, shares: Shares, now: float, offset: float, leaving: bool) -> Part:
        """Write this process's part, and take over what the others say. `offset` is between the store's clock and
        this one's.
        """
        if self._id is not None and (self._id not in shares.parts or shares.parts[self._id].is_gone):
            # It was taken for dead, and all that it held for called.
            self._begin_anew()
        if self._id is None:
            self._id = uuid4().hex[:12]
        for bucket in list(self._reserved):
            if leaving or not self._asking[bucket]:
                del self._reserved[bucket]
        self._learn(shares, now)
        held = self._under_way + self._reserved
        part = shares.parts[self._id] = Part(
            until=now + LEASE,
            process=self._process,
            held={bucket: count for bucket, count in held.items() if count},
            waiting={bucket: (at + offset, kind) for bucket, (at, kind) in self._since.items() if self._asking[bucket]},
            ended={bucket: [rounded_up(at + offset) for at in log] for bucket, log in self._own_ended.items()},
            used=dict(self._own_used),
            kinds=dict(self._own_kinds),
        )
        if not leaving:
            part.places = max(shares.places(self._id, self.limits.concurrency, now), self._under_way.total())
            self._places = min(self._places, part.places)
        return part

    def _begin_anew(self) -> None:
        """Hold nothing, and have no part in the store: what was called until now stands there by another name."""
        self._id, self._places = None, 0
        for log in self._own_ended.values():
            log.clear()
        for counts in (self._reserved, self._own_used, self._own_kinds):
            counts.clear()
        self._since.clear()

    def _ask(self, shares: Shares, part: Part, bucket: str, kind: Priority, now: float) -> int:
        """How many more calls of the bucket this process may make; they are written down as held."""
        if self._reserved[bucket]:
            return 0
        part.waiting.setdefault(bucket, (now, int(kind)))
        more = self._more(shares, bucket, kind, now)
        if more:
            part.held[bucket] = part.held.get(bucket, 0) + more
            if part.places:
                del part.waiting[bucket]
        return more

    def _more(self, shares: Shares, bucket: str, kind: Priority, now: float) -> int:
        """How many calls are sure to be allowed within the next seconds, and are to be reserved."""
        assert self._id is not None  # noqa: S101
        others, at = list(shares.others(self._id)), self.clock()
        smallest = min((window.calls for window in self.limits.windows.get(bucket, ())), default=4 * _MOST)
        most = min(_MOST, smallest // 4, (self.daily or 100 * _MOST) // 100)
        if at - self._granted.get(bucket, 0.0) < 2 * _ALONE:
            self._block[bucket] = min(2 * self._block[bucket], _MOST)
        else:
            self._block[bucket] = _FIRST
        left = self._left(kind)
        most = min(max(most, 1), self._block[bucket], _MOST if left is None else left - self._reserved.total())
        ahead, horizon = 0, _TOGETHER if others else _ALONE
        while ahead < most and (wait := self._room(bucket, ahead, at)) is not None and wait <= horizon:
            ahead += 1
        ahead = shares.share(self._id, bucket, int(kind), ahead, now)
        if ahead:
            self._granted[bucket] = at
        return ahead

    def _learn(self, shares: Shares, now: float) -> None:
        """Take over what others have called and hold; `now` is the store's clock, read a moment ago."""
        offset = self.clock() - now
        for bucket, own in self._own_ended.items():
            others = [at + offset for at in shares.ended(bucket, self._id)]
            self._ended[bucket] = deque(sorted([*own, *others]), own.maxlen)
        self._elsewhere = shares.held(self._id)
        said = shares.parts.get(self._id or "")
        if shares.day == self._day:
            self._used = shares.all_used() - Counter(said.used if said else {}) + self._own_used
            self._kinds = shares.all_kinds() - Counter(said.kinds if said else {}) + self._own_kinds
        self._share_words(shares, offset)
        self._looked = self.clock()

    def _share_words(self, shares: Shares, offset: float) -> None:
        """Tell what the vendor said to this process, and take over what it said to others."""
        if self._said is not None:
            shares.daily = self._said[1]
            shares.foreign = self._foreign
        else:
            self._foreign = shares.foreign
            daily = [limit for limit in (shares.daily, self.limits.daily) if limit is not None]
            self.daily = min(daily, default=None)
        for bucket, at in self._not_before.items():
            shares.not_before[bucket] = max(shares.not_before.get(bucket, 0.0), at - offset)
        self._not_before = {bucket: at + offset for bucket, at in shares.not_before.items()}
        closed = datetime.fromisoformat(shares.closed_until) if shares.closed_until else datetime.min
        self._closed_until = max(self._closed_until, closed)
        if self._closed_until > datetime.min:
            shares.closed_until = self._closed_until.isoformat()

    def _keep(self) -> None:
        """Have what is held renewed, and given back when nothing is called."""
        if self._keeper is None and not self._over.is_set():
            self._keeper = threading.Thread(target=self._renew, name=f"budget {self.account}", daemon=True)
            self._keeper.start()

    def _renew(self) -> None:
        said = self.clock()
        while not self._over.wait(_IDLE / 2):
            with self._settling:
                now = self.clock()
                try:
                    if now - self._active > _IDLE and not self._asking.total():
                        if self._settle(leaving=True):
                            return
                    elif now - said > _RENEWED:
                        self._settle()
                        said = now
                except TransientError:
                    # Without the store no call is begun either, and the next one that is wanted says why.
                    continue
                except SwitchyardError:
                    with self._changed:
                        self._keeper = None
                    return
