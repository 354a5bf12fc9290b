from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.connectors.salesforce.simulator_client import Client, code, signed_in

from switchyard.testing.simulator_jobs import JobFault

JOBS = "/jobs/ingest"
UPSERT = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c"}


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


def test_a_complete_job_may_have_failed_rows(client):
    there = client.simulator.add("Contact", LastName="Old", Ext__c="b", Phone="1", Title="T")
    job = client.ingest("Ext__c,LastName,Phone,Title\na,Ann,,\nb,,#N/A,\nc,,,\n", **UPSERT)
    told = client.get(f"{JOBS}/{job}").json()
    assert (told["state"], told["numberRecordsProcessed"], told["numberRecordsFailed"]) == ("JobComplete", 3, 1)
    good = {row["Ext__c"]: row for row in client.results(job, "successfulResults")}
    assert {key: row["sf__Created"] for key, row in good.items()} == {"a": "true", "b": "false"}
    assert good["b"]["sf__Id"] == there
    # An empty cell leaves the value as it is; #N/A makes it null.
    row = client.simulator.row(there)
    assert (row["LastName"], row["Phone"], row["Title"]) == ("Old", None, "T")
    (bad,) = client.results(job, "failedResults")
    assert bad["Ext__c"] == "c"
    assert bad["sf__Error"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"
    assert client.results(job, "unprocessedrecords") == []


def test_results_are_in_another_order_than_the_upload(client):
    keys = [f"e{number}" for number in range(50)]
    job = client.ingest("Ext__c,LastName\n" + "".join(f"{key},x\n" for key in keys), **UPSERT)
    found = [row["Ext__c"] for row in client.results(job, "successfulResults")]
    assert found != keys
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ext__c,LastName\r\na,b\r\n", "LineEnding is invalid on user data"),
        ("Ext__c,Foo\na,b\n", "Field name not found : Foo"),
        ("Ext__c,LastName,Ext__c\na,b,a\n", "Field name is duplicated"),
        ("Ext__c,LastName\na\n", "line 2 has 1 columns"),
    ],
)
def test_a_bad_file_fails_the_whole_job(client, content, message):
    job = client.ingest(content, **UPSERT)
    told = client.get(f"{JOBS}/{job}").json()
    assert told["state"] == "Failed"
    assert message in told["errorMessage"]
    assert client.values("SELECT Id FROM Contact") == []


def test_line_ends_of_the_setting_and_inside_of_values(client):
    job = client.ingest('Ext__c,LastName,Description\r\na,b,"two\nlines"\r\n', lineEnding="CRLF", **UPSERT)
    assert client.get(f"{JOBS}/{job}").json()["state"] == "JobComplete"
    assert client.values("SELECT Description FROM Contact") == ["two\nlines"]


def test_inserts_updates_deletes_and_hard_deletes(client):
    job = client.ingest("LastName\nAnn\n", object="Contact", operation="insert")
    (made,) = client.results(job, "successfulResults")
    ann = made["sf__Id"]
    client.ingest(f"Id,Phone\n{ann},5\n", object="Contact", operation="update")
    assert client.simulator.row(ann)["Phone"] == "5"
    client.ingest(f"Id\n{ann}\n", object="Contact", operation="delete")
    assert client.values("SELECT Phone FROM Contact", deleted=True) == ["5"]
    again = client.ingest(f"Id\n{ann}\n0035g0000000099AAA\n", object="Contact", operation="delete")
    assert {row["sf__Error"].split(":")[0] for row in client.results(again, "failedResults")} == {
        "ENTITY_IS_DELETED",
        "NOT_FOUND",
    }
    bob = client.simulator.add("Contact", LastName="Bob")
    client.ingest(f"Id\n{bob}\n", object="Contact", operation="hardDelete")
    assert client.values("SELECT Phone FROM Contact", deleted=True) == ["5"]


def test_references_by_external_id(client):
    account = client.simulator.add("Account", Name="ACME", Ext__c="acme")
    job = client.ingest("Ext__c,LastName,Account.Ext__c\na,Ann,acme\nb,Bob,none\n", **UPSERT)
    assert client.values("SELECT AccountId FROM Contact") == [account]
    (bad,) = client.results(job, "failedResults")
    assert bad["sf__Error"].startswith("INVALID_FIELD:Foreign key external ID: none not found")


def test_rows_beyond_the_allocation_appear_in_no_result(client):
    client.simulator.bulk_ingest.day.calls = 1
    keys = [f"e{number}" for number in range(10_001)]
    job = client.ingest("Ext__c,LastName\n" + "".join(f"{key},x\n" for key in keys), **UPSERT)
    assert client.get(f"{JOBS}/{job}").json()["state"] == "JobComplete"
    named = [len(client.results(job, which)) for which in ("successfulResults", "failedResults", "unprocessedrecords")]
    assert named == [10_000, 0, 0]


def test_a_job_that_fails_on_the_way_leaves_rows_unprocessed(client):
    client.simulator.jobs.script("ingest", [JobFault("ServerUnavailable", rows=2)])
    job = client.ingest("Ext__c,LastName\na,x\nb,x\nc,x\n", **UPSERT)
    assert client.get(f"{JOBS}/{job}").json()["state"] == "Failed"
    assert {row["Ext__c"] for row in client.results(job, "successfulResults")} == {"a", "b"}
    assert [row["Ext__c"] for row in client.results(job, "unprocessedrecords")] == ["c"]


def test_an_open_job_waits_takes_one_upload_and_can_be_aborted(client):
    made = client.post(JOBS, {**UPSERT, "lineEnding": "LF"}).json()
    assert (made["state"], made["contentUrl"]) == ("Open", f"services/data/v62.0/jobs/ingest/{made['id']}/batches")
    put = {
        "url": f"/{made['contentUrl']}",
        "content": b"Ext__c,LastName\na,x\n",
        "headers": {"content-type": "text/csv"},
    }
    assert client.http.put(**put | {"headers": {"content-type": "application/json"}}).status_code == 415
    assert client.http.put(**put).status_code == 201
    assert client.http.put(**put).status_code == 400
    client.clock.advance(3_600)
    assert client.get(f"{JOBS}/{made['id']}").json()["state"] == "Open"
    assert code(client.get(f"{JOBS}/{made['id']}/successfulResults")) == (400, "JOB_NOT_COMPLETE")
    assert client.patch(f"{JOBS}/{made['id']}", {"state": "Aborted"}).json()["state"] == "Aborted"
    assert client.patch(f"{JOBS}/{made['id']}", {"state": "UploadComplete"}).status_code == 400
    assert client.values("SELECT Id FROM Contact") == []
    assert client.delete(f"{JOBS}/{made['id']}").status_code == 204


def test_a_small_job_comes_in_one_request(client):
    parts = {
        "job": (None, json.dumps({**UPSERT, "lineEnding": "LF"}), "application/json"),
        "content": ("content", 'Ext__c,LastName\na,"Jürgen\nM"\n', "text/csv"),
    }
    url = "/services/data/v62.0/jobs/ingest"
    made = client.http.post(url, files=parts).json()
    assert made["state"] == "UploadComplete"
    assert client.get(f"{JOBS}/{made['id']}").json()["numberRecordsProcessed"] == 1
    assert client.values("SELECT LastName FROM Contact") == ["Jürgen\nM"]
    parts["content"] = ("content", "x" * 100_000, "text/csv")
    assert client.http.post(url, files=parts).status_code == 400


def test_duplicate_rules_have_no_way_round_in_bulk(client):
    client.simulator.add("Contact", LastName="Ann", Email="ann@x.example")
    client.simulator.find_duplicates("Contact", "Email", blocks=False)
    job = client.ingest("Ext__c,LastName,Email\na,Ann,ann@x.example\n", **UPSERT)
    (bad,) = client.results(job, "failedResults")
    assert bad["sf__Error"].startswith("DUPLICATES_DETECTED:")


@pytest.mark.parametrize(
    "job",
    [
        {**UPSERT, "externalIdFieldName": "Email"},
        {"object": "Contact", "operation": "insert", "externalIdFieldName": "Ext__c"},
        {"object": "Contact", "operation": "merge"},
        {"object": "Nothing__c", "operation": "insert"},
    ],
)
def test_jobs_that_make_no_sense(client, job):
    assert client.post(JOBS, job).status_code in (400, 404)
