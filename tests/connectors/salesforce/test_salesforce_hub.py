"""From an org to people and back: the default mappings, identity, an audience, and what comes back of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.projects import Folder, events_of, invariants, rows_of

from switchyard.app import commands
from switchyard.app.hub import Hub
from switchyard.store.tables import Quarantine, Subject
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.salesforce.simulator import SalesforceSimulator

from .conftest import SIGN_IN

__all__ = ["invariants"]


@pytest.fixture
def org(clock: ManualClock):
    with SalesforceSimulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
def folder(org: SalesforceSimulator, tmp_path: Path) -> Folder:
    crm = {"connector": "salesforce", "config": {"base_url": org.url, **SIGN_IN}}
    return Folder(tmp_path, {"hub": {"default_region": "AT"}, "connections": {"crm": crm}})


@pytest.fixture
def hub(folder: Folder) -> Iterator[Hub]:
    """The connection reads everything, and keeps a campaign."""
    fields = {"Email": "email", "Title": "title"}
    winners = {"segment": "winners", "connection": "crm", "list": "Winners", "key": "Email", "fields": fields}
    folder.config["audiences"] = {"winners": winners}
    folder.segments["winners"] = "did(opportunity_won)"
    with folder.write().hub() as hub:
        yield hub


@pytest.fixture
def reader(folder: Folder) -> Iterator[Hub]:
    """The connection reads contacts and leads alone, and keeps nothing."""
    folder.config["connections"]["crm"]["config"]["read"] = ["contacts", "leads"]
    with folder.write().hub() as hub:
        yield hub


def run(hub: Hub) -> dict[str, Any]:
    answer = commands.carry_out(hub, "run", {}, lambda *_: None)
    assert [sync for sync in answer["syncs"] if "error" in sync] == []
    assert rows_of(hub.database, Quarantine) == []
    kinds = ("campaign_joined", "lead_converted", "opportunity_created", "opportunity_won", "task_completed")
    subjects = rows_of(hub.database, Subject)
    profile = {subject.id: subject.profile_id for subject in subjects}
    answer["events"] = {
        kind: sorted(profile[event["_subject"]] for event in events_of(hub.log, kind)) for kind in kinds
    }
    answer["people"] = {subject.key: subject.profile_id for subject in subjects}
    answer["said"] = {
        subject.key: {name: value for name, (value, _) in json.loads(subject.attributes or "{}").items()}
        for subject in subjects
    }
    return answer


def test_everything_an_org_knows_of_a_person_is_one_profile(org, hub):
    campaign = org.add("Campaign", Name="spring")
    company = org.add("Account", Name="Acme", Phone="+43 1 234")
    ann = org.add("Contact", LastName="A", Email="ann@x.example", Phone="+43 1 234", AccountId=company)
    bob = org.add("Lead", LastName="B", Company="c", Email="bob@x.example")
    org.add("CampaignMember", CampaignId=campaign, ContactId=ann)
    org.add("CampaignMember", CampaignId=campaign, LeadId=bob)
    org.add("Task", Subject="call", Status="Completed", WhoId=bob)
    org.add("Task", Subject="nobody", Status="Completed")
    deal = {"Name": "o", "CloseDate": "2026-01-01", "Amount": 5, "ContactId": ann}
    org.add("Opportunity", StageName="Closed Won", IsClosed=True, IsWon=True, **deal)
    org.add("Opportunity", StageName="New", **deal)
    first = run(hub)
    people = first["people"]
    # Campaigns and companies are subjects, and nobody's profile.
    assert first["profiles"] == 2
    assert (people[campaign], people[company]) == (None, None)
    assert first["events"] == {
        "campaign_joined": [people[ann], people[bob]],
        "lead_converted": [],
        "opportunity_created": [people[ann]] * 2,
        "opportunity_won": [people[ann]],
        "task_completed": [people[bob]],
    }
    assert [(each["exact"], each["wanted"]) for each in first["deliveries"]] == [(True, 1)]
    assert org.member_ids(
        next(row["Id"] for row in org.store["Campaign"].rows.values() if row["Name"] == "Winners")
    ) == {ann}
    calls = org.journal.total
    again = run(hub)
    assert [call for call in org.calls(since=calls) if call.method != "GET" and "oauth2" not in call.path] == []
    # What the hub put on its own campaign is no event.
    assert again["events"] == first["events"]
    assert again["profiles"] == 2


def test_a_converted_lead_and_the_loser_of_a_merge_stay_one_person(org, reader):
    lead = org.add("Lead", LastName="B", Company="c", Email="b@x.example")
    winner = org.add("Contact", LastName="A", Email="a@x.example")
    loser = org.add("Contact", LastName="A", Email="other@x.example")
    assert run(reader)["profiles"] == 3
    org.life.convert_lead(lead)
    org.life.merge(winner, [loser])
    found = run(reader)
    contact = org.row(lead)["ConvertedContactId"]
    assert found["profiles"] == 2
    assert found["people"][lead] == found["people"][contact]
    assert found["people"][loser] == found["people"][winner]
    assert found["events"]["lead_converted"] == [found["people"][lead]]


def test_what_is_emptied_in_salesforce_is_taken_back(org, reader):
    person = org.add("Contact", LastName="A", Title="Dr", Email="a@x.example", MailingCity="Wien")
    assert {"title": "Dr", "city": "Wien"}.items() <= run(reader)["said"][person].items()
    org.writes.update("Contact", person, {"Title": None})
    said = run(reader)["said"][person]
    assert (said.get("title"), said["city"]) == (None, "Wien")
    org.life.delete(person)
    assert run(reader)["said"][person] == {}


def test_of_a_converted_lead_the_contact_speaks(org, reader):
    """A lead cannot be changed any more: a title taken from the contact would live on in it."""
    lead = org.add("Lead", LastName="B", Company="c", Title="Dr", Email="b@x.example")
    assert run(reader)["said"][lead]["title"] == "Dr"
    contact = org.life.convert_lead(lead)
    org.writes.update("Contact", contact, {"Title": None})
    found = run(reader)
    assert found["people"][lead] == found["people"][contact]
    assert "title" not in found["said"][lead].keys() | found["said"][contact].keys()
    assert found["said"][lead]["lead_status"] == "Closed - Converted"


def test_the_loser_of_a_merge_stays_with_its_winner_when_it_has_left_the_bin(org, reader, clock):
    winner, loser = (org.add("Contact", LastName=name, Email=f"{name}@x.example") for name in "WL")
    run(reader)
    org.life.merge(winner, [loser])
    assert run(reader)["profiles"] == 1
    org.life.empty_bin()
    clock.advance(3_600)
    found = run(reader)
    assert org.count("GET", "deleted") > 0
    assert found["people"][loser] == found["people"][winner]
    assert (found["said"][loser], found["said"][winner]["last_name"]) == ({}, "W")


def test_what_stands_in_for_a_name_is_no_name(org, reader):
    """The hub makes people with it, and would tell it to every other system when it comes back."""
    ann = org.add("Contact", LastName="[not provided]", Email="ann@x.example")
    lead = org.add("Lead", LastName="B", Company="[not provided]")
    said = run(reader)["said"]
    assert "last_name" not in said[ann]
    assert "company" not in said[lead]


def test_a_campaign_of_leads_stays_exact_when_one_is_converted(org, folder):
    """The membership goes over to the contact; taken off and put on anew it would lose what the person answered."""
    crm = folder.config["connections"]["crm"]["config"]
    crm |= {"read": ["contacts", "leads"], "people": "Lead"}
    doctors = {
        "segment": "doctors",
        "connection": "crm",
        "list": "Doctors",
        "key": "Email",
        "fields": {"Email": "email"},
    }
    folder.config["audiences"] = {"doctors": doctors}
    folder.segments["doctors"] = "title = 'Dr'"
    lead = org.add("Lead", LastName="B", Company="c", Title="Dr", Email="b@x.example")
    with folder.write().hub() as hub:
        assert run(hub)["deliveries"][0]["exact"]
        (before,) = [row["Id"] for row in org.store["CampaignMember"].rows.values()]
        contact = org.life.convert_lead(lead)
        found = run(hub)
        assert [(each["exact"], each["held"]) for each in found["deliveries"]] == [(True, 1)]
        members = org.store["CampaignMember"].rows.values()
        assert [(row["Id"], row["ContactId"], row["IsDeleted"]) for row in members] == [(before, contact, False)]
        calls = org.journal.total
        assert run(hub)["deliveries"][0]["exact"]
        assert [call for call in org.calls(since=calls) if call.method != "GET" and "oauth2" not in call.path] == []
