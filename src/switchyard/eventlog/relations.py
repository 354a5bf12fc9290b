"""The rows of files and of the journal as DuckDB and Arrow see them: the same columns, whatever each file has."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from glob import escape
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.eventlog.footers import Footer
from switchyard.eventlog.layout import EVENT, MEMBERSHIP, Layout
from switchyard.eventlog.recent import SMALL, Recent
from switchyard.eventlog.types import arrow_type, conform, duckdb_type, json_shape


def schema_of(layout: Layout, types: Mapping[str, str], fixed: Collection[str] | None = None) -> pa.Schema:
    """The fixed columns of the kind (or those of them named), then the properties."""
    kept = [field for field in layout.fixed if fixed is None or field.name in fixed]
    return pa.schema([*kept, *(pa.field(name, arrow_type(text)) for name, text in types.items())])


def files_sql(files: Iterable[tuple[Path, Footer]], layout: Layout, types: Mapping[str, str]) -> str | None:
    """A SELECT of the columns of `schema_of` over the files; None without files.

    Files with the same columns are one scan: what a file lacks is NULL by name, without DuckDB reading every footer
    to find out.
    """
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path, footer in files:
        columns = tuple(_column(name, text, footer.types.get(name)) for name, text in types.items())
        # A path may hold characters that mean something in a glob.
        alike[columns].append(literal(escape(str(path))))
    fixed = [identifier(name) for name in layout.fixed.names]
    scans = (
        f"SELECT {', '.join([*fixed, *columns])} FROM read_parquet([{', '.join(paths)}])"
        for columns, paths in alike.items()
    )
    return " UNION ALL ".join(scans) or None


def journal_events(connection: duckdb.DuckDBPyConnection, rows: pa.Table, types: Mapping[str, str]) -> pa.Table:
    """Journal rows with their properties as typed columns. `rows` has the form `catalogue.JOURNAL_EVENTS`."""
    fixed = {
        "_id": rows["event_id"].cast(pa.binary(16)),
        "_subject": rows["subject_id"],
        "_at": rows["at_us"].cast(pa.timestamp("us")),
        "_page": rows["page_id"],
    }
    if not types:
        return pa.table(fixed, EVENT.fixed)
    connection.register("journal", rows.select(["properties"]))
    parsed = connection.execute(
        "SELECT unnest(from_json(properties, ?)) FROM journal", [json_shape(types)]
    ).to_arrow_table()
    connection.unregister("journal")
    columns = {name: parsed[name] for name in types}
    return conform(pa.table(fixed | columns), types).cast(schema_of(EVENT, types))


def journal_memberships(rows: pa.Table) -> pa.Table:
    """Journal rows as the membership files have them. `rows` has the form `catalogue.JOURNAL_MEMBERSHIPS`."""
    for name in ("at", "noticed"):
        rows = rows.append_column(name, rows[f"{name}_us"].cast(pa.timestamp("us")))
    return rows.select(MEMBERSHIP.fixed.names).cast(MEMBERSHIP.fixed)


def rows_of(
    file: tuple[Path, Footer],
    subjects: npt.NDArray[np.int64],
    types: Mapping[str, str],
    fixed: Collection[str],
    recent: Recent,
) -> pa.Table:
    """The events of these subjects (ascending, unique) in one file, reading only row groups that can hold them.

    `fixed` names the fixed columns wanted, `_subject` among them.
    """
    path, footer = file
    schema = schema_of(EVENT, types, fixed)
    groups = footer.groups(subjects)
    if not groups:
        return schema.empty_table()
    present = {name: footer.types[name] for name in types if name in footer.types}
    wanted = [name for name in schema.names if name in EVENT.fixed.names or name in present]
    if footer.rows.sum() <= SMALL:
        rows = recent.rows(path, wanted, lambda: _groups(file, range(len(footer.rows)), wanted))
    else:
        # Of the texts that are read few are wanted: in their dictionaries they cost half.
        rows = _groups(file, groups, wanted, [name for name, text in present.items() if text == "text"])
    # The file is sorted by subject, so that every subject is one run of rows.
    column = rows["_subject"].to_numpy()
    first, last = np.searchsorted(column, subjects, "left"), np.searchsorted(column, subjects, "right")
    counts = last - first
    starts = np.repeat(first - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
    rows = rows.take(pa.array(starts + np.arange(counts.sum())))
    for name, text in types.items():
        if name not in present:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, arrow_type(text)))
    return conform(rows.select(schema.names), types).cast(schema)


def _groups(
    file: tuple[Path, Footer], groups: Iterable[int], columns: Sequence[str], dictionaries: Sequence[str] = ()
) -> pa.Table:
    path, footer = file
    # Buffering ahead hides the latency of remote files; of local ones it takes a fifth of the time.
    with pq.ParquetFile(path, metadata=footer.metadata, pre_buffer=False, read_dictionary=dictionaries) as parquet:
        return parquet.read_row_groups(list(groups), columns=list(columns))


def matching(
    connection: duckdb.DuckDBPyConnection,
    paths: Iterable[Path],
    ids: pa.Array | pa.ChunkedArray,
    pages: tuple[int, int],
) -> pa.ChunkedArray:
    """Which of the ids stand in these files, in rows of the pages from `pages[0]` to `pages[1]`."""
    listed = ", ".join(literal(escape(str(path))) for path in paths)
    connection.register("wanted", pa.table({"_id": ids}))
    found = connection.execute(
        f"SELECT _id FROM read_parquet([{listed}]) SEMI JOIN wanted USING (_id) WHERE _page BETWEEN ? AND ?", pages
    ).to_arrow_table()
    connection.unregister("wanted")
    return found["_id"].cast(pa.binary(16))


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _column(name: str, text: str, held: str | None) -> str:
    if held == text:
        return identifier(name)
    value = "NULL" if held is None else identifier(name)
    return f"CAST({value} AS {duckdb_type(text)}) AS {identifier(name)}"
