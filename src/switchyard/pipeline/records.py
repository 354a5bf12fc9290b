"""Pages as tables: whatever a source yields becomes one Arrow table with a row number."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api.records import BYTE, JSON, LINE, Page, Reject

ROW = "_row"
"""Number of a record within what is committed together, from 0."""
SOURCE = "_source"
"""Number of the page it came with."""
OWN = (ROW, SOURCE, LINE, BYTE)
"""Columns that are the hub's and no fields of a record."""


def tabulate(page: Page) -> tuple[pa.Table, list[Reject]]:
    """The page's records as a table with `_row` and `_source`, and the records that no table can hold. Fields that
    have these names already are left out.

    A field whose values are of several types, or nested, becomes a column of JSON text. A record with a NUL character
    is refused: PostgreSQL stores none, and a store must not decide what is lost.
    """
    rejects: list[Reject] = []
    if isinstance(page.records, pa.Table):
        table = page.records.drop_columns([name for name in (ROW, SOURCE) if name in page.records.column_names])
    else:
        table, rejects = _from_dicts(page.records)
    bad = with_nul(table)
    if bad is not None:
        rejects += describe(table.filter(bad), "nul_character", "a text holds a NUL character, which no store can keep")
        table = table.filter(pc.invert(bad))
    table = table.append_column(ROW, pa.array(np.arange(table.num_rows, dtype=np.int64)))
    return table.append_column(SOURCE, pa.array(np.zeros(table.num_rows, np.int64))), rejects


def describe(rows: pa.Table, code: str, reason: str, field: str | None = None) -> list[Reject]:
    """Every row as a reject, whole, at its place."""
    places = rows.select([name for name in (LINE, BYTE) if name in rows.column_names]).to_pylist()
    own = [name for name in OWN if name in rows.column_names]
    records = rows.drop_columns(own).to_pylist() if len(own) < rows.num_columns else [{}] * rows.num_rows
    return [
        Reject(code, reason, _json(record), line=place.get(LINE), byte=place.get(BYTE), field=field)
        for record, place in zip(records, places, strict=True)
    ]


def _json(record: Mapping[str, Any]) -> JSON:
    whole: JSON = json.loads(json.dumps(record, default=str))
    return whole


def _from_dicts(records: Sequence[Mapping[str, JSON]]) -> tuple[pa.Table, list[Reject]]:
    rejects = [
        Reject("bad_text", "a text holds half of a surrogate pair; the source's encoding is broken", repr(record))
        for record in records
        if not _encodable(record)
    ]
    if rejects:
        records = [record for record in records if _encodable(record)]
    names = dict.fromkeys(name for record in records for name in record if name not in OWN)
    # Without a column a table has no rows, and a record without a field is a record all the same.
    columns = {name: _column([record.get(name) for record in records]) for name in names}
    return pa.table(columns or {LINE: pa.nulls(len(records), pa.int64())}), rejects


def _encodable(record: Mapping[str, JSON]) -> bool:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(values: list[JSON]) -> pa.Array:
    types = {type(value) for value in values if value is not None}
    if not types:
        return pa.nulls(len(values), pa.string())
    if types <= {str} or types <= {bool} or types <= {int, float}:
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, OverflowError):
            # Integers beyond 64 bits are ids in all but name: they stay text.
            return pa.array([None if value is None else str(value) for value in values], pa.string())
    texts = [value if isinstance(value, str) or value is None else json.dumps(value) for value in values]
    return pa.array(texts, pa.string())


def with_nul(table: pa.Table) -> pa.ChunkedArray | None:
    """Which records have a text with a NUL character; None where none has."""
    found = None
    for field in table.schema:
        is_text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        if is_text and any(_holds_zero(chunk) for chunk in table[field.name].chunks):
            hit = pc.fill_null(pc.match_substring(table[field.name], "\x00"), False)
            if pc.any(hit).as_py():
                found = hit if found is None else pc.or_(found, hit)
    return found


def _holds_zero(texts: pa.Array) -> bool:
    """Whether a zero stands among the bytes of the texts: looking at them as numbers is far quicker than as texts."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return False
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    ends = np.frombuffer(offsets, width)
    first, last = ends[texts.offset], ends[texts.offset + len(texts)]
    return bool(np.frombuffer(data, np.uint8)[first:last].min(initial=1) == 0)
