"""Quarantine: records that could not be used, whole, until they are replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session

from switchyard.store import bulk
from switchyard.store.tables import Quarantine

WAITING, REPLAYED = "waiting", "replayed"
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("connection", pa.string()),
        ("stream", pa.string()),
        ("run_id", pa.int64()),
        ("page_id", pa.int64()),
        ("stream_id", pa.int64()),
        ("origin", pa.string()),
        ("line", pa.int64()),
        ("byte", pa.int64()),
        ("field", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("record", pa.string()),
        ("created_at", pa.timestamp("us")),
    ]
)
RECORDS = pa.schema([each for each in SCHEMA if each.name not in ("id", "connection", "stream")])
"""What `put` stores of a record."""
_FREE = ("origin", "field", "code", "reason")
"""Texts that quote the outside world, and may hold a NUL, which no database takes."""
_COUNTS = pa.schema(
    [("connection", pa.string()), ("stream", pa.string()), ("code", pa.string()), ("waiting", pa.int64())]
)


@dataclass(frozen=True, slots=True)
class Count:
    """How many records of a stream wait for one reason."""

    connection: str
    stream: str
    code: str
    waiting: int


def put(session: Session, rows: pa.Table) -> None:
    """Store records, waiting.

    Args:
        rows: the columns of `RECORDS`. `record` is JSON text with all but
            ASCII escaped, so that it can hold anything; a NUL in the other texts becomes U+FFFD.
    """
    for name in _FREE:
        at = rows.column_names.index(name)
        text = rows[name].cast(pa.string())
        rows = rows.set_column(at, name, pc.replace_substring(text, "\0", "\N{REPLACEMENT CHARACTER}"))
    if "state" not in rows.column_names:
        rows = rows.append_column("state", pa.repeat(pa.scalar(WAITING), rows.num_rows))
    bulk.insert(session, Quarantine, rows)


def waiting(
    session: Session,
    connection: str | None = None,
    stream: str | None = None,
    limit: int = 1_000,
    after: int = 0,
) -> pa.Table:
    """The first `limit` waiting records with an id greater than `after`, by id, in the columns of `SCHEMA`.

    Args:
        connection, stream: only records of these; None for all.
    """
    given: dict[str, str | int] = {"state": WAITING, "after": after, "limit": limit}
    where = ""
    for name, column, value in (("connection", "s.connection", connection), ("stream", "s.name", stream)):
        if value is not None:
            given[name] = value
            where += f" AND {column} = :{name}"
    columns = ", ".join(_source(name) for name in SCHEMA.names)
    statement = (
        f"SELECT {columns} FROM quarantine q JOIN stream s ON s.id = q.stream_id "
        f"WHERE q.state = :state AND q.id > :after{where} ORDER BY q.id LIMIT :limit"
    )
    return bulk.select(session, statement, SCHEMA, given)


def mark_replayed(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Mark records as replayed; unknown ids are passed over. `now` is UTC without a zone."""
    if not len(ids):
        return
    marked = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "state": pa.repeat(pa.scalar(REPLAYED), len(ids)),
            "replayed_at": pa.repeat(pa.scalar(now, pa.timestamp("us")), len(ids)),
        }
    )
    bulk.update(session, Quarantine, marked, ["id"])


def counts(session: Session) -> list[Count]:
    """How many records wait, by connection, stream and code, in that order."""
    statement = (
        "SELECT s.connection, s.name, q.code, count(*) FROM quarantine q JOIN stream s ON s.id = q.stream_id "
        "WHERE q.state = :state GROUP BY s.connection, s.name, q.code ORDER BY s.connection, s.name, q.code"
    )
    return [Count(**row) for row in bulk.select(session, statement, _COUNTS, {"state": WAITING}).to_pylist()]


def _source(name: str) -> str:
    return {"connection": "s.connection", "stream": "s.name"}.get(name, f"q.{name}")
