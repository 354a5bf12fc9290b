"""What a source gave last time, kept to tell what is gone.

An answer of Google's is the whole truth about its days, or about an audience: a row that is not in it any more is gone,
and nobody says so. So the identities of the rows that were given are kept as files of the workspace, and the cursor
names the files that are true: a file that no committed cursor names never counted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from switchyard_connectors.google_analytics.tables import scratch

_log = logging.getLogger(__name__)
_STALE = 14 * 86_400.0
"""Seconds after which a file that no cursor names is removed: long after a run that it could belong to."""


class Snapshots:
    """The files of one stream.

    Args:
        folder: where they are.
        identity: the columns that are kept of a row; the first is its key.
    """

    def __init__(self, folder: Path, identity: Sequence[str]) -> None:
        self._folder = folder
        self._identity = list(identity)

    def keep(self, rows: pa.Table) -> list[str]:
        """Write the identities of some rows, durably. The names of the files that hold them: none for no rows."""
        if not rows.num_rows:
            return []
        buffer = pa.BufferOutputStream()
        pq.write_table(rows.select(self._identity), buffer, compression="zstd")
        content = buffer.getvalue()
        name = hashlib.sha256(content).hexdigest()[:32]
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f"{name}.new"
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path(name))
        return [name]

    def gone(self, before: Sequence[str], now: Sequence[str], condition: str = "true") -> Iterator[pa.Table]:
        """The identities that were in the files `before`, where they meet the condition, and are not in those of `now`.

        Where a file is missing nothing is given as gone: what is not known to be gone has to be taken for being there.
        """
        if not before or not self._all_here([*before, *now]):
            return
        with scratch() as connection:
            old = f"SELECT * FROM read_parquet({self._listed(before)}) WHERE {condition}"  # noqa: S608  # paths that are quoted
            # A key of several files counts once.
            query = f"SELECT DISTINCT ON ({self._identity[0]}) * FROM ({old})"  # noqa: S608  # a name of our own
            if now:
                query += f" ANTI JOIN read_parquet({self._listed(now)}) USING ({self._identity[0]})"
            yield from map(pa.Table.from_batches, _each(connection.execute(query).to_arrow_reader(100_000)))

    def sweep(self, named: Sequence[str]) -> None:
        """Remove what no cursor of these days can name any more."""
        before = time.time() - _STALE
        for path in self._folder.glob("*") if self._folder.is_dir() else ():
            if path.stem not in named and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _all_here(self, names: Sequence[str]) -> bool:
        missing = sum(not self._path(name).exists() for name in names)
        if missing:
            _log.warning(
                "%d files of the workspace are missing: what is gone from Google Analytics since cannot be told; "
                "reset the stream's cursor to have everything read anew",
                missing,
            )
        return not missing

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def _listed(self, names: Sequence[str]) -> str:
        quoted = (str(self._path(name)).replace("'", "''") for name in names)
        return "[" + ", ".join(f"'{path}'" for path in quoted) + "]"


def _each(batches: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    for batch in batches:
        if batch.num_rows:
            yield [batch]
