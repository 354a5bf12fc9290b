"""The members of an audience as the vendor confirmed them, in the store."""

from collections.abc import Collection
from datetime import datetime

import pyarrow as pa
from sqlmodel import Session, col, delete, select

from switchyard.store import bulk
from switchyard.store.tables import Audience, AudienceMember

LISTED, SENT, REJECTED, RETRY = "listed", "sent", "rejected", "retry"
"""Confirmed on the list; on its way, outcome unknown; refused for good; refused, worth another try."""

SAME_RECORD = "same_record"
"""Code of a refusal by the hub itself: the vendor keeps one record for two people. Its `remote_id` is that record's."""

SCHEMA = pa.schema(
    [
        ("profile_id", pa.int64()),
        ("remote_id", pa.string()),
        ("digest", pa.string()),
        ("state", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
    ]
)


def known_audience(session: Session, name: str, connection: str) -> Audience | None:
    """The audience's row, where it was delivered over this connection before."""
    query = select(Audience).where(Audience.name == name, Audience.connection == connection)
    return session.exec(query).first()


def audience(session: Session, name: str, connection: str) -> Audience:
    """The audience's row, made where it is new. In a writing transaction."""
    row = session.exec(select(Audience).where(Audience.name == name)).first()
    if row is None:
        row = Audience(name=name, connection=connection)
    elif row.connection != connection:
        # Another connection is another list: what the old one confirmed says nothing of it.
        session.exec(delete(AudienceMember).where(col(AudienceMember.audience_id) == row.id))
        row.connection, row.list_id, row.list_name = connection, None, None
    session.add(row)
    session.flush()
    return row


def held(session: Session, audience_id: int) -> pa.Table:
    """All members the hub has a word on."""
    columns = ", ".join(SCHEMA.names)
    query = f"SELECT {columns} FROM audience_member WHERE audience_id = {audience_id} ORDER BY profile_id"
    return bulk.select(session, query, SCHEMA)


def put(session: Session, audience_id: int, rows: pa.Table, now: datetime) -> None:
    """Write members; the columns are those of `SCHEMA`."""
    rows = rows.append_column("audience_id", pa.array([audience_id] * rows.num_rows, pa.int64()))
    rows = rows.append_column("changed_at", pa.array([now] * rows.num_rows, pa.timestamp("us")))
    bulk.upsert(session, AudienceMember, rows, ["audience_id", "profile_id"])


def forget(session: Session, audience_id: int, profiles: Collection[int]) -> None:
    """Members the vendor confirmed to be off the list, or who never were on it."""
    listed = list(profiles)
    for start in range(0, len(listed), 500):
        some = listed[start : start + 500]
        session.exec(
            delete(AudienceMember).where(
                col(AudienceMember.audience_id) == audience_id, col(AudienceMember.profile_id).in_(some)
            )
        )
