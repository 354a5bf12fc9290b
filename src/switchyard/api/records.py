"""What a source yields: pages of records, each with the cursor that its commit makes true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Cursor: TypeAlias = "dict[str, JSON] | None"
"""The opaque place to resume one stream: JSON, or None at the very beginning."""

LINE = "_line"
"""Column of a columnar page: line of the record in its file, from 1 (int64). Optional; never mapped."""
BYTE = "_byte"
"""Column of a columnar page: offset of the record's first byte in its file, from 0 (int64). Optional; never mapped."""
DELETED = "_deleted"
"""Field of a record, or column of a columnar page, of an upsert stream: true where the record is gone at the source. It
needs the fields from which the mapping takes subject and identifiers, and no other. What it said of the subject's
attributes is taken back, it makes no event, and what identified it goes on doing so: its history stays with its person.
A record that comes again later, without this, says anew what it has. Optional; never mapped.
"""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that cannot be used, whole, with where it stood and why. It goes to quarantine.

    `record` is the record as the source gave it (the text of a line, or a JSON object), so that it can be replayed.
    `code` is a short stable word for grouping (`bad_date`, `too_few_columns`); `reason` is for a person.
    """

    code: str
    reason: str
    record: JSON
    line: int | None = None
    byte: int | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What one step of `Source.read` yields.

    Args:
        records: dicts of JSON values, or a pyarrow Table. A table may carry the columns `_line` and `_byte`.
        cursor: the cursor that becomes true once these records are committed. Never one that would skip a record
            not yet yielded.
        rejected: what the source itself could not read. Counts as read.
        marks: names this page completes (a file's content hash, a job id). They are committed with the cursor and
            kept for ever; `Context.marked` asks for them. For what a cursor would grow without bound to hold.
        origin: where the records came from, for people: a file name, a path of the vendor's API.
    """

    records: pa.Table | Sequence[Mapping[str, JSON]]
    cursor: Cursor
    rejected: Sequence[Reject] = ()
    marks: Sequence[str] = ()
    origin: str | None = None
