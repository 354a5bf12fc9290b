"""Records as Arrow tables whose every field is text, the same whichever API they came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from switchyard.api import PermanentError, TransientError
from switchyard.api.records import DELETED
from switchyard_connectors.salesforce.describe import Shape
from switchyard_connectors.salesforce.streams import OWN

_BLOCK = 8 * 2**20
"""Bytes of a result file that are read at once. A record, at most 1.6 million characters of long text, fits."""
_TEXT = pa.string()
_ZERO = re.compile(rb"\0")


def table(records: Sequence[Mapping[str, Any]], shape: Shape, user_id: str | None) -> pa.Table:
    """Records of a REST answer, numbers given as the text they came as."""
    columns = {name: pa.array([_text(record.get(name)) for record in records], _TEXT) for name in shape.fields}
    return _finished(pa.table(columns), shape, user_id)


def tables(file: Path, shape: Shape, user_id: str | None) -> Iterator[pa.Table]:
    """A result file of the Bulk API, a few megabytes at a time.

    Nothing is guessed: "NA" and "Null" are surnames, and only what is empty is null.

    Raises:
        PermanentError: it is no CSV.
        TransientError: it has not the fields asked for: the edge answers with pages of its own.
    """
    if file.stat().st_size == 0:
        return
    try:
        reader = csv.open_csv(
            file,
            read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(shape.fields, _TEXT),
                include_columns=list(shape.fields),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        with reader:
            for batch in reader:
                yield _finished(pa.table(batch), shape, user_id)
    except pa.ArrowKeyError:
        raise TransientError(f"a result file of Salesforce's Bulk API is something else ({shape.name})") from None
    except pa.ArrowInvalid as error:
        # Its words quote the row.
        raise PermanentError(f"a result file of Salesforce's Bulk API cannot be read as CSV ({shape.name})") from error


def gone(ids: Iterable[str], shape: Shape) -> pa.Table:
    """Records of which only the id is known, and that they are no more."""
    listed = pa.array(list(ids), _TEXT)
    columns = {name: listed if name == "Id" else pa.nulls(len(listed), _TEXT) for name in (*shape.fields, OWN)}
    return pa.table(columns | {DELETED: pa.array([True] * len(listed))})


def nothing(shape: Shape) -> pa.Table:
    """A table without records."""
    return gone((), shape)


def _finished(found: pa.Table, shape: Shape, user_id: str | None) -> pa.Table:
    columns = {}
    for name in shape.fields:
        column = _without_nul(found[name])
        if name in shape.numbers:
            column = _numbers(column)
        elif name in shape.instants:
            column = pc.replace_substring(column, "+0000", "Z")
        columns[name] = column
    if user_id is None or "CreatedById" not in columns:
        columns[OWN] = pa.nulls(found.num_rows, _TEXT)
    else:
        mine = pc.starts_with(columns["CreatedById"], user_id[:15])
        columns[OWN] = pc.if_else(mine, "true", "false")
    if "IsDeleted" in columns:
        columns[DELETED] = pc.fill_null(pc.equal(columns["IsDeleted"], "true"), False)
    else:
        columns[DELETED] = pa.array([False] * found.num_rows)
    return pa.table(columns)


def _without_nul(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not any(_ZERO.search(memoryview(chunk.buffers()[2])) for chunk in column.chunks if chunk.buffers()[2]):
        return column
    return pc.replace_substring(column, "\0", "")


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same number in the same words: both APIs write `5`, `5.0` and `5.0E7` as they like."""
    if pc.any(pc.match_substring(column, "E", ignore_case=True)).as_py():
        column = pa.chunked_array([pa.array([_plain(each) for each in column.to_pylist()], _TEXT)])
    return pc.replace_substring_regex(column, r"\.0+$", "")


def _plain(number: str | None) -> str | None:
    try:
        return None if number is None else format(Decimal(number), "f")
    except InvalidOperation:
        return number


def _text(value: Any) -> str | None:
    """A value as text: an empty one is missing, as in a CSV; what is nested is its JSON."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        # Half of a surrogate pair is no character, and no file can hold it.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)
