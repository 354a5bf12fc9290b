"""What sinks that keep no list were told, in the store: the last change of each person, word for word."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from sqlmodel import Session, col, delete

from switchyard.activation.members import microseconds, of_audience, slices
from switchyard.api.sinks import Change
from switchyard.store import bulk
from switchyard.store.tables import AudienceChange

PENDING, TOLD, REFUSED = "pending", "told", "refused"
"""Not known to be told, and written again as it is until it is known; confirmed; a leaving refused for good."""

_SCHEMA = pa.schema(
    [
        ("profile_id", pa.int64()),
        ("id", pa.string()),
        ("kind", pa.string()),
        ("key", pa.string()),
        ("fields", pa.string()),
        ("digest", pa.string()),
        ("decided_us", pa.int64()),
        ("state", pa.string()),
    ]
)
_COLUMNS = ", ".join(f"c.{name}" for name in _SCHEMA.names)


@dataclass(frozen=True, slots=True)
class Kept:
    """A change, the digest of its fields, and its state."""

    change: Change
    digest: str
    state: str


def unsettled(session: Session, audience_id: int) -> dict[int, Kept]:
    """Profile → its change, of those that are `PENDING` or `REFUSED`, the first decided first."""
    query = f"SELECT {_COLUMNS} FROM audience_change c WHERE c.audience_id = {audience_id} AND c.state <> '{TOLD}'"
    return _kept(bulk.select(session, f"{query} ORDER BY c.decided_us, c.profile_id", _SCHEMA))


def of_people(session: Session, audience_id: int, profiles: Collection[int]) -> dict[int, Kept]:
    """Profile → its last change, of these people."""
    query = (
        f"SELECT {_COLUMNS} FROM {{keys}} k JOIN audience_change c "
        f"ON c.audience_id = {audience_id} AND c.profile_id = k.value"
    )
    return _kept(bulk.matching(session, query, pa.array(profiles, pa.int64()), _SCHEMA)) if profiles else {}


def put(session: Session, audience_id: int, kept: Iterable[Kept]) -> None:
    """Write changes, in place of what was known of the same people."""
    rows = [
        (each.change.profile, each.change.id, each.change.kind, each.change.key, json.dumps(each.change.fields),
         each.digest, microseconds(each.change.at), each.state)
        for each in kept
    ]  # fmt: skip
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    table = pa.table(arrays, _SCHEMA)
    bulk.upsert(session, AudienceChange, of_audience(audience_id, table), ["audience_id", "profile_id"])


def forget(session: Session, audience_id: int, profiles: Collection[int]) -> None:
    """Delete what is known of these people: the sink knows nothing of them, or that they left."""
    of_these = col(AudienceChange.audience_id) == audience_id
    for some in slices(profiles):
        session.exec(delete(AudienceChange).where(of_these, col(AudienceChange.profile_id).in_(some)))


def _kept(rows: pa.Table) -> dict[int, Kept]:
    columns = (column.to_pylist() for column in rows.columns)
    return {
        profile: Kept(Change(id, kind, key, json.loads(fields), profile, _instant(decided)), digest, state)
        for profile, id, kind, key, fields, digest, decided, state in zip(*columns, strict=True)
    }


def _instant(since_1970: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=since_1970)
