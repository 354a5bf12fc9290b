"""Pages are cut between orders, so that no order stands on two of them.

An order is complete when `order_window` lines have gone by without it, or the file has ended. Lines of orders that
are not are held back for the next page; a line of an order that has left already is *late* and becomes a reject. What
a page holds depends on the file's content and the configuration alone, so a run that resumes cuts the same pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api import Reject
from switchyard.api.records import BYTE, LINE
from switchyard_connectors.pos_csv.hashing import Hashes, Offsets, hash_texts
from switchyard_connectors.pos_csv.lines import ORDER, Chunk
from switchyard_connectors.pos_csv.scan import Place

_ROW = "_row"


@dataclass(frozen=True, slots=True)
class Cut:
    """The lines of one page.

    Args:
        table: whole orders, their lines as they follow each other in the file.
        late: lines of orders that earlier pages gave.
        rejects: what is not a line, among all that was read for this page.
        after: the first line not yet given, in the original; None behind the last page.
    """

    table: pa.Table
    late: pa.Table
    rejects: Sequence[Reject]
    after: Place | None


def cuts(chunks: Iterator[Chunk], page_rows: int, window: int) -> Iterator[Cut]:
    """Cut a file into pages of at most `page_rows` lines; only an order that is itself longer makes one longer."""
    lines, given, size = _Lines(chunks), np.empty(0, np.uint64), page_rows + window
    while True:
        while lines.waiting < size and len(lines.rejects) < page_rows and lines.read_chunk():
            pass
        view, end = lines.view(size)
        choice = _choose(view, given, np.iinfo(np.int64).max if end is None else end - window, page_rows)
        blocked = not (choice.given.any() or choice.late.any()) and len(lines.rejects) < page_rows
        if blocked and end is not None:
            # An order longer than a page: look further.
            size *= 2
            continue
        size = page_rows + window
        given = np.sort(np.concatenate([given, choice.hashes]))
        rejects, lines.rejects = lines.rejects, []
        lines.keep(view, ~(choice.given | choice.late))
        after = lines.after()
        yield Cut(_select(view, choice.given), _select(view, choice.late), rejects, after)
        if after is None:
            return


class _Lines:
    """Lines read and not yet given."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._next: Chunk | None = next(chunks)
        self._place: Place | None = None
        self._tables: list[pa.Table] = []
        self._read = 0
        self.waiting = 0
        self.rejects: list[Reject] = []

    def read_chunk(self) -> bool:
        if self._next is None:
            return False
        rows = self._next.table.num_rows
        numbers = pa.array(np.arange(self._read, self._read + rows))
        self._tables.append(self._next.table.append_column(_ROW, numbers))
        self.rejects.extend(self._next.rejects)
        self._read += rows
        self.waiting += rows
        self._place = self._next.after
        self._next = next(self._chunks, None)
        return True

    def view(self, size: int) -> tuple[pa.Table, int | None]:
        """The first lines, and the number of the line behind them; None where the file ends there."""
        table = pa.concat_tables(self._tables)
        if table.num_rows > size:
            return table.slice(0, size), table[_ROW][size].as_py()
        return table, None if self._next is None else self._read

    def keep(self, view: pa.Table, left: NDArray[np.bool_]) -> None:
        """Go on with those lines of the view that are left, and all behind it."""
        self._tables = [_select(view, left), pa.concat_tables(self._tables).slice(view.num_rows)]
        self.waiting = sum(table.num_rows for table in self._tables)

    def after(self) -> Place | None:
        if self.waiting:
            table = pa.concat_tables(self._tables)
            return Place(byte=table[BYTE][0].as_py(), line=table[LINE][0].as_py())
        return None if self._next is None else self._place


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which lines of a view go onto the page, which are late, and the hashes of the orders that leave."""

    given: NDArray[np.bool_]
    late: NDArray[np.bool_]
    hashes: Hashes


def _choose(view: pa.Table, given: Hashes, horizon: int, page_rows: int) -> _Choice:
    """Choose complete orders (last line before `horizon`), those first that end first."""
    encoded = pc.dictionary_encode(_whole(view[ORDER]))
    hashes = hash_texts(encoded.dictionary)
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    # A line without an order id stands for itself.
    orphans = np.flatnonzero(codes < 0)
    codes[orphans] = len(hashes) + np.arange(len(orphans))
    rows: Offsets = _whole(view[_ROW]).to_numpy()
    last = np.zeros(len(hashes) + len(orphans), np.int64)
    last[codes] = rows  # of lines with the same code, the last one stays
    late = np.zeros(len(last), bool)
    late[: len(hashes)] = _among(hashes, given)
    complete = np.flatnonzero((last < horizon) & ~late)
    complete = complete[np.argsort(last[complete], kind="stable")]
    filled = np.cumsum(np.bincount(codes, minlength=len(last))[complete])
    complete = complete[: max(1, int(np.searchsorted(filled, page_rows, side="right")))]
    leaves = np.zeros(len(last), bool)
    leaves[complete] = True
    return _Choice(leaves[codes], late[codes], hashes[complete[complete < len(hashes)]])


def _among(hashes: Hashes, given: Hashes) -> NDArray[np.bool_]:
    if not len(given):
        return np.zeros(len(hashes), bool)
    at = np.minimum(np.searchsorted(given, hashes), len(given) - 1)
    found: NDArray[np.bool_] = given[at] == hashes
    return found


def _select(table: pa.Table, mask: NDArray[np.bool_]) -> pa.Table:
    count = int(mask.sum())
    first = int(mask.argmax()) if count else 0
    # Orders mostly stand together: then no line has to be copied.
    if mask[first : first + count].all():
        return table.slice(first, count)
    return table.filter(pa.array(mask))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
