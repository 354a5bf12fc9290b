from __future__ import annotations

import gzip
import math
from collections.abc import Iterator

import pytest
from tests.connectors.salesforce.simulator_client import Client, code, signed_in, table

from switchyard.testing.simulator_jobs import JobFault

JOBS = "/jobs/query"


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


def started(client: Client, query: str, operation: str = "query", **more: str) -> str:
    answer = client.post(JOBS, {"operation": operation, "query": query, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "UploadComplete"
    return str(answer.json()["id"])


def test_a_job_goes_through_its_states_and_gives_its_rows(client):
    client.simulator.jobs.wait, client.simulator.jobs.takes = 5.0, 10.0
    client.simulator.add("Contact", LastName="Ann", Email="ann@x.example")
    job = started(client, "SELECT Id, LastName, Account.Name, HasOptedOutOfEmail, SystemModstamp FROM Contact")
    assert job.startswith("750")
    assert code(client.get(f"{JOBS}/{job}/results")) == (400, "JOB_NOT_COMPLETE")
    states = []
    for _ in range(4):
        states.append(client.get(f"{JOBS}/{job}").json()["state"])
        client.clock.advance(5)
    assert states == ["UploadComplete", "InProgress", "InProgress", "JobComplete"]
    results = client.get(f"{JOBS}/{job}/results")
    assert results.headers["sforce-numberofrecords"] == "1"
    assert results.headers["sforce-locator"] == "null"
    (row,) = table(results.text)
    assert row["LastName"] == "Ann"
    assert row["Account.Name"] == ""
    assert row["HasOptedOutOfEmail"] == "false"
    assert row["SystemModstamp"] == "2026-09-21T14:13:20.000Z"


def test_a_job_sees_what_there_is_when_it_is_processed(client):
    client.simulator.jobs.takes = 60.0
    job = started(client, "SELECT LastName FROM Contact")
    client.simulator.add("Contact", LastName="Later")
    client.clock.advance(60)
    assert table(client.get(f"{JOBS}/{job}/results").text) == [{"LastName": "Later"}]


def test_results_come_in_pieces_that_can_be_had_again(client):
    names = [f"P{number}" for number in range(25)]
    for name in names:
        client.simulator.add("Contact", LastName=name)
    job = started(client, "SELECT LastName FROM Contact")
    pieces, locators, locator = [], [], None
    while locator != "null":
        piece = client.get(f"{JOBS}/{job}/results", maxRecords=10, **({"locator": locator} if locator else {}))
        locator = piece.headers["sforce-locator"]
        pieces.append([row["LastName"] for row in table(piece.text)])
        locators.append(locator)
    assert pieces == [names[:10], names[10:20], names[20:]]
    again = client.get(f"{JOBS}/{job}/results", maxRecords=10, locator=locators[0])
    assert [row["LastName"] for row in table(again.text)] == names[10:20]
    assert code(client.get(f"{JOBS}/{job}/results", locator="junk!")) == (400, "INVALID_QUERY_LOCATOR")


def test_result_pages_lead_to_every_row_once(client):
    client.simulator.bulk_queries.page = 10
    for number in range(65):
        client.simulator.add("Contact", LastName=f"P{number}")
    job = started(client, "SELECT LastName FROM Contact")
    found, path = [], f"{JOBS}/{job}/resultPages"
    while path:
        answer = client.get(path).json()
        assert len(answer["resultPages"]) <= 5
        for page in answer["resultPages"]:
            found += [row["LastName"] for row in table(client.get(page["resultUrl"]).text)]
        path = None if answer["done"] else answer["nextRecordsUrl"]
    assert found == [f"P{number}" for number in range(65)]


def test_results_want_the_version_of_the_job(client):
    job = started(client, "SELECT Id FROM Contact")
    assert client.get(f"/services/data/v60.0{JOBS}/{job}/results").status_code == 409
    assert client.get(f"/services/data/v60.0{JOBS}/{job}").status_code == 200


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT MailingAddress FROM Contact", "FEATURENOTENABLED"),
        ("SELECT Id FROM TaskStatus", "INVALIDENTITY"),
        ("SELECT COUNT() FROM Contact", "API_ERROR"),
        ("SELECT Foo FROM Contact", "INVALID_FIELD"),
        ("SELECT", "MALFORMED_QUERY"),
    ],
)
def test_what_bulk_queries_cannot_do(client, query, error):
    assert code(client.post(JOBS, {"operation": "query", "query": query})) == (400, error)


def test_texts_come_as_they_are(client):
    odd = ['say "hi"', "two\nlines", "a,b", "nul\x00byte", "NA", "Null", "ü😀"]
    for number, text in enumerate(odd):
        client.simulator.add("Contact", LastName=f"P{number}", Description=text, Score__c=number)
    client.simulator.add("Account", Name="ACME", NumberOfEmployees=12)
    job = started(client, "SELECT Description, Score__c FROM Contact")
    rows = table(client.get(f"{JOBS}/{job}/results").text)
    assert [row["Description"] for row in rows] == odd
    assert rows[3]["Score__c"] == "3.0"


def test_delimiters_line_ends_and_compression(client):
    client.simulator.add("Contact", LastName="Ann", FirstName="A")
    job = started(client, "SELECT LastName, FirstName FROM Contact", columnDelimiter="PIPE", lineEnding="CRLF")
    with client.http.stream(
        "GET", f"/services/data/v62.0{JOBS}/{job}/results", headers={"accept-encoding": "gzip"}
    ) as answer:
        body = b"".join(answer.iter_raw())
    assert gzip.decompress(body) == b'"LastName"|"FirstName"\r\n"Ann"|"A"\r\n'


def test_query_all_finds_deleted_rows_and_merged_ones(client):
    ann, bob, cem = (client.simulator.add("Contact", LastName=name) for name in ("Ann", "Bob", "Cem"))
    client.simulator.life.delete(ann)
    client.simulator.life.merge(cem, [bob])
    query = "SELECT LastName, IsDeleted, MasterRecordId FROM Contact"
    assert len(table(client.get(f"{JOBS}/{started(client, query)}/results").text)) == 1
    job = started(client, query, "queryAll")
    rows = {row["LastName"]: row for row in table(client.get(f"{JOBS}/{job}/results").text)}
    assert (rows["Ann"]["IsDeleted"], rows["Ann"]["MasterRecordId"]) == ("true", "")
    assert (rows["Bob"]["IsDeleted"], rows["Bob"]["MasterRecordId"]) == ("true", cem)


def test_jobs_fail_hang_and_are_aborted_and_deleted(client):
    client.simulator.jobs.script(
        "query", [JobFault("QUERY_TIMEOUT: Retried more than 15 times"), JobFault(takes=math.inf)]
    )
    failed, hangs = (started(client, "SELECT Id FROM Contact") for _ in range(2))
    answer = client.get(f"{JOBS}/{failed}").json()
    assert (answer["state"], answer["errorMessage"]) == ("Failed", "QUERY_TIMEOUT: Retried more than 15 times")
    assert code(client.get(f"{JOBS}/{failed}/results")) == (400, "JOB_NOT_COMPLETE")
    client.clock.advance(3_600)
    assert client.get(f"{JOBS}/{hangs}").json()["state"] == "InProgress"
    assert client.delete(f"{JOBS}/{hangs}").status_code == 400
    assert client.patch(f"{JOBS}/{hangs}", {"state": "Aborted"}).json()["state"] == "Aborted"
    assert client.delete(f"{JOBS}/{hangs}").status_code == 204
    assert code(client.get(f"{JOBS}/{hangs}")) == (404, "NOT_FOUND")
    assert [job["id"] for job in client.get(JOBS).json()["records"]] == [failed]


def test_results_are_there_for_seven_days(client):
    job = started(client, "SELECT Id FROM Contact")
    client.simulator.auth.life = 1e9
    client.sign_in()
    client.clock.advance(7 * 86_400 - 1)
    assert client.get(f"{JOBS}/{job}/results").status_code == 200
    client.clock.advance(1)
    assert client.get(f"{JOBS}/{job}/results").status_code == 404


def test_so_many_jobs_a_day(client):
    client.simulator.bulk_queries.day.calls = 1
    started(client, "SELECT Id FROM Contact")
    assert client.post(JOBS, {"operation": "query", "query": "SELECT Id FROM Contact"}).status_code == 400
    assert client.get("/limits").json()["DailyBulkV2QueryJobs"] == {"Max": 1, "Remaining": 0}
