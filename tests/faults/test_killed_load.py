"""SIGKILL at random moments of a load, started again each time: the store says what an unbroken load says."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.canonical import dumped
from tests.projects import Folder, shop

from switchyard.demo.retailer import Retailer

LOADER = Path(__file__).with_name("loader.py")
RETAILER = Retailer(seed=5, people=300, days=8, lines=3_600)
SMALL = {"file_rows": 300, "flush_rows": 400}
"""So small that files, journal, flush and compaction all have their part in the load."""


class Loads:
    """Loads of one project, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _say(self) -> int:
        return int(self._process.stdout.readline())

    def run(self, kill_after: float | None = None) -> tuple[int, float]:
        """The exit code, and how long it took; killed after so many seconds, where it has not ended before."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        child, started = self._say(), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        return self._say(), time.monotonic() - started


@contextmanager
def loads(folder: Folder) -> Iterator[Loads]:
    command = [sys.executable, str(LOADER), str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Loads(process)
        process.stdin.close()


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
