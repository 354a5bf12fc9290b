"""The rows of a file of the BigQuery export, in the columns of Google's event schema, some at a time.

Both formats become one: a column that a file does not have is NULL, and a field that it has besides is left out. The
columns are those of support.google.com/analytics/answer/7029846, as far as they are used here.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api import Reject
from switchyard.api.records import LINE
from switchyard_connectors.google_analytics.tables import scratch

_VALUE = {"string_value": "VARCHAR", "int_value": "BIGINT", "float_value": "DOUBLE", "double_value": "DOUBLE"}
_PARAMS = [{"key": "VARCHAR", "value": _VALUE}]
_ITEM = dict.fromkeys(("item_id", "item_name", "item_brand", "item_variant", "item_category", "coupon"), "VARCHAR")
SCHEMA: Mapping[str, Any] = {
    "event_date": "VARCHAR",
    "event_timestamp": "BIGINT",
    "event_name": "VARCHAR",
    "event_params": _PARAMS,
    "event_bundle_sequence_id": "BIGINT",
    "batch_event_index": "BIGINT",
    "user_id": "VARCHAR",
    "user_pseudo_id": "VARCHAR",
    "user_properties": _PARAMS,
    "privacy_info": {"analytics_storage": "VARCHAR", "ads_storage": "VARCHAR"},
    "device": {"category": "VARCHAR", "operating_system": "VARCHAR", "language": "VARCHAR"},
    "geo": {"country": "VARCHAR", "region": "VARCHAR", "city": "VARCHAR"},
    "traffic_source": {"name": "VARCHAR", "medium": "VARCHAR", "source": "VARCHAR"},
    "collected_traffic_source": dict.fromkeys(("manual_source", "manual_medium", "manual_campaign_name"), "VARCHAR"),
    "ecommerce": {
        "transaction_id": "VARCHAR",
        **dict.fromkeys(("purchase_revenue", "refund_value", "tax_value", "shipping_value"), "DOUBLE"),
        "total_item_quantity": "BIGINT",
    },
    "items": [{**_ITEM, "price": "DOUBLE", "quantity": "BIGINT", "item_revenue": "DOUBLE"}],
    "platform": "VARCHAR",
    "stream_id": "VARCHAR",
}
"""Column → its shape: a DuckDB type, the fields of a structure, or a list of either."""

_BLOCK = 16 << 20
_LONGEST = 64 << 20
"""Bytes of the longest line that is read."""
# What BigQuery writes for a repeated field is to some readers a list in a structure.
_WRAPPED = re.compile(r'STRUCT\("?list"? STRUCT\("?(element|item)"? .*\)\[\]\)', re.DOTALL)


class Unreadable(Exception):
    """The file is not what its name says; the text says why."""


def parquet_rows(path: Path, rows: int, after: int) -> Iterator[pa.Table]:
    """The rows of a Parquet file behind the row of this number (from 1), so many at a time, in their order.

    Raises:
        Unreadable: it is no Parquet file, or a column is of another kind than in Google's schema.
    """
    source = f"read_parquet('{str(path).replace(chr(39), 2 * chr(39))}', file_row_number = true)"
    with scratch() as connection:
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608  # quoted above
            there = {str(row[0]): str(row[1]) for row in described}
            columns = ", ".join(
                f'{_column(name, shape, there.get(name))} AS "{name}"' for name, shape in SCHEMA.items()
            )
            numbered = f"file_row_number + 1 AS {LINE} FROM {source} WHERE file_row_number >= {after}"
            query = f"SELECT {columns}, {numbered}"  # columns of our own
            for batch in connection.execute(query).to_arrow_reader(rows):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
        except duckdb.Error as error:
            raise Unreadable(str(error).splitlines()[0]) from error


def json_rows(path: Path, rows: int, after: int) -> Iterator[tuple[pa.Table, list[Reject]]]:
    """The rows of a file of JSON lines, packed or not, behind the line of this number (from 1): at most so many at a
    time, with the lines among them that are no JSON objects.

    Raises:
        Unreadable: it is no text, is cut off, or has a line that is too long to be a row.
    """
    line = 0
    for texts in _lines(path):
        for at in range(0, len(texts), rows):
            part = texts.slice(at, rows)
            numbers = pa.array(range(line + 1, line + len(part) + 1), pa.int64())
            line += len(part)
            if line > after:
                yield _transformed(pa.table({"text": part, LINE: numbers}).filter(pc.greater(numbers, after)))


def _transformed(numbered: pa.Table) -> tuple[pa.Table, list[Reject]]:
    with scratch() as duck:
        duck.register("numbered", numbered)
        events = duck.execute(_TRANSFORMED, [json.dumps(SCHEMA)]).to_arrow_table()
    sound = pc.fill_null(events["sound"], False)
    bad = events.filter(pc.invert(sound)) if not pc.all(sound).as_py() else events.slice(0, 0)
    rejects = [
        Reject("no_json", "the line is no JSON object", row["text"], line=row[LINE])
        for row in bad.select(["text", LINE]).to_pylist()
    ]
    return events.filter(sound).drop_columns(["text", "sound"]), rejects


_TRANSFORMED = f"""
SELECT unnest(json_transform(CASE WHEN sound THEN text END, $1)), {LINE}, sound,
    CASE WHEN NOT sound THEN text END AS text
FROM (SELECT *, coalesce(json_type(TRY(text::JSON)) = 'OBJECT', false) AS sound FROM numbered WHERE trim(text) <> '')
ORDER BY {LINE}
"""  # noqa: S608  # a name of our own


def _column(name: str, shape: Any, there: str | None) -> str:
    if there is None:
        return f"CAST(NULL AS {_type(shape)})"
    column = f'"{name}"'
    if wrapped := _WRAPPED.fullmatch(there):
        column = f'list_transform({column}."list", lambda each: each."{wrapped[1]}")'
    return f"CAST({column} AS {_type(shape)})"


def _type(shape: Any) -> str:
    if isinstance(shape, list):
        return f"{_type(shape[0])}[]"
    if isinstance(shape, dict):
        return "STRUCT(" + ", ".join(f'"{name}" {_type(part)}' for name, part in shape.items()) + ")"
    return str(shape)


def _lines(path: Path) -> Iterator[pa.Array]:
    """The lines of the text, in arrays of some megabytes."""
    rest = b""
    try:
        with _opened(path) as content:
            while block := content.read(_BLOCK):
                whole, found, tail = block.rpartition(b"\n")
                if not found:
                    rest += block
                    if len(rest) > _LONGEST:
                        raise Unreadable(f"a line is longer than {_LONGEST} bytes")
                    continue
                yield _split(rest + whole)
                rest = tail
            if rest:
                yield _split(rest)
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise Unreadable(f"the file is damaged or cut off ({type(error).__name__})") from error


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _split(lines: bytes) -> pa.Array:
    text = pa.array([lines.decode("utf-8").removeprefix("\ufeff")], pa.large_string())
    return pc.list_flatten(pc.split_pattern(text, "\n")).cast(pa.string())
