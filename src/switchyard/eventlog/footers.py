"""Parsed footers of the log's files: the check at start, and which row groups can hold a subject."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.eventlog.catalogue import NamedFile
from switchyard.eventlog.files import FORMAT, LogFolder
from switchyard.eventlog.layout import LAYOUTS
from switchyard.eventlog.types import type_text

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Footer:
    """What is kept of one file.

    Args:
        metadata: the parsed footer, so that opening the file again does not read it.
        types: property → type text, of the properties that the file has.
        first, last: smallest and largest subject of every row group.
        rows: rows of every row group.
        first_page, last_page: oldest and youngest page of every row group; empty for memberships.
    """

    metadata: pq.FileMetaData
    types: dict[str, str]
    first: Integers
    last: Integers
    rows: Integers
    first_page: Integers
    last_page: Integers

    def groups(self, subjects: Integers) -> list[int]:
        """The row groups that can hold any of these subjects, given in ascending order."""
        before = np.searchsorted(subjects, self.first, side="left")
        up_to = np.searchsorted(subjects, self.last, side="right")
        return [int(group) for group in np.flatnonzero(up_to > before)]

    def has_pages(self, first: int, last: int) -> bool:
        """Whether a row of the pages from `first` to `last` can be in the file."""
        return bool(((self.first_page <= last) & (self.last_page >= first)).any())


class Footers:
    """The footers of all named files, each read once."""

    def __init__(self, folder: LogFolder) -> None:
        self._folder = folder
        self._known: dict[str, Footer] = {}

    def of(self, file: NamedFile) -> Footer:
        footer = self._known.get(file.name)
        if footer is None:
            footer = self._known[file.name] = _parsed(self._folder, file)
        return footer

    def problem(self, file: NamedFile) -> str | None:
        """What is wrong with a named file, None where nothing is."""
        path = self._folder.path(file.name)
        if not path.is_file():
            return "is missing"
        if (size := path.stat().st_size) != file.size:
            return f"has {size} bytes, not {file.size}"
        try:
            metadata = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            return "has no readable footer"
        own = {key.decode(): value.decode() for key, value in (metadata.metadata or {}).items()}
        wanted = {"kind": file.kind, "type": file.type, "rows": str(file.rows), "format": FORMAT}
        for key, value in wanted.items():
            if (found := own.get(f"switchyard.{key}")) != value:
                return f"says {key} '{found}', not '{value}'"
        if metadata.num_rows != file.rows:
            return f"has {metadata.num_rows} rows, not {file.rows}"
        self._known[file.name] = _read(metadata, file.kind)
        return None

    def forget(self, name: str) -> None:
        self._known.pop(name, None)


def _parsed(folder: LogFolder, file: NamedFile) -> Footer:
    return _read(pq.read_metadata(folder.path(file.name)), file.kind)


def _read(metadata: pq.FileMetaData, kind: str) -> Footer:
    layout, schema = LAYOUTS[kind], metadata.schema.to_arrow_schema()
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]

    def bounds(column: str) -> tuple[Integers, Integers]:
        place = schema.get_field_index(column)
        statistics = [group.column(place).statistics for group in groups]
        first = np.array([statistic.min for statistic in statistics], np.int64)
        return first, np.array([statistic.max for statistic in statistics], np.int64)

    first, last = bounds(layout.subject)
    nothing = np.empty(0, np.int64)
    first_page, last_page = bounds(layout.page) if layout.page else (nothing, nothing)
    return Footer(
        metadata=metadata,
        types={field.name: type_text(field.type) for field in schema if field.name not in layout.fixed.names},
        first=first,
        last=last,
        rows=np.array([group.num_rows for group in groups], np.int64),
        first_page=first_page,
        last_page=last_page,
    )
