"""What changed, what is gone, and what people do inside the simulated org."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.connectors.salesforce.simulator_client import Client, code, signed_in


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        client.simulator.auth.life = 1e9
        client.sign_in()
        yield client


def window(client: Client, which: str, start: float = -3_600, end: float = 60):
    """What the log says of contacts between two instants, in seconds from now."""

    def at(seconds: float) -> str:
        return datetime.fromtimestamp(client.clock() + seconds, UTC).isoformat(timespec="seconds")

    return client.get(f"/sobjects/Contact/{which}/", start=at(start), end=at(end))


def gone(client: Client) -> set[str]:
    return {each["id"] for each in window(client, "deleted").json()["deletedRecords"]}


def test_hard_deletes_are_seen_in_the_log_alone(client):
    binned, purged, kept = (client.simulator.add("Contact", LastName=name) for name in ("A", "B", "C"))
    client.simulator.life.delete(binned)
    client.simulator.life.hard_delete(purged)
    assert gone(client) == {binned, purged}
    assert client.values("SELECT Id FROM Contact WHERE IsDeleted = true", deleted=True) == [binned]
    assert window(client, "updated").json()["ids"] == [kept]
    client.simulator.life.empty_bin()
    assert client.values("SELECT Id FROM Contact", deleted=True) == [kept]
    assert gone(client) == {binned, purged}


def test_what_is_brought_back_is_deleted_no_more(client):
    ann = client.simulator.add("Contact", LastName="Ann")
    client.simulator.life.delete(ann)
    client.simulator.life.undelete(ann)
    assert gone(client) == set()
    assert client.values("SELECT Id FROM Contact") == [ann]


def test_the_log_goes_back_so_many_days(client):
    day = 86_400
    assert window(client, "deleted", -15 * day).status_code == 200
    assert code(window(client, "deleted", -15 * day - 60)) == (400, "INVALID_REPLICATION_DATE")
    assert window(client, "updated", -30 * day).status_code == 200
    assert code(window(client, "updated", -30 * day - 60)) == (400, "INVALID_REPLICATION_DATE")
    assert code(window(client, "deleted", -70, -70)) == (400, "INVALID_REPLICATION_DATE")


def test_the_log_says_how_far_it_reaches(client):
    client.simulator.replication.lag = 300.0
    client.simulator.replication.purged = client.clock() - 600
    answer = window(client, "deleted").json()
    assert answer["latestDateCovered"] == "2026-09-21T14:08:20.000+0000"
    assert answer["earliestDateAvailable"] == "2026-09-21T14:03:20.000+0000"


def test_too_many_ids_for_one_answer(client):
    client.simulator.replication.most = 1
    for name in ("Ann", "Bob"):
        client.simulator.add("Contact", LastName=name)
    assert code(window(client, "updated")) == (400, "EXCEEDED_ID_LIMIT")


def test_seconds_of_a_window_are_left_out_of_account(client):
    client.clock.advance(-20)  # 14:13:00
    ann = client.simulator.add("Contact", LastName="Ann")
    client.clock.advance(50)
    assert window(client, "updated", -49, 60).json()["ids"] == [ann]


def test_a_merge_leaves_the_winner_with_what_both_had(client):
    account = client.simulator.add("Account", Name="ACME")
    campaign, other = (client.simulator.add("Campaign", Name=name) for name in ("vip", "other"))
    ann = client.simulator.add("Contact", LastName="Ann", Email="ann@x.example", Ext__c="1")
    bob = client.simulator.add("Contact", LastName="Bob", Phone="5", Ext__c="2", AccountId=account)
    for person, where in ((ann, campaign), (bob, campaign), (bob, other)):
        client.simulator.add("CampaignMember", CampaignId=where, ContactId=person)
    task = client.simulator.add("Task", WhoId=bob, Subject="call")
    client.clock.advance(60)
    client.simulator.life.merge(ann, [bob])
    winner, loser = client.simulator.row(ann), client.simulator.row(bob)
    assert (winner["LastName"], winner["Phone"], winner["Ext__c"], winner["AccountId"]) == ("Ann", "5", "1", account)
    assert winner["SystemModstamp"] == loser["SystemModstamp"] == "2026-09-21T14:14:20.000+0000"
    assert (loser["IsDeleted"], loser["MasterRecordId"]) == (True, ann)
    assert client.simulator.member_ids(campaign) == client.simulator.member_ids(other) == {ann}
    assert client.simulator.row(task)["WhoId"] == ann
    assert gone(client) == {bob}


def test_a_conversion_makes_contact_account_and_opportunity(client):
    leo = client.simulator.add("Lead", LastName="Leo", Company="ACME", Email="leo@x.example", Ext__c="7")
    contact = client.simulator.life.convert_lead(leo, opportunity=True)
    lead = client.simulator.row(leo)
    assert (lead["IsConverted"], lead["ConvertedContactId"]) == (True, contact)
    assert client.simulator.row(contact)["Ext__c"] == "7"
    assert client.values("SELECT Account.Name FROM Contact")[0]["Name"] == "ACME"
    assert client.values("SELECT Id FROM Opportunity") == [lead["ConvertedOpportunityId"]]


def test_stages_and_statuses_close(client):
    deal = {"Name": "D", "CloseDate": "2026-12-31", "StageName": "Prospecting"}
    made = client.post("/sobjects/Opportunity", deal).json()["id"]
    client.patch(f"/sobjects/Opportunity/{made}", {"StageName": "Closed Won"})
    task = client.simulator.add("Task", Subject="call", Status="Completed")
    assert client.rows("SELECT IsClosed, IsWon FROM Opportunity") == [{"IsClosed": True, "IsWon": True}]
    assert client.simulator.row(task)["CompletedDateTime"] == "2026-09-21T14:13:20.000+0000"


def test_hand_edits_and_settings_work_from_outside(client):
    def edit(name: str, /, **arguments: object):
        answer = client.http.post(f"/_simulator/edit/{name}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    ann = edit("create", name="Contact", values={"LastName": "Ann", "Email": "ann@x.example"})
    bob = edit("create", name="Contact", values={"LastName": "Bob"})
    edit("update", record_id="ann@x.example", values={"Phone": "1"})
    edit("create", name="Campaign", values={"Name": "vip"})
    edit("add_members", campaign="vip", people=["ann@x.example", bob])
    edit("remove_members", campaign="vip", people=[bob])
    edit("merge", winner_id=ann, loser_ids=[bob])
    edit("add_field", name="Contact", field_name="Tier__c", kind="string", external=True)
    edit("seed", name="Lead", count=3)
    assert client.http.get("/_simulator/state").json()["records"] == {
        "Contact": 2,
        "Lead": 3,
        "Campaign": 1,
        "CampaignMember": 2,
        "CampaignMemberStatus": 2,
        "User": 2,
    }
    client.http.post("/_simulator/settings", json={"api_usage": 42, "daily": 50, "app": {"name": "hub", "calls": 9}})
    assert client.get("/limits").headers["sforce-limit-info"] == ("api-usage=43/50; per-app-api-usage=1/9(appName=hub)")
    edit("expire_sessions")
    assert client.get("/limits").status_code == 401


def test_an_org_is_kept_over_a_restart(client):
    client.simulator.seed("Lead", 10)
    client.simulator.add_field("Contact", "Tier__c", external=True)
    client.simulator.add_object("Visit__c", "a01", {"Pages__c": "double"})
    campaign = client.simulator.add("Campaign", Name="vip")
    ann = client.simulator.add("Contact", LastName="Ann", Tier__c="gold")
    client.simulator.add("CampaignMember", CampaignId=campaign, ContactId=ann)
    client.simulator.add("Visit__c", Pages__c=3)
    client.simulator.life.delete(client.simulator.add("Contact", LastName="Gone"))
    kept = client.simulator.dump()
    with signed_in() as other:
        other.simulator.load(kept)
        assert other.simulator.state() == client.simulator.state()
        assert other.simulator.dump() == kept
        other.http.headers["authorization"] = client.http.headers["authorization"]
        assert other.simulator.member_ids(campaign) == {ann}
        assert other.patch("/sobjects/Contact/Tier__c/gold", {"Phone": "5"}).status_code == 200
        assert other.simulator.add("Contact", LastName="New") not in (ann, None)
