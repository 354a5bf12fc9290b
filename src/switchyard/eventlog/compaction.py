"""Rewriting: journal rows become a file, small files become a large one. Each is one swap in the catalogue."""

import heapq
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from switchyard.api.errors import PermanentError
from switchyard.eventlog.catalogue import NamedFile
from switchyard.eventlog.files import FileEntry, LogFolder
from switchyard.eventlog.footers import Footers
from switchyard.eventlog.layout import LAYOUTS
from switchyard.eventlog.relations import files_sql, identifier, schema_of

UNCOMPACTED = 8
"""As many files of a type may wait at level 0."""
SLICE_ROWS = 1_000_000
"""Rows that a merge holds in memory, about."""


def due(files: Sequence[NamedFile]) -> list[NamedFile]:
    """The files of one type to merge now: all at level 0 once there are more than `UNCOMPACTED`, and every older file
    less than twice as large as what is merged already, so that few files remain and each row is rewritten seldom.
    """
    chosen = [file for file in files if file.level == 0]
    if len(chosen) <= UNCOMPACTED:
        return []
    rows = sum(file.rows for file in chosen)
    for file in sorted((file for file in files if file.level), key=lambda file: file.rows):
        if file.rows < 2 * rows:
            chosen.append(file)
            rows += file.rows
    return chosen


def write_sorted(folder: LogFolder, kind: str, type: str, table: pa.Table) -> FileEntry:
    """One file with the rows of the table, sorted by subject and instant."""
    layout = LAYOUTS[kind]
    order = np.lexsort((table[layout.at].cast(pa.int64()).to_numpy(), table[layout.subject].to_numpy()))
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(pa.array(order))
    with folder.writer(kind, type, table.schema, table.num_rows) as writer:
        writer.write(table)
    return writer.entry()


def merge(
    connection: duckdb.DuckDBPyConnection,
    folder: LogFolder,
    footers: Footers,
    files: Sequence[NamedFile],
    types: Mapping[str, str],
) -> FileEntry:
    """One file with the rows of `files`, all of one kind and type, with memory for a slice of them at a time."""
    kind, type = files[0].kind, files[0].type
    layout = LAYOUTS[kind]
    source = files_sql([(folder.path(file.name), footers.of(file)) for file in files], layout, types)
    subject = identifier(layout.subject)
    query = f"SELECT * FROM ({source}) WHERE {subject} BETWEEN ? AND ? ORDER BY {subject}, {identifier(layout.at)}"
    schema = schema_of(layout, types)
    rows = sum(file.rows for file in files)
    with folder.writer(kind, type, schema, rows) as writer:
        for first, last in _slices(footers, files):
            writer.write(connection.execute(query, [first, last]).to_arrow_table().cast(schema))
    entry = writer.entry(max(file.level for file in files) + 1)
    if entry.rows != rows:
        folder.remove([entry.name])
        raise PermanentError(
            f"{len(files)} files of {kind} '{type}' have {entry.rows} rows, not the {rows} that their footers say; "
            "nothing was changed, restore them from a backup"
        )
    return entry


def _slices(footers: Footers, files: Sequence[NamedFile]) -> Iterator[tuple[int, int]]:
    """Ranges of subjects, both ends included, with about `SLICE_ROWS` rows each, that together hold every row."""
    parsed = [footers.of(file) for file in files]
    groups = heapq.merge(*(zip(footer.first.tolist(), footer.rows.tolist(), strict=True) for footer in parsed))
    first, rows = min(file.min_subject for file in files), 0
    for subject, count in groups:
        if rows >= SLICE_ROWS and subject > first:
            yield first, subject - 1
            first, rows = subject, 0
        rows += count
    yield first, max(file.max_subject for file in files)
