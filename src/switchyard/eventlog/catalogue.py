"""What the event log asks of the store: which files count, and the youngest rows, which are in no file yet."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

JOURNAL_EVENTS = pa.schema(
    [
        ("id", pa.int64()),
        ("event_id", pa.binary()),
        ("subject_id", pa.int64()),
        ("at_us", pa.int64()),
        ("page_id", pa.int64()),
        ("properties", pa.string()),
    ]
)
"""A journal row of an event; `properties` is a JSON object in which decimals are texts."""
JOURNAL_MEMBERSHIPS = pa.schema(
    [
        ("id", pa.int64()),
        ("segment", pa.string()),
        ("version", pa.int64()),
        ("profile_id", pa.int64()),
        ("entered", pa.bool_()),
        ("at_us", pa.int64()),
        ("noticed_us", pa.int64()),
        ("reason", pa.string()),
        ("run_id", pa.int64()),
    ]
)


class NamedFile(Protocol):
    """A file as the catalogue names it; see `FileEntry`."""

    @property
    def kind(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def min_subject(self) -> int: ...
    @property
    def max_subject(self) -> int: ...
    @property
    def min_at_us(self) -> int: ...
    @property
    def max_at_us(self) -> int: ...
    @property
    def last_page_id(self) -> int: ...
    @property
    def level(self) -> int: ...


class Version(Protocol):
    """One state of the log as the store has it: its files, and the journal rows that were asked for."""

    @property
    def files(self) -> Sequence[NamedFile]: ...

    @property
    def types(self) -> Mapping[str, Mapping[str, str]]:
        """Event type → property → type text."""

    @property
    def events(self) -> Mapping[str, pa.Table]:
        """Event type → rows of the form `JOURNAL_EVENTS`; no entry where there are none."""

    @property
    def memberships(self) -> pa.Table:
        """Rows of the form `JOURNAL_MEMBERSHIPS`."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Journal rows that a file holds: `rows` rows of this kind and type, none with an id beyond `last`."""

    kind: str
    type: str
    last: int
    rows: int


class Catalogue(Protocol):
    """The store's side of the log. Each call is one transaction of its own."""

    def files(self) -> Sequence[NamedFile]:
        """All files that count."""

    def version(self, types: Collection[str] | None = None, subjects: Any = None, memberships: bool = True) -> Version:
        """All files, all registered types, and of the journal the events of these types (None: all) and these
        subjects (an int64 array, None: all), and the membership changes if asked for.
        """

    def journal_ids(self) -> pa.Table:
        """`event_id` and `page_id` of all journal rows of events."""

    def journal_sizes(self) -> Mapping[tuple[str, str], int]:
        """(kind, type) → rows in the journal, for those that have some."""

    def swap(self, added: Sequence[NamedFile], replaced: Collection[str] = (), drained: Drained | None = None) -> None:
        """Name the files of `added`, forget the names of `replaced`, delete the drained journal rows: all or nothing.

        Raises:
            PermanentError: the rows or names to replace are not those that were read; nothing was changed.
            TransientError: the store cannot be reached; whether the swap was committed is not known.
        """
