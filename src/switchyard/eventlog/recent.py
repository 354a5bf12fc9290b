"""The columns of small files, decoded and kept: ticks that follow each other look into the same young files."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

SMALL = 131_072
"""A file of up to so many rows is read whole and kept; of a larger one, row groups are read, and nothing is kept."""
MOST = 128 * 2**20
"""Bytes that are kept; what was not asked for the longest goes first."""


class Recent:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._bytes = 0
        self._lock = threading.Lock()
        # Files never change and no name comes twice, so nothing that is kept becomes wrong.
        self._kept: OrderedDict[tuple[Path, tuple[str, ...]], pa.Table] = OrderedDict()

    def rows(self, path: Path, columns: Sequence[str], read: Callable[[], pa.Table]) -> pa.Table:
        """These columns of a small file, in one piece each; `read` gives them where they are not kept."""
        key = path, tuple(columns)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        table = read().combine_chunks()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = table
                self._bytes += table.nbytes
            while self._bytes > self._most:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return table
