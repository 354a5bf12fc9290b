"""`switchyard` as a process: stopped at any moment it leaves nothing to repair, and its output may go away."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchyard.demo.project import Project, fill, lay_out
from switchyard.demo.retailer import Retailer
from switchyard_connectors.hubspot.simulator import HubSpotSimulator

STOPPED = "stopped; nothing is left to repair\n"
TRUTHS = (
    "SELECT s.key, k.name, i.value, i.line FROM identifier i JOIN subject s ON s.id = i.subject_id "
    "JOIN identifier_kind k ON k.id = i.kind_id",
    "SELECT s.key, s.attributes, (SELECT min(o.key) FROM subject o WHERE o.profile_id = s.profile_id) FROM subject s",
    "SELECT t.name, hex(e.event_id), s.key, e.at_us, e.properties FROM journal_event e "
    "JOIN subject s ON s.id = e.subject_id JOIN event_type t ON t.id = e.event_type_id",
    "SELECT origin, line, code, record FROM quarantine WHERE state = 'waiting'",
    "SELECT mark FROM stream_mark",
)
"""What a sync makes true, by natural keys: ids are given in the order of commits, which a stop changes."""


@pytest.fixture
def hubspot() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The retailer's project with a few days of tickets, not yet worked on."""
    project = lay_out(tmp_path_factory.mktemp("tickets") / "demo")
    fill(project, Retailer(people=200, days=12, lines=2_400), lambda _: None)
    return project


def laid_out(tickets: Project, folder: Path, hubspot: HubSpotSimulator) -> Path:
    """A copy of the project whose HubSpot is the simulator."""
    subprocess.run(["cp", "-r", tickets.folder, folder], check=True)
    settings = folder / "switchyard.yaml"
    settings.write_text(settings.read_text().replace(f"http://127.0.0.1:{tickets.port}", hubspot.url))
    return folder


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "switchyard.cli", "--project", str(folder), *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, text=True, **streams)


def finish(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command to its end; its answer."""
    process = start(folder, *arguments, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def truth(folder: Path) -> list[list[Any]]:
    with sqlite3.connect(folder / ".switchyard" / "store.db") as store:
        return [sorted(store.execute(query), key=repr) for query in TRUTHS]


def committed(folder: Path) -> int:
    """How many pages are committed."""
    try:
        with sqlite3.connect(f"file:{folder / '.switchyard' / 'store.db'}?mode=ro", uri=True) as store:
            return int(store.execute("SELECT count(*) FROM page").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def wait_for_main(process: subprocess.Popen[str]) -> None:
    """Wait until the process has come from Python's start, where nobody can catch a signal, to its own first line."""
    caught = 0
    while not caught >> (signal.SIGTERM - 1) & 1 and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)


def wait_for_pages(process: subprocess.Popen[str], folder: Path, pages: int) -> None:
    while committed(folder) < pages and process.poll() is None:
        time.sleep(0.005)


def test_a_sync_stopped_at_any_moment_goes_on_as_if_nothing_had_been(
    tickets: Project, tmp_path: Path, hubspot: HubSpotSimulator
) -> None:
    whole, cut = (laid_out(tickets, tmp_path / name, hubspot) for name in ("whole", "cut"))
    began = time.monotonic()
    finish(whole, "sync", "tills")
    took = time.monotonic() - began
    stops = 0
    for number, moment in enumerate((0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8)):
        process = start(cut, "sync", "tills")
        wait_for_main(process)
        time.sleep(took * moment)
        code, err = stop(process, signal.SIGINT if number % 2 else signal.SIGTERM)
        if code:
            assert (code, err) == (130 if number % 2 else 143, STOPPED)
            stops += 1
    assert stops >= 2
    finish(cut, "sync", "tills")
    assert truth(cut) == truth(whole)
    assert finish(cut, "doctor")["healthy"]


def test_a_pass_stopped_at_its_commits_and_calls_is_finished_by_the_next(
    tickets: Project, tmp_path: Path, hubspot: HubSpotSimulator
) -> None:
    cut = laid_out(tickets, tmp_path / "cut", hubspot)
    process = start(cut, "run")
    wait_for_pages(process, cut, 1)
    assert stop(process, signal.SIGINT) == (130, STOPPED)
    for call in (2, 5):
        # From within a call: the vendor has done it, and the answer never comes.
        process = start(cut, "run")
        number = hubspot.journal.total + call
        hubspot.at_call(number, lambda running=process: running.send_signal(signal.SIGINT), "applied")
        assert process.communicate(timeout=60)[1] == STOPPED
        assert process.returncode == 130
    finished = finish(cut, "run")["deliveries"]
    assert all(each["exact"] for each in finished)
    again = finish(cut, "run")["deliveries"]
    assert [(each["upserted"], each["added"], each["removed"]) for each in again] == [(0, 0, 0)] * len(again)
    with HubSpotSimulator() as other:
        whole = finish(laid_out(tickets, tmp_path / "whole", other), "run")["deliveries"]
        assert truth(cut) == truth(tmp_path / "whole")
        for delivered in whole:
            assert hubspot.member_emails(delivered["list"]) == other.member_emails(delivered["list"])


def test_asked_twice_it_ends_at_once(tickets: Project, tmp_path: Path, hubspot: HubSpotSimulator) -> None:
    folder = laid_out(tickets, tmp_path / "demo", hubspot)
    process = start(folder, "sync", "tills")
    wait_for_pages(process, folder, 1)
    process.send_signal(signal.SIGINT)
    assert stop(process, signal.SIGINT) == (130, STOPPED)


def test_a_reader_that_goes_away_is_no_error(tickets: Project) -> None:
    read, write = os.pipe()
    process = start(tickets.folder, "schema", stdout=write)
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_a_simulator_says_where_it_is_and_ends_when_told(tmp_path: Path) -> None:
    process = start(tmp_path, "simulate", "hubspot", "--json")
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    assert answer["simulator"] == "hubspot"
    assert answer["url"].startswith("http://127.0.0.1:")
    assert stop(process, signal.SIGTERM) == (0, "")
