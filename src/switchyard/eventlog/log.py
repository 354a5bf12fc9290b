"""The event log: the one door for those who write events and for those who read them."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from switchyard.api.errors import PermanentError, TransientError
from switchyard.eventlog.catalogue import Catalogue, Drained, NamedFile
from switchyard.eventlog.compaction import due, merge, write_sorted
from switchyard.eventlog.files import FileEntry, LogFolder
from switchyard.eventlog.footers import Footers
from switchyard.eventlog.holds import Holds
from switchyard.eventlog.layout import EVENT, LAYOUTS
from switchyard.eventlog.recent import Recent
from switchyard.eventlog.relations import matching, schema_of
from switchyard.eventlog.seen import Heads, SeenIndex, heads
from switchyard.eventlog.snapshot import Snapshot
from switchyard.eventlog.types import conform, type_text

_READ_GROUPS = 64


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is of one kind and type; `journal` counts rows that are in no file yet."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    journal: int = 0
    uncompacted: int = 0


class EventLog:
    """Used by the one process that owns the store. Threads may read while one of them writes.

    Args:
        folder: where the files are; created when the first is written.
        catalogue: the store's side of the log.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self._folder = LogFolder(folder)
        self._catalogue = catalogue
        self._footers = Footers(self._folder)
        self._recent = Recent()
        self._holds = Holds(self._folder)
        self._seen = SeenIndex(folder / "seen")
        self._doubtful: list[str] = []
        # No snapshot may be taken between a swap and the unlinking of what it replaced; the index has one user.
        self._swapping, self._searching = threading.Lock(), threading.Lock()
        # What spills to the disk would be personal data outside the log; merges are sliced to need no spilling.
        self._duckdb = duckdb.connect(config={"temp_directory": ""})

    def open(self) -> None:
        """Check every named file, remove the others, bring the seen-index up to date. Call it once, first.

        Raises:
            PermanentError: a named file is missing or damaged (the message names all of them), or the store belongs
                to another log. Nothing was removed.
        """
        files = self._catalogue.files()
        self._check(files)
        journal = self._catalogue.journal_ids()
        unlisted = self._folder.unlisted({file.name for file in files})
        if unlisted and not files and not journal.num_rows and self._seen.exists:
            raise PermanentError(
                f"the store knows nothing of the event log in {self._folder.root}, which holds {len(unlisted)} files; "
                "configure the store that belongs to it, or move the folder away"
            )
        self._folder.remove(unlisted)
        self._complete([file for file in files if file.kind == EVENT.kind], journal)

    def write(self, kind: str, type: str, table: pa.Table) -> FileEntry:
        """Write a file that is durable and does not count yet: name it in the transaction of its page.

        Args:
            kind: "event" or "membership".
            type: the event type; "" for memberships.
            table: at least one row; the fixed columns of the kind (see `layout`), then typed properties, in any order.

        Raises:
            TransientError: the disk is full; nothing was written.
            PermanentError: the disk failed.
        """
        fixed = LAYOUTS[kind].fixed
        types = {field.name: type_text(field.type) for field in table.schema if field.name not in fixed.names}
        if wrong := [name for name in types if name.startswith("_")]:
            raise ValueError(f"{wrong} cannot be properties: names with an underscore in front are the log's own")
        if not table.num_rows:
            raise ValueError("a file of the event log has at least one row")
        ordered = conform(table.select([*fixed.names, *types]), types)
        return write_sorted(self._folder, kind, type, ordered.cast(schema_of(LAYOUTS[kind], types)))

    def discard(self, entries: Iterable[FileEntry]) -> None:
        """Remove files whose transaction was rolled back. One that the catalogue names all the same stays."""
        self._doubtful += [entry.name for entry in entries]
        with suppress(TransientError):
            self._settle()

    def seen(self, ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """For each id (16 bytes, not NULL) whether the log has an event with it. Reads the store: ask before the
        transaction that commits the page. Ids that come twice in `ids` are not compared with each other.
        """
        with self._searching:
            known, pages = self._seen.find(heads(ids))
        if known.any():
            candidates = ids.filter(pa.array(known))
            known[known] = pc.is_in(candidates, self._confirmed(candidates, pages)).to_numpy(zero_copy_only=False)
        return known

    def remember(self, ids: pa.Array | pa.ChunkedArray, page_id: int) -> None:
        """Take the ids of a committed page into the seen-index. Pages are remembered in the order of their commits;
        a page may come in several calls.
        """
        with self._searching:
            self._seen.add(heads(ids), page_id)

    def snapshot(
        self, types: Collection[str] | None = None, subjects: Any = None, memberships: bool = True
    ) -> Snapshot:
        """What is committed now. Of the journal it holds only what is asked for, since that is read at once.

        Args:
            types: event types whose journal rows are wanted; None for all.
            subjects: subjects (int64 array) whose journal rows are wanted; None for all.
            memberships: whether membership changes are wanted.
        """
        with self._swapping:
            version = self._catalogue.version(types, subjects, memberships)
            names = [file.name for file in version.files]
            self._holds.take(names)
        release = partial(self._holds.release, names)
        return Snapshot(version, self._folder, self._footers, self._recent, self._duckdb, release)

    def flush(self, threshold: int = 0) -> list[FileEntry]:
        """Move the journal rows of every kind and type that has more than `threshold` of them into a file each."""
        self._settle()
        sizes = self._catalogue.journal_sizes()
        return [self._flush(kind, type) for (kind, type), rows in sizes.items() if rows > threshold]

    def compact(self) -> int:
        """Merge files until no type has too many; returns how many were merged away."""
        self._settle()
        merged = 0
        with self.snapshot((), memberships=False) as snapshot:
            for files in _by_type(snapshot.files).values():
                if chosen := due(files):
                    types = snapshot.types.get(chosen[0].type, {}) if chosen[0].kind == EVENT.kind else {}
                    entry = merge(self._duckdb.cursor(), self._folder, self._footers, chosen, types)
                    self._swap(entry, replaced=[file.name for file in chosen])
                    merged += len(chosen)
        return merged

    def statistics(self) -> dict[tuple[str, str], Counts]:
        """(kind, type) → counts."""
        files, journal = _by_type(self._catalogue.files()), self._catalogue.journal_sizes()
        return {
            key: Counts(
                files=len(files[key]),
                rows=sum(file.rows for file in files[key]),
                bytes=sum(file.size for file in files[key]),
                journal=journal.get(key, 0),
                uncompacted=sum(file.level == 0 for file in files[key]),
            )
            for key in sorted({*files, *journal})
        }

    def close(self) -> None:
        self._duckdb.close()

    def _check(self, files: Sequence[NamedFile]) -> None:
        problems = [f"{file.name} {problem}" for file in files if (problem := self._footers.problem(file))]
        if problems:
            raise PermanentError(
                f"{len(problems)} files of the event log in {self._folder.root} are not as the store knows them: "
                f"{'; '.join(problems)}; restore these files, or store and log together, from a backup"
            )

    def _complete(self, files: Sequence[NamedFile], journal: pa.Table) -> None:
        covers = self._seen.open()
        last = max([file.last_page_id for file in files] + journal["page_id"].to_pylist(), default=-1)
        if covers > last:
            # The store is older than the index: its pages to come will have numbers that the index takes for known.
            covers = self._seen.reset()
        self._seen.complete(self._missing(files, journal, covers), last)

    def _missing(self, files: Sequence[NamedFile], journal: pa.Table, covers: int) -> Iterator[tuple[Heads, int, int]]:
        for file in files:
            footer = self._footers.of(file)
            groups = np.flatnonzero(footer.last_page > covers).tolist()
            with pq.ParquetFile(self._folder.path(file.name), metadata=footer.metadata) as parquet:
                for start in range(0, len(groups), _READ_GROUPS):
                    some = groups[start : start + _READ_GROUPS]
                    rows = parquet.read_row_groups(some, columns=["_id", "_page"])
                    yield heads(rows["_id"]), int(footer.first_page[some].min()), int(footer.last_page[some].max())
        if journal.num_rows:
            pages = pc.min_max(journal["page_id"]).as_py()
            yield heads(journal["event_id"].cast(pa.binary(16))), pages["min"], pages["max"]

    def _confirmed(self, ids: pa.Array | pa.ChunkedArray, pages: tuple[int, int]) -> pa.ChunkedArray:
        # The journal first: rows move from there to files, and never back.
        journal = self._catalogue.journal_ids()["event_id"].cast(pa.binary(16))
        with self.snapshot((), memberships=False) as snapshot:
            paths = [
                self._folder.path(file.name)
                for file in snapshot.files
                if file.kind == EVENT.kind and self._footers.of(file).has_pages(*pages)
            ]
            found = matching(self._duckdb.cursor(), paths, ids, pages) if paths else journal.slice(0, 0)
        return pa.chunked_array([*journal.chunks, *found.chunks], pa.binary(16))

    def _flush(self, kind: str, type: str) -> FileEntry:
        events = kind == EVENT.kind
        with self.snapshot([type] if events else (), memberships=not events) as snapshot:
            table, last = snapshot.journal(kind, type), snapshot.last_journal_row(kind, type)
        entry = write_sorted(self._folder, kind, type, table)
        self._swap(entry, drained=Drained(kind, type, last, table.num_rows))
        return entry

    def _swap(self, entry: FileEntry, replaced: Collection[str] = (), drained: Drained | None = None) -> None:
        # An interrupted commit may have been carried out: whether the new file counts is asked before the next swap.
        self._doubtful.append(entry.name)
        with self._swapping:
            self._catalogue.swap([entry], replaced, drained)
            self._holds.retire(replaced)
        self._doubtful.remove(entry.name)
        for name in replaced:
            self._footers.forget(name)

    def _settle(self) -> None:
        if self._doubtful:
            named = {file.name for file in self._catalogue.files()}
            self._folder.remove([name for name in self._doubtful if name not in named])
            self._doubtful.clear()


def _by_type(files: Iterable[NamedFile]) -> Mapping[tuple[str, str], list[NamedFile]]:
    grouped: dict[tuple[str, str], list[NamedFile]] = defaultdict(list)
    for file in files:
        grouped[file.kind, file.type].append(file)
    return grouped
