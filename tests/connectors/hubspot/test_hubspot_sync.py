"""The default mappings at work in a hub: one profile per person, whichever of HubSpot's streams told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from tests.projects import Folder, events_of, invariants, rows_of

from switchyard.app import commands
from switchyard.app.syncs import sync_all, sync_connection
from switchyard.store.tables import Subject
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC

__all__ = ["invariants"]

LONG_AGO = 1_700_000_000.0
READ = ["contacts", "companies", "deals", "lists", "list_memberships", "email_events", "form_submissions"]


@pytest.fixture
def crm():
    with HubSpotSimulator(Account(tier=None, custom=("cars",)), clock=ManualClock(LONG_AGO)) as simulator:
        yield simulator


@pytest.fixture
def folder(crm, tmp_path: Path) -> Folder:
    config: dict[str, Any] = {"token": STATIC, "base_url": crm.url, "tier": "none", "read": READ}
    config |= {"custom_objects": ["cars"], "associations": {"deals": ["contacts"], "cars": ["contacts"]}}
    connections = {"crm": {"connector": "hubspot", "config": config}}
    return Folder(tmp_path, {"connections": connections}).write()


def only(folder: Folder, *read: str) -> None:
    """Read these streams and no other."""
    folder.config["connections"]["crm"]["config"] |= {"read": [*read], "custom_objects": [], "associations": {}}
    folder.write()


def profiles(hub) -> dict[str, set[str]]:
    """Profile → keys of its subjects."""
    found: dict[str, set[str]] = {}
    for subject in rows_of(hub.database, Subject):
        found.setdefault(str(subject.profile_id or f"-{subject.id}"), set()).add(subject.key)
    return found


def synced(folder: Folder, *types: str):
    """Sync everything: the profiles, and the events of some types."""
    with folder.hub() as hub:
        for answer in sync_all(hub):
            assert "error" not in answer, answer
            assert answer["quarantined"] == 0, answer
        return profiles(hub), {name: events_of(hub.log, name) for name in types}


def test_all_streams_of_a_person_are_one_profile(crm, folder):
    ann = crm.contacts.add({"email": "ann@x.org", "firstname": "Ann", "hs_additional_emails": "ann@work.org"}).id
    deal = crm.deals.add({"dealname": "Big", "amount": "1200.5", "closedate": "2023-11-15T10:00:00Z"}).id
    crm.deals.update(deal, {"hs_is_closed_won": "true"})
    crm.properties_of("deals").define({"name": "hs_is_closed_won", "type": "bool"})
    crm.associations.join("deals", deal, "contacts", ann)
    car = crm.custom["cars"].add({"plate": "W-1"}).id
    crm.associations.join("cars", car, "contacts", ann)
    vip = crm.lists.add("vip").id
    crm.lists.put_on(vip, [ann])
    crm.marketing.email("Ann@Work.org", "OPEN")
    crm.marketing.email("ann@x.org", "CLICK", url="https://x.org")
    form = crm.marketing.add_form("Contact us")
    crm.marketing.submit(form, {"email": "ann@x.org", "message": "hello"})
    company = crm.companies.add({"name": "Acme", "domain": "acme.org"}).id
    kinds = ("email_opened", "email_clicked", "form_submitted", "list_joined", "deal_created", "deal_won")
    found, events = synced(folder, *kinds)
    people = sorted(found.values(), key=len)
    assert people[-1] == {
        ann, f"{ann}/ann@work.org", "ann@work.org", "ann@x.org",
    }  # fmt: skip
    assert sorted(people[:-1], key=str) == [{f"company:{company}"}, {f"list:{vip}"}]
    assert {name: len(rows) for name, rows in events.items()} == dict.fromkeys(kinds, 1)
    assert str(events["deal_won"][0]["amount"]) == "1200.5000"
    assert events["email_clicked"][0]["url"] == "https://x.org"
    assert events["form_submitted"][0]["form_name"] == "Contact us"
    again, events = synced(folder, *kinds)
    assert again == found
    assert {name: len(rows) for name, rows in events.items()} == dict.fromkeys(kinds, 1)


def test_a_contact_with_very_many_deals_is_still_one_profile(crm, folder):
    ann = crm.contacts.add({"email": "ann@x.org"}).id
    for number in range(30):
        deal = crm.deals.add({"dealname": f"Deal {number}"}).id
        crm.associations.join("deals", deal, "contacts", ann)
    crm.deals.add({"dealname": "Nobody's"})
    found, events = synced(folder, "deal_created")
    assert sorted(map(len, found.values())) == [1, 1]
    assert len(events["deal_created"]) == 31


def test_a_merge_in_hubspot_is_one_profile_here(crm, folder):
    only(folder, "contacts")
    one, two = (crm.contacts.add({"email": f"{name}@x.org"}).id for name in ("ann", "bob"))
    before, _ = synced(folder)
    assert len(before) == 2
    both = crm.contacts.merge(one, two)
    with folder.hub() as hub:
        # The simulator's clock stands still in the past, where an incremental read does not look any more.
        sync_connection(hub, "crm", "contacts", full=True)
        assert {one, two, both} <= max(profiles(hub).values(), key=len)


def test_a_deletion_in_hubspot_takes_back_what_was_said(crm, folder):
    only(folder, "contacts")
    ann = crm.contacts.add({"email": "ann@x.org", "firstname": "Ann"}).id
    synced(folder)
    crm.contacts.archive(ann)
    crm.contacts.records[ann].archived = 2e9
    folder.config["connections"]["crm"]["config"]["archived_every"] = 0
    folder.write()
    synced(folder)
    with folder.hub() as hub:
        with hub.database.read() as session:
            (subject,) = session.exec(select(Subject).where(Subject.key == ann)).all()
        assert "first_name" not in (subject.attributes or "")


def test_hubspot_is_told_of_who_enters_a_segment_and_who_leaves_it(crm, folder):
    only(folder, "contacts")
    crm.marketing.event_names = {"pe1_in", "pe1_out"}
    people = {name: crm.contacts.add({"email": f"{name}@x.org", "firstname": name}).id for name in ("Ann", "Bob")}
    account = {"token": STATIC, "base_url": crm.url, "tier": "none"}
    told = {"entered": "pe1_in", "left": "pe1_out", "properties": {"town": "town"}}
    folder.config["connections"]["told"] = {"connector": "hubspot_events", "config": account | told}
    folder.config["audiences"] = {
        "anns": {"segment": "anns", "connection": "told", "list": "Anns", "fields": {"email": "email", "town": "city"}}
    }
    folder.segments = {"anns": "first_name = 'Ann'"}
    folder.write()

    def events() -> list[tuple[str, str]]:
        sync_connection(hub, "crm", "contacts", full=True)
        commands.carry_out(hub, "run", {}, lambda *_: None)
        return [(event["eventName"], event["email"]) for event in crm.marketing.sent.values()]

    with folder.hub() as hub:
        assert events() == [("pe1_in", "ann@x.org")]
        assert events() == [("pe1_in", "ann@x.org")]
        crm.contacts.update(people["Ann"], {"firstname": "Anna"})
        crm.contacts.update(people["Bob"], {"firstname": "Ann"})
        assert sorted(events()) == [("pe1_in", "ann@x.org"), ("pe1_in", "bob@x.org"), ("pe1_out", "ann@x.org")]


def test_somebody_erased_in_hubspot_whom_another_source_knows_is_not_made_again(crm, folder):
    crm.contacts.add({"email": "ann@x.org", "firstname": "Ann"})
    folder.put("tills.csv", "order_id,sold_at,sku,quantity,price,email\n1,2026-01-05,MUG,1,9.90,ann@x.org\n")
    only(folder)
    folder.config["connections"]["tills"] = {"connector": "pos_csv", "config": {"folder": "drop", "ready": "rename"}}
    audience = {"segment": "buyers", "connection": "crm", "list": "Buyers", "fields": {"email": "email"}}
    folder.config["audiences"] = {"buyers": audience}
    folder.segments = {"buyers": "count(order_completed) >= 1"}
    folder.write()
    with folder.hub() as hub:
        (told,) = commands.carry_out(hub, "run", {}, lambda *_: None)["deliveries"]
        assert (told["wanted"], told["held"]) == (1, 1)
        crm.contacts.erase(crm.contacts.find("email", "ann@x.org").id)
        for _ in range(2):
            commands.carry_out(hub, "run", {}, lambda *_: None)
        before = crm.journal.total
        (told,) = commands.carry_out(hub, "run", {}, lambda *_: None)["deliveries"]
    assert (told["rejected"], told["wanted"], told["held"], told["exact"]) == (1, 0, 0, True)
    assert (len(crm.contacts.records), crm.member_emails("Buyers")) == (0, set())
    # Nor is it tried for ever.
    assert {call.method for call in crm.calls(since=before)} == {"GET"}
