from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.connectors.salesforce.simulator_client import ROOT, Client, code, records, signed_in


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in() as client:
        yield client


def part(name: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    return {"referenceId": name, "method": method, "url": f"{ROOT}{path}", "body": body}


def composite(client: Client, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post("/composite", {"compositeRequest": list(parts), **more})
    assert answer.status_code == 200
    return {each["referenceId"]: each for each in answer.json()["compositeResponse"]}


def upsert(name: str, start: int, count: int = 200) -> dict[str, Any]:
    rows = [{"Ext__c": f"e{number}", "LastName": "x"} for number in range(start, start + count)]
    return part(name, "PATCH", "/composite/sobjects/Contact/Ext__c", records("Contact", rows))


def test_a_thousand_rows_are_one_metered_call(client):
    used = client.simulator.limits.used
    answers = composite(client, *(upsert(f"r{each}", each * 200) for each in range(5)))
    assert client.simulator.limits.used == used + 1
    assert [each["httpStatusCode"] for each in answers.values()] == [200] * 5
    assert sum(row["success"] for each in answers.values() for row in each["body"]) == 1_000


def test_later_requests_use_what_earlier_ones_answered(client):
    query = quote("SELECT Id, LastName FROM Contact WHERE AccountId = '@{account.id}'", safe="@{}")
    answers = composite(
        client,
        part("account", "POST", "/sobjects/Account", {"Name": "ACME"}),
        part("ann", "POST", "/sobjects/Contact", {"LastName": "Ann", "AccountId": "@{account.id}"}),
        part("found", "GET", f"/query?q={query}"),
        part("change", "PATCH", "/sobjects/Contact/@{found.records[0].Id}", {"Description": "of @{account.id}"}),
    )
    assert [each["httpStatusCode"] for each in answers.values()] == [201, 201, 200, 204]
    ann = client.simulator.row(answers["ann"]["body"]["id"])
    assert ann["Description"] == f"of {ann['AccountId']}"


def test_what_refers_to_a_failure_is_not_done(client):
    answers = composite(
        client,
        part("account", "POST", "/sobjects/Account", {}),
        part("ann", "POST", "/sobjects/Contact", {"LastName": "Ann", "AccountId": "@{account.id}"}),
        part("bob", "POST", "/sobjects/Contact", {"LastName": "Bob"}),
    )
    assert answers["account"]["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert answers["ann"]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert answers["bob"]["httpStatusCode"] == 201


def test_all_or_none_takes_everything_back(client):
    answers = composite(
        client,
        part("account", "POST", "/sobjects/Account", {"Name": "ACME"}),
        part("ann", "POST", "/sobjects/Contact", {}),
        allOrNone=True,
    )
    assert {name: each["body"][0]["errorCode"] for name, each in answers.items()} == {
        "account": "PROCESSING_HALTED",
        "ann": "REQUIRED_FIELD_MISSING",
    }
    assert client.values("SELECT Id FROM Account") == []


def test_rows_that_fail_inside_a_collection_do_not_fail_the_request(client):
    answers = composite(client, upsert("good", 0, 2), upsert("twice", 1, 2))
    assert [row["created"] for row in answers["twice"]["body"]] == [False, True]


def test_limits_of_a_composite(client):
    many = [part(f"r{each}", "GET", "/limits") for each in range(26)]
    assert len(composite(client, *many[:25])) == 25
    assert code(client.post("/composite", {"compositeRequest": many}))[0] == 400
    heavy = [upsert(f"r{each}", 0, 1) for each in range(6)]
    assert code(client.post("/composite", {"compositeRequest": heavy})) == (400, "LIMIT_EXCEEDED")
    assert code(client.post("/composite", {"compositeRequest": [many[0], many[0]]}))[0] == 400


def test_a_batch_describes_many_objects_at_once(client):
    names = ("Contact", "Lead", "Nothing__c")
    body = {"batchRequests": [{"method": "GET", "url": f"v62.0/sobjects/{name}/describe"} for name in names]}
    answer = client.post("/composite/batch", body).json()
    assert answer["hasErrors"] is True
    assert [each["statusCode"] for each in answer["results"]] == [200, 200, 404]
    assert answer["results"][1]["result"]["name"] == "Lead"


def test_a_batch_halts_where_it_is_told_to(client):
    parts = [{"method": "GET", "url": f"{ROOT}/sobjects/{name}/describe"} for name in ("Nothing__c", "Lead")]
    answer = client.post("/composite/batch", {"haltOnError": True, "batchRequests": parts}).json()
    assert [each["statusCode"] for each in answer["results"]] == [404, 412]
