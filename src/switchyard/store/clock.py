"""Clocks: this machine's, and the store's, which hubs on several machines have in common."""

from datetime import UTC, datetime

from sqlmodel import Session, func, select


def now() -> datetime:
    """This machine's clock, UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def stored_now(session: Session) -> datetime:
    """The store's clock, UTC without a zone."""
    at = session.exec(select(func.now())).one()
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
