from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.connectors.salesforce.simulator_client import Client, codes, records, signed_in

from switchyard.testing.simulator import Slow

MEMBERS = "/composite/sobjects"


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


@pytest.fixture
def campaign(client) -> str:
    return client.simulator.add("Campaign", Name="vip")


def contact(client: Client, name: str = "Ann", **values: object) -> str:
    return client.simulator.add("Contact", LastName=name, **values)


def lead(client: Client, name: str = "Leo") -> str:
    return client.simulator.add("Lead", LastName=name, Company="ACME")


def add(client: Client, campaign: str, *people: str, **values: object):
    rows = [
        {"CampaignId": campaign, "ContactId" if each.startswith("003") else "LeadId": each, **values} for each in people
    ]
    return client.post(MEMBERS, records("CampaignMember", rows))


def test_a_person_is_a_member_once(client, campaign):
    ann, leo = contact(client), lead(client)
    assert codes(add(client, campaign, ann, leo)) == [None, None]
    again = add(client, campaign, ann, leo)
    assert codes(again) == ["DUPLICATE_VALUE", "DUPLICATE_VALUE"]
    assert again.json()[0]["errors"][0]["message"] == "Already a campaign member."
    assert client.simulator.member_ids(campaign) == {ann, leo}


def test_a_member_needs_a_person_who_is_there(client, campaign):
    gone = contact(client, "Gone")
    client.simulator.life.delete(gone)
    rows = [
        {"CampaignId": campaign},
        {"ContactId": contact(client)},
        {"CampaignId": campaign, "ContactId": gone},
        {"CampaignId": campaign, "ContactId": "0035g0000000099AAA"},
    ]
    assert codes(client.post(MEMBERS, records("CampaignMember", rows))) == [
        "REQUIRED_FIELD_MISSING",
        "REQUIRED_FIELD_MISSING",
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
    ]


def test_of_contact_and_lead_the_contact_counts(client, campaign):
    ann, leo = contact(client), lead(client)
    rows = [{"CampaignId": campaign, "ContactId": ann, "LeadId": leo}]
    (made,) = client.post(MEMBERS, records("CampaignMember", rows)).json()
    assert (client.simulator.row(made["id"])["ContactId"], client.simulator.row(made["id"])["LeadId"]) == (ann, None)


def test_a_status_that_the_campaign_lacks_becomes_the_default_one(client, campaign):
    ann, bob = contact(client), contact(client, "Bob")
    query = f"SELECT Label, IsDefault, HasResponded FROM CampaignMemberStatus WHERE CampaignId = '{campaign}'"
    assert client.rows(query) == [
        {"Label": "Sent", "IsDefault": True, "HasResponded": False},
        {"Label": "Responded", "IsDefault": False, "HasResponded": True},
    ]
    add(client, campaign, ann, Status="Gold")
    client.post("/sobjects/CampaignMemberStatus", {"CampaignId": campaign, "Label": "Gold", "HasResponded": True})
    add(client, campaign, bob, Status="gold")
    assert client.rows("SELECT Status, HasResponded FROM CampaignMember") == [
        {"Status": "Sent", "HasResponded": False},
        {"Status": "Gold", "HasResponded": True},
    ]


def test_a_status_changes_by_the_member_and_the_campaign_counts_responses_without_a_stamp(client, campaign):
    ann = contact(client)
    member = add(client, campaign, ann).json()[0]["id"]
    before = client.simulator.row(campaign)["SystemModstamp"]
    client.clock.advance(60)
    rows = records("CampaignMember", [{"Id": member, "Status": "Responded"}])
    assert codes(client.patch(MEMBERS, rows)) == [None]
    assert client.rows("SELECT NumberOfContacts, NumberOfLeads, NumberOfResponses, SystemModstamp FROM Campaign") == [
        {"NumberOfContacts": 1, "NumberOfLeads": 0, "NumberOfResponses": 1, "SystemModstamp": before}
    ]


def test_the_campaign_of_a_member_cannot_be_changed(client, campaign):
    member = add(client, campaign, contact(client)).json()[0]["id"]
    other = client.simulator.add("Campaign", Name="other")
    rows = records("CampaignMember", [{"Id": member, "CampaignId": other}])
    assert codes(client.patch(MEMBERS, rows)) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]


def test_members_go_with_the_person_and_with_the_campaign(client, campaign):
    ann, bob = contact(client), contact(client, "Bob")
    add(client, campaign, ann, bob)
    client.simulator.life.delete(ann)
    assert client.simulator.member_ids(campaign) == {bob}
    client.simulator.life.delete(campaign)
    assert client.values("SELECT Id FROM CampaignMember") == []
    assert len(client.values("SELECT Id FROM CampaignMember", deleted=True)) == 2


def test_two_requests_to_one_campaign_at_once_lock_each_others_rows(client, campaign):
    other = client.simulator.add("Campaign", Name="other")
    people = [contact(client, f"P{each}") for each in range(3)]
    client.simulator.slow = [Slow(0.2, method="POST")]
    with ThreadPoolExecutor(3) as pool:
        places = ((campaign, people[0]), (campaign, people[1]), (other, people[2]))
        found = [codes(each) for each in pool.map(lambda place: add(client, *place), places)]
    assert sorted(found[:2], key=str) == [["UNABLE_TO_LOCK_ROW"], [None]]
    assert found[2] == [None]
    client.simulator.slow = []
    assert sorted(codes(add(client, campaign, *people[:2])), key=str) == ["DUPLICATE_VALUE", None]


def test_a_delete_locks_the_campaign_of_the_member(client, campaign):
    first, second = contact(client), contact(client, "Bob")
    member = add(client, campaign, first).json()[0]["id"]
    client.simulator.slow = [Slow(0.2, method="DELETE"), Slow(0.1, method="POST")]
    arrived = client.arrival()
    with ThreadPoolExecutor(2) as pool:
        removing = pool.submit(client.delete, MEMBERS, ids=member)
        arrived.wait()
        adding = pool.submit(add, client, campaign, second)
    assert codes(removing.result()) == [None]
    assert codes(adding.result()) == ["UNABLE_TO_LOCK_ROW"]


def test_a_converted_lead_takes_its_memberships_to_the_contact(client, campaign):
    other = client.simulator.add("Campaign", Name="other")
    leo, ann = lead(client), contact(client)
    add(client, campaign, leo)
    add(client, other, leo, ann)
    assert client.simulator.life.convert_lead(leo, ann) == ann
    assert client.simulator.member_ids(campaign) == client.simulator.member_ids(other) == {ann}
    assert codes(add(client, campaign, leo)) == ["CANNOT_UPDATE_CONVERTED_LEAD"]
    rows = records("Lead", [{"Id": leo, "Phone": "1"}])
    assert codes(client.patch(MEMBERS, rows)) == ["CANNOT_UPDATE_CONVERTED_LEAD"]
    assert client.values(f"SELECT ConvertedContactId FROM Lead WHERE Id = '{leo}'") == [ann]
