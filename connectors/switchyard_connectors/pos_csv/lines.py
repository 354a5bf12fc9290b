"""Blocks of bytes become tables of text, one row per record and none that is not whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from switchyard.api import PermanentError, Reject
from switchyard.api.records import BYTE, LINE
from switchyard_connectors.pos_csv.config import PosCsvConfig
from switchyard_connectors.pos_csv.hashing import Hashes, hash_ranges, hash_texts, hex_digits
from switchyard_connectors.pos_csv.layout import Layout
from switchyard_connectors.pos_csv.scan import Block, Place, delimiters
from switchyard_connectors.pos_csv.snapshot import Text
from switchyard_connectors.pos_csv.values import clean_ids

START, LENGTH, ORDER, DIGEST, OCCURRENCE = "_start", "_length", "_order", "_digest", "_occurrence"
"""Columns of a table of text beside the file's own: where the record's text stands in the private copy, its order id
as it will be given, the 64-bit hash of its text (or of what else tells it apart), and its number among the lines of the
same hash, from 1.
"""

STRAY = ("stray_quote", "a quote stands inside a field; quote the whole field and double the quotes in it")
"""Code and reason."""


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
        found_here = chunk(block, layout, config, _offsets(block, origin, text.widths))
        origin = found_here.after.byte
        yield found_here


def chunk(block: Block, layout: Layout, config: PosCsvConfig, offsets: NDArray[np.int64]) -> Chunk:
    """One block as a chunk; `offsets` are those of its records in the original, and of what follows them."""
    records, data = block.records, np.frombuffer(block.data, np.uint8)
    lines = block.place.line + records.line
    table, good, faults = _told_apart(block, layout, config)
    rejects = []
    for index, (code, reason) in faults.items():
        line = block.data[records.start[index] : records.end[index]].decode("utf-8").replace("\0", "\\u0000")
        record = layout.record(line)
        rejects.append(Reject(code, reason, record, line=int(lines[index]), byte=int(offsets[index])))
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
        if layout.identity is None:
            digest = hash_ranges(data, records.start[good], records.end[good])
        else:
            digest = hash_texts(_identities(table, layout.identity))
        table = table.append_column(DIGEST, pa.array(digest))
    return Chunk(table, Place(int(offsets[-1]), block.place.line + records.lines), rejects)


def _identities(table: pa.Table, columns: Sequence[int]) -> pa.Array:
    """What tells a line from others: its order, and these columns."""
    parts = [table[ORDER], *(table[column_name(column)] for column in columns), "\x1f"]
    joined = pc.binary_join_element_wise(*parts, null_handling="replace")
    return pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], pa.string())


def _offsets(block: Block, origin: int, widths: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    """Where the records begin in the original, and what follows them; `origin` is where the first one does."""
    if widths is None:
        return origin + np.append(block.records.start, len(block.data))
    sizes = np.add.reduceat(widths[np.frombuffer(block.data, np.uint8)], block.records.start, dtype=np.int64)
    return origin + np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _told_apart(
    block: Block, layout: Layout, config: PosCsvConfig
) -> tuple[pa.Table, NDArray[np.int64], Mapping[int, tuple[str, str]]]:
    """The table of the good records, their indices, and what is wrong with the others that are not blank."""
    records = block.records
    filled = records.end > records.start
    malformed, nul = np.zeros(len(filled), bool), np.zeros(len(filled), bool)
    malformed[records.malformed] = True
    if block.data.find(b"\0") >= 0:
        zeros = np.flatnonzero(np.frombuffer(block.data, np.uint8) == 0)
        nul[np.searchsorted(records.start, zeros, side="right") - 1] = True
    columns = np.full(len(filled), layout.width)
    good = np.flatnonzero(filled & ~malformed & ~nul)
    try:
        table = _parsed(_joined(block, good), len(good), layout, config)
    except pa.ArrowInvalid:
        # A line has too few columns or too many. Counting them takes as long as reading, so it waits for this.
        columns = delimiters(block, layout.grammar) + 1
        good = good[columns[good] == layout.width]
        table = _parsed(_joined(block, good), len(good), layout, config)
    bad = filled.copy()
    bad[good] = False
    faults = {
        index: _fault(int(columns[index]), layout.width, malformed=malformed[index], nul=nul[index])
        for index in np.flatnonzero(bad).tolist()
    }
    return table, good, faults


def _fault(columns: int, width: int, *, malformed: bool, nul: bool) -> tuple[str, str]:
    if nul:
        return "nul_byte", "the line holds a NUL byte, which no store can keep (shown as \\u0000)"
    if malformed:
        return STRAY
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


def filled(table: pa.Table, layout: Layout) -> pa.Table:
    """The table with the columns that an order has on its first line only on all of its lines."""
    if not layout.filled or not table.num_rows:
        return table
    codes = pc.dictionary_encode(table[ORDER].combine_chunks()).indices.fill_null(-1).to_numpy()
    _, first, of = np.unique(codes, return_index=True, return_inverse=True)
    # A line without an order stands for itself.
    firsts = pa.array(np.where(codes < 0, np.arange(len(codes)), first[of]))
    for column in layout.filled:
        index = table.column_names.index(column_name(column))
        texts = table.column(index)
        table = table.set_column(index, column_name(column), pc.coalesce(texts, texts.take(firsts)))
    return table


def numbered(table: pa.Table) -> pa.Table:
    """The table with the occurrences of its lines, where their ids are made of them."""
    if DIGEST not in table.column_names or OCCURRENCE in table.column_names:
        return table
    return table.append_column(OCCURRENCE, pa.array(_occurrences(table[DIGEST].to_numpy())))


def line_ids(table: pa.Table) -> pa.Array:
    """Ids of lines that have none of their own: their hash and the number of the occurrence."""
    counted = table[OCCURRENCE].combine_chunks().cast(pa.string())
    return pc.binary_join_element_wise(hex_digits(table[DIGEST].to_numpy()), counted, "-")


def _occurrences(digests: Hashes) -> NDArray[np.int64]:
    """For each value how many equal ones stand before it, plus one."""
    order = np.argsort(digests, kind="stable")
    ordered, position = digests[order], np.arange(len(digests))
    fresh = np.ones(len(digests), bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    result = np.empty(len(digests), np.int64)
    result[order] = position - np.maximum.accumulate(np.where(fresh, position, 0)) + 1
    return result
