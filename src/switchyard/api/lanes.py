"""Calls side by side: a few threads, results as they come, and one way to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from switchyard.api.errors import TransientError

Result = TypeVar("Result")
_Done: TypeAlias = "tuple[Result | None, BaseException | None]"

_here = threading.local()
_ENDED = "another call of the same work failed, or the work was stopped"


class CalledOff(TransientError):
    """The call was not made, or not made again: the work that it was part of has ended."""


def pause(seconds: float) -> None:
    """Sleep; in a lane of `concurrently` only until its work ends.

    Raises:
        CalledOff: it has ended.
    """
    over = _over()
    if over is None:
        time.sleep(seconds)
    elif over.wait(seconds):
        raise CalledOff(_ENDED)


def check() -> None:
    """Go on; in a lane of `concurrently` only while its work does.

    Raises:
        CalledOff: it has ended.
    """
    over = _over()
    if over is not None and over.is_set():
        raise CalledOff(_ENDED)


def concurrently(calls: Iterable[Callable[[], Result]], limit: int) -> Generator[Result, None, None]:
    """Make calls in at most `limit` threads and yield their results as they come, in no particular order.

    `calls` is advanced by the caller's thread, and only as far as there are free threads, so it may be long. With a
    limit of 1 everything happens in the caller's thread, one after the other.

    After the first call that raises no other is begun, and waits for the account's limits or before another attempt
    end at once. What the calls under way still bring is yielded, then the error is raised. Closing the iterator ends
    the work in the same way, without results. Either way no call is under way any more afterwards.
    """
    if limit == 1:
        for call in calls:
            yield call()
        return
    lanes: _Lanes[Result] = _Lanes(limit)
    try:
        waiting = iter(calls)
        # Not before the caller is done with a result: it keeps what was confirmed, and a kill may then leave no more
        # than `limit` calls of which nothing is known.
        while lanes.fill(waiting):
            result, error = lanes.next()
            if error is None:
                yield result  # type: ignore[misc]  # a call without error has a result, which may be None
        if lanes.failure is not None:
            raise lanes.failure
    finally:
        lanes.close()


class _Lanes(Generic[Result]):
    """The threads of one `concurrently`. They are daemons: a process that must end does not wait for a vendor."""

    def __init__(self, limit: int) -> None:
        self.under_way = 0
        self.failure: BaseException | None = None
        self._limit = limit
        self._over = threading.Event()
        self._work: SimpleQueue[Callable[[], Result] | None] = SimpleQueue()
        self._done: SimpleQueue[_Done[Result]] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def fill(self, calls: Iterator[Callable[[], Result]]) -> bool:
        """Begin calls while there are free lanes. Whether any is under way."""
        while self.failure is None and self.under_way < self._limit and (call := next(calls, None)) is not None:
            self._work.put(call)
            self.under_way += 1
            if len(self._threads) < self.under_way:
                # What the caller set for its calls holds in the lanes too.
                serve = partial(copy_context().run, self._serve)
                self._threads.append(threading.Thread(target=serve, name="lane", daemon=True))
                self._threads[-1].start()
        return self.under_way > 0

    def next(self) -> _Done[Result]:
        """The next result or error; of errors the first is kept."""
        done = self._done.get()
        self.under_way -= 1
        if done[1] is not None and self.failure is None:
            self.failure = done[1]
            self._over.set()
        return done

    def close(self) -> None:
        self._over.set()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        _here.over = self._over
        while (call := self._work.get()) is not None:
            try:
                check()
                self._done.put((call(), None))
            except BaseException as error:  # raised again in the caller's thread
                self._done.put((None, error))


def _over() -> threading.Event | None:
    over: threading.Event | None = getattr(_here, "over", None)
    return over
