"""Runs revisions on the connection, and in the transaction, that `switchyard.store.schema` hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

from switchyard.store import tables  # noqa: F401  # fills the metadata
from switchyard.store.schema import VERSION_TABLE


def plain_type(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """SQLModel's own types as SQLAlchemy's, so that a revision stays what it was whatever SQLModel becomes."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    version_table=VERSION_TABLE,
    compare_type=True,
    render_item=plain_type,
    # SQLite changes a table by building it anew; creating one needs no such care.
    render_as_batch=context.config.attributes.get("changes", True),
)
context.run_migrations()
