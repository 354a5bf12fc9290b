"""What a crash, a lost file or a full disk leaves of the event log: every committed row once, and nothing else."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from sqlmodel import SQLModel

from switchyard.api.errors import PermanentError, TransientError
from switchyard.eventlog.log import EventLog
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database


class Killed(BaseException):
    """The process ends here."""


class Power:
    """Counts every step that leaves a trace outside the process, and ends the process at the n-th.

    From then on no step has an effect: whatever the code does on its way out, a killed process would not have done.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.dead = False
        for name in ("unlink", "rename", "replace", "mkdir", "write_text"):
            monkeypatch.setattr(Path, name, self._stepping(getattr(Path, name)))
        monkeypatch.setattr(os, "fsync", self._stepping(os.fsync))
        monkeypatch.setattr(StoreCatalogue, "swap", self._stepping(StoreCatalogue.swap))

    def _stepping(self, function: Callable) -> Callable:
        def step(*args, **kwargs):
            self._tick()
            result = function(*args, **kwargs)
            self._tick()
            return result

        return step

    def _tick(self) -> None:
        if self.dead:
            raise Killed
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.dead = True
                raise Killed

    def killed(self, steps: int, action: Callable[[], object]) -> bool:
        """Run with power for so many steps; whether that was too few."""
        self.left, self.dead = steps, False
        try:
            action()
        except Killed:
            return True
        finally:
            self.left, self.dead = None, False
        return False


class Hub:
    def __init__(self, project: Path) -> None:
        self.folder = project / "log"
        self.database = Database("sqlite:///store.db", project)
        SQLModel.metadata.create_all(self.database.engine)
        self.catalogue = StoreCatalogue(self.database)
        self.page = 0
        self.open()

    def open(self) -> None:
        self.log = EventLog(self.folder, self.catalogue)
        self.log.open()

    def commit(self, numbers: range, journal: bool = False) -> None:
        self.page += 1
        table = visits(numbers, self.page)
        entries = [] if journal else [self.log.write("event", "page_viewed", table)]
        with self.database.write() as session:
            self.catalogue.register(session, "page_viewed", {"url": "text"})
            self.catalogue.add(session, entries)
            if journal:
                self.catalogue.journal_events(session, "page_viewed", table)
        self.log.remember(table["_id"], self.page)

    def numbers(self) -> list[int]:
        """The events that count, by the number in their url."""
        with self.log.snapshot() as snapshot, duckdb.connect() as connection:
            snapshot.view(connection, "event", "page_viewed", None, "visits")
            return [int(url) for (url,) in connection.execute("SELECT url FROM visits ORDER BY url::INT").fetchall()]

    def on_disk(self) -> set[str]:
        found = (self.folder / "event").rglob("*")
        return {path.relative_to(self.folder).as_posix() for path in found if path.is_file()}

    def named(self) -> set[str]:
        return {file.name for file in self.catalogue.files()}


def ids(numbers: range) -> pa.Array:
    return pa.array([blake2b(str(number).encode(), digest_size=16).digest() for number in numbers], pa.binary(16))


def visits(numbers: range, page: int) -> pa.Table:
    return pa.table(
        {
            "_id": ids(numbers),
            "_subject": pa.array([number % 7 for number in numbers], pa.int64()),
            "_at": pa.array([datetime(2024, 1, 1)] * len(numbers), pa.timestamp("us")),
            "_page": pa.array([page] * len(numbers), pa.int64()),
            "url": pa.array([str(number) for number in numbers], pa.string()),
        }
    )


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    return Power(monkeypatch)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def prepared(project: Path) -> Hub:
    """Nine files and some journal rows: both a flush and a compaction are due."""
    hub = Hub(project)
    for start in range(0, 90, 10):
        hub.commit(range(start, start + 10))
    hub.commit(range(90, 95), journal=True)
    return hub


@pytest.mark.parametrize("action", ["flush", "compact"])
def test_rewriting_that_is_killed_at_any_step_keeps_every_row_once(tmp_path, power, action):
    kills, unbroken = 0, False
    template = tmp_path / "template"
    prepared(template).database.close()
    while not unbroken:
        shutil.copytree(template, tmp_path / str(kills))
        hub = Hub(tmp_path / str(kills))
        unbroken = not power.killed(kills, getattr(hub.log, action))
        kills += 1
        hub.open()
        assert hub.numbers() == list(range(95))
        assert hub.on_disk() == hub.named()
        assert hub.log.seen(ids(range(100))).sum() == 95
        hub.log.flush()
        hub.log.compact()
        assert hub.numbers() == list(range(95))
    assert kills > 8


def test_a_page_that_is_killed_at_any_step_is_there_wholly_or_not_at_all_and_can_be_read_again(tmp_path, power):
    kills, unbroken = 0, False
    while not unbroken:
        hub = Hub(tmp_path / str(kills))
        hub.commit(range(5))
        unbroken = not power.killed(kills, lambda hub=hub: hub.commit(range(5, 9)))
        kills += 1
        hub.open()
        assert hub.numbers() in (list(range(5)), list(range(9)))
        assert hub.on_disk() == hub.named()
        if not hub.log.seen(ids(range(5, 9))).all():
            hub.commit(range(5, 9))
        assert hub.numbers() == list(range(9))
    assert kills > 4


def test_a_file_that_is_not_named_is_gone_after_a_start(hub):
    hub.commit(range(3))
    hub.log.write("event", "page_viewed", visits(range(3, 6), 2))
    (hub.folder / "event" / "page_viewed" / "half.parquet.tmp").write_bytes(b"PAR1")
    hub.open()
    assert hub.on_disk() == hub.named()
    assert hub.numbers() == [0, 1, 2]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def tear(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-64] + b"\0" * 64)


def other_rows(path: Path) -> None:
    """Another file of the log, as long as the one that is named."""
    other = Hub(path.parents[3] / f"other than {path.stem}")
    other.commit(range(2))
    [name] = other.named()
    data = (other.folder / name).read_bytes()
    assert len(data) <= path.stat().st_size
    # Between the magic at the front and the pages there may be anything.
    length = int.from_bytes(data[-8:-4], "little")
    body, footer = data[: -8 - length], data[-8 - length :]
    path.write_bytes(body + b"\0" * (path.stat().st_size - len(data)) + footer)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "is missing"),
        (truncate, "bytes, not"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "bytes, not"),
        (tear, "has no readable footer"),
        (other_rows, "says rows '2', not '3'"),
    ],
    ids=["missing", "truncated", "longer", "torn footer", "other rows"],
)
def test_a_start_names_every_named_file_that_is_damaged_and_removes_nothing(hub, damage, says):
    for start in (0, 3, 6):
        hub.commit(range(start, start + 3))
    spared, *damaged = sorted(hub.named())
    for name in damaged:
        damage(hub.folder / name)
    orphan = hub.log.write("event", "page_viewed", visits(range(9, 12), 4))
    before = hub.on_disk()
    with pytest.raises(PermanentError, match="2 files of the event log") as caught:
        hub.open()
    for name in damaged:
        assert re.search(f"{re.escape(name)} [^;]*{re.escape(says)}", str(caught.value))
    assert spared not in str(caught.value)
    assert hub.on_disk() == before
    assert orphan.name in before


def test_the_seen_index_is_made_again_from_files_and_journal(hub):
    hub.commit(range(50))
    hub.commit(range(50, 60), journal=True)
    shutil.rmtree(hub.folder / "seen")
    hub.open()
    assert hub.log.seen(ids(range(70))).tolist() == [True] * 60 + [False] * 10


def test_a_seen_index_that_is_ahead_of_a_restored_store_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("switchyard.eventlog.seen.IN_MEMORY", 1)
    hub = Hub(tmp_path / "now")
    hub.commit(range(5))
    hub.database.close()
    shutil.copytree(tmp_path / "now", tmp_path / "restored")
    for start in (5, 10, 15):
        hub.commit(range(start, start + 5))
    shutil.rmtree(tmp_path / "restored" / "log" / "seen")
    shutil.copytree(hub.folder / "seen", tmp_path / "restored" / "log" / "seen")
    restored = Hub(tmp_path / "restored")
    # The next page has a number that the index of later days took for covered.
    restored.page = 1
    restored.commit(range(100, 105))
    restored.open()
    assert restored.log.seen(ids(range(110))).tolist() == [True] * 5 + [False] * 95 + [True] * 5 + [False] * 5


def test_a_full_disk_fails_the_page_and_the_next_one_goes_on(hub, monkeypatch):
    hub.commit(range(3))
    sync = os.fsync

    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TransientError, match="free some space"):
        hub.commit(range(3, 6))
    assert hub.on_disk() == hub.named()
    monkeypatch.setattr(os, "fsync", sync)
    hub.commit(range(3, 6))
    assert hub.numbers() == list(range(6))


WORK = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_event_log_faults import Hub
hub = Hub(Path({project!r}))
hub.page, start = {page}, {start}
print("ready", flush=True)
while True:
    hub.commit(range(start, start + 5), journal=start % 2 == 0)
    start += 5
    print(start, flush=True)
    if start % 15 == 0:
        hub.log.flush()
        hub.log.compact()
"""


def test_a_process_that_is_killed_loses_nothing_it_reported(tmp_path):
    reported, page = 0, 0
    for seed in range(4):
        script = WORK.format(here=str(Path(__file__).parent), project=str(tmp_path), page=page, start=reported)
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(random.Random(seed).randrange(4, 30)):
            reported = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        reported = max([reported, *(int(number) for number in rest)])
        hub = Hub(tmp_path)
        numbers = hub.numbers()
        assert numbers in (list(range(reported)), list(range(reported + 5)))
        assert hub.on_disk() == hub.named()
        assert hub.log.seen(ids(range(len(numbers) + 5))).sum() == len(numbers)
        reported, page = len(numbers), page + 100
        hub.database.close()
