"""Two hubs on one store: one that was frozen and overtaken does nothing more."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases import database_url, postgres, postgres_template, sqlite_template
from tests.faults.deliveries import LIST, PLAIN, Shop, open_shop, people

from switchyard.store.database import Database
from switchyard.store.tables import Lease
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

__all__ = ["database_url", "postgres", "postgres_template", "sqlite_template"]

pytestmark = pytest.mark.slow
SECONDS = 2.0
"""After so long, a hub that was not heard of may be overtaken."""


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


def start(shop: Shop, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "switchyard.cli", "--project", str(shop.folder.path), *arguments, "--json"]
    environment = os.environ | {"SWITCHYARD_LEASE_SECONDS": str(SECONDS)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def fence(url: str) -> int:
    database = Database(url)
    try:
        with database.read() as session:
            return session.get_one(Lease, "engine").fence
    finally:
        database.close()


def second(shop: Shop, path: Path, crm: HubSpotSimulator, url: str) -> Shop:
    """Another folder with the same configuration, store and log."""
    other = open_shop(path, crm, url, **PLAIN)
    other.folder.config["hub"]["log"] = str(shop.folder.path / ".switchyard" / "log")
    other.folder.write()
    return other


def test_a_hub_that_was_overtaken_while_it_stood_still_changes_nothing_more(
    tmp_path: Path, crm: HubSpotSimulator, database_url: str
) -> None:
    first = open_shop(tmp_path / "first", crm, database_url, **PLAIN)
    first.sell(people(0, 150), orders=2)
    first.settle()
    other = second(first, tmp_path / "second", crm, database_url)
    stopped = threading.Event()
    frozen: list[subprocess.Popen[str]] = []

    def freeze() -> None:
        frozen[0].send_signal(signal.SIGSTOP)
        stopped.set()

    # Its second call: the list is there, and nobody is on it yet.
    crm.at_call(crm.journal.total + 4, freeze, "applied")
    frozen.append(start(first, "deliver"))
    assert stopped.wait(60)
    before = fence(database_url)
    time.sleep(SECONDS + 1)
    overtaking = start(other, "run")
    out, err = overtaking.communicate(timeout=120)
    assert overtaking.returncode == 0, err + out
    assert fence(database_url) > before
    assert crm.member_emails(LIST) == set(people(0, 150))
    since = crm.journal.total
    frozen[0].send_signal(signal.SIGCONT)
    out, err = frozen[0].communicate(timeout=120)
    assert frozen[0].returncode == 4
    assert "has taken over" in json.loads(out)["error"]["message"] + err
    assert [call.path for call in crm.calls(since=since) if call.method != "GET"] == []
    assert crm.member_emails(LIST) == set(people(0, 150))


def test_a_second_hub_is_turned_away_while_the_first_is_at_work(
    tmp_path: Path, crm: HubSpotSimulator, database_url: str
) -> None:
    first = open_shop(tmp_path / "first", crm, database_url, **PLAIN)
    other = second(first, tmp_path / "second", crm, database_url)
    with first.folder.hub():
        turned_away = start(other, "evaluate")
        out, _ = turned_away.communicate(timeout=60)
    assert turned_away.returncode == 4
    assert "another hub" in json.loads(out)["error"]["message"]
    after = start(other, "evaluate")
    assert after.communicate(timeout=60)[0]
    assert after.returncode == 0
