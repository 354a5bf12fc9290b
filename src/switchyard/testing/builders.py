"""What tests build connectors with: a context of their own, and a wire that can fail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeAlias

import httpx

from switchyard.api import Limits, Page
from switchyard.api.http import Budget, HttpClient
from switchyard.api.transport import NetworkTransport

Api: TypeAlias = Callable[[httpx.Request], httpx.Response]
"""A vendor's API as a function. It may raise an `httpx.TransportError` for a fault of the network."""

_NO_LIMITS = Limits()


class Wire(httpx.BaseTransport):
    """Stands between a connector and its vendor.

    Args:
        vendor: the vendor's API as a function; None for the real network (a simulator).
        interfere: asked before the vendor; what it answers or raises comes instead of the vendor's answer.
    """

    def __init__(
        self, vendor: Api | None = None, interfere: Callable[[httpx.Request], httpx.Response | None] | None = None
    ) -> None:
        self.interfere = interfere
        self.requests = 0
        self._inner = NetworkTransport(internal=True) if vendor is None else httpx.MockTransport(vendor)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""
        self.requests += 1
        answer = self.interfere(request) if self.interfere else None
        return answer or self._inner.handle_request(request)

    def close(self) -> None:
        """Close every connection."""
        self._inner.close()


class SimpleContext:
    """A `Context` for tests. Nobody really waits: waits are kept in `waits`, and its clock moves by them.

    Args:
        project: the project's folder; the workspace is made below it.
        transport: what its clients send through; None for the real network.
        connection: the connection's name.
        limits: what the account allows.
    """

    def __init__(
        self,
        project: Path,
        *,
        transport: httpx.BaseTransport | None = None,
        connection: str = "test",
        limits: Limits = _NO_LIMITS,
    ) -> None:
        self.connection = connection
        self.project = project
        self.workspace = project / ".workspace" / connection
        self.workspace.mkdir(parents=True, exist_ok=True)
        self.waits: list[float] = []
        self._transport = transport
        self._clients: list[HttpClient] = []
        self._marks: defaultdict[str, set[str]] = defaultdict(set)
        self.budget = Budget(limits, clock=lambda: sum(self.waits), sleep=self.waits.append)

    def http(self, base_url: str, *, bearer: str | Callable[[], str] | None = None) -> HttpClient:
        """See `Context.http`."""
        client = HttpClient(base_url, bearer=bearer, budget=self.budget, transport=self._transport)
        self._clients.append(client)
        return client

    def marked(self, stream: str, marks: Collection[str]) -> frozenset[str]:
        """See `Context.marked`."""
        return frozenset(self._marks[stream].intersection(marks))

    def commit(self, stream: str, page: Page) -> None:
        """Keep the page's marks, as the hub does with the page."""
        self._marks[stream].update(page.marks)

    def close(self) -> None:
        """Close every client it gave."""
        for client in self._clients:
            client.close()
