"""A store and its log by natural keys: two that were told the same say the same, whatever ids they gave.

What depends on how pages were cut into commits (ids, instants of commits, which value is named as a merge's reason) is
left out.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from tests.projects import check_invariants, rows_of

from switchyard.app.hub import Hub
from switchyard.app.project import open_project
from switchyard.eventlog.log import EventLog
from switchyard.store import tables
from switchyard.store.database import Database

Dump = dict[str, Any]


def dump(database: Database, log: EventLog) -> Dump:
    """Everything a source said, and what became of it."""
    streams = {row.id: (row.connection, row.name) for row in rows_of(database, tables.Stream)}
    kinds = {row.id: row.name for row in rows_of(database, tables.IdentifierKind)}
    pages = rows_of(database, tables.Page)
    origin = {page.id: page.origin for page in pages}
    subjects = {row.id: (*streams[row.stream_id], row.key) for row in rows_of(database, tables.Subject)}
    profiles: dict[int | None, set[Any]] = defaultdict(set)
    for row in rows_of(database, tables.Subject):
        profiles[row.profile_id].add(subjects[row.id])
    unidentified = profiles.pop(None, set())
    counts: dict[str | None, Counter[str]] = defaultdict(Counter)
    for page in pages:
        for name in ("read", "mapped", "quarantined", "duplicate"):
            counts[page.origin][name] += getattr(page, name)
    return {
        "subjects": {
            subjects[row.id]: json.loads(row.attributes or "null") for row in rows_of(database, tables.Subject)
        },
        "profiles": {frozenset(members) for members in profiles.values()},
        "unidentified": unidentified,
        "identifiers": {
            (kinds[row.kind_id], row.value, subjects[row.subject_id], origin[row.page_id], row.line)
            for row in rows_of(database, tables.Identifier)
        },
        "shared": {(kinds[row.kind_id], row.value) for row in rows_of(database, tables.SharedValue)},
        "events": dict(_events(log, subjects)),
        "quarantine": Counter(
            (row.origin, row.line, row.byte, row.field, row.code, row.reason, row.record, row.state)
            for row in rows_of(database, tables.Quarantine)
        ),
        "cursors": {streams[row.id]: row.cursor for row in rows_of(database, tables.Stream)},
        "marks": {(streams[row.stream_id], row.mark) for row in rows_of(database, tables.StreamMark)},
        "counts": {name: dict(count) for name, count in counts.items()},
    }


def _events(log: EventLog, subjects: dict[int, Any]) -> Iterator[tuple[str, Counter[Any]]]:
    with log.snapshot(memberships=False) as snapshot, duckdb.connect() as connection:
        for event_type in snapshot.types:
            snapshot.view(connection, "event", event_type, None, "everything")
            rows = connection.execute("SELECT * FROM everything").to_arrow_table().to_pylist()
            yield event_type, Counter(_natural(row, subjects) for row in rows)


def _natural(row: dict[str, Any], subjects: dict[int, Any]) -> Any:
    properties = {name: value for name, value in row.items() if not name.startswith("_")}
    return row["_id"].hex(), subjects[row["_subject"]], row["_at"], json.dumps(properties, default=str, sort_keys=True)


@contextmanager
def opened(folder: Path) -> Iterator[Hub]:
    with Hub(open_project(folder)) as hub:
        yield hub
        check_invariants(hub.database)


def dumped(folder: Path) -> Dump:
    """The dump of a project's store."""
    with opened(folder) as hub:
        return dump(hub.database, hub.log)
