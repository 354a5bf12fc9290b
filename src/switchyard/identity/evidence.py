"""What the store knows of subjects and identifiers, asked for a page at a time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlmodel import Session

from switchyard.identity.graph import Ids
from switchyard.store import bulk

LINKS = pa.schema(
    [("kind_id", pa.int64()), ("value", pa.string()), ("subject_id", pa.int64()), ("profile_id", pa.int64())]
)
VALUES = pa.schema([("kind_id", pa.int64()), ("value", pa.string())])
_SUBJECTS = pa.schema(
    [
        ("key", pa.string()),
        ("id", pa.int64()),
        ("profile_id", pa.int64()),
        ("attributes", pa.string()),
        ("is_gone", pa.bool_()),
    ]
)
_MEMBERS = pa.schema([("id", pa.int64()), ("profile_id", pa.int64())])
# Most profiles are one subject with the profile's id; the others have a small index of their own.
_FOLLOWERS = "SELECT s.id, s.profile_id FROM {keys} k JOIN subject s ON s.profile_id = k.value AND s.profile_id <> s.id"
_NAMESAKES = "SELECT s.id, s.profile_id FROM {keys} k JOIN subject s ON s.id = k.value AND s.profile_id = s.id"


@dataclass(frozen=True)
class Known:
    """What the store knows of some keys: `profiles` is 0 for a subject without one, `ids` 0 for an unknown key."""

    ids: Ids
    profiles: Ids
    found: NDArray[np.bool_]
    attributes: pa.ChunkedArray
    gone: NDArray[np.bool_]


def subjects(session: Session, stream_id: int, keys: pa.Array) -> Known:
    """The subjects of a stream by these keys."""
    found = bulk.matching(
        session,
        "SELECT s.key, s.id, s.profile_id, s.attributes, s.is_gone FROM {keys} k "
        f"JOIN subject s ON s.stream_id = {stream_id} AND s.key = k.value",
        keys,
        _SUBJECTS,
    )
    at = pc.index_in(keys, found["key"].combine_chunks())
    rows = found.take(at)
    return Known(
        ids=numbers(rows["id"]),
        profiles=numbers(rows["profile_id"]),
        found=pc.is_valid(at).to_numpy(zero_copy_only=False),
        attributes=rows["attributes"],
        gone=pc.fill_null(rows["is_gone"], False).to_numpy().astype(np.bool_),
    )


def parked(session: Session, claims: pa.Table) -> pa.Table:
    """Values of these claims that are parked as shared: `kind_id`, `value`."""
    statement = (
        "SELECT v.kind_id, v.value FROM {keys} k JOIN shared_value v ON v.kind_id = {kind} AND v.value = k.value"
    )
    return _per_kind(session, claims, statement, VALUES)


def links(session: Session, claims: pa.Table) -> pa.Table:
    """On which subjects, of which profiles, the values of these claims stand already."""
    statement = (
        "SELECT i.kind_id, i.value, i.subject_id, s.profile_id FROM {keys} k "
        "JOIN identifier i ON i.kind_id = {kind} AND i.value = k.value JOIN subject s ON s.id = i.subject_id"
    )
    return _per_kind(session, claims, statement, LINKS)


def of_subjects(session: Session, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """All links of these subjects, parked values among them; without profiles."""
    statement = (
        "SELECT i.kind_id, i.value, i.subject_id, NULL FROM {keys} k JOIN identifier i ON i.subject_id = k.value"
    )
    return bulk.matching(session, statement, ids, LINKS)


def live_of_subjects(session: Session, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The links of these subjects by values that are not parked; without profiles."""
    statement = (
        "SELECT i.kind_id, i.value, i.subject_id, NULL FROM {keys} k JOIN identifier i ON i.subject_id = k.value "
        "LEFT JOIN shared_value v ON v.kind_id = i.kind_id AND v.value = i.value WHERE v.value IS NULL"
    )
    return bulk.matching(session, statement, ids, LINKS)


def followers(session: Session, profiles: pa.Array) -> pa.Table:
    """The subjects of these profiles but those that lend them their ids: `id`, `profile_id`."""
    return bulk.matching(session, _FOLLOWERS, profiles, _MEMBERS)


def members(session: Session, profiles: pa.Array) -> pa.Table:
    """All subjects of these profiles: `id`, `profile_id`."""
    return bulk.matching(session, f"{_FOLLOWERS} UNION ALL {_NAMESAKES}", profiles, _MEMBERS)


def numbers(column: pa.ChunkedArray | pa.Array) -> Ids:
    """A column of 64-bit integers, 0 for NULL."""
    return pc.fill_null(column, 0).to_numpy(zero_copy_only=False) if len(column) else np.empty(0, np.int64)


def _per_kind(session: Session, claims: pa.Table, statement: str, schema: pa.Schema) -> pa.Table:
    found = [schema.empty_table()]
    for kind in pc.unique(claims["kind_id"]).to_pylist():
        values = pc.unique(claims["value"].filter(pc.equal(claims["kind_id"], kind)))
        found.append(bulk.matching(session, statement.replace("{kind}", str(kind)), values, schema))
    return pa.concat_tables(found)
