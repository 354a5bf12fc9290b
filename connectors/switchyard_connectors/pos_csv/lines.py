"""Blocks of bytes become tables of text, one row per record and none that is not whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from switchyard.api import PermanentError, Reject
from switchyard.api.records import BYTE, LINE
from switchyard_connectors.pos_csv.config import PosCsvConfig
from switchyard_connectors.pos_csv.hashing import Hashes, hash_ranges, hex_digits
from switchyard_connectors.pos_csv.layout import Layout
from switchyard_connectors.pos_csv.scan import Block, Place, delimiters
from switchyard_connectors.pos_csv.snapshot import Text
from switchyard_connectors.pos_csv.values import clean_ids

START, LENGTH, ORDER, DIGEST = "_start", "_length", "_order", "_digest"
"""Columns of a table of text beside the file's own: where the record's text stands in the private copy, its order id
as it will be given, and the 64-bit hash of its text.
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of a file, those that cannot be one, and where the next chunk begins (in the original)."""

    table: pa.Table
    after: Place
    rejects: Sequence[Reject] = field(default_factory=tuple)


def column_name(column: int) -> str:
    """The name in a table of text of a column of the file."""
    return f"c{column}"


def chunks(found: Iterator[Block], text: Text, layout: Layout, config: PosCsvConfig) -> Iterator[Chunk]:
    """Turn each block into a chunk."""
    origin = text.original(layout.first.byte)
    for block in found:
        chunk = _chunk(block, origin, text.widths, layout, config)
        origin = chunk.after.byte
        yield chunk


def _chunk(block: Block, origin: int, widths: NDArray[np.uint8] | None, layout: Layout, config: PosCsvConfig) -> Chunk:
    records, data = block.records, np.frombuffer(block.data, np.uint8)
    lines = block.place.line + records.line
    offsets = np.append(records.start, len(data))
    if widths is not None:
        sizes = np.add.reduceat(widths[data], records.start, dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    offsets = origin + offsets
    columns = delimiters(block, layout.grammar) + 1
    blank = records.end == records.start
    malformed = np.zeros(len(blank), bool)
    malformed[records.malformed] = True
    nul = np.zeros(len(blank), bool)
    if block.data.find(b"\0") >= 0:
        nul[np.searchsorted(records.start, np.flatnonzero(data == 0), side="right") - 1] = True
    bad = (malformed | nul | (columns != layout.width)) & ~blank
    good = np.flatnonzero(~bad & ~blank)
    rejects = []
    for index in np.flatnonzero(bad).tolist():
        code, reason = _fault(int(columns[index]), layout.width, malformed=malformed[index], nul=nul[index])
        record = block.data[records.start[index] : records.end[index]].decode("utf-8").replace("\0", "\\u0000")
        rejects.append(Reject(code, reason, record, line=int(lines[index]), byte=int(offsets[index])))
    table = _parsed(_joined(block, good), len(good), layout, config)
    order = clean_ids(table[column_name(layout.roles["order_id"])], strip_float="order_id" in config.strip_float_ids)
    for name, values in (
        (LINE, lines[good]),
        (BYTE, offsets[good]),
        (START, block.place.byte + records.start[good]),
        (LENGTH, (records.end - records.start)[good]),
        (ORDER, order),
    ):
        table = table.append_column(name, pa.array(values) if isinstance(values, np.ndarray) else values)
    if "line_id" not in layout.roles:
        digest = hash_ranges(data, records.start[good], records.end[good])
        table = table.append_column(DIGEST, pa.array(digest))
    return Chunk(table, Place(int(offsets[-1]), block.place.line + records.lines), rejects)


def _fault(columns: int, width: int, *, malformed: bool, nul: bool) -> tuple[str, str]:
    if nul:
        return "nul_byte", "the line holds a NUL byte, which no store can keep (shown as \\u0000)"
    if malformed:
        return "stray_quote", "a quote stands inside a field; quote the whole field and double the quotes in it"
    code = "too_few_columns" if columns < width else "too_many_columns"
    return code, f"the line has {columns} columns, the header {width}"


def _joined(block: Block, good: NDArray[np.int64]) -> bytes:
    """The bytes of the good records, line ends included."""
    starts = np.append(block.records.start, len(block.data))
    if len(good) == len(starts) - 1:
        return block.data
    breaks = np.flatnonzero(np.diff(good) > 1)
    firsts = starts[good[np.append(0, breaks + 1)]] if len(good) else starts[:0]
    lasts = starts[good[np.append(breaks, len(good) - 1)] + 1] if len(good) else firsts
    view = memoryview(block.data)
    return b"".join(view[first:last] for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True))


def _parsed(data: bytes, rows: int, layout: Layout, config: PosCsvConfig) -> pa.Table:
    names = [column_name(column) for column in range(layout.width)]
    if not rows:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    # The reader would take these three bytes at the very start for a byte order mark.
    skip = 1 if data.startswith(b"\xef\xbb\xbf") else 0
    quote = layout.grammar.quote
    table = pcsv.read_csv(
        pa.BufferReader(b"\n" + data if skip else data),
        read_options=pcsv.ReadOptions(use_threads=False, block_size=len(data) + 2, column_names=names, skip_rows=skip),
        parse_options=pcsv.ParseOptions(
            delimiter=chr(layout.grammar.delimiter),
            quote_char=False if quote is None else chr(quote),
            newlines_in_values=quote is not None,
        ),
        convert_options=pcsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            check_utf8=False,
            null_values=["", *config.nulls],
            strings_can_be_null=True,
        ),
    )
    if table.num_rows != rows:
        raise PermanentError(
            f"read {table.num_rows} rows where {rows} lines were found; please report this file's form"
        )
    return table


def line_ids(digests: Hashes) -> pa.Array:
    """Ids of lines that have none of their own: the hash of their text and the number of the occurrence."""
    counted = pa.array(_occurrences(digests)).cast(pa.string())
    return pc.binary_join_element_wise(hex_digits(digests), counted, "-")


def _occurrences(digests: Hashes) -> NDArray[np.int64]:
    """For each value how many equal ones stand before it, plus one."""
    order = np.argsort(digests, kind="stable")
    ordered, position = digests[order], np.arange(len(digests))
    fresh = np.ones(len(digests), bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    result = np.empty(len(digests), np.int64)
    result[order] = position - np.maximum.accumulate(np.where(fresh, position, 0)) + 1
    return result
