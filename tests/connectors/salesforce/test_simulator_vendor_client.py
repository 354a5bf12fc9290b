"""simple-salesforce, as an independent witness that the simulator speaks Salesforce's API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from tests.connectors.salesforce.simulator_client import signed_in, table

from switchyard_connectors.salesforce.simulator import Account, SalesforceSimulator
from switchyard_connectors.salesforce.simulator_auth import App
from switchyard_connectors.salesforce.simulator_routes import OPEN

salesforce = pytest.importorskip("simple_salesforce")


class ToSimulator(HTTPAdapter):
    """Leads what is meant for Salesforce to the simulator."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        assert request.url is not None
        request.url = re.sub(r"^https://[^/]+", self._url, request.url)
        return super().send(request, *args, **more)


@pytest.fixture
def simulator() -> Iterator[SalesforceSimulator]:
    with SalesforceSimulator() as simulator:
        yield simulator


@pytest.fixture
def session(simulator) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("https://", ToSimulator(simulator.url))
        yield session


@pytest.fixture
def client(session):
    return salesforce.Salesforce(
        consumer_key="simulator-app",
        consumer_secret="simulator-app-password",
        domain="hub.my",
        session=session,
        version="62.0",
    )


def test_a_wrong_secret_is_told_as_the_token_endpoint_does(session):
    with pytest.raises(salesforce.SalesforceAuthenticationFailed) as refusal:
        salesforce.Salesforce(
            consumer_key="simulator-app", consumer_secret="no", domain="hub.my", session=session, version="62.0"
        )
    assert refusal.value.code == "invalid_client"


def test_an_assertion_signs_in():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding = serialization.Encoding.PEM
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    with SalesforceSimulator(Account(app=App(public_key=public))) as simulator, requests.Session() as session:
        session.mount("https://", ToSimulator(simulator.url))
        client = salesforce.Salesforce(
            username="hub@example.com",
            consumer_key="simulator-app",
            privatekey=private,
            session=session,
            version="62.0",
        )
        assert client.limits()["DailyApiRequests"]["Max"] == 100_000
        assert client.api_usage["api-usage"].total == 100_000


def test_records_live_and_die(client):
    made = client.Contact.create({"LastName": "Ann", "Email": "ann@x.example"})
    assert client.Contact.update(made["id"], {"FirstName": "Ann"}) == 204
    assert client.Contact.get(made["id"])["Name"] == "Ann Ann"
    assert client.Contact.upsert("Ext__c/e1", {"LastName": "Bob"}) == 201
    assert client.Contact.get_by_custom_id("Ext__c", "e1")["LastName"] == "Bob"
    assert {field["name"] for field in client.Contact.describe()["fields"]} >= {"Id", "Email", "SystemModstamp"}
    assert client.Contact.delete(made["id"]) == 204
    with pytest.raises(salesforce.SalesforceResourceNotFound):
        client.Contact.get(made["id"])


def test_several_records_of_one_external_id(client, simulator):
    for name in ("Ann", "Bob"):
        simulator.add("Contact", LastName=name, Code__c="c")
    with pytest.raises(salesforce.SalesforceMoreThanOneRecord):
        client.Contact.get_by_custom_id("Code__c", "c")


def test_queries_are_paged(client, simulator):
    simulator.seed("Contact", 4_500)
    simulator.life.delete(client.query("SELECT Id FROM Contact LIMIT 1")["records"][0]["Id"])
    assert client.query_all("SELECT Id FROM Contact")["totalSize"] == 4_499
    found = list(client.query_all_iter("SELECT Id FROM Contact", include_deleted=True))
    assert len({row["Id"] for row in found}) == 4_500
    with pytest.raises(salesforce.SalesforceMalformedRequest):
        client.query("SELECT Nothing FROM Contact")


def test_collections_over_the_rest_api(client):
    rows = [{"attributes": {"type": "Contact"}, "LastName": name} for name in ("Ann", "Bob")]
    made = client.restful("composite/sobjects", method="POST", data=json.dumps({"records": rows}))
    assert [row["success"] for row in made] == [True, True]
    gone = client.restful(
        "composite/sobjects", {"ids": ",".join(row["id"] for row in made), "allOrNone": "false"}, method="DELETE"
    )
    assert [row["success"] for row in gone] == [True, True]


def test_changes_between_two_instants(client, simulator):
    from datetime import UTC, datetime, timedelta

    made = client.Contact.create({"LastName": "Ann"})
    simulator.life.hard_delete(simulator.add("Contact", LastName="Gone"))
    end = datetime.now(UTC) + timedelta(minutes=1)
    assert client.Contact.updated(end - timedelta(hours=1), end)["ids"] == [made["id"]]
    assert len(client.Contact.deleted(end - timedelta(hours=1), end)["deletedRecords"]) == 1


def test_bulk_jobs(client, simulator, monkeypatch):
    # It waits half a second before every look.
    monkeypatch.setattr("simple_salesforce.bulk2.sleep", lambda _: None)
    (result,) = client.bulk2.Contact.upsert(
        records=[{"Ext__c": f"e{number}", "LastName": "x" if number else ""} for number in range(25)],
        external_id_field="Ext__c",
    )
    assert (result["numberRecordsProcessed"], result["numberRecordsFailed"]) == (25, 1)
    results = client.bulk2.Contact.get_all_ingest_records(result["job_id"])
    assert {name: len(rows) for name, rows in results.items()} == {
        "successfulRecords": 24,
        "failedRecords": 1,
        "unprocessedRecords": 0,
    }
    simulator.seed("Lead", 25)
    pieces = list(client.bulk2.Lead.query("SELECT Id, Email FROM Lead", max_records=10))
    assert [len(table(piece)) for piece in pieces] == [10, 10, 5]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "offered"),
    [
        ("auth", r"/services/oauth2/(token|revoke)$"),
        ("bulk_v2", r"/jobs/ingest"),
        ("query", r"/jobs/query"),
        ("composite", r"/composite/(sobjects|batch|$)"),
        ("rest", r"/(limits|sobjects)/?$"),
    ],
)
def test_requests_of_the_vendors_samples_meet_a_route(shared_folder, folder, offered):
    samples = [_sample(path) for path in (shared_folder / "specs/salesforce/postman-cc0" / folder).glob("*.json")]
    wanted = [(method, url) for method, url in samples if re.search(offered, url.partition("?")[0])]
    assert wanted
    with signed_in() as client:
        for method, url in wanted:
            client.http.request(method, url, json={})
        unmet = [call.path for call in client.simulator.calls() if call.route == call.path]
    assert set(unmet) <= OPEN


def _sample(path: Path) -> tuple[str, str]:
    """A sample's method and its address, without the host."""
    sample = json.loads(path.read_text(encoding="utf-8"))
    url = sample["url"].replace("{{version}}", "62.0").replace("{{_jobId}}", "7505g0000000001AAA")
    url = re.sub(r"^(\{\{\w+\}\})+", "", url)
    return sample["method"], re.sub(r"\{\{\w+\}\}|:\w+", "Contact", url)
