"""The log's folder: the one module that writes, checks and removes its files.

A file is written under a temporary name, synced, renamed, and its folder synced: when `write` returns, the file
survives power loss. It counts only once the catalogue names it; what is not named is removed at start.
"""

import errno
import math
import os
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from switchyard.api.errors import PermanentError, SwitchyardError, TransientError
from switchyard.eventlog.layout import LAYOUTS, Layout

FORMAT = "1"
GROUP_ROWS = 4_096
"""Most rows of a row group: reading the history of a few people reads a group for each of them. Twice as many take
nearly twice as long for that, and a tenth less for a scan of everything.
"""
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A durable file, as the catalogue is to name it. `name` is relative to the log's folder; `last_page_id` is the
    youngest page with rows in it (0 for memberships); instants are microseconds since 1970 UTC.
    """

    kind: str
    type: str
    name: str
    size: int
    rows: int
    min_subject: int
    max_subject: int
    min_at_us: int
    max_at_us: int
    last_page_id: int
    level: int = 0


class LogFolder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name

    @contextmanager
    def writer(self, kind: str, type: str, schema: pa.Schema, rows: int) -> Iterator["FileWriter"]:
        """Write one file of `rows` rows in all, durable at the end of the block and gone where the block raises.

        Raises:
            TransientError: the disk is full.
            PermanentError: the file system failed; what it holds of this file is not known, so it must not be retried.
        """
        folder = f"{kind}/{_file_name(type)}" if type else kind
        name = f"{folder}/{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}.parquet"
        temporary = self.path(name + ".tmp")
        try:
            _make(temporary.parent)
            with temporary.open("wb") as sink:
                writer = FileWriter(sink, name, LAYOUTS[kind], type, schema, rows)
                try:
                    yield writer
                    writer.close()
                except BaseException:
                    writer.abandon()
                    raise
                sink.flush()
                os.fsync(sink.fileno())
            temporary.rename(self.path(name))
            _sync(temporary.parent)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            self.path(name).unlink(missing_ok=True)
            if isinstance(error, OSError) and not isinstance(error, SwitchyardError):
                raise _failure(error) from error
            raise
        writer.size = self.path(name).stat().st_size

    def remove(self, names: Collection[str]) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def unlisted(self, listed: Collection[str]) -> list[str]:
        """Names of the files that the catalogue does not name, temporary ones included."""
        present = (path for kind in LAYOUTS for path in (self.root / kind).rglob("*") if not path.is_dir())
        return sorted(name for path in present if (name := path.relative_to(self.root).as_posix()) not in listed)


class FileWriter:
    """Takes sorted rows and writes them in row groups of about equal size."""

    def __init__(self, sink: object, name: str, layout: Layout, type: str, schema: pa.Schema, rows: int) -> None:
        self.name = name
        self.size = 0
        self._layout = layout
        self._type = type
        self._group = math.ceil(rows / math.ceil(rows / GROUP_ROWS))
        self._pending: pa.Table = schema.empty_table()
        self._bounds: dict[str, tuple[int, int]] = {}
        self._rows = 0
        leaves = _leaves(schema)
        self._writer = pq.ParquetWriter(
            sink,
            schema,
            # Packed integers are small and quick without a strong compressor; texts gain by one, and by a dictionary.
            compression={path: "zstd" if pa.types.is_string(leaf) else "snappy" for path, leaf in leaves.items()},
            use_dictionary=[path for path, leaf in leaves.items() if pa.types.is_string(leaf)],
            column_encoding={path: "DELTA_BINARY_PACKED" for path, leaf in leaves.items() if _is_packed(leaf)},
            store_decimal_as_integer=True,
            write_statistics=layout.pruned,
            write_page_checksum=True,
        )

    def write(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        self._rows += rows.num_rows
        for column in self._layout.pruned:
            self._widen(column, rows[column])
        pending = pa.concat_tables([self._pending, rows]) if self._pending.num_rows else rows
        whole = pending.num_rows - pending.num_rows % self._group
        if whole:
            self._writer.write_table(pending.slice(0, whole), row_group_size=self._group)
        self._pending = pending.slice(whole)

    def close(self) -> None:
        if self._pending.num_rows:
            self._writer.write_table(self._pending, row_group_size=self._group)
        own = {"kind": self._layout.kind, "type": self._type, "rows": str(self._rows), "format": FORMAT}
        self._writer.add_key_value_metadata({f"switchyard.{key}": value for key, value in own.items()})
        self._writer.close()

    def abandon(self) -> None:
        """Keep the Parquet writer from finishing the file when it is collected."""
        self._writer.is_open = False

    def entry(self, level: int = 0) -> FileEntry:
        """The finished file."""
        layout = self._layout
        subjects, instants = self._bounds[layout.subject], self._bounds[layout.at]
        return FileEntry(
            kind=layout.kind,
            type=self._type,
            name=self.name,
            size=self.size,
            rows=self._rows,
            min_subject=subjects[0],
            max_subject=subjects[1],
            min_at_us=instants[0],
            max_at_us=instants[1],
            last_page_id=self._bounds[layout.page][1] if layout.page else 0,
            level=level,
        )

    def _widen(self, column: str, values: pa.ChunkedArray) -> None:
        bounds = pc.min_max(values.cast(pa.int64()))
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        known = self._bounds.get(column, (low, high))
        self._bounds[column] = (min(low, known[0]), max(high, known[1]))


def _leaves(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns as Parquet has them: path → type."""
    leaves: dict[str, pa.DataType] = {}

    def visit(path: str, arrow: pa.DataType) -> None:
        if pa.types.is_list(arrow):
            visit(f"{path}.list.element", arrow.value_type)
        elif pa.types.is_struct(arrow):
            for field in arrow:
                visit(f"{path}.{field.name}", field.type)
        else:
            leaves[path] = arrow

    for field in schema:
        visit(field.name, field.type)
    return leaves


def _is_packed(arrow: pa.DataType) -> bool:
    """Whether Parquet stores it as an integer."""
    checks = (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_date, pa.types.is_decimal)
    return any(check(arrow) for check in checks)


def _file_name(type: str) -> str:
    """An event type as the name of a folder, whatever characters it has."""
    return quote(type, safe="").replace(".", "%2E")


def _make(folder: Path) -> None:
    """Create the folder so that it survives power loss."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failure(error: OSError) -> SwitchyardError:
    if error.errno in _FULL:
        return TransientError("the disk of the event log is full; free some space, nothing is lost")
    return PermanentError(f"the event log could not be written ({error.strerror}); check its disk, then start again")
