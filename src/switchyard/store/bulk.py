"""The store's bulk path: Arrow tables in and out by the driver itself, on the session's own connection and transaction.

Going through SQLAlchemy's insert takes six times as long for 150,000 people with three identifiers each. Every
function sends one statement (PostgreSQL: a COPY, and for `upsert` and `update` one statement more), whatever the
number of rows. Columns that are not given stay NULL or get the database's default; defaults of the models in `tables`
do not apply.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sqlalchemy import text
from sqlmodel import Session, SQLModel

from switchyard.api.errors import PermanentError

_SLICE = 50_000
_TIMESTAMP = "%Y-%m-%d %H:%M:%S"
"""As SQLAlchemy spells instants in SQLite; Arrow's seconds carry the six places of its microseconds."""


def insert(session: Session, table: type[SQLModel], rows: pa.Table) -> None:
    """Insert all rows. The columns of `rows` are columns of the table; keys must be new.

    Raises:
        PermanentError: a text holds what no text of a database may (NUL, broken UTF-8).
    """
    if rows.num_rows == 0:
        return
    name, rows = _name(table), _storable(rows)
    if _is_sqlite(session):
        # Rows given in key order append to the index instead of searching it.
        _execute_many(session, _insertion(name, rows), rows)
    else:
        _copy(session, name, rows)


def upsert(session: Session, table: type[SQLModel], rows: pa.Table, key: Sequence[str]) -> None:
    """Insert the rows; where the key is known, set the other columns to the new values (or leave the row alone where
    there are no other columns). No key may come twice in `rows`; every column without a default must be given.

    Raises:
        PermanentError: as `insert`.
    """
    if rows.num_rows == 0:
        return
    name, rows = _name(table), _storable(rows)
    rest = [column for column in rows.column_names if column not in key]
    action = "UPDATE SET " + ", ".join(f'"{c}" = excluded."{c}"' for c in rest) if rest else "NOTHING"
    conflict = f"ON CONFLICT ({_listed(key)}) DO {action}"
    if _is_sqlite(session):
        _execute_many(session, f"{_insertion(name, rows)} {conflict}", rows)
    else:
        staged, listed = _stage(session, name, rows), _listed(rows.column_names)
        _execute(session, f'INSERT INTO "{name}" ({listed}) SELECT {listed} FROM "{staged}" {conflict}')


def update(session: Session, table: type[SQLModel], rows: pa.Table, key: Sequence[str]) -> None:
    """Set the columns that are not of the key, for rows that are there. No key may come twice in `rows`.

    Raises:
        PermanentError: as `insert`.
    """
    if rows.num_rows == 0:
        return
    name, rows = _name(table), _storable(rows)
    rest = [column for column in rows.column_names if column not in key]
    if _is_sqlite(session):
        sets = ", ".join(f'"{column}" = ?' for column in rest)
        where = " AND ".join(f'"{column}" = ?' for column in key)
        _execute_many(session, f'UPDATE "{name}" SET {sets} WHERE {where}', rows.select([*rest, *key]))
    else:
        staged = _stage(session, name, rows)
        sets = ", ".join(f'"{column}" = staged."{column}"' for column in rest)
        where = " AND ".join(f't."{column}" = staged."{column}"' for column in key)
        _execute(session, f'UPDATE "{name}" t SET {sets} FROM "{staged}" staged WHERE {where}')


def matching(session: Session, statement: str, keys: pa.Array | pa.ChunkedArray, schema: pa.Schema) -> pa.Table:
    """Rows of a SELECT that joins `{keys}`: a relation with the one column `value`, holding the given keys.

    Args:
        statement: SQL of both databases with `FROM {keys} k JOIN …`, once or more often (in a UNION ALL). The keys
            come first, so that each is looked up in the other table's index.
        keys: texts or 64-bit integers. One that comes twice matches twice; NULL matches nothing.
        schema: names and types of the answer's columns.
    """
    listed = keys.to_pylist()
    if _is_sqlite(session):
        # SQLite guesses keys to be few and other tables to be fewer, and would scan the keys once per row of those:
        # 150,000 keys took more than ten minutes. It never turns a CROSS JOIN round.
        ordered = re.sub(r"(\{keys\} \w+) JOIN\b", r"\1 CROSS JOIN", statement)
        sql = ordered.replace("{keys}", "(SELECT value FROM json_each(?1))")
        return _fetched(session, sql, (json.dumps(listed),), schema)
    cast = "bigint[]" if pa.types.is_integer(keys.type) else "text[]"
    sql = statement.replace("%", "%%").replace("{keys}", f"(SELECT unnest(%(keys)s::{cast}) AS value)")
    return _fetched(session, sql, {"keys": listed}, schema)


def select(
    session: Session, statement: str, schema: pa.Schema, parameters: Mapping[str, Any] | None = None
) -> pa.Table:
    """All rows of a SELECT as a table.

    Args:
        statement: SQL of both databases; `:name` stands for a value of `parameters`, where these are given.
        schema: names and types of the answer's columns.
    """
    if parameters is None:
        return _fetched(session, statement, None, schema)
    compiled = text(statement).bindparams(**parameters).compile(dialect=session.connection().dialect)
    values = [parameters[name] for name in compiled.positiontup or ()] if compiled.positional else dict(parameters)
    return _fetched(session, str(compiled), values, schema)


def fetched(cursor: Any, schema: pa.Schema) -> pa.Table:
    """What a cursor still holds, as a table, built in slices so that Python rows do not pile up."""
    slices: list[pa.RecordBatch] = []
    while rows := cursor.fetchmany(_SLICE):
        columns = [_column(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
        slices.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return pa.Table.from_batches(slices, schema=schema)


def tuples(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows as Python tuples, made in slices so that they do not pile up."""
    for batch in rows.to_batches(max_chunksize=_SLICE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def packed(ids: pa.Array | pa.ChunkedArray) -> bytes:
    """Ascending unique 64-bit integers as bytes, for `Page.changed`."""
    return np.unique(ids.cast(pa.int64()).to_numpy(zero_copy_only=False)).astype("<i8").tobytes()


def unpacked(data: bytes) -> pa.Array:
    """What `packed` packed."""
    return pa.array(np.frombuffer(data, "<i8"), pa.int64())


def _name(table: type[SQLModel]) -> str:
    return str(table.__tablename__)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _insertion(name: str, rows: pa.Table) -> str:
    marks = ", ".join("?" * rows.num_columns)
    return f'INSERT INTO "{name}" ({_listed(rows.column_names)}) VALUES ({marks})'


def _is_sqlite(session: Session) -> bool:
    return session.connection().dialect.name == "sqlite"


def _cursor(session: Session) -> Any:
    # Rows added to the session come first, as they would before a statement of its own.
    session.flush()
    cursor = session.connection().connection.cursor()
    if not _is_sqlite(session):
        from psycopg.types.string import TextLoader

        # As text in a column of texts, not as what it says.
        cursor.adapters.register_loader("json", TextLoader)
    return closing(cursor)


def _execute(session: Session, statement: str) -> None:
    with _cursor(session) as cursor:
        cursor.execute(statement)


def _execute_many(session: Session, statement: str, rows: pa.Table) -> None:
    spelt = [_spelt(column) for column in rows.columns]
    with _cursor(session) as cursor:
        cursor.executemany(statement, tuples(pa.table(spelt, names=rows.column_names)))


def _fetched(session: Session, statement: str, parameters: Any, schema: pa.Schema) -> pa.Table:
    with _cursor(session) as cursor:
        cursor.execute(statement, *(() if parameters is None else (parameters,)))
        return fetched(cursor, schema)


def _stage(session: Session, name: str, rows: pa.Table) -> str:
    """A temporary table with the rows, gone at commit."""
    staged = f"staged_{name}"
    _execute(
        session,
        f'DROP TABLE IF EXISTS pg_temp."{staged}"; CREATE TEMPORARY TABLE "{staged}" ON COMMIT DROP AS '
        f'SELECT {_listed(rows.column_names)} FROM "{name}" LIMIT 0',
    )
    _copy(session, staged, rows)
    return staged


def _copy(session: Session, name: str, rows: pa.Table) -> None:
    written = pa.table([_hexadecimal(column) for column in rows.columns], names=rows.column_names)
    options = pa.csv.WriteOptions(include_header=False)
    statement = f'COPY "{name}" ({_listed(rows.column_names)}) FROM STDIN (FORMAT csv)'
    with _cursor(session) as cursor, cursor.copy(statement) as copy:
        for batch in written.to_batches(max_chunksize=_SLICE):
            buffer = io.BytesIO()
            # Arrow quotes every text and no NULL, so that PostgreSQL tells an empty text from a missing one.
            pa.csv.write_csv(batch, buffer, options)
            copy.write(buffer.getbuffer())


def _storable(rows: pa.Table) -> pa.Table:
    """The rows with plain column types, after a look for texts that PostgreSQL refuses and SQLite cuts off."""
    columns = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            _check_text(name, column)
        columns.append(column)
    return pa.table(columns, names=rows.column_names)


def _check_text(name: str, column: pa.ChunkedArray) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raise PermanentError(f"a text for the store's column '{name}' is not valid UTF-8") from None
    if pc.any(pc.match_substring(column, "\0")).as_py():
        raise PermanentError(f"a text for the store's column '{name}' holds a NUL character; remove it at mapping")


def _spelt(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.strftime(column, _TIMESTAMP) if pa.types.is_timestamp(column.type) else column


def _hexadecimal(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bytes as PostgreSQL reads them from text; other columns as they are."""
    if not (pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type)):
        return column
    encoded = [None if value is None else "\\x" + value.hex() for value in column.to_pylist()]
    return pa.chunked_array([pa.array(encoded, pa.string())])


def _column(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    # SQLite has neither booleans nor instants: they come as integers and texts.
    if pa.types.is_boolean(kind):
        return pa.array([None if value is None else bool(value) for value in values], kind)
    if pa.types.is_timestamp(kind) and any(isinstance(value, str) for value in values):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
