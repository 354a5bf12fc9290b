"""People who edit the list and the contacts in the vendor's own tool, between deliveries and during them; and a tool
that shows edits late. The list is the segment afterwards, and nothing is written that need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.faults.deliveries import (
    LIST,
    UPSERTS,
    Shop,
    Snapshot,
    Writes,
    changed_segment,
    emptied,
    open_shop,
    people,
)
from tests.faults.waiting import paced_by

from switchyard.api.budget import Budget
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

STAYING, LEAVING, COMING = people(150, 230), people(0, 60), people(230, 350)
SOME = (1, 4, 7, 9)
REST = [pytest.param(call, marks=pytest.mark.slow) for call in (2, 3, 5, 6, 8, 10)]
"""Calls of the delivery: the list, the properties, three with contacts, three with members, two that read back."""


@pytest.fixture(scope="module")
def clock() -> Iterator[ManualClock]:
    clock = ManualClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget.__init__, "__kwdefaults__", paced_by(clock))
        yield clock


@pytest.fixture(scope="module")
def crm(clock: ManualClock) -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None), clock=clock) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, crm: HubSpotSimulator) -> tuple[Snapshot, Writes]:
    shop = open_shop(tmp_path_factory.mktemp("edits") / "shop", emptied(crm))
    least = changed_segment(shop)
    return Snapshot.of(shop), least


@pytest.fixture
def least(start: tuple[Snapshot, Writes]) -> Writes:
    return start[1]


@pytest.fixture
def shop(start: tuple[Snapshot, Writes]) -> Shop:
    start[0].restore()
    return start[0].shop


def ids(crm: HubSpotSimulator, emails: list[str]) -> list[str]:
    return [crm.contacts.find("email", email).id for email in emails]


def others(crm: HubSpotSimulator) -> list[str]:
    """People who are not the shop's."""
    return ids(crm, [f"other{number}@y.org" for number in range(5)])


def list_id(crm: HubSpotSimulator) -> str:
    return crm.lists.named(LIST).id


def edit(shop: Shop, call: int | None, change: Callable[[HubSpotSimulator], None]) -> None:
    """Let somebody make this change now, or when the vendor has carried out the n-th call from now."""
    if call is None:
        change(shop.crm)
    else:
        shop.crm.at_call(shop.crm.journal.total + call, lambda: change(shop.crm), "applied")


def meddle(crm: HubSpotSimulator) -> None:
    """Put five strangers on the list, take off three who are to stay, put back two who are to go."""
    crm.lists.put_on(list_id(crm), others(crm) + ids(crm, LEAVING[:2]))
    crm.lists.take_off(list_id(crm), ids(crm, STAYING[:3]))


UNDONE = 5 + 2 + 2 * 3
"""Rows that undo this at most: a member who was taken off is looked up, in case the record has another id by now."""


@pytest.mark.parametrize("call", [None, *SOME, *REST])
def test_edits_between_deliveries_and_during_one_are_undone(shop, least, crm, call):
    edit(shop, call, meddle)
    first, second, third = shop.deliver(3)
    if call is None:
        shop.assert_exact(first)
    shop.assert_exact(second)
    assert shop.writes(first["since"]).rows <= least.rows + UNDONE
    assert shop.writes(third["since"]) == Writes()


def test_a_renamed_list_is_the_same_list(shop, least, crm):
    crm.lists.rename(list_id(crm), "People who bought")
    (answer,) = shop.deliver()
    crm.lists.rename(crm.lists.named("People who bought").id, LIST)
    shop.assert_exact(answer)
    assert shop.writes(answer["since"]) == least


@pytest.mark.parametrize("call", [*SOME, *REST])
def test_a_list_deleted_at_any_call_stops_deliveries_until_it_is_restored(shop, least, crm, call):
    known, lists = list_id(crm), len(crm.lists.lists)
    crm.at_call(crm.journal.total + call, lambda: crm.lists.remove(known), "before")
    first, second = shop.deliver(2)
    for answer in (first, second):
        assert answer["exit_code"] == 1
        assert "deleted" in answer["error"]
    assert shop.writes(second["since"]) == Writes()
    assert len(crm.lists.lists) == lists, "a list was made in place of the deleted one"
    crm.lists.bring_back(known)
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    written = shop.writes(first["since"])
    assert written.calls <= least.calls + 1
    assert written.rows <= least.rows + UPSERTS


def test_another_list_of_the_same_name_is_not_taken_for_the_deleted_one(shop, crm):
    crm.lists.remove(list_id(crm))
    crm.lists.put_on(crm.lists.add(LIST).id, others(crm))
    since, strangers = crm.journal.total, shop.strangers()
    (answer,) = shop.deliver()
    assert "deleted" in answer["error"]
    assert shop.writes(since) == Writes()
    assert shop.strangers() == strangers


def merge_members(crm: HubSpotSimulator) -> None:
    """Two who stay become one record."""
    one, other = ids(crm, STAYING[:2])
    crm.contacts.merge(one, other)


def merge_into_stranger(crm: HubSpotSimulator) -> None:
    """One who stays becomes one record with somebody the shop does not know; so does one who is to go."""
    crm.contacts.merge(others(crm)[0], *ids(crm, STAYING[:1]))
    crm.contacts.merge(others(crm)[1], *ids(crm, LEAVING[:1]))


def merge_leaver(crm: HubSpotSimulator) -> None:
    """One who is to go and one who stays become one record, which stays."""
    one, other = ids(crm, [STAYING[0], LEAVING[0]])
    crm.contacts.merge(one, other)


def archive(crm: HubSpotSimulator) -> None:
    """Some contacts are deleted: of those who stay, and of those who go."""
    for record_id in ids(crm, STAYING[:3] + LEAVING[:3]):
        crm.contacts.archive(record_id)


def merge_then_archive(crm: HubSpotSimulator) -> None:
    merge_members(crm)
    crm.contacts.archive(*ids(crm, STAYING[:1]))


def assert_right_records(shop: Shop) -> None:
    """On the list are the records of those who are to be on it, under whatever address the vendor knows them."""
    wanted = {int(record_id) for record_id in ids(shop.crm, list(shop.buyers))}
    assert shop.crm.lists.named(LIST).members.keys() == wanted


@pytest.mark.parametrize(
    "keeps_id", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["under a new id", "under the old id"]
)
@pytest.mark.parametrize("call", [None, 7, *REST])
@pytest.mark.parametrize("change", [merge_members, merge_into_stranger, merge_leaver, archive, merge_then_archive])
def test_contacts_merged_and_deleted_between_deliveries_and_during_one(shop, least, crm, change, call, keeps_id):
    crm.contacts.merges_keep_id = keeps_id
    edit(shop, call, change)
    first, *_, third, fourth = shop.deliver(4)
    assert third["exact"], third
    assert_right_records(shop)
    written = shop.writes(first["since"])
    assert written.calls <= least.calls + 6
    assert written.rows <= least.rows + 6 * 8
    assert fourth["exact"], fourth
    assert shop.writes(fourth["since"]) == Writes()


@pytest.mark.parametrize("call", [None, 7, *REST])
def test_contacts_erased_for_good_stay_away_and_harm_nobody(shop, crm, call):
    gone = STAYING[:2] + COMING[:2]
    for email in COMING[:2]:
        crm.contacts.add({"email": email})
    edit(shop, call, lambda crm: [crm.contacts.erase(each) for each in ids(crm, gone)])
    *_, third, fourth = shop.deliver(4)
    assert third["exact"], third
    assert third["rejected"] == 4
    assert shop.held() == shop.buyers.keys() - set(gone)
    assert shop.writes(fourth["since"]) == Writes()


@pytest.fixture
def slow_lists(shop: Shop, crm: HubSpotSimulator) -> Iterator[Callable[[float, float], None]]:
    """Sets how late the vendor's lists show changes, and how late the hub is told that they may."""

    def set_lag(real: float, told: float) -> None:
        crm.lists.lag = real
        shop.configure(list_lag=told)

    yield set_lag
    set_lag(0, 0)


@pytest.mark.parametrize(("times", "pause"), [(8, 1), (8, 45)])
def test_a_list_that_shows_changes_late_is_written_once(shop, least, crm, clock, slow_lists, times, pause):
    """Delivered again and again, before the list shows anything, while it shows a part, and after."""
    slow_lists(120, 150)
    since = crm.journal.total
    for answer in shop.deliver(times, pause):
        assert "error" not in answer
        assert (answer["missing"], answer["extra"]) == (0, 0), "what is not shown yet is taken for a hand edit"
    assert shop.held() == shop.buyers.keys()
    clock.advance(300)
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.writes(since) == least


def test_people_who_come_and_go_while_the_list_shows_changes_late(shop, least, crm, clock, slow_lists):
    slow_lists(120, 150)
    (answer,) = shop.deliver()
    since, rows = answer["since"], least.rows
    for step in range(3):
        # The same forty go and come back, and each time others come for the first time.
        shop.require(4 if step % 2 == 0 else 3)
        shop.sell(people(400 + 10 * step, 410 + 10 * step), orders=4)
        shop.settle()
        held, wanted = shop.held(), shop.buyers.keys()
        rows += len(held ^ wanted) + len(wanted - held)
        (answer,) = shop.deliver()
        assert "error" not in answer
        assert shop.held() == wanted
        assert shop.writes(since).rows <= rows
        clock.advance(20)
    clock.advance(300)
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    assert shop.writes(since).rows <= rows


def test_hand_edits_of_a_list_that_shows_changes_late(shop, least, crm, clock, slow_lists):
    slow_lists(120, 150)
    (first,) = shop.deliver()
    meddle(crm)
    clock.advance(40)
    shop.assert_exact(shop.deliver(8, 40)[-1])
    assert shop.writes(first["since"]).rows <= least.rows + UNDONE


def test_a_list_that_is_later_than_it_should_be_still_ends_as_the_segment(shop, slow_lists):
    slow_lists(120, 0)
    shop.deliver(8, 40)
    assert shop.held() == shop.buyers.keys()
    shop.assert_exact(shop.deliver()[0])
