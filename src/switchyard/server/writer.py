"""Group commit: requests hand their delivery over and wait; one thread commits what has gathered, and all are answered.

A commit costs the disk's time, not the rows': one by one there are hundreds a second, together tens of thousands.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from switchyard.api.errors import PermanentError, SwitchyardError, TransientError
from switchyard.server.settings import Settings
from switchyard.store.inbox import Delivery

_GROUP = 2_000
"""Deliveries in one commit at most."""
_GROUP_BYTES = 16 << 20


_GATHER = 0.002
"""Seconds to wait for company: where the disk is fast, a commit costs more of the processor than of the disk."""


_TRY_AGAIN = 1.0
"""Seconds between attempts after a fault while nobody sends: who is not ready is sent nothing."""


class Saturated(Exception):
    """More is waiting for the disk than the settings allow."""


class Keeper(Protocol):
    """What makes deliveries durable: an `Inbox`."""

    def append(self, deliveries: Sequence[Delivery]) -> None:
        """Keep them all, or raise a SwitchyardError."""


@dataclass(slots=True)
class _Waiting:
    delivery: Delivery
    answer: asyncio.Future[SwitchyardError | None]
    since: float = field(default_factory=time.monotonic)


class Writer:
    """Makes deliveries durable. Started and used on one event loop."""

    def __init__(self, inbox: Keeper, settings: Settings) -> None:
        self.fault: SwitchyardError | None = None
        """Why the last commit failed; None after one that did not."""
        self.rows = 0
        """Deliveries made durable."""
        self.groups = 0
        """Commits."""
        self.on_commit: Callable[[int], None] = lambda _: None
        """Told of each commit how many deliveries it made durable."""
        self._inbox = inbox
        self._settings = settings
        self._changed = threading.Condition()
        self._gathered: list[_Waiting] = []
        self._committing: list[_Waiting] = []
        self._bytes = 0
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()
        self._give_up()

    async def stop(self) -> None:
        """Commit what waits, and end."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._timer is not None:
            self._timer.cancel()

    def keep(self, delivery: Delivery) -> asyncio.Future[SwitchyardError | None]:
        """Hand a delivery over. The future's result is None once it is durable, or why it is not; then it may yet be.

        Raises:
            Saturated: too much is waiting.
        """
        waiting = _Waiting(delivery, self._loop.create_future())
        with self._changed:
            full = len(self._gathered) >= self._settings.waiting_rows or self._bytes >= self._settings.waiting_bytes
            if full or self._stopped:
                raise Saturated
            self._gathered.append(waiting)
            self._bytes += len(delivery.body)
            if len(self._gathered) == 1 and not self._committing:
                self._changed.notify()
        return waiting.answer

    def depth(self) -> int:
        """Deliveries that wait to be durable."""
        with self._changed:
            return len(self._gathered) + len(self._committing)

    def _run(self) -> None:
        while (group := self._take()) is not None:
            fault: SwitchyardError | None = None
            try:
                self._inbox.append([each.delivery for each in group])
            except SwitchyardError as error:
                fault = error
            except Exception as error:
                # A fault of our own: it must not end the thread on which everybody waits.
                fault = PermanentError(f"the inbox failed ({type(error).__name__})")
            self.fault = fault
            self._loop.call_soon_threadsafe(self._answer, group, fault)

    def _take(self) -> list[_Waiting] | None:
        """The next group, which is empty to find out whether a fault is over; None at the end."""
        with self._changed:
            self._committing = []
            while True:
                patience = None if self.fault is None else _TRY_AGAIN
                if not self._changed.wait_for(lambda: self._gathered or self._stopped, patience):
                    return []
                if not self._stopped:
                    self._changed.wait_for(lambda: self._stopped, _GATHER)
                group: list[_Waiting] = []
                size = 0
                for each in self._gathered[:_GROUP]:
                    if size > _GROUP_BYTES:
                        break
                    group.append(each)
                    size += len(each.delivery.body)
                del self._gathered[: len(group)]
                self._bytes -= size
                # Those who were told to come again need not be kept now.
                self._committing = [each for each in group if not each.answer.done()]
                if self._committing:
                    return self._committing
                if self._stopped and not self._gathered:
                    return None

    def _answer(self, group: list[_Waiting], fault: SwitchyardError | None) -> None:
        if fault is None and group:
            self.rows += len(group)
            self.groups += 1
            self.on_commit(len(group))
        for each in group:
            if not each.answer.done():
                each.answer.set_result(fault)

    def _give_up(self) -> None:
        """Answer those who have waited too long, again and again."""
        patience = self._settings.answer_time
        before = time.monotonic() - patience
        with self._changed:
            late = [each for each in (*self._committing, *self._gathered) if each.since < before]
        for each in late:
            if not each.answer.done():
                self.fault = TransientError("the inbox does not answer")
                each.answer.set_result(self.fault)
        self._timer = self._loop.call_later(patience / 10, self._give_up)
