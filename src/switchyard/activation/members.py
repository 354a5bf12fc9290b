"""What the hub knows of the people and records of an audience's list, in the store."""

from collections.abc import Collection
from datetime import datetime
from typing import TypeVar

import pyarrow as pa
from sqlmodel import Session, col, delete, select, update

from switchyard.activation import outbox
from switchyard.store import bulk
from switchyard.store.tables import FEED, Audience, AudienceChange, AudienceMember, AudienceRemoval

Key = TypeVar("Key")

SENT, ACCEPTED, APPLIED, VERIFIED = "sent", "accepted", "applied", "verified"
"""On the way to the list, outcome unknown; the vendor is at work on it; confirmed to be on it; seen on it."""

LOST, REJECTED, RETRY = "lost", "rejected", "retry"
"""A read-back showed that it is not on the list (any more); refused for good; refused, worth another try."""

PLACED = (APPLIED, VERIFIED)

SAME_RECORD = "same_record"
"""Code of a refusal by the hub itself: the vendor keeps one record for two people. Its `remote_id` is that record's."""

SCHEMA = pa.schema(
    [
        ("profile_id", pa.int64()),
        ("remote_id", pa.string()),
        ("digest", pa.string()),
        ("sending", pa.string()),
        ("state", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("applied_us", pa.int64()),
        ("verified_us", pa.int64()),
    ]
)


def known_audience(session: Session, name: str, connection: str) -> Audience | None:
    """The audience's row, where it was delivered over this connection before."""
    query = select(Audience).where(Audience.name == name, Audience.connection == connection)
    return session.exec(query).first()


def audience(session: Session, name: str, connection: str, *, feed: bool = False) -> Audience:
    """The audience's row, made where it is new. In a writing transaction.

    Args:
        feed: whether its sink is told of changes and keeps no list.
    """
    row = session.exec(select(Audience).where(Audience.name == name)).first()
    if row is None:
        row = Audience(name=name, connection=connection)
    elif row.connection != connection or (row.list_id is not None and (row.list_id == FEED) != feed):
        # Another connection is another list: what the old one confirmed says nothing of it.
        session.exec(delete(AudienceMember).where(col(AudienceMember.audience_id) == row.id))
        session.exec(delete(AudienceChange).where(col(AudienceChange.audience_id) == row.id))
        leave_list(session, row)
        row.connection, row.list_id, row.list_name, row.asked_name = connection, None, None, None
    session.add(row)
    session.flush()
    return row


def leave_list(session: Session, row: Audience) -> None:
    """Forget who is on the audience's list. The vendor's records of the people stay known."""
    session.exec(delete(AudienceRemoval).where(col(AudienceRemoval.audience_id) == row.id))
    outbox.settle(session, row.id or 0)


def held(session: Session, audience_id: int) -> pa.Table:
    """All members the hub has a word on."""
    columns = ", ".join(SCHEMA.names)
    query = f"SELECT {columns} FROM audience_member WHERE audience_id = {audience_id} ORDER BY profile_id"
    return bulk.select(session, query, SCHEMA)


def removals(session: Session, audience_id: int) -> dict[str, int]:
    """The vendor's id → when the removal was confirmed, of those not yet seen to be gone."""
    query = select(AudienceRemoval.remote_id, AudienceRemoval.removed_us)
    return dict(session.exec(query.where(AudienceRemoval.audience_id == audience_id)).all())


def put(session: Session, audience_id: int, rows: pa.Table) -> None:
    """Write members; the columns are those of `SCHEMA`."""
    bulk.upsert(session, AudienceMember, of_audience(audience_id, rows), ["audience_id", "profile_id"])


def see(session: Session, audience_id: int, at: int) -> None:
    """Everybody who was confirmed to be on the list was seen on it at this instant (microseconds)."""
    confirmed = col(AudienceMember.audience_id) == audience_id, col(AudienceMember.state) == APPLIED
    session.exec(update(AudienceMember).where(*confirmed).values(state=VERIFIED, verified_us=at))


def forget(session: Session, audience_id: int, profiles: Collection[int]) -> None:
    """Delete members: confirmed to be off the list, or never on it."""
    key = AudienceMember.profile_id
    for some in slices(profiles):
        session.exec(delete(AudienceMember).where(col(AudienceMember.audience_id) == audience_id, col(key).in_(some)))


def put_removals(session: Session, audience_id: int, removed: dict[str, int]) -> None:
    rows = pa.table({"remote_id": list(removed), "removed_us": list(removed.values())})
    if removed:
        bulk.upsert(session, AudienceRemoval, of_audience(audience_id, rows), ["audience_id", "remote_id"])


def forget_removals(session: Session, audience_id: int, remote_ids: Collection[str]) -> None:
    """Delete removals that are done: nobody has to wait for them any more."""
    key = AudienceRemoval.remote_id
    for some in slices(remote_ids):
        session.exec(delete(AudienceRemoval).where(col(AudienceRemoval.audience_id) == audience_id, col(key).in_(some)))


def microseconds(instant: datetime) -> int:
    """Since 1970, of an instant in UTC without a zone."""
    since = instant - datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def of_audience(audience_id: int, rows: pa.Table) -> pa.Table:
    """The rows with the audience's id."""
    return rows.append_column("audience_id", pa.repeat(pa.scalar(audience_id, pa.int64()), rows.num_rows))


def slices(keys: Collection[Key]) -> list[list[Key]]:
    """The keys, as many at a time as one statement takes."""
    # SQLite takes so many parameters at most, and PostgreSQL plans long lists slowly.
    listed = list(keys)
    return [listed[start : start + 500] for start in range(0, len(listed), 500)]
