"""Who is who: the subjects of a page, joined into profiles over the identifiers they share.

A profile is a connected component of subjects over shared values, and its id is the smallest subject id in it, so
that a rebuild and a split need no memory. A value on more subjects than its kind allows (a till's own phone number)
is parked as shared: it stays as evidence and links nobody, also where it did before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sqlmodel import Session

from switchyard.store import bulk

Ids = NDArray[np.int64]

_SUBJECTS = pa.schema(
    [("key", pa.string()), ("id", pa.int64()), ("profile_id", pa.int64()), ("attributes", pa.string())]
)
_EVIDENCE = pa.schema(
    [("kind_id", pa.int64()), ("value", pa.string()), ("subject_id", pa.int64()), ("profile_id", pa.int64())]
)
_VALUES = pa.schema([("kind_id", pa.int64()), ("value", pa.string())])
_MEMBERS = pa.schema([("id", pa.int64()), ("profile_id", pa.int64())])


@dataclass(frozen=True)
class Resolution:
    """What a page does to identities, as rows to write.

    Args:
        subject_ids: id of each given key.
        known: which keys the store knew.
        attributes: what the store holds of each key's attributes (JSON), NULL for new ones.
        subjects: new subjects: id, key, profile_id.
        identifiers: new evidence: kind_id, value, subject_id, line, source.
        moved: known subjects whose profile changes: id, profile_id.
        shared: values newly parked: kind_id, value.
        merges: profile_id, merged_id, kind_id, value.
        changed: profiles that are no longer as they were: new, grown, merged away or split.
    """

    subject_ids: Ids
    known: NDArray[np.bool_]
    attributes: pa.ChunkedArray
    subjects: pa.Table
    identifiers: pa.Table
    moved: pa.Table
    shared: pa.Table
    merges: pa.Table
    changed: Ids


def resolve(
    session: Session,
    stream_id: int,
    keys: pa.Array,
    claims: pa.Table,
    limits: Mapping[int, int],
    take_ids: Callable[[int], Ids],
) -> Resolution:
    """Resolve the subjects of one page against the store.

    Args:
        stream_id: the stream whose subjects these are.
        keys: their keys, unique, ascending.
        claims: `subject` (position in `keys`), `kind_id`, `value`: unique; and what goes with them, `line`, `source`.
        limits: identifier kind → on how many subjects one value may stand.
        take_ids: hands out new subject ids.
    """
    known = _known_subjects(session, stream_id, keys)
    ids = np.where(known.is_known, known.ids, 0)
    ids[~known.is_known] = take_ids(int((~known.is_known).sum()))

    claims = claims.append_column("subject_id", pa.array(ids[claims["subject"].to_numpy()]))
    parked = _parked(session, claims)
    live = claims.filter(pc.invert(_in(_pairs(claims), _pairs(parked))))
    stored = _evidence(session, live)
    fresh = live.filter(pc.invert(_in(_triples(live), _triples(stored))))

    shared = _crowded(live, stored, limits)
    dissolved = _dissolved(session, stored.filter(_in(_pairs(stored), _pairs(shared))), shared)
    live = live.filter(pc.invert(_in(_pairs(live), _pairs(shared))))
    stored = stored.filter(pc.invert(_in(_pairs(stored), _pairs(shared))))

    graph = _Graph(ids, known.profiles, live, stored, dissolved)
    profiles, merged = graph.profiles(ids), graph.merged()
    moved = _moved(session, ids, known, profiles, merged, dissolved, graph)
    new = ~known.is_known
    parked_claims = claims.filter(_in(_pairs(claims), _pairs(parked)))
    fresh = pa.concat_tables([fresh, _unwritten(session, parked_claims)])
    changed = np.concatenate([profiles[profiles > 0], *merged, dissolved.profiles, graph.profiles(dissolved.ids)])
    return Resolution(
        subject_ids=ids,
        known=known.is_known,
        attributes=known.attributes,
        subjects=pa.table({"id": ids[new], "key": keys.filter(pa.array(new)), "profile_id": _nullable(profiles[new])}),
        identifiers=fresh.select(["kind_id", "value", "subject_id", "line", "source"]),
        moved=moved,
        shared=shared,
        merges=graph.reasons(merged),
        changed=np.unique(changed[changed > 0]),
    )


@dataclass(frozen=True)
class _Known:
    ids: Ids
    profiles: Ids  # 0 where the subject has none
    is_known: NDArray[np.bool_]
    attributes: pa.ChunkedArray


def _known_subjects(session: Session, stream_id: int, keys: pa.Array) -> _Known:
    found = bulk.matching(
        session,
        "SELECT s.key, s.id, s.profile_id, s.attributes FROM {keys} k "
        f"JOIN subject s ON s.stream_id = {stream_id} AND s.key = k.value",
        keys,
        _SUBJECTS,
    )
    at = pc.index_in(keys, found["key"].combine_chunks())
    rows = found.take(at)
    return _Known(
        ids=_numbers(rows["id"]),
        profiles=_numbers(rows["profile_id"]),
        is_known=pc.is_valid(at).to_numpy(zero_copy_only=False),
        attributes=rows["attributes"],
    )


def _parked(session: Session, claims: pa.Table) -> pa.Table:
    """Values of these claims that are parked already."""
    statement = (
        "SELECT v.kind_id, v.value FROM {keys} k JOIN shared_value v ON v.kind_id = {kind} AND v.value = k.value"
    )
    return _per_kind(session, claims, statement, _VALUES)


def _evidence(session: Session, claims: pa.Table) -> pa.Table:
    """What the store knows of the values of these claims: on which subjects, of which profiles, they stand."""
    statement = (
        "SELECT i.kind_id, i.value, i.subject_id, s.profile_id FROM {keys} k "
        "JOIN identifier i ON i.kind_id = {kind} AND i.value = k.value JOIN subject s ON s.id = i.subject_id"
    )
    return _per_kind(session, claims, statement, _EVIDENCE)


def _unwritten(session: Session, claims: pa.Table) -> pa.Table:
    """The claims whose very row the store does not have: evidence of parked values, looked up by subject."""
    if claims.num_rows == 0:
        return claims
    statement = (
        "SELECT i.kind_id, i.value, i.subject_id, i.subject_id AS profile_id FROM {keys} k "
        "JOIN identifier i ON i.subject_id = k.value"
    )
    stored = bulk.matching(session, statement, pc.unique(claims["subject_id"]), _EVIDENCE)
    return claims.filter(pc.invert(_in(_triples(claims), _triples(stored))))


def _per_kind(session: Session, claims: pa.Table, statement: str, schema: pa.Schema) -> pa.Table:
    found = [schema.empty_table()]
    for kind in pc.unique(claims["kind_id"]).to_pylist():
        values = pc.unique(claims["value"].filter(pc.equal(claims["kind_id"], kind)))
        found.append(bulk.matching(session, statement.replace("{kind}", str(kind)), values, schema))
    return pa.concat_tables(found)


def _crowded(live: pa.Table, stored: pa.Table, limits: Mapping[int, int]) -> pa.Table:
    """Values that stand on more subjects than their kind allows, counting this page."""
    columns = ["kind_id", "value", "subject_id"]
    both = pa.concat_tables([live.select(columns), stored.select(columns)])
    counted = both.group_by(["kind_id", "value"], use_threads=False).aggregate([("subject_id", "count_distinct")])
    allowed = pa.array([limits[kind] for kind in counted["kind_id"].to_pylist()], pa.int64())
    return counted.filter(pc.greater(counted["subject_id_count_distinct"], allowed)).select(["kind_id", "value"])


@dataclass(frozen=True)
class _Dissolved:
    """Profiles that lose a link, taken apart: their subjects, and the links that remain."""

    profiles: Ids
    ids: Ids
    before: Ids
    links: pa.Table


def _dissolved(session: Session, broken: pa.Table, shared: pa.Table) -> _Dissolved:
    profiles = pc.unique(broken["profile_id"]).drop_null()
    if len(profiles) == 0:
        return _Dissolved(_none(), _none(), _none(), _EVIDENCE.empty_table())
    members = bulk.matching(
        session,
        "SELECT s.id, s.profile_id FROM {keys} k JOIN subject s ON s.profile_id = k.value AND s.profile_id <> s.id "
        "UNION ALL SELECT s.id, s.profile_id FROM {keys} k JOIN subject s ON s.id = k.value AND s.profile_id = s.id",
        profiles,
        _MEMBERS,
    )
    links = bulk.matching(
        session,
        "SELECT i.kind_id, i.value, i.subject_id, NULL FROM {keys} k JOIN identifier i ON i.subject_id = k.value "
        "LEFT JOIN shared_value v ON v.kind_id = i.kind_id AND v.value = i.value WHERE v.value IS NULL",
        members["id"],
        _EVIDENCE,
    )
    links = links.filter(pc.invert(_in(_pairs(links), _pairs(shared))))
    return _Dissolved(_numbers(profiles), _numbers(members["id"]), _numbers(members["profile_id"]), links)


class _Graph:
    """Subjects, profiles and values as nodes. A profile that stays whole is one node, whatever it consists of."""

    def __init__(self, ids: Ids, profiles: Ids, live: pa.Table, stored: pa.Table, dissolved: _Dissolved) -> None:
        loose = np.isin(profiles, dissolved.profiles)
        ends = _numbers(stored["profile_id"])
        subjects = _numbers(stored["subject_id"])
        ends = np.where((ends == 0) | np.isin(ends, dissolved.profiles), subjects, ends)
        whole = profiles[(profiles > 0) & ~loose]
        self._ids = np.unique(np.concatenate([ids, whole, ends, dissolved.ids]))
        self._wholes = np.unique(
            np.concatenate([whole, ends[ends != subjects], ends[_numbers(stored["profile_id"]) == ends]])
        )

        texts = pa.chunked_array(
            [chunk for table in (live, stored, dissolved.links) for chunk in _pairs(table).chunks], pa.string()
        )
        encoded = texts.combine_chunks().dictionary_encode()
        values = encoded.indices.to_numpy().astype(np.int64)
        self._values = encoded.dictionary
        holders = np.concatenate([_numbers(live["subject_id"]), ends, _numbers(dissolved.links["subject_id"])])
        self._linked = (holders, values)

        has_profile = (profiles > 0) & ~loose
        left = np.concatenate([self._at(holders), self._at(ids[has_profile])])
        right = np.concatenate([len(self._ids) + values, self._at(profiles[has_profile])])
        size = len(self._ids) + len(self._values)
        matrix = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
        count, labels = connected_components(matrix, directed=False)
        self._labels = labels[: len(self._ids)]
        smallest = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(smallest, self._labels, self._ids)
        alive = np.zeros(count, np.bool_)
        alive[labels[len(self._ids) :]] = True
        alive[self._labels[self._at(self._wholes)]] = True
        self._profile = np.where(alive, smallest, 0)

    def _at(self, ids: Ids) -> NDArray[np.intp]:
        return np.searchsorted(self._ids, ids)

    def profiles(self, ids: Ids) -> Ids:
        """The profile of each of these subjects now; 0 for none."""
        return self._profile[self._labels[self._at(ids)]]

    def merged(self) -> tuple[Ids, Ids]:
        """Profiles that are part of another one now, and which."""
        into = self.profiles(self._wholes)
        gone = into != self._wholes
        return self._wholes[gone], into[gone]

    def reasons(self, merged: tuple[Ids, Ids]) -> pa.Table:
        """For every profile merged away, a value that joins it to others."""
        gone, into = merged
        holders, values = self._linked
        order = np.argsort(holders, kind="stable")
        first = np.searchsorted(holders[order], gone)
        texts = self._values.take(pa.array(values[order][first])) if len(gone) else pa.array([], pa.string())
        parts = pc.split_pattern(texts, "\x1f", max_splits=1)
        return pa.table(
            {
                "profile_id": pa.array(into),
                "merged_id": pa.array(gone),
                "kind_id": pc.list_element(parts, 0).cast(pa.int64()),
                "value": pc.list_element(parts, 1),
            }
        )


def _moved(
    session: Session,
    ids: Ids,
    known: _Known,
    profiles: Ids,
    merged: tuple[Ids, Ids],
    dissolved: _Dissolved,
    graph: _Graph,
) -> pa.Table:
    gone, into = merged
    members = _MEMBERS.empty_table()
    if len(gone):
        members = bulk.matching(
            session,
            "SELECT s.id, s.profile_id FROM {keys} k JOIN subject s ON s.profile_id = k.value AND s.profile_id <> s.id",
            pa.array(gone),
            _MEMBERS,
        )
    order = np.argsort(gone)
    followers = into[order][np.searchsorted(gone[order], _numbers(members["profile_id"]))] if len(gone) else _none()
    loose_now = graph.profiles(dissolved.ids)
    moved_loose = loose_now != dissolved.before
    joined = known.is_known & (known.profiles != profiles) & ~np.isin(known.profiles, dissolved.profiles)
    every = np.concatenate([gone, _numbers(members["id"]), dissolved.ids[moved_loose], ids[joined]])
    profile = np.concatenate([into, followers, loose_now[moved_loose], profiles[joined]])
    unique, first = np.unique(every, return_index=True)
    return pa.table({"id": pa.array(unique), "profile_id": _nullable(profile[first])})


def _none() -> Ids:
    return np.empty(0, np.int64)


def _numbers(column: pa.ChunkedArray | pa.Array) -> Ids:
    return pc.fill_null(column, 0).to_numpy(zero_copy_only=False) if len(column) else _none()  # type: ignore[no-any-return]


def _nullable(ids: Ids) -> pa.Array:
    return pa.array(ids, mask=ids == 0)


def _pairs(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["kind_id"].cast(pa.string()), table["value"], "\x1f")


def _triples(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(_pairs(table), table["subject_id"].cast(pa.string()), "\x1f")


def _in(values: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(values, value_set=among.combine_chunks() if len(among) else pa.array([], pa.string()))
