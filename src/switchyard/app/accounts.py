"""Accounts: one budget per account of a vendor, shared by all that uses it, and kept over restarts."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from switchyard.api.budget import KEPT
from switchyard.api.connectors import ConnectorConfig, ConnectorSpec, Limits
from switchyard.api.http import HttpClient, RetryPolicy
from switchyard.api.priorities import Priority
from switchyard.app.budgets import AccountBudget
from switchyard.store import names
from switchyard.store.database import Database
from switchyard.store.inbox import Inbox

__all__ = ["AccountBudget", "Accounts", "ConnectorContext"]


class Accounts:
    """The budgets of the accounts in use.

    Args:
        entitle: asked before every call; raises where this hub may make none any more.
        kept: kind of call → the share of a day's calls that it leaves to the more urgent.
    """

    def __init__(
        self,
        database: Database,
        entitle: Callable[[], None] = lambda: None,
        kept: Mapping[Priority, float] = KEPT,
    ) -> None:
        self._database = database
        self._entitle = entitle
        self._kept = kept
        self._budgets: dict[str, AccountBudget] = {}
        self._making = threading.Lock()

    def budget(self, spec: ConnectorSpec, config: ConnectorConfig, connection: str) -> AccountBudget:
        """The budget of the account that a connection uses, as it was left."""
        account = spec.account(config) if spec.account else connection
        with self._making:
            if account not in self._budgets:
                limits = spec.limits(config) if spec.limits else Limits()
                self._budgets[account] = AccountBudget(limits, self._database, account, self._entitle, kept=self._kept)
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
        with ExitStack() as each:
            for budget in self.budgets():
                each.callback(budget.save)


@dataclass
class ConnectorContext:
    """The `switchyard.api.Context` of one connection.

    Args:
        opened_inbox: gives the hub's inbox, which is opened when it is first wanted and which the hub closes.
        full: whether everything is read again.
    """

    connection: str
    project: Path
    workspace: Path
    database: Database
    budget: AccountBudget
    opened_inbox: Callable[[], Inbox]
    full: bool = False
    clients: list[HttpClient] = field(default_factory=list)

    def http(
        self,
        base_url: str,
        *,
        bearer: str | Callable[[], str] | None = None,
        internal: bool | None = None,
        policy: RetryPolicy | None = None,
    ) -> HttpClient:
        patience = policy or RetryPolicy()
        client = HttpClient(base_url, bearer=bearer, budget=self.budget, internal=internal, policy=patience)
        self.clients.append(client)
        return client

    def marked(self, stream: str, marks: Collection[str]) -> frozenset[str]:
        if self.full:
            return frozenset()
        with self.database.read() as session:
            return names.marked(session, self.connection, stream, marks)

    def inbox(self, after: int | None = None) -> Iterator[pa.Table]:
        return self.opened_inbox().pages(self.connection, after)

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
