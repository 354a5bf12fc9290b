"""Webhooks out: what happens at a simulated vendor is posted to those who asked, again where they do not take it.

::

    sender = Sender(self.clock, waits=(1, 60, 600))         # in the simulator's __init__
    sender.send(Outgoing(url, lambda attempt: body, lambda url, body: {"x-signature": sign(body)}))
    sender.close()                                          # in its stop()
    sender.settle()                                         # in a test: all that is due now has been answered
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

_LOOK = 0.005
"""Seconds of real time between two looks at the simulator's clock, which may be led by hand."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message.

    Args:
        url: where it is posted.
        body: from the attempt's number, from 0. Called in a thread of the sender's; an empty body ends the message
            unsent.
        headers: from url and body: the signature, the content type. Called anew for every attempt.
    """

    url: str
    body: Callable[[int], bytes]
    headers: Callable[[str, bytes], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: its number from 0, what was sent, the answer's status (0 for none), the simulator's clock."""

    url: str
    number: int
    body: bytes
    status: int
    at: float


class Sender:
    """Posts messages from threads of its own, which begin with the first message.

    Args:
        clock: the simulator's, in epoch seconds; the waits between attempts are by it.
        waits: seconds between one attempt and the next. A message that is refused after the last of them is given up.
        concurrency: requests under way at once.
        timeout: seconds of real time for an answer.
        accepted: whether an answer says that the message was taken.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        waits: Sequence[float],
        concurrency: int = 10,
        timeout: float = 5.0,
        accepted: Callable[[httpx.Response], bool] = lambda answer: answer.is_success,
    ) -> None:
        self.attempts: list[Attempt] = []
        self._clock = clock
        self._waits = tuple(waits)
        self._concurrency = concurrency
        self._timeout = timeout
        self._accepted = accepted
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, int, Outgoing]] = []
        self._order = itertools.count()
        self._under_way = 0
        self._ended = False
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Messages that are not taken and not given up."""
        with self._changed:
            return len(self._due) + self._under_way

    def send(self, message: Outgoing) -> None:
        """Post it as soon as a thread is free."""
        with self._changed:
            if self._ended:
                return
            heapq.heappush(self._due, (self._clock(), next(self._order), 0, message))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhooks out", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until nothing is under way and nothing due by the simulator's clock.

        Raises:
            TimeoutError: it still is after so many seconds.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._changed:
                if not self._under_way and not self._is_due():
                    return
            time.sleep(_LOOK)
        raise TimeoutError(f"webhooks are still under way after {seconds:g} s")

    def close(self) -> None:
        """Send nothing more, and wait for what is under way. Raises the first error that a message met itself."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _is_due(self) -> bool:
        return bool(self._due) and self._due[0][0] <= self._clock()

    def _run(self) -> None:
        with (
            ThreadPoolExecutor(self._concurrency, "webhook out") as pool,
            httpx.Client(timeout=self._timeout, trust_env=False) as client,
        ):
            while True:
                with self._changed:
                    while not self._ended and not (self._is_due() and self._under_way < self._concurrency):
                        self._changed.wait(_LOOK if self._due else None)
                    if self._ended:
                        return
                    _, _, number, message = heapq.heappop(self._due)
                    self._under_way += 1
                pool.submit(self._post, client, number, message)

    def _post(self, client: httpx.Client, number: int, message: Outgoing) -> None:
        again = False
        try:
            if body := message.body(number):
                again = not self._taken(client, number, message, body)
        except Exception as error:  # kept for close(), which raises it
            self._failure = self._failure or error
        finally:
            with self._changed:
                self._under_way -= 1
                if again and number < len(self._waits):
                    due = self._clock() + self._waits[number]
                    heapq.heappush(self._due, (due, next(self._order), number + 1, message))
                self._changed.notify_all()

    def _taken(self, client: httpx.Client, number: int, message: Outgoing, body: bytes) -> bool:
        status, taken = 0, False
        try:
            answer = client.post(message.url, content=body, headers=dict(message.headers(message.url, body)))
            status, taken = answer.status_code, self._accepted(answer)
        except httpx.HTTPError:
            taken = False
        self.attempts.append(Attempt(message.url, number, body, status, self._clock()))
        return taken
