"""A store, an event log and a working database of any size, for the other benchmarks: made once, kept by parameters.

Rows go through the log's own writer and the store's bulk path, not through a connector; what comes out is what the hub
would have after syncing and compacting them. Events lie in [two years before `NOW`, one day after it].
"""

import os
import resource
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlalchemy.schema import CreateTable
from sqlmodel import SQLModel

from switchyard.evaluation.working import WorkingDatabase
from switchyard.eventlog.files import LogFolder
from switchyard.eventlog.layout import EVENT
from switchyard.eventlog.log import EventLog
from switchyard.eventlog.relations import schema_of
from switchyard.store import bulk, names, runs, schema
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database
from switchyard.store.tables import Page, Subject

NOW = datetime(2026, 6, 30, 12)
PROPERTIES = {"channel": "text", "sku": "text", "total": "decimal"}
CACHE = Path(os.environ.get("SWITCHYARD_BENCHMARKS", "/tmp/switchyard-benchmarks"))  # a cache, made again at will
YOUNG, YOUNG_ROWS = 8, 50_000
"""Each type ends with as many pages that wait for compaction as the log lets wait."""
LAST_PAGE = 99
_CHANNELS = pa.array(["web", "till", "app"])
_SKUS = pa.array([f"sku-{number}" for number in range(5_000)])
_CITIES = ["Lyon", "Brest", "Nice", "Lille", "Paris"]
_SLICE = 1_000_000


@dataclass(frozen=True)
class World:
    """What is in it.

    Args:
        events: event type → how many.
        profiles: how many people; every tenth is two subjects, as after a merge.
        files: into which parts of the whole compaction has brought each type; they come to about 1.
    """

    events: Mapping[str, int]
    profiles: int
    files: tuple[float, ...] = (1.0,)
    seed: int = 7

    @property
    def subjects(self) -> int:
        return self.profiles + self.profiles // 10

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        parts = [f"{name}{count}" for name, count in self.events.items()]
        tables = zlib.crc32("".join(str(CreateTable(each)) for each in SQLModel.metadata.sorted_tables).encode())
        parts += [f"people{self.profiles}", "x".join(f"{part:g}" for part in self.files), f"{self.seed}.{tables:08x}"]
        return CACHE / "-".join(parts)

    @contextmanager
    def opened(self, folder: Path | None = None) -> Iterator["Opened"]:
        """The world, made if it is not there. It is changed by what is done to it, unless it stands in a `folder`
        of its own: then that is a copy (links for the log's files, which nobody changes).
        """
        if not (self.folder / "whole").exists():
            self._make()
        if folder is not None:
            shutil.copytree(self.folder, folder, copy_function=_linked)
        opened = Opened(folder or self.folder)
        try:
            yield opened
        finally:
            opened.close()

    def _make(self) -> None:
        started = time.perf_counter()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        opened = Opened(self.folder)
        with opened.database.write() as session:
            run = runs.started(session, "sync", "world")
            stream = names.stream(session, "world", "orders").id
            names.register_attributes(session, {"city": "text"})
            ids = pa.array(np.arange(1, self.subjects + 1))
            bulk.insert(session, Subject, self._people(stream))
            changed = bulk.packed(ids.slice(0, self.profiles))
            counts = {"read": 0, "mapped": 0, "quarantined": 0, "duplicate": 0}
            session.add(
                Page(
                    id=1, run_id=run, stream_id=stream, committed_at=NOW - timedelta(days=1), changed=changed, **counts
                )
            )
        for number, (event_type, count) in enumerate(self.events.items()):
            self._fill(opened, event_type, count, 1 + number * (YOUNG + 1))
        opened.working.refresh({"city": "text"})
        opened.close()
        (self.folder / "whole").touch()
        print(f"made {self.folder} in {time.perf_counter() - started:.0f} s")

    def _people(self, stream: int) -> pa.Table:
        numbers = np.arange(1, self.subjects + 1)
        city = (numbers * 2_654_435_761 >> 7) % len(_CITIES)
        said = pa.array([f'{{"city": ["{name}", 1]}}' for name in _CITIES]).take(pa.array(city))
        return pa.table(
            {
                "id": numbers,
                "stream_id": np.full(self.subjects, stream),
                "key": pa.array(numbers).cast(pa.string()),
                "profile_id": np.where(numbers > self.profiles, (numbers - self.profiles) * 10, numbers),
                "attributes": said,
            }
        )

    def _fill(self, opened: "Opened", event_type: str, count: int, page: int) -> None:
        random, folder, entries = np.random.default_rng((self.seed, page)), LogFolder(opened.folder / "log"), []
        young = min(YOUNG, count // YOUNG_ROWS // 2)
        old = count - young * YOUNG_ROWS
        for level, part in enumerate(reversed(self.files)):
            rows = int(old * part)
            slices = max(1, rows // _SLICE)
            edges = np.linspace(1, self.subjects + 1, slices + 1).astype(np.int64)
            sizes = np.diff(np.linspace(0, rows, slices + 1).astype(np.int64))
            with folder.writer("event", event_type, schema_of(EVENT, PROPERTIES), rows) as writer:
                for first, end, size in zip(edges[:-1], edges[1:], sizes, strict=True):
                    table = events(random, int(size), int(first), int(end), page)
                    writer.write(table)
                    opened.log.remember(table["_id"], page)
            entries.append(writer.entry(level + 1))
        for later in range(page + 1, page + 1 + young):
            table = events(random, YOUNG_ROWS, 1, self.subjects + 1, later)
            entries.append(opened.log.write("event", event_type, table))
            opened.log.remember(table["_id"], later)
        with opened.database.write() as session:
            opened.catalogue.register(session, event_type, PROPERTIES)
            opened.catalogue.add(session, entries)


class Opened:
    """A world's parts, open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database("sqlite:///store.db", folder)
        schema.prepare(self.database)
        self.catalogue = StoreCatalogue(self.database)
        self.log = EventLog(folder / "log", self.catalogue)
        self.log.open()
        self.working = WorkingDatabase(folder / "work.duckdb", self.database)

    def close(self) -> None:
        self.working.close()
        self.log.close()
        self.database.close()


def events(random: np.random.Generator, count: int, first: int, end: int, page: int) -> pa.Table:
    """Sorted events of the subjects from `first` to before `end`; some have several times as many as others."""
    subject = first + ((end - first) * random.random(count) ** 1.5).astype(np.int64)
    span = timedelta(days=731) // timedelta(microseconds=1)
    start = np.datetime64(NOW - timedelta(days=730), "us").astype(np.int64)
    at = start + (random.random(count) * span).astype(np.int64)
    order = np.lexsort((at, subject))
    cents = np.zeros((count, 2), np.int64)
    cents[:, 0] = random.integers(100, 50_000, count) * 100
    ids = pa.py_buffer(random.bytes(16 * count))
    return pa.table(
        {
            "_id": pa.Array.from_buffers(pa.binary(16), count, [None, ids]),
            "_subject": subject[order],
            "_at": pa.array(at[order]).cast(pa.timestamp("us")),
            "_page": np.full(count, page),
            "channel": _CHANNELS.take(pa.array(random.integers(0, len(_CHANNELS), count))),
            "sku": _SKUS.take(pa.array(random.integers(0, len(_SKUS), count))),
            "total": pa.Array.from_buffers(pa.decimal128(18, 4), count, [None, pa.py_buffer(cents.tobytes())]),
        },
        schema_of(EVENT, PROPERTIES),
    )


@dataclass
class Timing:
    """Seconds of one thing, run several times: by the clock, and of the processor, which a busy machine spoils less."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, action: Callable[[], object]) -> None:
        """Time the action once more."""
        before, started = processor(), time.perf_counter()
        action()
        self.wall.append(time.perf_counter() - started)
        self.processor.append(processor() - before)

    @property
    def least(self) -> float:
        """By the clock."""
        return min(self.wall)

    @property
    def least_cpu(self) -> float:
        """Of the processor."""
        return min(self.processor)

    def __str__(self) -> str:
        return f"{self.least * 1e3:9.0f} {np.median(self.wall) * 1e3:9.0f} {self.least_cpu * 1e3:9.0f}"


HEADER = f"{'':34} {'wall min':>9} {'median':>9} {'cpu min':>9}   (ms)"


def alternated(times: int, **actions: Callable[[], object]) -> dict[str, Timing]:
    """Each action `times` times, in turns, so that a busy minute of the machine falls on all of them."""
    timings = {name: Timing() for name in actions}
    for _ in range(times):
        for name, action in actions.items():
            timings[name].run(action)
    return timings


def memory() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def processor() -> float:
    """Seconds of processor time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _linked(source: str, copy: str) -> str:
    # What is written once and never changed needs no copy.
    if source.endswith((".parquet", ".run")):
        os.link(source, copy)
    else:
        shutil.copy2(source, copy)
    return copy
