"""The single commit: what a page says becomes true all at once, or not at all.

Everything expensive is done before the transaction: mapping, de-duplication, identities, and for a big page its files
in the event log, which do not count until the transaction names them. The transaction then writes rows only.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlmodel import Session

from switchyard.api.records import JSON, Cursor, Reject
from switchyard.eventlog.files import FileEntry
from switchyard.eventlog.log import EventLog
from switchyard.identity.resolution import Resolution, resolve
from switchyard.pipeline import conformity
from switchyard.pipeline.events import SUBJECT, events
from switchyard.pipeline.mapping import RECORD_ID, Mapped, Mapper, sandbox
from switchyard.pipeline.people import People, Rules, documents, people
from switchyard.store import bulk, names, quarantine, runs
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database
from switchyard.store.sequences import Sequence as Ids
from switchyard.store.tables import Identifier, Merge, Page, SharedValue, Stream, StreamMark, Subject


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
    """A mapped page on its way to the commit, with what its commit makes true."""

    run_id: int
    mapped: Mapped
    cursor: Cursor
    marks: Sequence[str] = ()
    origin: str | None = None
    replayed: Sequence[int] = ()


@dataclass(frozen=True)
class _Prepared:
    """Everything a page's transaction writes."""

    page_id: int
    counts: Counts
    rejects: pa.Table
    resolution: Resolution
    documents: pa.Array
    events: Mapping[str, pa.Table]
    types: Mapping[str, Mapping[str, str]]
    attributes: Mapping[str, str]
    record_ids: pa.Array
    files: list[FileEntry] = field(default_factory=list)


class Intake:
    """Commits pages, one after the other: the hub's single writer.

    Args:
        file_rows: events of a page with at least so many records are written as files, others as journal rows.
        clock: the instant now, UTC without a zone.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        rules: Rules,
        file_rows: int = 50_000,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None),
    ) -> None:
        self._database = database
        self._log = log
        self._catalogue = StoreCatalogue(database)
        self._rules = rules
        self._file_rows = file_rows
        self._clock = clock
        self._subjects = Ids(database, "subject")
        self._pages = Ids(database, "page")
        self._connection = sandbox()

    def commit(self, stream_id: int, mapper: Mapper, arrival: Arrival) -> Counts:
        """Make one page true.

        Raises:
            ConfigError: a property or attribute has another type than before.
            TransientError: the store is not available; nothing was written.
        """
        prepared = self._prepare(stream_id, mapper, arrival)
        try:
            with self._database.write() as session:
                self._write(session, stream_id, arrival, prepared)
        except BaseException:
            self._log.discard(prepared.files)
            raise
        self._log.remember(prepared.record_ids, prepared.page_id)
        return prepared.counts

    def _prepare(self, stream_id: int, mapper: Mapper, arrival: Arrival) -> _Prepared:
        mapped, duplicate = self._unseen(mapper, arrival.mapped)
        now = self._clock()
        kinds = self._kinds(mapper)
        found = people(mapped.records, mapped.page, mapper.plan, self._rules, kinds)
        limits = {number: self._rules.identity.rule(name).limit for name, number in kinds.items()}
        with self._database.read() as session:
            resolution = resolve(session, stream_id, found.keys, found.claims, limits, self._subjects.take)
            types, attributes = self._catalogue.types(session), names.attribute_types(session)
        page_id = int(self._pages.take(1)[0])
        made, wanted = self._events(mapper, mapped, found, resolution, types)
        quarantined = len(mapped.rejects)
        prepared = _Prepared(
            page_id=page_id,
            counts=Counts(mapped.read, mapped.read - quarantined - duplicate, quarantined, duplicate),
            rejects=_rejects(mapped.rejects, arrival, page_id, stream_id, now),
            resolution=resolution,
            documents=documents(self._connection, mapped.records, found, resolution.attributes, _micros(now)),
            events=made,
            types=wanted,
            attributes=conformity.attributes(mapped.records, attributes),
            record_ids=_seen_ids(mapper, mapped, made),
        )
        if mapped.records.num_rows >= self._file_rows:
            files = [
                self._log.write("event", name, _with_page(table, page_id))
                for name, table in made.items()
                if table.num_rows
            ]
            return replace(prepared, events={}, files=files)
        return prepared

    def _unseen(self, mapper: Mapper, mapped: Mapped) -> tuple[Mapped, int]:
        """Without the records of an append stream that came before, in this page or an earlier one."""
        if mapper.plan.stream.mode != "append" or mapped.records.num_rows == 0:
            return mapped, 0
        ids = mapped.records[RECORD_ID].cast(pa.binary(16)).combine_chunks()
        new = _first_of_each(ids) & ~self._log.seen(ids)
        duplicate = int((~new).sum())
        return (replace(mapped, records=mapped.records.filter(pa.array(new))) if duplicate else mapped), duplicate

    def _events(
        self,
        mapper: Mapper,
        mapped: Mapped,
        found: People,
        resolution: Resolution,
        types: Mapping[str, Mapping[str, str]],
    ) -> tuple[dict[str, pa.Table], dict[str, dict[str, str]]]:
        made: dict[str, pa.Table] = {}
        wanted: dict[str, dict[str, str]] = {}
        for name, table in events(mapper, mapped, found.of):
            subjects = pa.array(resolution.subject_ids[table[SUBJECT].to_numpy()])
            table = table.set_column(table.column_names.index(SUBJECT), SUBJECT, subjects)
            table, wanted[name] = conformity.events(name, table, types.get(name, {}))
            if mapper.plan.stream.mode == "upsert" and table.num_rows:
                ids = table["_id"].combine_chunks()
                table = table.filter(pa.array(_first_of_each(ids) & ~self._log.seen(ids)))
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
        page_id, resolution = prepared.page_id, prepared.resolution
        now = self._clock()
        self._write_people(session, stream_id, prepared)
        for name, properties in prepared.types.items():
            self._catalogue.register(session, name, properties)
        names.register_attributes(session, prepared.attributes)
        self._catalogue.add(session, prepared.files)
        for name, table in prepared.events.items():
            self._catalogue.journal_events(session, name, table, page_id)
        quarantine.put(session, prepared.rejects)
        quarantine.mark_replayed(session, arrival.replayed, now)
        for mark in arrival.marks:
            session.merge(StreamMark(stream_id=stream_id, mark=mark))
        counts = prepared.counts
        session.add(
            Page(
                id=page_id,
                run_id=arrival.run_id,
                stream_id=stream_id,
                origin=arrival.origin,
                committed_at=now,
                read=counts.read,
                mapped=counts.mapped,
                quarantined=counts.quarantined,
                duplicate=counts.duplicate,
                changed=bulk.packed(pa.array(resolution.changed)),
            )
        )
        runs.counted(session, arrival.run_id, asdict(counts))
        if not arrival.replayed:
            row = session.get_one(Stream, stream_id)
            row.cursor, row.updated_at = arrival.cursor, now
            session.add(row)

    def _write_people(self, session: Session, stream_id: int, prepared: _Prepared) -> None:
        page_id, resolution = prepared.page_id, prepared.resolution
        new = pa.array(~resolution.known)
        subjects = resolution.subjects.append_column("attributes", prepared.documents.filter(new))
        subjects = subjects.append_column("stream_id", pa.array(np.full(subjects.num_rows, stream_id, np.int16)))
        bulk.insert(session, Subject, subjects)
        said = pa.array(resolution.known & prepared.documents.is_valid().to_numpy(zero_copy_only=False))
        known = pa.table({"id": pa.array(resolution.subject_ids), "attributes": prepared.documents})
        bulk.update(session, Subject, known.filter(said), ["id"])
        identifiers = resolution.identifiers.append_column(
            "page_id", pa.array(np.full(resolution.identifiers.num_rows, page_id, np.int64))
        )
        bulk.insert(session, Identifier, identifiers.sort_by([("kind_id", "ascending"), ("value", "ascending")]))
        bulk.update(session, Subject, resolution.moved, ["id"])
        bulk.upsert(session, SharedValue, _with(resolution.shared, "page_id", page_id), ["kind_id", "value"])
        bulk.insert(session, Merge, _with(resolution.merges, "page_id", page_id))


def _with(table: pa.Table, name: str, value: int) -> pa.Table:
    return table.append_column(name, pa.array(np.full(table.num_rows, value, np.int64)))


def _with_page(table: pa.Table, page_id: int) -> pa.Table:
    at = table.column_names.index("_at") + 1
    return table.add_column(at, "_page", pa.array(np.full(table.num_rows, page_id, np.int64)))


def _first_of_each(ids: pa.Array) -> NDArray[np.bool_]:
    """Which ids stand here for the first time, as a mask."""
    halves = np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset : 2 * (ids.offset + len(ids))].reshape(-1, 2)
    if len(np.unique(halves[:, 0])) == len(ids):
        return np.ones(len(ids), np.bool_)
    _, first = np.unique(halves, axis=0, return_index=True)
    mask = np.zeros(len(ids), np.bool_)
    mask[first] = True
    return mask


def _seen_ids(mapper: Mapper, mapped: Mapped, made: Mapping[str, pa.Table]) -> pa.Array:
    if mapper.plan.stream.mode == "append":
        return mapped.records[RECORD_ID].cast(pa.binary(16)).combine_chunks()
    return pa.concat_arrays([pa.array([], pa.binary(16)), *(t["_id"].combine_chunks() for t in made.values())])


def _rejects(rejects: Sequence[Reject], arrival: Arrival, page_id: int, stream_id: int, now: datetime) -> pa.Table:
    columns = ("origin", "line", "byte", "field", "code", "reason")
    listed = {name: [getattr(reject, name, arrival.origin) for reject in rejects] for name in columns}
    count = len(rejects)
    return pa.table(
        {
            "run_id": pa.array([arrival.run_id] * count, pa.int64()),
            "page_id": pa.array([page_id] * count, pa.int64()),
            "stream_id": pa.array([stream_id] * count, pa.int64()),
            "origin": pa.array(listed["origin"], pa.string()),
            "line": pa.array(listed["line"], pa.int64()),
            "byte": pa.array(listed["byte"], pa.int64()),
            "field": pa.array(listed["field"], pa.string()),
            "code": pa.array(listed["code"], pa.string()),
            "reason": pa.array(listed["reason"], pa.string()),
            "record": pa.array([_text(reject.record) for reject in rejects], pa.string()),
            "created_at": pa.array([now] * count, pa.timestamp("us")),
        }
    )


def _text(record: JSON) -> str:
    return json.dumps(record, ensure_ascii=True)


def _micros(instant: datetime) -> int:
    return round(instant.replace(tzinfo=UTC).timestamp() * 1_000_000)
