"""What the functions behind `deliver` and `audiences` answer; the vendor is simulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlmodel import select
from tests.projects import Folder, full_pass, rows_of, shop

from switchyard.api.errors import ConfigError
from switchyard.app import audiences
from switchyard.store.tables import AccountBudget, Run
from switchyard.testing.simulator import Answer
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

HEADER = "order_id,line_no,sold_at,sku,quantity,price,email,phone\n"


@dataclass
class Shop:
    """Buyers with two orders each: `sell` takes their e-mails, or phone numbers where they begin with +."""

    folder: Folder
    crm: HubSpotSimulator
    sold: int = 0

    def sell(self, *people: str) -> None:
        rows = []
        for person in people * 2:
            self.sold += 1
            email, phone = ("", person) if person.startswith("+") else (person, "")
            rows.append(f"T{self.sold},1,01/06/2026 10:00,A,1,9.90,{email},{phone}\n")
        self.folder.put(f"{self.sold:06}.csv", HEADER + "".join(rows))

    def run(self) -> dict:
        with self.folder.hub() as hub:
            return full_pass(hub)

    def deliver(self, **options) -> dict:
        with self.folder.hub() as hub:
            (answer,) = audiences.deliver(hub, "buyers", **options)
        return answer

    def require(self, orders: int) -> None:
        self.folder.segments["buyers"] = f"count(order_completed) >= {orders}"
        self.folder.write()


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def buyers(tmp_path: Path, crm: HubSpotSimulator) -> Shop:
    return Shop(shop(tmp_path / "shop", None, crm.url), crm)


def test_a_hub_without_anybody_keeps_an_empty_list(buyers: Shop) -> None:
    (delivered,) = buyers.run()["deliveries"]
    assert delivered["exact"], delivered
    assert buyers.crm.member_emails("Buyers") == set()


def test_a_deleted_list_is_replaced_by_consent_only(buyers: Shop) -> None:
    buyers.sell("ann@x.org", "bob@x.org")
    buyers.run()
    buyers.crm.lists.remove(buyers.crm.lists.named("Buyers").id)
    failed = buyers.deliver()
    assert failed["exit_code"] == 1
    assert failed["error"].endswith("or start a new list with: switchyard deliver buyers --recreate-list")
    assert buyers.crm.lists.named("Buyers") is None
    again = buyers.deliver(recreate_list=True)
    assert again["exact"], again
    assert (again["upserted"], again["added"]) == (0, 2)
    assert buyers.crm.member_emails("Buyers") == {"ann@x.org", "bob@x.org"}
    assert buyers.deliver()["exact"]


def test_it_has_to_be_said_which_list_is_to_be_a_new_one(buyers: Shop) -> None:
    with buyers.folder.hub() as hub, pytest.raises(ConfigError, match="say which list"):
        audiences.deliver(hub, recreate_list=True)


def test_another_name_in_the_configuration_changes_no_list_by_itself(buyers: Shop) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    buyers.folder.config["audiences"]["buyers"]["list"] = "Fans"
    buyers.folder.write()
    for answer in (buyers.deliver(dry_run=True), buyers.deliver()):
        assert answer["list"] == "Buyers"
        assert "names the list 'Fans', and 'Buyers' is still the one" in answer["notes"][0]
    moved = buyers.deliver(recreate_list=True)
    assert (moved["list"], moved["exact"], moved["notes"]) == ("Fans", True, [])
    assert buyers.crm.member_emails("Fans") == buyers.crm.member_emails("Buyers") == {"ann@x.org"}


def test_a_dry_run_tells_of_an_edit_that_no_evaluation_has_seen(buyers: Shop) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    assert buyers.deliver(dry_run=True)["notes"] == []
    buyers.require(5)
    (note,) = buyers.deliver(dry_run=True)["notes"]
    assert "segment 'buyers' was edited since it was evaluated" in note


def test_a_dry_run_says_what_the_guard_would_hold_back(buyers: Shop) -> None:
    buyers.folder.config["audiences"]["buyers"]["guard"] = {"max_removal": 0}
    buyers.folder.write()
    buyers.sell("ann@x.org")
    buyers.run()
    buyers.require(5)
    buyers.run()
    answer = buyers.deliver(dry_run=True)
    assert (answer["blocked"], answer["removed"]) == (1, 0)
    assert answer["notes"][0].endswith("switchyard deliver buyers --confirm-removals")


def test_a_verification_is_a_run_of_its_own_kind(buyers: Shop) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    with buyers.folder.hub() as hub:
        (answer,) = audiences.verify(hub)
        last = rows_of(hub.database, Run)[-1]
    assert answer["exact"]
    assert (last.kind, last.name, last.state) == ("verify", "buyers", "done")


def test_who_cannot_be_delivered_is_shown_with_the_reason(buyers: Shop) -> None:
    buyers.sell("ann@x.org", "+33612345678")
    buyers.run()
    with buyers.folder.hub() as hub:
        shown = audiences.show(hub, "buyers")
    assert shown["members"] == {"verified": 1, "skipped": 1}
    ((skipped),) = shown["not_listed"]
    assert (skipped["state"], skipped["reason"]) == ("skipped", "has no email")


def test_a_quota_that_ends_ends_the_delivery_until_the_next_day(buyers: Shop, crm: HubSpotSimulator) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    crm.script("GET", "memberships", [Answer(429, {"policyName": "DAILY", "message": "daily limit"})])
    failed = buyers.deliver()
    assert failed["exit_code"] == 4
    assert "the read-back wait until" in failed["error"]
    crm.forget_script()
    calls = crm.journal.total
    assert buyers.deliver()["exit_code"] == 4
    assert crm.journal.total == calls, "the hub remembers over its restart that the quota is used up"


@pytest.mark.parametrize(("left", "added", "waits"), [(5, 1, ""), (4, 1, "the read-back"), (3, 0, "1 people")])
def test_what_the_quota_leaves_is_used_and_the_rest_waits(
    buyers: Shop, crm: HubSpotSimulator, left: int, added: int, waits: str
) -> None:
    """To find the list, look at the properties, write bob, put him on it and read it back takes five calls."""
    buyers.sell("ann@x.org")
    buyers.run()
    buyers.sell("bob@x.org")
    with buyers.folder.hub() as hub, hub.database.write() as session:
        row = session.exec(select(AccountBudget)).one()
        row.state = {**row.state, "used": {"default": 1_000_000 - left}}
    (answer,) = buyers.run()["deliveries"]
    assert answer["added"] == added
    if left == 5:
        assert answer["exact"]
        return
    assert (answer["exact"], answer["exit_code"]) == (False, 4)
    assert f"{waits} " in answer["error"]
    with buyers.folder.hub() as hub, hub.database.write() as session:
        row = session.exec(select(AccountBudget)).one()
        row.state = {**row.state, "used": {}}
    assert buyers.deliver()["exact"]
    assert crm.member_emails("Buyers") == {"ann@x.org", "bob@x.org"}
