"""Accounts: one budget per account of a vendor, shared by all that uses it, and kept over restarts."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from sqlmodel import Session

from switchyard.api.connectors import ConnectorConfig, ConnectorSpec, Limits
from switchyard.api.http import Budget, HttpClient
from switchyard.store import names, tables
from switchyard.store.database import Database
from switchyard.store.inbox import Inbox

_BLOCK = 50
"""Calls that are reserved in the store at once: so many may be counted too much after a kill, and none too little."""


class AccountBudget(Budget):
    """A budget whose state in the store is never behind what was called, so that a kill forgets no call.

    Args:
        account: names it in the store.
        entitle: raises where this hub may make no call any more.
    """

    def __init__(
        self, limits: Limits, database: Database, account: str, entitle: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(limits)
        self.made = 0
        self.connections: list[str] = []
        """Those that use the account, as far as they were used."""
        self.turn = threading.Lock()
        """For those who want the account for themselves for a while."""
        self._entitle = entitle
        self._database = database
        self.account = account
        self._reserved = self._waiting = 0
        self._reserving = threading.Lock()
        # A hundredth of a small quota at most.
        self._block = _BLOCK if limits.daily is None else max(1, min(_BLOCK, limits.daily // 100))
        with database.read() as session:
            row = session.get(tables.AccountBudget, account)
        if row is not None:
            self.restore(_with_reserved(row.state, row.reserved, self.wall()))

    @contextmanager
    def acquire(self, bucket: str = "default", *, deadline: float | None = None) -> Iterator[None]:
        with self._reserving:
            if self._reserved == 0:
                # Those who still wait for their turn have been reserved, and are not in the state yet.
                self._save(self._block + self._waiting)
                self._reserved = self._block
            self._reserved -= 1
            self._waiting += 1
        with ExitStack() as stack:
            try:
                stack.enter_context(super().acquire(bucket, deadline=deadline))
            finally:
                with self._reserving:
                    self._waiting -= 1
            self._entitle()
            with self._reserving:
                self.made += 1
            yield

    def save(self) -> None:
        """Keep exactly what was called, at the end of the process."""
        if self.made or self._reserved:
            self._save(0)

    def left(self) -> int | None:
        """Calls that today's quota still allows, None for no quota."""
        daily = self.limits.daily
        return None if daily is None else max(daily - sum(self.used.values()), 0)

    def until(self) -> datetime:
        """When the quota begins anew (UTC)."""
        zone = ZoneInfo(self.limits.day_zone)
        tomorrow = datetime.fromtimestamp(self.wall(), zone).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone)
        return midnight.astimezone(UTC).replace(tzinfo=None)

    def _save(self, reserved: int) -> None:
        state = self.state()

        def write(session: Session) -> None:
            session.merge(tables.AccountBudget(account=self.account, state=state, reserved=reserved))

        self._database.transact(write)


def _with_reserved(state: Mapping[str, Any], reserved: int, now: float) -> dict[str, Any]:
    """A state with the calls that a killed process may have made: all of them, and all of them just now."""
    used = Counter(state["used"])
    used["default"] += reserved
    ended = {bucket: [*log, *[now] * reserved] for bucket, log in state["ended"].items()}
    return {**state, "used": dict(used), "ended": ended}


class Accounts:
    """The budgets of the accounts in use.

    Args:
        entitle: asked before every call; raises where this hub may make none any more.
    """

    def __init__(self, database: Database, entitle: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._entitle = entitle
        self._budgets: dict[str, AccountBudget] = {}
        self._making = threading.Lock()

    def budget(self, spec: ConnectorSpec, config: ConnectorConfig, connection: str) -> AccountBudget:
        """The budget of the account that a connection uses, as it was left."""
        account = spec.account(config) if spec.account else connection
        with self._making:
            if account not in self._budgets:
                limits = spec.limits(config) if spec.limits else Limits()
                self._budgets[account] = AccountBudget(limits, self._database, account, self._entitle)
            budget = self._budgets[account]
            if connection not in budget.connections:
                budget.connections.append(connection)
            return budget

    def budgets(self) -> list[AccountBudget]:
        """Those of all accounts that were used."""
        with self._making:
            return list(self._budgets.values())

    def save(self) -> None:
        """Keep what is used, at the end of the process."""
        for budget in self._budgets.values():
            budget.save()


@dataclass
class ConnectorContext:
    """The `switchyard.api.Context` of one connection."""

    connection: str
    project: Path
    workspace: Path
    database: Database
    budget: AccountBudget
    full: bool = False
    clients: list[HttpClient] = field(default_factory=list)

    def http(self, base_url: str, *, bearer: str | Callable[[], str] | None = None) -> HttpClient:
        client = HttpClient(base_url, bearer=bearer, budget=self.budget)
        self.clients.append(client)
        return client

    def marked(self, stream: str, marks: Collection[str]) -> frozenset[str]:
        if self.full:
            return frozenset()
        with self.database.read() as session:
            return names.marked(session, self.connection, stream, marks)

    def inbox(self, after: int | None = None) -> Iterator[pa.Table]:
        inbox = Inbox(self.database)
        try:
            yield from inbox.pages(self.connection, after)
        finally:
            inbox.close()

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def calls(self) -> int:
        """Calls that the connection's account has made in this process."""
        return self.budget.made

    def left(self) -> int | None:
        """Calls that the account's quota still allows today, None for no quota."""
        return self.budget.left()

    def until(self) -> datetime:
        """When the account's quota begins anew (UTC)."""
        return self.budget.until()
