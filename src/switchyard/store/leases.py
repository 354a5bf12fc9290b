"""Leases: of all hubs on one store, one at a time does a kind of work, also where one of them froze meanwhile."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from sqlmodel import Session

from switchyard.api.errors import TransientError
from switchyard.store import tables
from switchyard.store.clock import stored_now
from switchyard.store.database import Database

ENGINE = "engine"
"""The lease of the hub that syncs, evaluates and delivers."""
SECONDS = 30.0
"""A lease that was not renewed for so long is free."""


class LeaseLost(TransientError):
    """Another hub has taken over. What this one has committed stands, and it must do nothing more."""


class Lease:
    """Held while the context lasts, and renewed by a thread of its own.

    Every taking has a number, the fence. A transaction that asks for it (`check`) fails once another hub has taken
    the lease; what is no transaction, such as a vendor's call, asks `require` first, which costs nothing: it looks at
    how long ago the lease was last renewed.

    Args:
        name: the kind of work.
        holder: names this hub. One that comes again under its name takes over at once what it held: it has made sure
            by other means that its predecessor is gone.
        clock: seconds that go on while the process is stopped.

    Raises, on entering:
        TransientError: another hub holds it; says which, and until when.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        holder: str,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._seconds = seconds
        self._clock = clock
        self._fence = 0
        self._deadline = 0.0
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._keep, name=f"lease {name}", daemon=True)

    def __enter__(self) -> "Lease":
        began = self._clock()
        with self._database.write() as session:
            # Waits for transactions of the holder before that have asked for their fence and not committed yet.
            now, row = stored_now(session), session.get(tables.Lease, self._name, with_for_update=True)
            if row is None:
                row = tables.Lease(name=self._name, holder=self._holder, fence=0, expires_at=now)
            elif row.holder != self._holder and row.expires_at > now:
                until = f"{row.expires_at:%H:%M:%S} UTC"
                raise TransientError(f"another hub ({row.holder}) works on this store; stop it, or wait until {until}")
            row.holder, row.fence, row.expires_at = self._holder, row.fence + 1, self._until(now)
            self._fence = row.fence
            session.add(row)
        self._deadline = began + self._seconds
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._renewer.join()
        # Where the store cannot be reached, the lease runs out by itself.
        with suppress(TransientError), self._database.write() as session:
            self.check(session)
            row = session.get_one(tables.Lease, self._name)
            row.expires_at = stored_now(session)
            session.add(row)

    def check(self, session: Session) -> None:
        """Make a transaction fail where the lease is another's.

        Raises:
            LeaseLost: it is.
        """
        # Until the transaction ends nobody can take the lease; that its holder renews it is let through.
        row = session.get(tables.Lease, self._name, with_for_update={"read": True, "key_share": True})
        if row is None or row.fence != self._fence:
            self._deadline = 0.0
            raise LeaseLost(f"another hub{f' ({row.holder})' if row else ''} has taken over; this one stops")

    def require(self) -> None:
        """Make sure that nobody else can have taken the lease yet.

        Raises:
            LeaseLost: it was not renewed in time.
        """
        if self._clock() >= self._deadline:
            raise LeaseLost("this hub did not renew its lease in time, another may have taken over; it stops")

    def renew(self) -> None:
        """Hold it for another while. One that has run out and that nobody took is held again.

        Raises:
            LeaseLost: another has taken it.
            TransientError: the store cannot be reached; it may be tried again.
        """
        began = self._clock()
        with self._database.write() as session:
            self.check(session)
            row = session.get_one(tables.Lease, self._name)
            row.expires_at = self._until(stored_now(session))
            session.add(row)
        self._deadline = began + self._seconds

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            try:
                self.renew()
            except LeaseLost:
                return
            except TransientError:
                continue

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._seconds)
