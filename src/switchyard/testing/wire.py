"""The wire between a connector and its vendor, and what can go wrong on it: faults that need nothing of the vendor."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import httpx

from switchyard.api.transport import NetworkTransport

Api: TypeAlias = Callable[[httpx.Request], httpx.Response]
"""A vendor's API as a function. It may raise an `httpx.TransportError` for a fault of the network."""

Fault: TypeAlias = Callable[[httpx.Request, Api], httpx.Response]
"""Takes a request in the vendor's place. It may hand it on to the vendor, and answer or raise as it likes."""


_OF_THE_BYTES = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class Wire(httpx.BaseTransport):
    """Stands between a connector and its vendor. May be used from many threads.

    Args:
        vendor: the vendor's API as a function, which is asked one thing at a time; None for the real network.
        fault: what meets every request from now on; may be set anew at any time.
    """

    def __init__(self, vendor: Api | None = None, fault: Fault | None = None) -> None:
        self.fault = fault
        self.requests = 0
        self._inner = NetworkTransport(internal=True) if vendor is None else httpx.MockTransport(_in_turn(vendor))
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""
        with self._lock:
            self.requests += 1
        if self.fault is None:
            return self._inner.handle_request(request)
        return self.fault(request, self._inner.handle_request)

    def close(self) -> None:
        """Close every connection."""
        self._inner.close()


def answering(answer: httpx.Response) -> Fault:
    """This answer, and the vendor hears nothing."""
    return lambda _request, _vendor: copied(answer)


def unheard(request: httpx.Request, _: Api) -> httpx.Response:
    """The vendor hears nothing, and nobody answers."""
    raise httpx.ReadTimeout("nobody answers", request=request)


def unanswered(request: httpx.Request, vendor: Api) -> httpx.Response:
    """The vendor does what it is asked, and the connection is cut before it answers."""
    copied(vendor(request))
    raise httpx.ReadError("the connection was cut", request=request)


def once(fault: Fault, at: int = 0) -> Fault:
    """One request meets the fault, when so many have passed."""
    numbers = itertools.count()
    return lambda request, vendor: fault(request, vendor) if next(numbers) == at else vendor(request)


def after(passed: int, fault: Fault) -> Fault:
    """Every request meets the fault, when so many have passed."""
    numbers = itertools.count()
    return lambda request, vendor: fault(request, vendor) if next(numbers) >= passed else vendor(request)


class Lag:
    """A `Fault` that lets what is read stand still: what was asked before is answered as it was then.

    `unknown` counts the requests that came while it lagged and had not been asked before.
    """

    def __init__(self) -> None:
        self.unknown = 0
        self._records = self._lags = False
        self._answers: dict[tuple[str, str, bytes], httpx.Response] = {}

    def __call__(self, request: httpx.Request, vendor: Api) -> httpx.Response:
        """See `Fault`."""
        key = (request.method, str(request.url), request.content)
        if self._lags and key in self._answers:
            return copied(self._answers[key])
        self.unknown += self._lags
        answer = vendor(request)
        if self._records:
            answer = self._answers[key] = copied(answer)
        return answer

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep what is asked inside, with its answers."""
        self._records = True
        yield
        self._records = False

    @contextmanager
    def lagging(self) -> Iterator[None]:
        """Inside, answer what was kept as it was kept."""
        self._lags, self.unknown = True, 0
        yield
        self._lags = False


def copied(answer: httpx.Response) -> httpx.Response:
    """An answer that may be given once more; it is read to its end."""
    body = answer.read()
    answer.close()
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _OF_THE_BYTES]
    return httpx.Response(answer.status_code, headers=headers, content=body)


def _in_turn(vendor: Api) -> Api:
    """A stand-in that is a function need not be safe to use from many threads."""
    lock = threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        with lock:
            return vendor(request)

    return answer
