"""What tests build connectors with: a context of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api import Limits, Page
from switchyard.api.http import Budget, HttpClient, RetryPolicy

_NO_LIMITS = Limits()


class SimpleContext:
    """A `Context` for tests. Nobody really waits: waits are kept in `waits`, and its clock moves by them. What was
    pushed to the connection is what a test puts into `pushed`: tables as `Context.inbox` yields them.

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
        self.pushed: list[pa.Table] = []
        self._transport = transport
        self._clients: list[HttpClient] = []
        self._marks: defaultdict[str, set[str]] = defaultdict(set)
        self.budget = Budget(limits, clock=lambda: sum(self.waits), sleep=self.waits.append)

    def http(
        self,
        base_url: str,
        *,
        bearer: str | Callable[[], str] | None = None,
        internal: bool | None = None,
        policy: RetryPolicy | None = None,
    ) -> HttpClient:
        """See `Context.http`."""
        client = HttpClient(
            base_url,
            bearer=bearer,
            budget=self.budget,
            transport=self._transport,
            internal=internal,
            policy=policy or RetryPolicy(),
        )
        self._clients.append(client)
        return client

    def marked(self, stream: str, marks: Collection[str]) -> frozenset[str]:
        """See `Context.marked`."""
        return frozenset(self._marks[stream].intersection(marks))

    def inbox(self, after: int | None = None) -> Iterator[pa.Table]:
        """See `Context.inbox`."""
        for table in self.pushed:
            rows = table if after is None else table.filter(pc.greater(table["sequence"], after))
            if rows.num_rows:
                yield rows

    def commit(self, stream: str, page: Page) -> None:
        """Keep the page's marks, as the hub does with the page."""
        self._marks[stream].update(page.marks)

    def close(self) -> None:
        """Close every client it gave."""
        for client in self._clients:
            client.close()
