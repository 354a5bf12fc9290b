"""Power loss: whatever of the unsynced writes survives it, every delivery that was answered is in the inbox."""

import random
from datetime import datetime

import pytest
from tests.faults.power import Disk, PowerVFS, driver

from switchyard.api.errors import SwitchyardError
from switchyard.store import database as database_module
from switchyard.store.database import Database
from switchyard.store.inbox import Delivery, Inbox

NOON = datetime(2026, 3, 1, 12)
LOSSES = 3
"""Power losses in the life of one inbox."""


@pytest.fixture(scope="module")
def vfs() -> PowerVFS:
    return PowerVFS()


@pytest.fixture(autouse=True)
def on_its_disk(vfs: PowerVFS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_create", lambda path: None)


def lives(vfs: PowerVFS, draw: random.Random, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], list[str]]:
    """Receive through several power losses; the ids that were acknowledged, and those that are found."""
    monkeypatch.setattr(database_module, "_sqlite_module", lambda: driver(draw.choice((4, 16, 1_000))))
    acknowledged: set[str] = set()
    number = 0
    for _ in range(LOSSES):
        vfs.disk = vfs.disk.after_power_loss(draw, life=draw.randint(20, 400))
        try:
            inbox = Inbox(Database("sqlite:////store.db"))
        except SwitchyardError:
            continue
        while True:
            names = [f"{number + each}" for each in range(draw.choice((1, 1, 5, 40)))]
            number += len(names)
            try:
                inbox.append(
                    [Delivery("shop", name, {}, draw.randbytes(draw.choice((10, 600, 9_000))), NOON) for name in names]
                )
                acknowledged.update(names)
                if draw.random() < 0.1:
                    # What is about to go may be gone, whatever trimming says.
                    acknowledged.clear()
                    inbox.trim("shop", inbox.newest())
            except SwitchyardError:
                break
        inbox.close()
    vfs.disk = vfs.disk.after_power_loss(draw, life=10**9)
    inbox = Inbox(Database("sqlite:////store.db"))
    with inbox._database.read() as session:
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    found = [name for page in inbox.pages("shop") for name in page["id"].to_pylist()]
    inbox.close()
    return acknowledged, found


@pytest.mark.parametrize(
    "seeds", [range(15), pytest.param(range(15, 330), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_acknowledged_delivery_is_lost(vfs: PowerVFS, seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 0
    for seed in seeds:
        vfs.disk = Disk(0)
        acknowledged, found = lives(vfs, random.Random(seed), monkeypatch)
        assert acknowledged <= set(found), f"seed {seed}"
        assert len(found) == len(set(found)), f"seed {seed}"
        total += len(acknowledged)
    assert total > 20 * len(seeds)


def test_the_model_finds_what_is_lost_without_syncs(vfs: PowerVFS, monkeypatch: pytest.MonkeyPatch) -> None:
    lax = [pragma.replace("synchronous=FULL", "synchronous=NORMAL") for pragma in database_module._PRAGMAS]
    monkeypatch.setattr(database_module, "_PRAGMAS", lax)
    losses = 0
    for seed in range(8):
        vfs.disk = Disk(0)
        acknowledged, found = lives(vfs, random.Random(seed), monkeypatch)
        losses += not acknowledged <= set(found)
    assert losses > 0
