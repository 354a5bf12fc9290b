"""The main job: ticket files in, people out, segments, and lists in HubSpot that are exactly those; on both stores."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from tests.projects import Folder, events_of, full_pass, rows_of, shop

from switchyard.app import audiences
from switchyard.app.syncs import sync_all
from switchyard.demo.retailer import Retailer
from switchyard.demo.truth import Truth
from switchyard.store.tables import AudienceMember, Quarantine
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

# So many lines that every till's own number stands on more people than the limit.
RETAILER = Retailer(seed=11, people=800, days=24, lines=15_000)
CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass
class World:
    """A shop with its drop folder filled, and its HubSpot."""

    folder: Folder
    crm: HubSpotSimulator
    truth: Truth

    def run(self) -> dict:
        with self.folder.hub() as hub:
            return full_pass(hub)

    def deliver(self, **options) -> dict:
        with self.folder.hub() as hub:
            (answer,) = audiences.deliver(hub, **options)
        return answer

    def segment_emails(self) -> set[str]:
        with self.folder.hub() as hub:
            hub.evaluation.refresh()
            query = "SELECT p.email FROM membership JOIN profile p USING (profile_id) WHERE segment = 'buyers'"
            return {email for (email,) in hub.working.connection.execute(query).fetchall() if email}

    def list_emails(self) -> set[str]:
        return self.crm.member_emails("Buyers")

    def writes(self, since: int) -> list[str]:
        calls = self.crm.calls(since=since)
        return [f"{c.method} {c.path}" for c in calls if c.method in CHANGES and not c.path.endswith("/batch/read")]

    def members(self) -> list[AudienceMember]:
        with self.folder.hub() as hub:
            return rows_of(hub.database, AudienceMember)


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def world(tmp_path: Path, database_url: str, crm: HubSpotSimulator) -> World:
    folder = shop(tmp_path / "shop", database_url, crm.url)
    return World(folder, crm, RETAILER.write_days(folder.drop))


@pytest.fixture
def small(tmp_path: Path, crm: HubSpotSimulator) -> World:
    """A few people on SQLite: `people` writes their tickets."""
    folder = shop(tmp_path / "shop", None, crm.url)
    return World(folder, crm, None)


_tickets = itertools.count(1)


def tickets(folder: Folder, *people: str, orders: int = 2, **columns: str) -> None:
    """Drop a file with so many orders of each of these people, each known by e-mail."""
    rows = io.StringIO()
    names = ["order_id", "line_no", "sold_at", "sku", "quantity", "price", "email", *columns]
    writer = csv.writer(rows)
    writer.writerow(names)
    for email in people:
        for _ in range(orders):
            number = next(_tickets)
            writer.writerow([f"T{number}", 1, "01/06/2026 10:00", "A", 1, "9.90", email, *columns.values()])
    folder.put(f"{next(_tickets):06d}.csv", rows.getvalue())


def test_files_become_people_orders_and_an_exact_list(world):
    truth, answer = world.truth, world.run()
    (synced,) = answer["syncs"]
    assert synced == {
        "connection": "tills",
        "stream": "lines",
        "read": truth.records,
        "mapped": truth.lines,
        "quarantined": len(truth.broken),
        "duplicates": truth.duplicates,
    }
    assert answer["profiles"] == truth.profiles
    with world.folder.hub() as hub:
        broken = {(row.origin, row.line, row.code) for row in rows_of(hub.database, Quarantine)}
        orders, refunds = events_of(hub.log, "order_completed"), events_of(hub.log, "order_refunded")
        lines = events_of(hub.log, "product_purchased")
    assert broken == {(each.file, each.line, each.problem) for each in truth.broken}
    assert (len(orders), len(refunds)) == (truth.orders, truth.refunds)
    assert sum(order["total"] for order in orders) * 100 == truth.revenue_cents
    assert sum(refund["total"] for refund in refunds) * 100 == truth.refunded_cents
    assert len(lines) == truth.lines - truth.void_lines - truth.refunds
    assert sum(len(order["items"]) for order in orders) == len(lines)

    (delivered,) = answer["deliveries"]
    assert delivered["exact"], delivered
    assert world.list_emails() == world.segment_emails() != set()
    assert delivered["wanted"] == delivered["held"] == len(world.list_emails())
    assert delivered["segment"] == delivered["wanted"] + delivered["skipped"]
    assert delivered["calls"] == world.crm.journal.total

    before = world.crm.journal.total
    again = world.run()
    assert world.writes(before) == []
    assert again["syncs"][0]["read"] == 0
    assert again["deliveries"][0]["exact"]
    assert [segment["entered"] + segment["left"] for segment in again["segments"]] == [0]


def test_members_are_those_an_independent_count_finds(world):
    """Buyers by counting orders per component in plain Python."""
    world.run()
    with world.folder.hub() as hub:
        profile_of = dict(
            hub.working.connection.execute("SELECT subject_id, profile_id FROM subject_profile").fetchall()
        )
        orders = Counter(profile_of.get(order["_subject"]) for order in events_of(hub.log, "order_completed"))
        members = {row for (row,) in hub.working.connection.execute("SELECT profile_id FROM membership").fetchall()}
    assert members == {profile for profile, count in orders.items() if profile and count >= 2}


def test_the_same_content_under_another_name_changes_nothing(world):
    world.run()
    before = world.crm.journal.total
    for path in sorted(world.folder.drop.iterdir()):
        (world.folder.drop / f"again-{path.name}").write_bytes(path.read_bytes())
    answer = world.run()
    assert answer["syncs"][0]["read"] == 0
    assert world.writes(before) == []


def test_lines_sent_again_in_another_file_are_duplicates(world):
    world.run()
    name = sorted(path.name for path in world.folder.drop.glob("*.csv"))[-1]
    text = (world.folder.drop / name).read_text(encoding="utf-8")
    world.folder.put("again.csv", text + text.splitlines()[-1].replace(",1,", ",99,", 1) + "\n")
    with world.folder.hub() as hub:
        (synced,) = sync_all(hub)
    broken = sum(each.file == name for each in world.truth.broken)
    assert synced["quarantined"] == broken
    assert synced["duplicates"] == synced["read"] - broken - synced["mapped"]
    assert synced["mapped"] <= 1


def test_hand_edits_of_a_list_are_repaired(small):
    tickets(small.folder, *(f"p{n}@x.org" for n in range(8)))
    small.run()
    held = small.crm.lists.named("Buyers")
    strangers = [small.crm.contacts.add({"email": f"stranger{n}@y.org"}).id for n in range(3)]
    small.crm.lists.put_on(held.id, strangers)
    gone = sorted(held.members)[:2]
    small.crm.lists.take_off(held.id, [str(each) for each in gone])
    answer = small.deliver()
    assert answer["exact"], answer
    assert (answer["added"], answer["removed"]) == (2, 3)
    assert small.list_emails() == small.segment_emails() == {f"p{n}@x.org" for n in range(8)}


def test_extra_members_may_stay_where_the_audience_says_so(small):
    small.folder.config["audiences"]["buyers"]["extra"] = "keep"
    small.folder.write()
    tickets(small.folder, "ann@x.org")
    small.run()
    held = small.crm.lists.named("Buyers")
    small.crm.lists.put_on(held.id, [small.crm.contacts.add({"email": "stranger@y.org"}).id])
    answer = small.deliver()
    assert answer["exact"], answer
    assert small.list_emails() == {"ann@x.org", "stranger@y.org"}


def test_a_contact_deleted_by_hand_is_made_again(small):
    tickets(small.folder, "ann@x.org", "bob@x.org")
    small.run()
    small.crm.contacts.archive(small.crm.contacts.find("email", "ann@x.org").id)
    first, second = small.deliver(), small.deliver()
    assert not first["exact"] or small.list_emails() == {"ann@x.org", "bob@x.org"}
    assert second["exact"], second
    assert small.list_emails() == {"ann@x.org", "bob@x.org"}


def test_contacts_merged_by_hand_keep_the_list_exact(small):
    tickets(small.folder, "ann@x.org", "bob@x.org", "cat@x.org")
    small.run()
    ann, bob = (small.crm.contacts.find("email", f"{name}@x.org").id for name in ("ann", "bob"))
    small.crm.contacts.merge(ann, bob)
    small.deliver()  # finds bob's record gone
    small.deliver()  # writes it anew, and learns that it is ann's
    before = small.crm.journal.total
    answer = small.deliver()
    assert answer["extra"] == 0
    assert answer["wanted"] == answer["held"] == 2
    assert small.writes(before) == []


def test_the_guard_stops_a_mass_removal_until_a_person_confirms_it(small):
    tickets(small.folder, *(f"p{n}@x.org" for n in range(40)))
    small.run()
    tickets(small.folder, "p0@x.org")
    small.folder.segments["buyers"] = "count(order_completed) >= 4"
    small.folder.write()
    before = small.crm.journal.total
    (blocked,) = small.run()["deliveries"]
    assert (blocked["exact"], blocked["blocked"], blocked["removed"]) == (False, 39, 0)
    assert blocked["extra"] == 39
    assert small.writes(before) == []
    assert len(small.list_emails()) == 40
    plan = small.deliver(dry_run=True)
    assert (plan["blocked"], plan["removed"]) == (39, 0)
    confirmed = small.deliver(confirm_removals=True)
    assert confirmed["exact"], confirmed
    assert small.list_emails() == {"p0@x.org"}


def test_a_refused_row_is_kept_with_the_vendors_reason_and_harms_nobody(small):
    tickets(small.folder, "ann@x.org", "refused@invalid", "bob@x.org")
    small.folder.config["identity"]["kinds"] = {}
    tickets(small.folder, "bad@local.test", "cat@x.org")
    small.folder.write()
    refused = small.crm.contacts.add({"email": "bad@local.test"})
    small.crm.contacts.erase(refused.id)  # the vendor blocks an erased address for ever
    small.run()
    answer = small.deliver()
    assert answer["rejected"] == 1
    assert answer["exact"], answer
    (row,) = [row for row in small.members() if row.state == "rejected"]
    assert row.code
    assert row.reason
    assert small.list_emails() == {"ann@x.org", "bob@x.org", "cat@x.org"}
    before = small.crm.journal.total
    small.run()
    assert small.writes(before) == []
    with small.folder.hub() as hub:
        shown = audiences.show(hub, "buyers")
    assert [(each["state"], each["reason"]) for each in shown["not_listed"]] == [("rejected", row.reason)]


def test_two_profiles_that_are_one_record_over_there(small):
    """The vendor knows that two addresses are one person; the hub does not."""
    merged = small.crm.contacts.add({"email": "ann@x.org"})
    other = small.crm.contacts.add({"email": "ann@work.org"})
    small.crm.contacts.merge(merged.id, other.id)
    tickets(small.folder, "ann@x.org")
    tickets(small.folder, "ann@work.org")
    (answer,) = small.run()["deliveries"]
    assert (answer["wanted"], answer["held"], answer["rejected"]) == (1, 1, 1)
    assert answer["exact"], answer
    (row,) = [row for row in small.members() if row.state == "rejected"]
    assert row.code == "same_record"
    before = small.crm.journal.total
    assert small.deliver()["exact"]
    assert small.writes(before) == []


def test_the_other_profile_takes_the_record_over_when_its_owner_leaves(small):
    merged = small.crm.contacts.add({"email": "ann@x.org"})
    other = small.crm.contacts.add({"email": "ann@work.org"})
    small.crm.contacts.merge(merged.id, other.id)
    tickets(small.folder, "ann@x.org", orders=2)
    tickets(small.folder, "ann@work.org", orders=3)
    small.run()
    small.folder.segments["buyers"] = "count(order_completed) >= 3"
    small.folder.write()
    for _ in range(2):
        (answer,) = small.run()["deliveries"]
    assert answer["exact"], answer
    assert (answer["segment"], answer["wanted"], answer["held"]) == (1, 1, 1)


def test_a_segment_that_was_never_evaluated_empties_no_list(small):
    tickets(small.folder, "ann@x.org", "bob@x.org")
    small.run()
    small.folder.config["audiences"]["buyers"]["segment"] = "byers"
    small.folder.segments["byers"] = "count(order_completed) >= 2"
    small.folder.write()
    answer = small.deliver()
    assert answer["exit_code"] == 2
    assert "byers" in answer["error"]
    assert small.list_emails() == {"ann@x.org", "bob@x.org"}


def test_a_deleted_list_is_an_error_and_never_silently_a_new_one(small):
    tickets(small.folder, "ann@x.org")
    small.run()
    small.crm.lists.remove(small.crm.lists.named("Buyers").id)
    before = small.crm.journal.total
    answer = small.deliver()
    assert answer["exit_code"] == 1
    assert "deleted" in answer["error"]
    assert small.writes(before) == []


def test_a_lost_answer_is_settled_by_reading_back(small):
    tickets(small.folder, *(f"p{n}@x.org" for n in range(5)))
    with small.folder.hub() as hub:
        sync_all(hub)
    small.crm.script("PUT", "add-and-remove", [Fault(drop="after")])
    (failed,) = small.run()["deliveries"]
    assert failed.get("error") or failed["exact"]
    small.crm.forget_script()
    before = small.crm.journal.total
    answer = small.deliver()
    assert answer["exact"], answer
    assert len(small.list_emails()) == 5
    small.deliver()
    assert [call for call in small.writes(before) if "batch" not in call][1:] == []


def test_a_failing_vendor_leaves_what_it_confirmed(small):
    tickets(small.folder, *(f"p{n}@x.org" for n in range(250)))
    small.crm.script("POST", "contacts/batch/(create|upsert)", [None, Answer(403, {"category": "MISSING_SCOPES"})])
    (failed,) = small.run()["deliveries"]
    assert "lacks scopes" in failed["error"]
    small.crm.forget_script()
    answer = small.deliver()
    assert answer["exact"], answer
    assert small.list_emails() == {f"p{n}@x.org" for n in range(250)}
    assert len(small.crm.contacts.records) == 250


def test_people_who_leave_the_segment_leave_the_list(small):
    tickets(small.folder, "ann@x.org", "bob@x.org", orders=3)
    tickets(small.folder, "cat@x.org", orders=2)
    small.run()
    small.folder.segments["buyers"] = "count(order_completed) >= 3"
    small.folder.write()
    (answer,) = small.run()["deliveries"]
    assert answer["exact"], answer
    assert small.list_emails() == {"ann@x.org", "bob@x.org"}
    assert len(small.crm.contacts.records) == 3, "their record stays"


def test_people_who_turn_out_to_be_one_have_one_place(small):
    tickets(small.folder, "ann@x.org")
    tickets(small.folder, "ann@work.org")
    small.run()
    assert small.list_emails() == {"ann@x.org", "ann@work.org"}
    for email in ("ann@x.org", "ann@work.org"):
        tickets(small.folder, email, orders=1, loyalty_card="77")
    for _ in range(2):
        (answer,) = small.run()["deliveries"]
    assert answer["exact"], answer
    assert answer["segment"] == answer["held"] == 1


def test_a_changed_field_is_sent_and_nothing_else(small):
    tickets(small.folder, "ann@x.org", "bob@x.org", first_name="Ann", customer_id="")
    small.run()
    before = small.crm.journal.total
    tickets(small.folder, "ann@x.org", orders=1, first_name="Anne", customer_id="")
    small.folder.put(
        "later.csv",
        "order_id,line_no,sold_at,sku,quantity,price,email,first_name\n"
        "L1,1,02/06/2026 10:00,A,1,9.90,ann@x.org,Annette\n",
    )
    (answer,) = small.run()["deliveries"]
    assert (answer["upserted"], answer["added"], answer["removed"]) == (1, 0, 0)
    assert small.crm.contacts.find("email", "ann@x.org").properties["firstname"] == "Annette"
    assert small.crm.contacts.find("email", "bob@x.org").properties["firstname"] == "Ann"
    assert len([call for call in small.writes(before) if "add-and-remove" in call]) == 0


def test_money_stays_exact(small):
    rows = [f"M{n},1,01/06/2026 10:00,A,1,0.10,ann@x.org" for n in range(30)]
    small.folder.put("m.csv", "order_id,line_no,sold_at,sku,quantity,price,email\n" + "\n".join(rows) + "\n")
    small.folder.segments["buyers"] = "sum(order_completed.total) = 3"
    small.folder.write()
    answer = small.run()
    assert answer["segments"][0]["members"] == 1
    with small.folder.hub() as hub:
        assert sum(order["total"] for order in events_of(hub.log, "order_completed")) == Decimal(3)
