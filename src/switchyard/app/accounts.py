"""Accounts: one budget per account of a vendor, shared by all that uses it, and kept over restarts."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from switchyard.api.connectors import ConnectorConfig, ConnectorSpec, Limits
from switchyard.api.http import Budget, HttpClient
from switchyard.store import names
from switchyard.store.database import Database
from switchyard.store.tables import AccountBudget


class Accounts:
    """The budgets of the accounts in use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._budgets: dict[str, Budget] = {}

    def budget(self, spec: ConnectorSpec, config: ConnectorConfig, connection: str) -> Budget:
        """The budget of the account that a connection uses, as it was left."""
        account = spec.account(config) if spec.account else connection
        if account not in self._budgets:
            budget = Budget(spec.limits(config) if spec.limits else Limits())
            with self._database.read() as session:
                row = session.get(AccountBudget, account)
                if row is not None:
                    budget.restore(row.state)
            self._budgets[account] = budget
        return self._budgets[account]

    def save(self) -> None:
        """Keep what is used, so that a restart does not forget it."""
        used = {account: budget for account, budget in self._budgets.items() if budget.used}
        if used:
            with self._database.write() as session:
                for account, budget in used.items():
                    session.merge(AccountBudget(account=account, state=budget.state()))


@dataclass
class ConnectorContext:
    """The `switchyard.api.Context` of one connection."""

    connection: str
    project: Path
    workspace: Path
    database: Database
    budget: Budget
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

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def calls(self) -> int:
        """Calls that the connection's account has made today."""
        return sum(self.budget.used.values())
