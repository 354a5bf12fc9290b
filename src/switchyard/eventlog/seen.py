"""The seen-index: which event ids the log has, answered in memory speed at 8 bytes an id.

Sorted runs of the ids' first 64 bits; a run is merged with the one before it while that one is less than twice as
large, so that there are few. All of it is derived: whatever is missing, damaged or behind is read from the log again,
and since a hit may be of an id that was never committed, or of another with the same 64 bits, hits are confirmed there.
"""

import json
import secrets
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Heads = npt.NDArray[np.uint64]
IN_MEMORY = 131_072
"""A run with fewer ids is not worth a file: after a crash its pages are read from the log again."""


def heads(ids: pa.Array | pa.ChunkedArray) -> Heads:
    """The first 64 bits of 16-byte ids."""
    array = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if len(array) == 0:
        return np.empty(0, np.uint64)
    words = np.frombuffer(array.buffers()[1], ">u8").reshape(-1, 2)
    return words[array.offset : array.offset + len(array), 0].astype(np.uint64)


@dataclass(frozen=True, slots=True)
class _Run:
    heads: Heads
    first_page: int
    last_page: int
    name: str | None = None
    crc: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """A run in the manifest."""

    name: str
    count: int
    crc: int
    first_page: int
    last_page: int


class SeenIndex:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifest = folder / "manifest.json"
        self._runs: list[_Run] = []
        self._youngest = -1

    @property
    def exists(self) -> bool:
        """Whether a log ever committed events here."""
        return self._manifest.is_file()

    def open(self) -> int:
        """Load what is whole; returns the page up to which every committed id is in it, -1 for none."""
        try:
            manifest = json.loads(self._manifest.read_text())
            runs = [self._load(_Entry(**entry)) for entry in manifest["runs"]]
            covers = int(manifest["covers"])
        except (OSError, ValueError, KeyError, TypeError):
            return self.reset()
        self._runs, self._youngest = runs, covers
        self._sweep()
        return covers

    def reset(self) -> int:
        """Start anew with nothing."""
        self._runs, self._youngest = [], -1
        shutil.rmtree(self._folder, ignore_errors=True)
        return -1

    def complete(self, missing: Iterable[tuple[Heads, int, int]], last_page: int) -> None:
        """Take in what `open` said is not covered: ids, with the oldest and youngest page they are of, in any order.
        `last_page` is the youngest page of the log, -1 for none.
        """
        for ids, first, last in missing:
            self._insert(_Run(np.sort(ids), first, last))
        self._youngest = last_page
        if last_page >= 0:
            self._save()

    def add(self, ids: Heads, page: int) -> None:
        """Take in committed ids of one page. Pages come in the order of their commits."""
        if page < self._youngest:
            raise ValueError(f"page {page} comes after page {self._youngest}: remember pages in the order of commit")
        self._youngest = page
        if len(ids):
            self._insert(_Run(np.sort(ids), page, page))
        if not self.exists:
            self._save()

    def find(self, ids: Heads) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
        """Which ids may be known, and the oldest and youngest page that they can be of."""
        order = np.argsort(ids)
        wanted, hit = ids[order], np.zeros(len(ids), np.bool_)
        pages: list[int] = []
        for run in self._runs:
            # Ascending needles keep the search in cache.
            places = np.searchsorted(run.heads, wanted)
            places[places == len(run.heads)] = 0
            found = run.heads[places] == wanted
            if found.any():
                hit |= found
                pages += (run.first_page, run.last_page)
        answer = np.empty(len(ids), np.bool_)
        answer[order] = hit
        return answer, (min(pages, default=0), max(pages, default=-1))

    def __len__(self) -> int:
        return sum(len(run.heads) for run in self._runs)

    def _insert(self, run: _Run) -> None:
        runs = self._runs
        runs.append(run)
        while len(runs) > 1 and len(runs[-2].heads) < 2 * len(runs[-1].heads):
            young, old = runs.pop(), runs.pop()
            # Of two sorted halves a stable sort makes one in a single pass.
            merged = np.concatenate((old.heads, young.heads))
            merged.sort(kind="stable")
            keep = np.concatenate(([True], merged[1:] != merged[:-1]))
            runs.append(
                _Run(
                    merged if keep.all() else merged[keep],
                    min(old.first_page, young.first_page),
                    max(old.last_page, young.last_page),
                )
            )
        if runs[-1].name is None and len(runs[-1].heads) >= IN_MEMORY:
            runs[-1] = self._store(runs[-1])
            self._save()
            self._sweep()

    def _store(self, run: _Run) -> _Run:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{secrets.token_hex(8)}.run"
        run.heads.astype("<u8", copy=False).tofile(self._folder / name)
        entry = _Entry(name, len(run.heads), zlib.crc32(run.heads.data), run.first_page, run.last_page)
        return _Run(self._map(entry), run.first_page, run.last_page, name, entry.crc)

    def _load(self, entry: _Entry) -> _Run:
        mapped = self._map(entry)
        if zlib.crc32(mapped.data) != entry.crc:
            raise ValueError("a run is damaged")
        return _Run(mapped, entry.first_page, entry.last_page, entry.name, entry.crc)

    def _map(self, entry: _Entry) -> Heads:
        path = self._folder / entry.name
        if path.stat().st_size != 8 * entry.count:
            raise ValueError("a run has another size")
        return np.asarray(np.memmap(path, "<u8", mode="r"))

    def _save(self) -> None:
        """Write the manifest. A page may be remembered in several calls: the youngest one counts as not covered."""
        waiting = [run.first_page for run in self._runs if run.name is None]
        covers = min([self._youngest, *waiting]) - 1
        entries = [
            _Entry(run.name, len(run.heads), run.crc, run.first_page, run.last_page)
            for run in self._runs
            if run.name is not None
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._manifest.with_suffix(".tmp")
        manifest = {"covers": covers, "runs": [asdict(entry) for entry in entries]}
        temporary.write_text(json.dumps(manifest))
        temporary.replace(self._manifest)

    def _sweep(self) -> None:
        listed = {run.name for run in self._runs} | {self._manifest.name}
        for path in self._folder.iterdir():
            if path.name not in listed:
                path.unlink()
