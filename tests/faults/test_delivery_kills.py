"""SIGKILL at every call and every commit of a delivery, then once more to the end: the list is the segment, the proof
says so, nobody else was touched, and a kill cost no more than the batches that were under way.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from tests.databases import Postgres
from tests.faults.deliveries import (
    UPSERTS,
    Deliveries,
    Shop,
    Snapshot,
    Writes,
    changed_segment,
    deliveries,
    emptied,
    open_shop,
    people,
)

from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator


@dataclass
class Small:
    """A small run: a shop at the moment before a delivery, and what that delivery has to write at least.

    Args:
        lanes: calls under way at once.
    """

    shop: Shop
    start: Snapshot
    least: Writes
    process: Deliveries
    lanes: int = 1

    def killed(self, unit: str, point: int, moment: str) -> bool:
        """Deliver with a kill at this point, then again to the end; whether the kill found the delivery still alive."""
        self.start.restore()
        shop, folder = self.shop, self.shop.folder.path
        since, strangers = shop.crm.journal.total, shop.strangers()
        code, _ = self.process.run(folder, **{unit: (point, moment)})
        if code == 0:
            return False
        assert code == -signal.SIGKILL, f"the delivery ended with {code}"
        code, answers = self.process.run(folder, times=2)
        assert code == 0
        finished, unchanged = answers
        shop.assert_exact(finished)
        written = shop.writes(since)
        assert written.calls <= self.least.calls + self.lanes
        assert written.rows <= self.least.rows + self.lanes * UPSERTS
        if moment == "applied":
            # Who is on the list is settled by reading it, not by writing it again.
            assert written.added + written.removed == self.least.added + self.least.removed
        shop.assert_exact(unchanged)
        assert shop.writes(unchanged["since"]) == Writes()
        assert shop.strangers() == strangers
        return True

    def sweep(self, unit: str, moment: str) -> int:
        """Kill at the first such point, the second, …, until a delivery ends by itself; how many there were."""
        return next(point for point in itertools.count() if not self.killed(unit, point + 1, moment))


@pytest.fixture(scope="module")
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None), clock=ManualClock()) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def process(crm: HubSpotSimulator) -> Iterator[Deliveries]:
    with deliveries(crm) as running:
        yield running


def empty_account(shop: Shop) -> Writes:
    """Nothing is there: no list, not the property that one field needs, of the people only one."""
    shop.folder.config["audiences"]["buyers"]["fields"]["shop_name"] = "first_name"
    shop.folder.write()
    shop.crm.contacts.add({"email": "p000@x.org"})
    shop.sell(people(0, 30), orders=2)
    shop.settle()
    return Writes(2, upserted=30, added=30)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, crm: HubSpotSimulator, process: Deliveries) -> Small:
    shop = open_shop(tmp_path_factory.mktemp("first") / "shop", emptied(crm))
    least = empty_account(shop)
    return Small(shop, Snapshot.of(shop), least, process)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, crm: HubSpotSimulator, process: Deliveries) -> Small:
    shop = open_shop(tmp_path_factory.mktemp("second") / "shop", emptied(crm))
    least = changed_segment(shop)
    return Small(shop, Snapshot.of(shop), least, process)


@pytest.fixture(scope="module")
def postgresql(
    tmp_path_factory: pytest.TempPathFactory,
    crm: HubSpotSimulator,
    process: Deliveries,
    postgres: Postgres,
    postgres_template: str,
) -> Small:
    names = [postgres.create(postgres_template)]
    shop = open_shop(tmp_path_factory.mktemp("postgresql") / "shop", emptied(crm), postgres.url(names[0]))
    least = changed_segment(shop)

    def copy() -> str:
        """The store as it was, in place of the last such copy."""
        for name in names[1:]:
            postgres.drop(name)
        names[1:] = [postgres.create(names[0])]
        return postgres.url(names[1])

    return Small(shop, Snapshot.of(shop, copy), least, process)


@pytest.mark.parametrize("moment", ["before", "applied"])
def test_a_delivery_killed_at_any_call(second, moment):
    assert second.sweep("call", moment) == 10


@pytest.mark.slow
def test_a_delivery_killed_after_any_answer(second):
    """For the store this is the same as before the next call, or as before this answer; the last may come too late."""
    assert sum(second.killed("call", number, "answered") for number in range(1, 11)) >= 9


@pytest.mark.parametrize("moment", [pytest.param("before", marks=pytest.mark.slow), "applied"])
def test_a_first_delivery_killed_at_any_call(first, moment):
    """The list and the property are made once, whoever was killed while making them."""
    assert first.sweep("call", moment) == 7
    assert sorted(each.name for each in first.shop.crm.lists.lists.values()) == ["Buyers", "Press"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_delivery_killed_at_any_commit(second, moment):
    """Between an answer and its receipt's commit, and between that and the next call."""
    assert second.sweep("commit", moment) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_first_delivery_killed_at_any_commit(first, moment):
    assert first.sweep("commit", moment) >= 7


@pytest.fixture
def of_three_lanes(second: Small) -> Iterator[Small]:
    second.shop.configure(concurrency=3)
    yield replace(second, lanes=3)
    second.shop.configure(concurrency=1)


def test_a_delivery_of_several_lanes_killed_at_its_writes(of_three_lanes):
    """What was under way in every lane is written again at most."""
    assert all(of_three_lanes.killed("call", number, "applied") for number in (3, 5, 6, 8))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "applied"])
def test_a_delivery_of_several_lanes_killed_at_any_call(of_three_lanes, moment):
    assert of_three_lanes.sweep("call", moment) == 10


def test_a_delivery_from_postgresql_killed_at_its_writes(postgresql):
    assert all(postgresql.killed("call", number, "applied") for number in (4, 7, 9))


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "moment"), [("call", "before"), ("call", "applied"), ("commit", "before")])
def test_a_delivery_from_postgresql_killed_anywhere(postgresql, unit, moment):
    assert postgresql.sweep(unit, moment) >= 10
