"""Any weather: people who come, go and change, a vendor that fails, lists that lag, hands that edit them, and
deliveries that are killed, all at random and together. When it is over, the list is the segment.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.faults.deliveries import (
    LIST,
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

from switchyard.testing.simulator import Answer, Fault, ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

ROUNDS = 4
LANES = 3
FAULTS = [
    Answer(429, {"status": "error", "policyName": "TEN_SECONDLY_ROLLING", "message": "too many"}),
    Answer(429, "too many", {"retry-after": "11"}),
    Answer(500, {"status": "error"}),
    Answer(503),
    Answer(504, "upstream timed out"),
    Fault(drop="before"),
    Fault(drop="after"),
    Fault(truncate=40),
]


@pytest.fixture(scope="module")
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None), clock=ManualClock()) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def process(crm: HubSpotSimulator) -> Iterator[Deliveries]:
    with deliveries(crm) as running:
        yield running


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, crm: HubSpotSimulator) -> Snapshot:
    shop = open_shop(tmp_path_factory.mktemp("weather") / "shop", emptied(crm), list_lag=60, concurrency=LANES)
    changed_segment(shop)
    return Snapshot.of(shop)


@dataclass
class Weather:
    """What happens to a shop, drawn from one seed, and how much of what is written it excuses.

    Args:
        rows: that the deliveries had to write at least.
        excused: that went wrong, or were undone by hand, and had to be written again.
    """

    shop: Shop
    chance: random.Random
    rows: int = 0
    excused: int = 0

    def change_people(self) -> None:
        some = self.chance.sample(people(0, 400), 60)
        self.shop.sell(some[:30], orders=1, name=self.chance.choice(["Ann", "Bea", "Cleo"]))
        self.shop.sell(some[30:], orders=3)
        self.shop.require(self.chance.choice([2, 3, 4]))
        self.shop.settle()

    def edit_by_hand(self) -> None:
        crm = self.shop.crm
        held = crm.lists.named(LIST)
        if held is None:
            return
        if self.chance.random() < 0.2:
            crm.lists.remove(held.id)
            return
        gone = self.chance.sample(sorted(held.members), min(len(held.members), 5))
        crm.lists.take_off(held.id, map(str, gone))
        crm.lists.put_on(held.id, [crm.contacts.find("email", f"other{number}@y.org").id for number in range(3)])
        self.excused += 3 + 2 * len(gone)

    def blow(self) -> tuple[int, str] | None:
        """Let faults and edits come over the next delivery; the kill it meets, if any."""
        crm, chance = self.shop.crm, self.chance
        crm.script(None, "batch/upsert|memberships/add", self.faults(UPSERTS))
        crm.script(None, "", self.faults(0))
        crm.lists.lag = chance.choice([0, 0, 50])
        if chance.random() < 0.3:
            return None
        return chance.randrange(1, 16), chance.choice(["applied", "answered"])

    def faults(self, rows: int) -> Iterator[Answer | Fault | None]:
        """An edit by hand at one call in twenty, a fault at one in five; a fault excuses so many rows."""
        while True:
            drawn = self.chance.random()
            if drawn < 0.05:
                yield Fault(call=self.edit_by_hand)
            elif drawn < 0.25:
                self.excused += rows
                yield self.chance.choice(FAULTS)
            else:
                yield None

    def difference(self) -> int:
        """Rows that a delivery has to write now at least."""
        shown, wanted = self.shop.shown(), self.shop.buyers
        coming = wanted.keys() - shown.keys()
        renamed = {email for email in wanted.keys() & shown.keys() if wanted[email] != shown[email]}
        return 2 * len(coming) + len(renamed) + len(shown.keys() - wanted.keys())


def restore_list(crm: HubSpotSimulator) -> None:
    for entry in crm.lists.lists.values():
        entry.deleted = None


def check_weather(start: Snapshot, process: Deliveries, seed: int) -> None:
    start.restore()
    shop, crm, clock = start.shop, start.shop.crm, start.shop.crm.clock
    weather = Weather(shop, random.Random(seed))
    since, killed = crm.journal.total, 0
    for _ in range(ROUNDS):
        if weather.chance.random() < 0.4:
            weather.change_people()
        weather.rows += weather.difference()
        code, _ = process.run(shop.folder.path, call=weather.blow())
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        weather.excused += LANES * UPSERTS * (code != 0)
        crm.forget_script()
        clock.advance(weather.chance.choice([1, 30, 100]))
        restore_list(crm)
    crm.lists.lag = 0
    clock.advance(400)
    weather.rows += weather.difference()
    code, answers = process.run(shop.folder.path, times=2)
    assert code == 0
    shop.assert_exact(answers[0])
    written = shop.writes(since)
    print(f"seed {seed}: {killed} kills, {written.rows} rows written, {weather.rows} needed, {weather.excused} excused")
    assert written.rows <= weather.rows + weather.excused
    assert shop.writes(answers[1]["since"]) == Writes()
    shop.assert_exact(answers[1])
    assert sorted(each.name for each in crm.lists.lists.values()) == [LIST, "Press"]


@pytest.mark.parametrize("seed", range(3))
def test_when_the_weather_is_over_the_list_is_the_segment(start, process, seed):
    check_weather(start, process, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 60))
def test_when_any_of_many_weathers_is_over_the_list_is_the_segment(start, process, seed):
    check_weather(start, process, seed)
