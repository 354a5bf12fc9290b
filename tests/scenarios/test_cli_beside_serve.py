"""Every command gives the same answer carried out alone and beside a hub that serves."""

import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.projects import Folder, shop
from tests.scenarios.serving import Serving, answered, command, serving, wait_until

from switchyard.cli.reference import commands
from switchyard_connectors.hubspot.simulator import HubSpotSimulator

pytestmark = pytest.mark.slow
HEAD = "order_id,line_no,sold_at,sku,quantity,price,email,first_name\n"
ASKED: dict[str, tuple[str, ...]] = {
    "init": (),
    "check": ("--connect",),
    "schema": (),
    "doctor": (),
    "run": (),
    "sync": ("tills",),
    "evaluate": ("--full",),
    "deliver": (),
    "status": (),
    "connectors": (),
    "plugins": (),
    "segments list": (),
    "segments show": ("buyers",),
    "segments members": ("buyers",),
    "profiles find": ("p1@x.org",),
    "profiles show": ("1",),
    "audiences list": (),
    "audiences show": ("buyers",),
    "audiences verify": (),
    "quarantine list": (),
    "quarantine show": ("1",),
    "quarantine replay": (),
}
"""What each command is asked."""
ALONE = {"serve", "simulate"}
"""Commands that go on until they are stopped."""
FAILING = [
    ("sync", "nowhere"),
    ("sync", "tills", "--stream", "nothing"),
    ("deliver", "nobody"),
    ("deliver", "--recreate-list"),
    ("deliver", "--dry-run"),
    ("segments", "show", "nothing"),
    ("quarantine", "show", "99"),
]
VOLATILE = {"read_at", "entered_at", "evaluated_at", "committed_at", "started_at", "finished_at", "age_seconds",
            "engine", "folder", "id", "calls", "kept", "created", "checks", "last_run", "sold_at", "at",
            "list_id", "attention", "schedules", "budgets"}  # fmt: skip


def tickets(count: int, first: int = 0) -> str:
    orders = (f"T{first + n},1,01/06/2026 {n % 24:02}:00,A,1,9.90,p{n % 40}@x.org,Ann\n" for n in range(count))
    return HEAD + "".join(orders)


def steady(value: Any) -> Any:
    """An answer without what no two runs have in common."""
    if isinstance(value, dict):
        return {key: steady(each) for key, each in value.items() if key not in VOLATILE}
    return [steady(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def hubspot() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def worked_on(tmp_path_factory: pytest.TempPathFactory, hubspot: HubSpotSimulator) -> Folder:
    """A project on which one pass was done; its schedules leave it alone for a day."""
    folder = shop(tmp_path_factory.mktemp("beside") / "shop", crm=hubspot.url)
    folder.config["connections"]["tills"] = folder.config["connections"]["tills"] | {"schedule": {"every": "1 day"}}
    folder.config["audiences"]["buyers"]["schedule"] = {"every": "1 day"}
    folder.write()
    folder.put("first.csv", tickets(100) + "T900,1,never,A,1,9.90,q@x.org,Ann\n")
    assert answered(folder.path, "run")[0] == 0
    return folder


@pytest.fixture(scope="module")
def alone(worked_on: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(worked_on.path, tmp_path_factory.mktemp("alone") / "shop"))


@pytest.fixture(scope="module")
def beside(alone: Path, worked_on: Folder) -> Iterator[Path]:
    with serving(worked_on.path) as hub:
        hub.wait_for("evaluated")
        yield worked_on.path
        assert hub.stop() == 0


def test_every_command_is_asked() -> None:
    assert {name for name, _ in commands()} == ASKED.keys() | ALONE


@pytest.mark.parametrize("asked", [(*name.split(), *given) for name, given in ASKED.items()] + FAILING, ids=" ".join)
def test_the_answer_is_the_same(asked: tuple[str, ...], alone: Path, beside: Path) -> None:
    code, answer = answered(alone, *asked)
    code_beside, answer_beside = answered(beside, *asked)
    assert (code_beside, steady(answer_beside)) == (code, steady(answer))


def test_what_a_person_reads_is_the_same(alone: Path, beside: Path) -> None:
    shown = [
        subprocess.run(command(folder, "segments", "list"), capture_output=True, text=True, timeout=60, check=False)
        for folder in (alone, beside)
    ]
    assert shown[0].stdout == shown[1].stdout
    assert [each.returncode for each in shown] == [0, 0]


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[tuple[Folder, Serving]]:
    """A hub that serves and has read everything."""
    folder = shop(tmp_path / "shop", file_rows=200_000)
    folder.config["connections"]["tills"] = folder.config["connections"]["tills"] | {"schedule": {"every": "1 day"}}
    with serving(folder.write().path) as hub:
        hub.wait_for("synced")
        yield folder, hub


def pages(folder: Folder) -> int:
    """How many pages are committed."""
    with sqlite3.connect(f"file:{folder.path / '.switchyard' / 'store.db'}?mode=ro", uri=True) as store:
        return int(store.execute("SELECT count(*) FROM page").fetchone()[0])


def test_ctrl_c_of_the_caller_cancels_the_command_there(idle: tuple[Folder, Serving]) -> None:
    folder, hub = idle
    for number in range(40):
        folder.put(f"{number:02}.csv", tickets(5_000, number * 5_000))
    caller = subprocess.Popen(command(folder.path, "sync", "tills"), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: pages(folder) > 0)
    caller.send_signal(signal.SIGINT)
    assert caller.communicate(timeout=60)[1].endswith("stopped; nothing is left to repair\n")
    assert caller.returncode == 130
    hub.wait_for("asked")
    code, answer = answered(folder.path, "sync", "tills")
    assert code == 0
    # What was committed before stays, and the rest is read now.
    assert 0 < answer["syncs"][0]["read"] < 200_000
