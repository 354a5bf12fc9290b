"""The rows of accounts' budgets, for those who write them together."""

from collections.abc import Callable

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, func, select

from switchyard.store.tables import AccountBudget


def locked(session: Session, account: str) -> AccountBudget:
    """The row of an account, made where there is none; nobody else reads it for writing until the transaction ends."""
    row = session.get(AccountBudget, account, with_for_update=True)
    if row is None:
        # Two processes may find that there is none.
        insert = sqlite.insert if _is_sqlite(session) else postgresql.insert
        session.execute(insert(AccountBudget).values(account=account, state={}).on_conflict_do_nothing())
        row = session.get_one(AccountBudget, account, with_for_update=True)
    return row


def instant(session: Session, wall: Callable[[], float]) -> float:
    """The store's clock in epoch seconds, as it is in this moment of the transaction.

    Args:
        wall: this machine's, which is that of an SQLite store.
    """
    if _is_sqlite(session):
        return wall()
    return float(session.exec(select(func.extract("epoch", func.clock_timestamp()))).one())


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
