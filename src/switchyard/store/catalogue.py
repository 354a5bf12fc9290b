"""The catalogue: which files of the event log count, the journal of its youngest rows, and the types of properties.

It is the store's half of the single commit. Committers call the methods that take a session inside their own
transaction; the others are one transaction each.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import pyarrow as pa
from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from switchyard.api.errors import PermanentError
from switchyard.store import bulk
from switchyard.store.database import Database
from switchyard.store.tables import EventProperty, EventType, JournalEvent, JournalMembership, LogFile

_EVENTS = pa.schema(
    [
        ("event_type_id", pa.int64()),
        ("id", pa.int64()),
        ("event_id", pa.binary()),
        ("subject_id", pa.int64()),
        ("at_us", pa.int64()),
        ("page_id", pa.int64()),
        ("properties", pa.string()),
    ]
)
_MEMBERSHIPS = pa.schema(
    [
        ("id", pa.int64()),
        ("segment", pa.string()),
        ("version", pa.int64()),
        ("profile_id", pa.int64()),
        ("entered", pa.bool_()),
        ("at_us", pa.int64()),
        ("noticed_us", pa.int64()),
        ("reason", pa.string()),
        ("run_id", pa.int64()),
    ]
)
_IDS = pa.schema([("event_id", pa.binary()), ("page_id", pa.int64())])
_FILE_COLUMNS = [name for name in LogFile.model_fields if name != "id"]


class LogEntry(Protocol):
    """A file to name. The attributes are the columns of `LogFile`."""

    @property
    def kind(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...


class DrainedRows(Protocol):
    """Journal rows that a file holds: `rows` rows of this kind and type, none with an id beyond `last`."""

    @property
    def kind(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def last(self) -> int: ...
    @property
    def rows(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CatalogueVersion:
    """Files, types and journal rows as one transaction saw them. `events` has the columns `id`, `event_id`,
    `subject_id`, `at_us`, `page_id`, `properties`; `memberships` those of `JournalMembership`.
    """

    files: Sequence[LogFile]
    types: Mapping[str, Mapping[str, str]]
    events: Mapping[str, pa.Table]
    memberships: pa.Table


class StoreCatalogue:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._duckdb = duckdb.connect(config={"temp_directory": ""})

    # In the committer's transaction

    def add(self, session: Session, entries: Iterable[LogEntry]) -> None:
        """Name the files: from the commit on they count."""
        for entry in entries:
            session.add(LogFile(**{name: getattr(entry, name) for name in _FILE_COLUMNS}))
        session.flush()

    def register(self, session: Session, event_type: str, properties: Mapping[str, str]) -> dict[str, str]:
        """Make the event type and its properties known; returns the type in force for each of `properties`.

        A type once registered stays, so the caller casts where the answer differs from what it gave. Only `items` may
        grow: fields that are new are added to those there were.
        """
        type_id = self._type_id(session, event_type)
        known = {
            row.name: row
            for row in session.exec(select(EventProperty).where(col(EventProperty.event_type_id) == type_id))
        }
        for name, text in properties.items():
            if name not in known:
                known[name] = EventProperty(event_type_id=type_id, name=name, type=text)
            elif text != known[name].type:
                known[name].type = _grown(known[name].type, text)
            session.add(known[name])
        session.flush()
        return {name: known[name].type for name in properties}

    def types(self, session: Session) -> dict[str, dict[str, str]]:
        """Event type → property → type text."""
        names = {row.id: row.name for row in session.exec(select(EventType).order_by(col(EventType.id)))}
        types: dict[str, dict[str, str]] = {name: {} for name in names.values()}
        for row in session.exec(select(EventProperty).order_by(col(EventProperty.name))):
            types[names[row.event_type_id]][row.name] = row.type
        return types

    def journal_events(self, session: Session, event_type: str, table: pa.Table) -> None:
        """Put a small page's events of one type into the journal.

        Args:
            event_type: registered, or it is now.
            table: `_id`, `_subject`, `_at`, `_page`, and the properties, cast to their registered types.
        """
        rows = table.num_rows
        given = {
            "event_type_id": pa.repeat(pa.scalar(self._type_id(session, event_type)), rows),
            "event_id": table["_id"].cast(pa.binary()),
            "subject_id": table["_subject"],
            "at_us": table["_at"].cast(pa.timestamp("us")).cast(pa.int64()),
            "page_id": table["_page"],
            "properties": self._json(table.select([name for name in table.column_names if not name.startswith("_")])),
        }
        bulk.insert(session, JournalEvent, pa.table(given))

    def journal_memberships(self, session: Session, table: pa.Table) -> None:
        """Put membership changes into the journal. `table` has the columns of the membership files: `profile_id`,
        `segment`, `version`, `entered`, `at`, `noticed`, `reason`, `run_id`.
        """
        plain = ("profile_id", "segment", "version", "entered", "reason", "run_id")
        instants = {f"{name}_us": table[name].cast(pa.timestamp("us")).cast(pa.int64()) for name in ("at", "noticed")}
        bulk.insert(session, JournalMembership, pa.table({name: table[name] for name in plain} | instants))

    # One transaction each

    def files(self) -> Sequence[LogFile]:
        """All files that count."""
        with self._database.read() as session:
            return _files(session)

    def version(
        self, types: Collection[str] | None = None, subjects: Any = None, memberships: bool = True
    ) -> CatalogueVersion:
        """Files, registered types, and journal rows: events of these types (None: all) and these subjects (an int64
        array; None: all), and membership changes if asked for.
        """
        with self._database.read() as session:
            names = {row.name: row.id for row in session.exec(select(EventType))}
            wanted = {name: number for name, number in names.items() if types is None or name in types}
            return CatalogueVersion(
                files=_files(session),
                types=self.types(session),
                events=_events(session, wanted, subjects),
                memberships=_memberships(session) if memberships else _MEMBERSHIPS.empty_table(),
            )

    def journal_ids(self) -> pa.Table:
        """`event_id` and `page_id` of all events in the journal."""
        with self._database.read() as session:
            return bulk.select(session, "SELECT event_id, page_id FROM journal_event", _IDS)

    def journal_sizes(self) -> dict[tuple[str, str], int]:
        """(kind, type) → rows in the journal."""
        counted = select(EventType.name, func.count()).join(JournalEvent).group_by(col(EventType.name))
        with self._database.read() as session:
            sizes = {("event", name): rows for name, rows in session.exec(counted)}
            if rows := session.exec(select(func.count()).select_from(JournalMembership)).one():
                sizes["membership", ""] = rows
        return sizes

    def swap(
        self, added: Iterable[LogEntry], replaced: Collection[str] = (), drained: DrainedRows | None = None
    ) -> None:
        """Name the files of `added`, forget the names of `replaced`, delete the drained rows: all or nothing.

        Raises:
            PermanentError: rows or names are not those that the caller read; nothing was changed.
            TransientError: the store cannot be reached.
        """
        with self._database.write() as session:
            for name in replaced:
                _expect(session.exec(delete(LogFile).where(col(LogFile.name) == name)).rowcount, 1)
            if drained is not None:
                _expect(self._drain(session, drained), drained.rows)
            self.add(session, added)

    def _drain(self, session: Session, drained: DrainedRows) -> int:
        if drained.kind == "membership":
            return session.exec(delete(JournalMembership).where(col(JournalMembership.id) <= drained.last)).rowcount
        type_id = self._type_id(session, drained.type)
        rows = delete(JournalEvent).where(
            col(JournalEvent.event_type_id) == type_id, col(JournalEvent.id) <= drained.last
        )
        return session.exec(rows).rowcount

    def _type_id(self, session: Session, event_type: str) -> int:
        known = session.exec(select(EventType.id).where(EventType.name == event_type)).first()
        if known is not None:
            return known
        number = (session.exec(select(func.max(EventType.id))).one() or 0) + 1
        session.add(EventType(id=number, name=event_type))
        session.flush()
        return number

    def _json(self, properties: pa.Table) -> pa.ChunkedArray | pa.Array:
        """Each row as a JSON object."""
        names = properties.column_names
        if not names:
            return pa.repeat(pa.scalar("{}"), properties.num_rows)
        # Readers of JSON take a number with a point for a float: decimals would lose digits.
        plain = pa.table({f"c{i}": column.cast(_texted(column.type)) for i, column in enumerate(properties.columns)})
        fields = ", ".join(f"{_literal(name)}: c{i}" for i, name in enumerate(names))
        cursor = self._duckdb.cursor()
        cursor.register("page", plain)
        rows = cursor.execute(f"SELECT CAST(to_json({{{fields}}}) AS VARCHAR) AS json FROM page").to_arrow_table()
        cursor.close()
        return rows["json"]


def _files(session: Session) -> Sequence[LogFile]:
    files = session.exec(select(LogFile).order_by(col(LogFile.id))).all()
    session.expunge_all()
    return files


def _events(session: Session, wanted: Mapping[str, int], subjects: Any) -> dict[str, pa.Table]:
    if not wanted:
        return {}
    columns = ", ".join(f"e.{name}" for name in _EVENTS.names)
    where = f"WHERE e.event_type_id IN ({', '.join(map(str, wanted.values()))}) ORDER BY e.id"
    if subjects is None:
        rows = bulk.select(session, f"SELECT {columns} FROM journal_event e {where}", _EVENTS)
    else:
        joined = f"SELECT {columns} FROM {{keys}} k JOIN journal_event e ON e.subject_id = k.value {where}"
        rows = bulk.matching(session, joined, subjects.unique(), _EVENTS)
    numbers = rows["event_type_id"]
    of_type = {
        name: rows.filter(pa.compute.equal(numbers, number)).drop_columns("event_type_id")
        for name, number in wanted.items()
    }
    return {name: found for name, found in of_type.items() if found.num_rows}


def _memberships(session: Session) -> pa.Table:
    # SQLite gives booleans as integers.
    columns = ", ".join(_MEMBERSHIPS.names).replace("entered", "CASE WHEN entered THEN 1 ELSE 0 END")
    place = _MEMBERSHIPS.get_field_index("entered")
    given = _MEMBERSHIPS.set(place, pa.field("entered", pa.int64()))
    return bulk.select(session, f"SELECT {columns} FROM journal_membership ORDER BY id", given).cast(_MEMBERSHIPS)


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise PermanentError(
            f"the event log changed while it was rewritten ({found} of {wanted} rows); "
            "nothing was changed, is another hub running on this store?"
        )


def _grown(registered: str, given: str) -> str:
    if not (registered.startswith("items(") and given.startswith("items(")):
        return registered
    old, new = (dict(field.split(" ") for field in text[6:-1].split(", ")) for text in (registered, given))
    fields = old | {name: kind for name, kind in new.items() if name not in old}
    return f"items({', '.join(f'{name} {kind}' for name, kind in fields.items())})"


def _texted(arrow: pa.DataType) -> pa.DataType:
    """The type with texts in place of decimals."""
    if pa.types.is_decimal(arrow):
        return pa.string()
    if pa.types.is_struct(arrow):
        return pa.struct([pa.field(field.name, _texted(field.type)) for field in arrow])
    if pa.types.is_list(arrow):
        return pa.list_(_texted(arrow.value_type))
    return arrow


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
