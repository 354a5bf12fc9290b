"""Priorities: whose call goes first where several wait for the same limit of an account."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

_EVERY = 10
"""Of so many turns one goes to whoever has waited longest."""


class Priority(IntEnum):
    """What a call is for, the most urgent first."""

    DELIVERY = 0
    READ_BACK = 1
    SYNC = 2
    BACKFILL = 3


class Calls:
    """Calls of one block of `priority`."""

    def __init__(self, kind: Priority) -> None:
        self.kind = kind
        self.made = 0


_current: ContextVar[Calls | None] = ContextVar("switchyard.priority", default=None)


@contextmanager
def priority(kind: Priority) -> Iterator[Calls]:
    """Make the calls of the block, and of the lanes it begins, calls of this kind; gives how many there were so far.

    Calls of no such block are what a person waits for, and as urgent as deliveries.
    """
    calls = Calls(kind)
    token = _current.set(calls)
    try:
        yield calls
    finally:
        _current.reset(token)


def current() -> Priority:
    """The kind of the calls made here."""
    calls = _current.get()
    return Priority.DELIVERY if calls is None else calls.kind


def count() -> None:
    """One call more is made here."""
    calls = _current.get()
    if calls is not None:
        calls.made += 1


class Turns:
    """Who of those that wait for one thing has the turn. Safe to use from many threads.

    The turn goes to the most urgent, and among equals to who came first. One turn in ten goes to whoever has waited
    longest, so that the least urgent moves at a tenth of the pace however many are more urgent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Turn] = []
        self._holder: Turn | None = None
        self._came = self._given = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def join(self, kind: Priority) -> Turn:
        """Begin to wait."""
        with self._lock:
            self._came += 1
            turn = Turn(kind, self._came)
            self._waiting.append(turn)
            self._give()
            return turn

    def leave(self, turn: Turn, *, served: bool = True) -> None:
        """Stop waiting, and hand the turn on where this one had it."""
        with self._lock:
            self._given += served
            self._waiting.remove(turn)
            if self._holder is turn:
                self._holder = None
            self._give()

    def yield_to_others(self, turn: Turn) -> bool:
        """Hand the turn on where it is another's by now. Whether it was."""
        with self._lock:
            if self._first() is turn:
                return False
            turn.has_come.clear()
            self._holder = None
            self._give()
            return True

    def _give(self) -> None:
        if self._holder is None and self._waiting:
            self._holder = self._first()
            self._holder.has_come.set()

    def _first(self) -> Turn:
        if self._given % _EVERY == _EVERY - 1:
            return min(self._waiting, key=lambda turn: turn.number)
        return min(self._waiting, key=lambda turn: (turn.kind, turn.number))


class Turn:
    """The place of one who waits; `has_come` is set while it is its turn."""

    def __init__(self, kind: Priority, number: int) -> None:
        self.kind = kind
        self.number = number
        self.has_come = threading.Event()
