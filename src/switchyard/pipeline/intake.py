"""The single commit: what a page says becomes true all at once, or not at all.

Everything expensive is done before the transaction: mapping, de-duplication, identities, and for a big page its files
in the event log, which do not count until the transaction names them. The transaction then writes rows only.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlmodel import Session

from switchyard.api.errors import SwitchyardError
from switchyard.api.records import Cursor
from switchyard.eventlog.files import FileEntry
from switchyard.eventlog.log import EventLog
from switchyard.identity.resolution import Resolution, resolve
from switchyard.pipeline import conformity
from switchyard.pipeline.events import PAGE, RECORD, SUBJECT, events, unnamed
from switchyard.pipeline.failing import without_failing_groups
from switchyard.pipeline.mapping import GroupFailed, Mapped, Mapper
from switchyard.pipeline.people import People, Rules, documents, people
from switchyard.pipeline.plan import RECORD_ID, sandbox
from switchyard.store import bulk, names, quarantine, runs
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.clock import now
from switchyard.store.database import Database
from switchyard.store.sequences import Sequence as Ids
from switchyard.store.tables import Identifier, Merge, Page, SharedValue, Stream, StreamMark, Subject

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """What became of some records: read = mapped + quarantined + duplicate."""

    read: int = 0
    mapped: int = 0
    quarantined: int = 0
    duplicate: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.read + other.read,
            self.mapped + other.mapped,
            self.quarantined + other.quarantined,
            self.duplicate + other.duplicate,
        )


@dataclass(frozen=True)
class Arrival:
    """Mapped pages on their way to one commit, with what it makes true."""

    run_id: int
    mapped: Mapped
    cursor: Cursor
    marks: Sequence[str] = ()
    replayed: Sequence[int] = ()


@dataclass(frozen=True)
class _Prepared:
    """Everything a transaction writes."""

    page_ids: Integers
    counts: Sequence[Counts]
    rejects: pa.Table
    resolution: Resolution
    gone: NDArray[np.bool_]
    documents: Future[pa.Array]
    events: Mapping[str, pa.Table]
    types: Mapping[str, Mapping[str, str]]
    attributes: Mapping[str, str]
    record_ids: pa.Table
    files: Future[list[FileEntry]]


class Intake:
    """Commits pages, one after the other: the hub's single writer.

    Args:
        file_rows: events of a page with at least so many records are written as files, others as journal rows.
        flush_rows: journal rows that wait at most before they become files.
        clock: the instant now, UTC without a zone.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        rules: Rules,
        file_rows: int = 50_000,
        flush_rows: int = 50_000,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._log = log
        self._catalogue = StoreCatalogue(database)
        self._rules = rules
        self._file_rows = file_rows
        self._flush_rows = flush_rows
        self._young = flush_rows
        self._clock = clock
        self._subjects = Ids(database, "subject")
        self._free: Integers = np.empty(0, np.int64)
        self._pages = Ids(database, "page")
        self._connection = sandbox()
        # Beside the thread that prepares and commits: what needs no answer before the transaction.
        self._aside = ThreadPoolExecutor(1, "intake")

    def commit(self, stream_id: int, mapper: Mapper, arrival: Arrival) -> Counts:
        """Make the pages true.

        Raises:
            ConfigError: a property or attribute has another type than before.
            TransientError: the store is not available; nothing was written.
        """
        try:
            prepared = self._prepare(stream_id, mapper, arrival)
        except GroupFailed:
            arrival = replace(arrival, mapped=without_failing_groups(mapper, arrival.mapped))
            prepared = self._prepare(stream_id, mapper, arrival)
        try:
            with self._database.write() as session:
                self._write(session, stream_id, arrival, prepared)
        except BaseException:
            with suppress(SwitchyardError):
                self._log.discard(prepared.files.result())
            raise
        for page_id in prepared.page_ids.tolist():
            mine = pc.equal(prepared.record_ids[PAGE], page_id)
            self._log.remember(prepared.record_ids["_id"].filter(mine), page_id)
        self._young += sum(table.num_rows for table in prepared.events.values())
        if self._young >= self._flush_rows:
            self.flush()
        return sum(prepared.counts, Counts())

    def close(self) -> None:
        """Let go of the second thread."""
        self._aside.shutdown()

    def flush(self) -> None:
        """Make files of journal rows where they are many, and few files of many."""
        self._log.flush(self._flush_rows // 2)
        self._log.compact()
        self._young = 0

    def _prepare(self, stream_id: int, mapper: Mapper, arrival: Arrival) -> _Prepared:
        mapped, duplicates = self._unseen(mapper, arrival.mapped)
        now = self._clock()
        kinds = self._kinds(mapper)
        found = people(mapped, mapper.plan, self._rules, kinds)
        limits = {number: self._rules.identity.rule(name).limit for name, number in kinds.items()}
        # Reserving ids is a transaction of its own, and a store may have one connection only.
        self._reserve(len(found.keys))
        with self._database.read() as session:
            resolution = resolve(session, stream_id, found.keys, found.claims, limits, self._taken)
            types, attributes = self._catalogue.types(session), names.attribute_types(session)
        page_ids = self._pages.take(len(mapped.origins))
        ids = _Ids(resolution.subject_ids, page_ids)
        made, wanted = self._events(mapper, mapped, found, ids, types)
        if mapper.plan.stream.mode == "append":
            made[RECORD] = ids.given(unnamed(mapper, mapped, found.of, made, now))
        big = mapped.records.num_rows >= self._file_rows
        return _Prepared(
            page_ids=page_ids,
            counts=_counts(arrival.mapped, duplicates),
            rejects=_rejects(mapped, arrival.run_id, page_ids, stream_id, now),
            resolution=resolution,
            gone=found.gone,
            documents=self._aside.submit(
                documents,
                self._connection,
                mapped,
                found,
                resolution.attributes,
                _micros(now),
                whole=mapper.plan.stream.whole,
            ),
            events={} if big else made,
            types=wanted,
            attributes=conformity.attributes(mapped.records, attributes),
            record_ids=_seen_ids(mapper, mapped, page_ids, made),
            files=self._aside.submit(self._written, made if big else {}),
        )

    def _written(self, made: Mapping[str, pa.Table]) -> list[FileEntry]:
        """The events as files, durable and not yet named."""
        return [self._log.write("event", name, table) for name, table in made.items() if table.num_rows]

    def _reserve(self, count: int) -> None:
        """Have so many subject ids at hand."""
        if count > len(self._free):
            self._free = np.concatenate([self._free, self._subjects.take(count - len(self._free))])

    def _taken(self, count: int) -> Integers:
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def _unseen(self, mapper: Mapper, mapped: Mapped) -> tuple[Mapped, Integers]:
        """Without the records of an append stream that came before, here or earlier; and how many of each page."""
        none = np.zeros(len(mapped.origins), np.int64)
        if mapper.plan.stream.mode != "append" or mapped.records.num_rows == 0:
            return mapped, none
        ids = mapped.records[RECORD_ID].cast(pa.binary(16)).combine_chunks()
        new = _first_of_each(ids) & ~self._log.seen(ids)
        if new.all():
            return mapped, none
        duplicates = np.bincount(mapped.sources[~new], minlength=len(none))
        return replace(mapped, records=mapped.records.filter(pa.array(new))), duplicates

    def _events(
        self, mapper: Mapper, mapped: Mapped, found: People, ids: "_Ids", types: Mapping[str, Mapping[str, str]]
    ) -> tuple[dict[str, pa.Table], dict[str, dict[str, str]]]:
        made: dict[str, pa.Table] = {}
        wanted: dict[str, dict[str, str]] = {}
        for name, table in events(mapper, mapped, found.of):
            table, wanted[name] = conformity.events(name, ids.given(table), types.get(name, {}))
            if mapper.plan.stream.mode == "upsert" and table.num_rows:
                natural = table["_id"].combine_chunks()
                table = table.filter(pa.array(_first_of_each(natural) & ~self._log.seen(natural)))
            made[name] = table
        return made, wanted

    def _kinds(self, mapper: Mapper) -> dict[str, int]:
        wanted = set(mapper.plan.mapping.identifiers)
        with self._database.read() as session:
            known = names.known_kinds(session)
        if wanted <= known.keys():
            return known
        with self._database.write() as session:
            return names.kinds(session, sorted(wanted))

    def _write(self, session: Session, stream_id: int, arrival: Arrival, prepared: _Prepared) -> None:
        now = self._clock()
        self._write_people(session, stream_id, prepared)
        for name, properties in prepared.types.items():
            self._catalogue.register(session, name, properties)
        names.register_attributes(session, prepared.attributes)
        self._catalogue.add(session, prepared.files.result())
        for name, table in prepared.events.items():
            if not table.num_rows:
                continue
            self._catalogue.journal_events(session, name, table)
        quarantine.put(session, prepared.rejects)
        quarantine.mark_replayed(session, arrival.replayed, now)
        for mark in arrival.marks:
            session.merge(StreamMark(stream_id=stream_id, mark=mark))
        session.add_all(_pages(stream_id, arrival, prepared, now))
        runs.counted(session, arrival.run_id, asdict(sum(prepared.counts, Counts())))
        if not arrival.replayed:
            row = session.get_one(Stream, stream_id)
            row.cursor, row.updated_at = arrival.cursor, now
            session.add(row)

    def _write_people(self, session: Session, stream_id: int, prepared: _Prepared) -> None:
        resolution, last = prepared.resolution, int(prepared.page_ids[-1])
        new, said = pa.array(~resolution.known), prepared.documents.result()
        subjects = resolution.subjects.append_column("attributes", said.filter(new))
        subjects = subjects.append_column("stream_id", pa.array(np.full(subjects.num_rows, stream_id, np.int16)))
        subjects = subjects.append_column("is_gone", pa.array(prepared.gone[~resolution.known]))
        bulk.insert(session, Subject, subjects)
        changed = pa.array(resolution.known & said.is_valid().to_numpy(zero_copy_only=False))
        known = pa.table({"id": pa.array(resolution.subject_ids), "attributes": said})
        bulk.update(session, Subject, known.filter(changed), ["id"])
        turned = resolution.known & (prepared.gone != resolution.gone)
        if turned.any():
            rows = {"id": resolution.subject_ids[turned], "is_gone": prepared.gone[turned]}
            bulk.update(session, Subject, pa.table(rows), ["id"])
        page_ids = pa.array(prepared.page_ids[resolution.identifiers["source"].to_numpy()])
        identifiers = resolution.identifiers.drop_columns(["source"]).append_column("page_id", page_ids)
        bulk.insert(session, Identifier, identifiers.sort_by([("kind_id", "ascending"), ("value", "ascending")]))
        bulk.update(session, Subject, resolution.moved, ["id"])
        bulk.upsert(session, SharedValue, _with(resolution.shared, "page_id", last), ["kind_id", "value"])
        bulk.insert(session, Merge, _with(resolution.merges, "page_id", last))


def _pages(stream_id: int, arrival: Arrival, prepared: _Prepared, now: datetime) -> list[Page]:
    """A row for each page; the last one holds the profiles that all of them changed."""
    pages = [
        Page(
            id=page_id,
            run_id=arrival.run_id,
            stream_id=stream_id,
            origin=origin,
            committed_at=now,
            changed=b"",
            **asdict(counts),
        )
        for page_id, counts, origin in zip(
            prepared.page_ids.tolist(), prepared.counts, arrival.mapped.origins, strict=True
        )
    ]
    pages[-1].changed = bulk.packed(pa.array(prepared.resolution.changed))
    return pages


def _with(table: pa.Table, name: str, value: int) -> pa.Table:
    return table.append_column(name, pa.array(np.full(table.num_rows, value, np.int64)))


@dataclass(frozen=True)
class _Ids:
    """The ids of subjects and pages, by their numbers within what is committed together."""

    subjects: Integers
    pages: Integers

    def given(self, table: pa.Table) -> pa.Table:
        for name, ids in ((SUBJECT, self.subjects), (PAGE, self.pages)):
            numbers = ids[table[name].to_numpy()]
            table = table.set_column(table.column_names.index(name), name, pa.array(numbers))
        return table


def _first_of_each(ids: pa.Array) -> NDArray[np.bool_]:
    """Which ids stand here for the first time, as a mask."""
    halves = np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset : 2 * (ids.offset + len(ids))].reshape(-1, 2)
    heads = np.sort(halves[:, 0])
    if not (heads[1:] == heads[:-1]).any():
        return np.ones(len(ids), np.bool_)
    _, first = np.unique(halves, axis=0, return_index=True)
    mask = np.zeros(len(ids), np.bool_)
    mask[first] = True
    return mask


def _seen_ids(mapper: Mapper, mapped: Mapped, page_ids: Integers, made: Mapping[str, pa.Table]) -> pa.Table:
    """What later pages must not bring again: `_id`, `_page`."""
    if mapper.plan.stream.mode == "append":
        ids = mapped.records[RECORD_ID].cast(pa.binary(16))
        return pa.table({"_id": ids, PAGE: page_ids[mapped.sources]})
    none = pa.table({"_id": pa.array([], pa.binary(16)), PAGE: pa.array([], pa.int64())})
    return pa.concat_tables([none, *(table.select(["_id", PAGE]) for table in made.values())])


def _counts(mapped: Mapped, duplicates: Integers) -> list[Counts]:
    """What became of the records of each page."""
    refused = (len(rejects) for rejects in mapped.rejects)
    used = np.bincount(mapped.sources, minlength=len(mapped.origins))
    return [
        Counts(read=lost + kept, mapped=kept - twice, quarantined=lost, duplicate=twice)
        for lost, kept, twice in zip(refused, used.tolist(), duplicates.tolist(), strict=True)
    ]


def _rejects(mapped: Mapped, run_id: int, page_ids: Integers, stream_id: int, now: datetime) -> pa.Table:
    rows = [
        {"page_id": page_id, "origin": origin, "record": json.dumps(reject.record, ensure_ascii=True)}
        | {name: getattr(reject, name) for name in ("line", "byte", "field", "code", "reason")}
        for page_id, origin, rejects in zip(page_ids.tolist(), mapped.origins, mapped.rejects, strict=True)
        for reject in rejects
    ]
    fixed = {"run_id": run_id, "stream_id": stream_id, "created_at": now}
    return pa.Table.from_pylist([row | fixed for row in rows], quarantine.RECORDS)


def _micros(instant: datetime) -> int:
    return round(instant.replace(tzinfo=UTC).timestamp() * 1_000_000)
