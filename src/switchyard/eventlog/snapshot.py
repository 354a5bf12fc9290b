"""One version of the log: what its readers see, unchanged until they let go of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.eventlog.catalogue import NamedFile, Version
from switchyard.eventlog.files import LogFolder
from switchyard.eventlog.footers import Footer, Footers
from switchyard.eventlog.layout import EVENT, LAYOUTS, MEMBERSHIP
from switchyard.eventlog.recent import Recent
from switchyard.eventlog.relations import (
    files_sql,
    identifier,
    journal_events,
    journal_memberships,
    rows_of,
    schema_of,
)


class Snapshot:
    """A context manager. Its files stay on the disk until its end, also when compaction has replaced them."""

    def __init__(
        self,
        version: Version,
        folder: LogFolder,
        footers: Footers,
        recent: Recent,
        engine: duckdb.DuckDBPyConnection,
        release: Callable[[], None],
    ) -> None:
        self._version = version
        self._folder = folder
        self._footers = footers
        self._recent = recent
        self._engine = engine
        self._release = release

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    @property
    def files(self) -> Sequence[NamedFile]:
        return self._version.files

    @property
    def types(self) -> Mapping[str, Mapping[str, str]]:
        """Event type → property → type text."""
        return self._version.types

    def view(
        self,
        connection: duckdb.DuckDBPyConnection,
        kind: str,
        type: str,
        columns: Mapping[str, str] | None,
        name: str,
    ) -> None:
        """Create or replace the temporary view `name`: the fixed columns of the kind, then the properties, of files
        and journal together. It can be read on this connection while the snapshot is open.

        Args:
            kind: "event" or "membership".
            type: the event type; "" for memberships.
            columns: property → type text; None for all that are registered.
        """
        layout, types = LAYOUTS[kind], self._columns(kind, type, columns)
        files = self._parsed(kind, type)
        parts = [files_sql(files, layout, types)]
        journal = self.journal(kind, type, types)
        # The journal is registered even when it is empty: without files it alone gives the view its columns.
        connection.register(f"{name} journal", journal)
        if journal.num_rows or not files:
            parts.append(f"SELECT * FROM {identifier(f'{name} journal')}")
        query = " UNION ALL ".join(part for part in parts if part)
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {identifier(name)} AS {query}")

    def history(
        self,
        type: str,
        subjects: pa.Array,
        columns: Mapping[str, str] | None = None,
        fixed: Collection[str] | None = None,
    ) -> pa.Table:
        """The events of one type of a few subjects, in no order.

        Takes time by the number of subjects and files, not by the size of the log. Where the snapshot was narrowed
        to subjects, these must be among them.

        Args:
            type: the event type.
            subjects: int64; one that comes twice counts once.
            columns: property → type text; None for all that are registered.
            fixed: the fixed columns wanted beside `_subject`; None for all. `_id` alone costs a third of the time.
        """
        types = self._columns("event", type, columns)
        kept = EVENT.fixed.names if fixed is None else {"_subject", *fixed}
        schema = schema_of(EVENT, types, kept)
        wanted = np.unique(subjects.to_numpy(zero_copy_only=False))
        parts = [rows_of(file, wanted, types, kept, self._recent) for file in self._parsed("event", type)]
        journal = self.journal("event", type, types)
        young = journal.filter(pa.array(np.isin(journal["_subject"].to_numpy(), wanted)))
        return pa.concat_tables([*parts, young.select(schema.names), schema.empty_table()])

    def journal(self, kind: str, type: str, types: Mapping[str, str] | None = None) -> pa.Table:
        """The rows that are in no file yet, as a file would have them."""
        if kind == MEMBERSHIP.kind:
            return journal_memberships(self._version.memberships)
        types = self._columns(kind, type, types)
        rows = self._version.events.get(type)
        if rows is None:
            return schema_of(EVENT, types).empty_table()
        return journal_events(self._engine.cursor(), rows, types)

    def last_journal_row(self, kind: str, type: str) -> int:
        """The id of the youngest row of `journal`, which must not be empty."""
        rows = self._version.memberships if kind == MEMBERSHIP.kind else self._version.events[type]
        return int(pc.max(rows["id"]).as_py())

    def _parsed(self, kind: str, type: str) -> list[tuple[Path, Footer]]:
        return [
            (self._folder.path(file.name), self._footers.of(file))
            for file in self.files
            if (file.kind, file.type) == (kind, type)
        ]

    def _columns(self, kind: str, type: str, columns: Mapping[str, str] | None) -> Mapping[str, str]:
        if kind == MEMBERSHIP.kind:
            return {}
        return self._version.types.get(type, {}) if columns is None else columns
