"""A million records need no memory, and are read piece by piece."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Iterator

import pytest
from tests.connectors.salesforce.simulator_client import ROOT, Client, codes, records, signed_in, table

from switchyard_connectors.salesforce.simulator_seeds import Ids

MILLION = 1_000_000


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        client.simulator.seed("Contact", MILLION)
        yield client


def test_a_million_contacts_are_counted_found_and_paged(client):
    assert client.asked("SELECT COUNT() FROM Contact").json()["totalSize"] == MILLION
    assert client.values("SELECT LastName FROM Contact WHERE Email = 'SEED777777@example.com'") == ["Seed777777"]
    first = client.asked("SELECT Id FROM Contact ORDER BY SystemModstamp, Id").json()
    assert (first["totalSize"], len(first["records"])) == (MILLION, 2_000)


def test_a_keyset_reads_seeded_and_changed_rows_in_one_order(client):
    changed = client.values("SELECT Id FROM Contact WHERE Ext__c = 'seed-3'")[0]
    client.simulator.writes.update("Contact", changed, {"LastName": "Changed"})
    client.simulator.add("Contact", LastName="Earlier", SystemModstamp="2026-01-01T00:00:00.000+0000")
    names = client.values("SELECT LastName FROM Contact ORDER BY SystemModstamp, Id LIMIT 5")
    assert names == ["Earlier", "Seed0", "Seed1", "Seed2", "Seed4"]
    falling = "SELECT LastName FROM Contact ORDER BY SystemModstamp DESC, Id DESC LIMIT 3"
    assert client.values(falling) == ["Changed", "Seed999999", "Seed999998"]
    condition = "WHERE Ext__c IN ('seed-1', 'seed-2', 'seed-3') ORDER BY LastName DESC"
    assert client.values(f"SELECT LastName FROM Contact {condition}") == ["Seed2", "Seed1", "Changed"]
    assert client.asked("SELECT COUNT() FROM Contact").json()["totalSize"] == MILLION + 1


@pytest.mark.slow
def test_a_bulk_query_of_a_million_holds_one_piece_at_a_time(client):
    body = {"operation": "query", "query": "SELECT Id, Email, Ext__c, SystemModstamp FROM Contact"}
    job = client.post("/jobs/query", body).json()["id"]
    rows, locator, last = 0, "", b""
    while locator != "null":
        if rows == 900_000:
            tracemalloc.start()
        url = f"{ROOT}/jobs/query/{job}/results?maxRecords=25000&locator={locator}"
        with client.http.stream("GET", url) as piece:
            last = deque(piece.iter_bytes(), maxlen=1)[0]
        locator = piece.headers["sforce-locator"]
        rows += int(piece.headers["sforce-numberofrecords"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == MILLION
    assert b"seed999999@example.com" in last
    # Of a million rows the values alone are 80 MB.
    assert peak < 40_000_000


def test_a_piece_of_a_bulk_query_mixes_seeded_and_changed_rows(client):
    changed = client.values("SELECT Id FROM Contact WHERE Ext__c = 'seed-1'")[0]
    client.simulator.writes.update("Contact", changed, {"LastName": 'O"Hara'})
    stamp = client.simulator.row(changed)["SystemModstamp"].replace("+0000", "Z")
    query = f"SELECT Id, LastName FROM Contact WHERE Ext__c IN ('seed-0', 'seed-1') AND SystemModstamp <= {stamp}"
    job = client.post("/jobs/query", {"operation": "query", "query": query}).json()["id"]
    rows = table(client.get(f"/jobs/query/{job}/results").text)
    assert [row["LastName"] for row in rows] == ["Seed0", 'O"Hara']


def test_members_can_be_seeded_too(client):
    campaign = client.simulator.add("Campaign", Name="all")
    people = Ids("003", client.simulator.store["Contact"].seed.first)
    client.simulator.seed("CampaignMember", MILLION, CampaignId=campaign, ContactId=people, LeadOrContactId=people)
    member = client.simulator.row(client.values("SELECT Id FROM Contact WHERE Ext__c = 'seed-5'")[0])
    query = f"SELECT Id FROM CampaignMember WHERE CampaignId = '{campaign}' AND ContactId = '{member['Id']}'"
    (row,) = client.values(query)
    assert codes(client.delete("/composite/sobjects", ids=row)) == [None]
    assert client.values(query) == []
    assert client.simulator.state()["campaigns"][0]["members"] == MILLION - 1


def test_upserts_find_seeded_rows_by_their_external_ids(client):
    rows = [{"Ext__c": f"seed-{number}", "LastName": "Known"} for number in range(200)]
    answer = client.patch("/composite/sobjects/Contact/Ext__c", records("Contact", rows))
    assert not any(row["created"] for row in answer.json())
    assert len(client.simulator.store["Contact"].rows) == 200
    taken = [{"Ext__c": "SEED-500", "LastName": "x"}]
    assert codes(client.post("/composite/sobjects", records("Contact", taken))) == ["DUPLICATE_VALUE"]


def test_fifty_thousand_rows_are_ingested_in_one_job(client):
    content = "Ext__c,LastName\n" + "".join(f"x-{number},N\n" for number in range(50_000))
    job = client.ingest(content, object="Contact", operation="upsert", externalIdFieldName="Ext__c")
    told = client.get(f"/jobs/ingest/{job}").json()
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (50_000, 0)
