"""SIGKILL at random moments of a load, started again each time: the store says what an unbroken load says."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.canonical import dumped
from tests.projects import Folder, shop
from tests.scenarios.test_online_retail import TILLS

from switchyard.demo.retailer import Retailer

LOADER = Path(__file__).with_name("loader.py")
RETAILER = Retailer(seed=5, people=300, days=8, lines=3_600)
SMALL = {"file_rows": 300, "flush_rows": 400}
"""So small that files, journal, flush and compaction all have their part in the load."""


@contextmanager
def child(*arguments: str, **streams: Any) -> Iterator[subprocess.Popen[Any]]:
    """A Python process; when the block ends, however it does, the process and all that it forked are gone."""
    with subprocess.Popen([sys.executable, *arguments], start_new_session=True, **streams) as process:
        try:
            yield process
        finally:
            # A leader that nobody has waited for keeps the number of its group from being given to others.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)


class Loads:
    """Loads of one project, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _say(self) -> int:
        return int(self._process.stdout.readline())

    def run(self, kill_after: float | Callable[[int], None] | None = None) -> tuple[int, float]:
        """The exit code, and how long it took; killed after so many seconds, or when the wait that was given for the
        process is over, where it has not ended before.
        """
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        child, started = self._say(), time.monotonic()
        if kill_after is not None:
            if callable(kill_after):
                kill_after(child)
            else:
                time.sleep(kill_after)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return self._say(), time.monotonic() - started


@contextmanager
def loads(folder: Folder, *how: str) -> Iterator[Loads]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with child(str(LOADER), str(folder.path), *how, **pipes) as process:
        yield Loads(process)


def small_pages(folder: Folder) -> Folder:
    folder.config["connections"]["tills"] = {
        **folder.config["connections"]["tills"],
        "config": {**folder.config["connections"]["tills"]["config"], "page_rows": 150, "order_window": 50},
    }
    return folder.write()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, float]:
    """A folder that was loaded in one go, and how long that took."""
    folder = small_pages(shop(tmp_path_factory.mktemp("unbroken"), **SMALL))
    RETAILER.write_days(folder.drop)
    with loads(folder) as load:
        code, seconds = load.run()
    assert code == 0
    return folder, seconds


KILLS = {"sqlite": 20, "postgresql": 8}


def test_a_load_killed_again_and_again_ends_as_an_unbroken_one(tmp_path, unbroken, database_url):
    whole, seconds = unbroken
    kills = KILLS[database_url.split(":")[0]]
    broken = small_pages(shop(tmp_path / "broken", database_url, **SMALL))
    for path in whole.drop.iterdir():
        (broken.drop / path.name).write_bytes(path.read_bytes())
    chance = random.Random(20)
    killed = 0
    with loads(broken) as load:
        code = -signal.SIGKILL
        while code == -signal.SIGKILL and killed < kills:
            code, _ = load.run(chance.uniform(0, 3 * seconds / kills))
            killed += code == -signal.SIGKILL
        if code:
            code, _ = load.run()
    assert code == 0
    print(f"{killed} kills of a load of {seconds:.1f} s")
    assert killed > kills // 2, f"only {killed} kills hit"
    expected, found = dumped(whole.path), dumped(broken.path)
    for part in expected:
        assert found[part] == expected[part], part


def real_days(folder: Path, archive: Path, days: int | None) -> Folder:
    """A project with the first so many real days to load, or all, in pages smaller than a day.

    Its journal is flushed, and files are written at once, all along the load.
    """
    tills = {**TILLS, "config": {**TILLS["config"], "page_rows": 700}}
    made = Folder(folder, {"hub": {"file_rows": 8_000, "flush_rows": 20_000}, "connections": {"tills": tills}}).write()
    with tarfile.open(archive) as files:
        first = sorted(files.getmembers(), key=lambda member: member.name)[:days]
        files.extractall(made.drop, first, filter="data")
    return made


def committed(folder: Folder) -> int:
    """How many pages are committed."""
    try:
        with closing(sqlite3.connect(f"file:{folder.path / '.switchyard' / 'store.db'}?mode=ro", uri=True)) as store:
            return int(store.execute("SELECT count(*) FROM page").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def wait_for_pages(process: int, folder: Folder, pages: int) -> None:
    """Wait until so many pages are committed, or the process is gone."""
    with suppress(ProcessLookupError):
        while committed(folder) < pages:
            os.kill(process, 0)
            time.sleep(0.005)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("days", "how"),
    [pytest.param(70, "fork", id="70_days"), pytest.param(None, "command", id="all_days", marks=pytest.mark.slow)],
)
def test_a_load_of_real_days_killed_twenty_times_ends_as_an_unbroken_one(tmp_path, shared_folder, days, how):
    (archive,) = (shared_folder / "data" / "online_retail").glob("*.tar.gz")
    whole, broken = (real_days(tmp_path / name, archive, days) for name in ("whole", "broken"))
    with loads(whole) as load:
        code, seconds = load.run()
    assert code == 0
    pages, chance = committed(whole), random.Random(20)
    moments = sorted(chance.sample(range(1, pages * 3 // 4), 20))
    found_at = [0]

    def moment(process: int) -> None:
        # Each process commits something of its own before it dies, also where the one before went past this moment.
        wait_for_pages(process, broken, max(moments[len(found_at) - 1], found_at[-1] + 1))
        time.sleep(chance.uniform(0, seconds / len(moments)))

    with loads(broken, how) as load:
        for number in range(1, len(moments) + 1):
            code, _ = load.run(moment)
            assert code == -signal.SIGKILL, f"the load ended with {code} before kill {number}"
            found_at.append(committed(broken))
        print(f"{pages} pages in {seconds:.1f} s, killed after {found_at[1:]}")
        assert found_at == sorted(set(found_at)), "a kill came before the first commit of its process"
        assert found_at[-1] < pages, "the last kill had nothing left to interrupt"
        assert load.run()[0] == 0
    expected, found = dumped(whole.path), dumped(broken.path)
    for part in expected:
        assert found[part] == expected[part], part
