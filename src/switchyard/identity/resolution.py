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
from sqlmodel import Session

from switchyard.identity import evidence
from switchyard.identity.evidence import Known
from switchyard.identity.graph import Graph, Ids, Links

_VALUE = ["kind_id", "value"]
_SUBJECT_BITS = 40
"""A subject's id fits: a million new subjects a second would take twelve days to use them up."""


@dataclass(frozen=True)
class Resolution:
    """What a page does to identities, as rows to write.

    Args:
        subject_ids: id of each given key.
        known: which keys the store knew.
        attributes: what the store holds of each key's attributes (JSON), NULL for new ones.
        gone: which keys the store knows as deleted at the source.
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
    gone: NDArray[np.bool_]
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
    known = evidence.subjects(session, stream_id, keys)
    ids = known.ids.copy()
    ids[~known.found] = take_ids(int((~known.found).sum()))
    claims = claims.append_column("subject_id", pa.array(ids[claims["subject"].to_numpy()]))

    parked = evidence.parked(session, claims)
    codes, parked_codes = _coded(claims, parked)
    is_parked = np.isin(codes, parked_codes)
    live = claims.filter(pa.array(~is_parked))
    stored = evidence.links(session, live)
    codes, stored_codes = _coded(live, stored)
    unknown = ~np.isin(_triples(codes, live), _triples(stored_codes, stored))

    crowded = _crowded(codes, stored_codes, live, stored, limits)
    shared, shared_stored = np.isin(codes, crowded), np.isin(stored_codes, crowded)
    dissolved = _dissolved(session, stored.filter(pa.array(shared_stored)))
    graph, values = _graph(
        ids, known.profiles, live.filter(pa.array(~shared)), stored.filter(pa.array(~shared_stored)), dissolved
    )

    profiles, new, (gone, into) = graph.profiles(ids), ~known.found, graph.merged()
    changed = np.concatenate([profiles, gone, into, dissolved.profiles, graph.profiles(dissolved.ids)])
    return Resolution(
        subject_ids=ids,
        known=known.found,
        attributes=known.attributes,
        gone=known.gone,
        subjects=pa.table({"id": ids[new], "key": keys.filter(pa.array(new)), "profile_id": _nullable(profiles[new])}),
        identifiers=_new_evidence(session, live.filter(pa.array(unknown)), claims.filter(pa.array(is_parked))),
        moved=_moved(session, ids, known, graph, dissolved),
        shared=_distinct(live.filter(pa.array(shared))),
        merges=_merges(graph, values, gone, into),
        changed=np.unique(changed[changed > 0]),
    )


def _coded(*tables: pa.Table) -> list[Ids]:
    """For each table, each row's (kind, value) as a number; equal ones have equal numbers, from 0 without gaps."""
    values = pa.chunked_array([chunk for table in tables for chunk in table["value"].chunks], pa.string())
    encoded = values.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    kinds = np.concatenate([evidence.numbers(table["kind_id"]) for table in tables])
    _, codes = np.unique(kinds * (int(encoded.max(initial=0)) + 1) + encoded, return_inverse=True)
    ends = np.cumsum([table.num_rows for table in tables])
    return np.split(codes, ends[:-1])


def _triples(codes: Ids, links: pa.Table) -> Ids:
    """Each (kind, value, subject) as one number."""
    return (codes << _SUBJECT_BITS) + evidence.numbers(links["subject_id"])


def _crowded(codes: Ids, stored_codes: Ids, live: pa.Table, stored: pa.Table, limits: Mapping[int, int]) -> Ids:
    """The codes of values that stand on more subjects than their kind allows, counting this page."""
    every = np.concatenate([codes, stored_codes])
    kinds = np.concatenate([evidence.numbers(live["kind_id"]), evidence.numbers(stored["kind_id"])])
    pairs = np.unique(np.concatenate([_triples(codes, live), _triples(stored_codes, stored)]))
    code, count = np.unique(pairs >> _SUBJECT_BITS, return_counts=True)
    _, first = np.unique(every, return_index=True)
    allowed = np.array([limits[kind] for kind in kinds[first].tolist()], np.int64)
    return code[count > allowed]


@dataclass(frozen=True)
class _Dissolved:
    """Profiles that lose a link, taken apart: their subjects, whose they were, and the links that remain."""

    profiles: Ids
    ids: Ids
    before: Ids
    links: pa.Table


def _dissolved(session: Session, broken: pa.Table) -> _Dissolved:
    """Take apart the profiles that values now shared have joined."""
    profiles = pc.unique(broken["profile_id"]).drop_null()
    if len(profiles) == 0:
        nobody = np.empty(0, np.int64)
        return _Dissolved(nobody, nobody, nobody, evidence.LINKS.empty_table())
    members = evidence.members(session, profiles)
    links = evidence.live_of_subjects(session, members["id"])
    codes, broken_codes = _coded(links, broken)
    links = links.filter(pa.array(~np.isin(codes, broken_codes)))
    return _Dissolved(
        evidence.numbers(profiles), evidence.numbers(members["id"]), evidence.numbers(members["profile_id"]), links
    )


def _graph(ids: Ids, profiles: Ids, live: pa.Table, stored: pa.Table, dissolved: _Dissolved) -> tuple[Graph, pa.Table]:
    """The graph of all links that count, and the value behind each of its value numbers."""
    whole = np.where(np.isin(profiles, dissolved.profiles), 0, profiles)
    owners = evidence.numbers(stored["profile_id"])
    owned = (owners > 0) & ~np.isin(owners, dissolved.profiles)
    holders = np.where(owned, owners, evidence.numbers(stored["subject_id"]))
    shown = [live.select(_VALUE), stored.select(_VALUE), dissolved.links.select(_VALUE)]
    values = np.concatenate(_coded(*shown))
    links = Links(
        np.concatenate(
            [evidence.numbers(live["subject_id"]), holders, evidence.numbers(dissolved.links["subject_id"])]
        ),
        values,
    )
    every = np.concatenate([ids, dissolved.ids])
    belongs = np.concatenate([whole, np.zeros(len(dissolved.ids), np.int64)])
    _, first = np.unique(values, return_index=True)
    return Graph(every, belongs, links, holders[owned]), pa.concat_tables(shown).take(pa.array(first))


def _moved(session: Session, ids: Ids, known: Known, graph: Graph, dissolved: _Dissolved) -> pa.Table:
    """Known subjects whose profile is another one now."""
    gone, _ = graph.merged()
    joined = known.found & ~np.isin(known.profiles, dissolved.profiles) & ~np.isin(known.profiles, gone)
    joined &= known.profiles != graph.profiles(ids)
    apart = graph.profiles(dissolved.ids) != dissolved.before
    followers = evidence.followers(session, pa.array(gone))
    led = evidence.numbers(followers["profile_id"])
    moved = np.concatenate([gone, evidence.numbers(followers["id"]), dissolved.ids[apart], ids[joined]])
    leaders = np.concatenate([gone, led, dissolved.ids[apart], ids[joined]])
    unique, first = np.unique(moved, return_index=True)
    return pa.table({"id": unique, "profile_id": _nullable(graph.profiles(leaders[first]))})


def _new_evidence(session: Session, live: pa.Table, parked: pa.Table) -> pa.Table:
    """Claims whose very row the store does not have. Those of parked values are looked up by subject: such a value
    has too many.
    """
    if parked.num_rows:
        stored = evidence.of_subjects(session, pc.unique(parked["subject_id"]))
        codes, stored_codes = _coded(parked, stored)
        parked = parked.filter(pa.array(~np.isin(_triples(codes, parked), _triples(stored_codes, stored))))
    return pa.concat_tables([live, parked]).select(["kind_id", "value", "subject_id", "line", "source"])


def _merges(graph: Graph, values: pa.Table, gone: Ids, into: Ids) -> pa.Table:
    """For every profile merged away, a value that joins it to others."""
    reasons = values.take(pa.array(graph.reasons(gone)))
    return pa.table({"profile_id": into, "merged_id": gone} | {name: reasons[name] for name in _VALUE})


def _distinct(links: pa.Table) -> pa.Table:
    return links.select(_VALUE).group_by(_VALUE, use_threads=False).aggregate([])


def _nullable(ids: Ids) -> pa.Array:
    return pa.array(ids, mask=ids == 0)
