from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.connectors.salesforce.simulator_client import Client, code, signed_in

from switchyard.testing.simulator import Slow
from switchyard_connectors.salesforce.simulator import Account


@pytest.fixture
def client() -> Iterator[Client]:
    with signed_in(Account(daily=5)) as client:
        client.simulator.auth.life = 1e9
        client.sign_in()
        yield client


def test_calls_are_counted_over_24_hours(client):
    told = [client.get("/limits").headers["sforce-limit-info"] for _ in range(5)]
    assert told[0] == "api-usage=1/5"
    assert told[-1] == "api-usage=5/5"
    refused = client.get("/limits")
    assert code(refused) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert refused.json()[0]["message"] == "TotalRequests Limit exceeded."
    assert refused.headers["sforce-limit-info"] == "api-usage=5/5"
    client.clock.advance(86_399)
    assert client.get("/limits").status_code == 403
    client.clock.advance(1)
    assert client.get("/limits").json()["DailyApiRequests"] == {"Max": 5, "Remaining": 4}


def test_signing_in_and_listing_versions_cost_nothing(client):
    for _ in range(6):
        client.sign_in()
        client.http.get("/services/data")
    assert client.simulator.limits.used == 0


def test_the_header_may_tell_of_the_app_too(client):
    client.simulator.limits.app = ("hub", 250)
    client.simulator.limits.used = 2
    assert client.get("/limits").headers["sforce-limit-info"] == ("api-usage=3/5; per-app-api-usage=1/250(appName=hub)")


def test_so_many_long_calls_at_once_are_another_limit_with_the_same_code(client):
    client.simulator.limits.at_once, client.simulator.limits.long = 1, 0.0
    client.simulator.slow = [Slow(0.2, path="/query")]
    arrived = client.arrival()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(client.asked, "SELECT Id FROM Contact")
        arrived.wait()
        refused = client.get("/limits")
        assert long.result().status_code == 200
    assert code(refused) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert "Concurrent" in refused.json()[0]["message"]
    assert client.get("/limits").status_code == 200


def test_addresses_may_be_only_so_long(client):
    ids = ",".join(["'0035g0000000001AAA'"] * 900)
    query = f"SELECT Id FROM Contact WHERE Id IN ({ids})"
    assert client.asked(query).status_code == 414
    parts = [{"method": "GET", "url": f"/services/data/v62.0/query?q={query}", "referenceId": "q"}]
    answer = client.post("/composite", {"compositeRequest": parts}).json()["compositeResponse"][0]
    assert (answer["httpStatusCode"], answer["body"]["totalSize"]) == (200, 0)
    assert client.get("/limits", headers={"x-long": "x" * 16_384}).status_code == 431


def test_versions_and_paths_that_are_none(client):
    assert code(client.get("/services/data/v99.0/limits")) == (404, "NOT_FOUND")
    assert code(client.get("/nothing")) == (404, "NOT_FOUND")
