"""The further parts of the simulator keep to HubSpot's limits, and everything that happens in it is kept."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest

from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC

ACCOUNT = Account(tier=None, custom=("cars",))
ROOT = "/crm/objects/2026-03"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def simulator(clock: ManualClock) -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(ACCOUNT, clock=clock) as simulator:
        yield simulator


@pytest.fixture
def client(simulator: HubSpotSimulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url, headers={"authorization": f"Bearer {STATIC}"}) as client:
        yield client


def test_a_long_address_is_refused(client):
    names = ",".join(f"a_property_with_a_long_name_{number:03}" for number in range(300))
    answers = [client.get(f"{ROOT}/contacts", params={"properties": names[:length]}) for length in (6_000, 9_000)]
    assert [answer.status_code for answer in answers] == [200, 414]


def test_a_long_search_is_refused(client):
    bodies = [{"properties": [f"p{number:04}" for number in range(count)]} for count in (100, 500)]
    assert [client.post(f"{ROOT}/deals/search", json=body).status_code for body in bodies] == [200, 400]


@pytest.mark.parametrize(("count", "status"), [(1_000, 200), (1_001, 400)])
def test_associations_are_read_by_1_000(client, count, status):
    inputs = [{"id": str(number)} for number in range(count)]
    answer = client.post("/crm/associations/2026-03/contacts/companies/batch/read", json={"inputs": inputs})
    assert answer.status_code == status


def test_an_association_is_seen_from_both_sides_and_moves_with_a_merge(simulator, client):
    one, two = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in "ab")
    company = simulator.companies.add({"name": "Acme"}).id
    simulator.associations.join("contacts", two, "companies", company)
    both = simulator.contacts.merge(one, two)

    def of(this: str, that: str, record_id: str) -> list[int]:
        path = f"/crm/v4/associations/{this}/{that}/batch/read"
        results = client.post(path, json={"inputs": [{"id": record_id}]}).json()["results"]
        return [each["toObjectId"] for row in results for each in row["to"]]

    assert (of("companies", "contacts", company), of("0-1", "0-2", both)) == ([int(both)], [int(company)])
    simulator.associations.part("contacts", both, "companies", company)
    assert of("companies", "contacts", company) == []


def test_members_come_in_order_of_joining_both_ways(simulator, client, clock):
    vip = simulator.lists.add("vip").id
    ids = [simulator.contacts.add({"email": f"p{each}@x.example"}).id for each in range(5)]
    for record_id in reversed(ids):
        simulator.lists.put_on(vip, [record_id])
        clock.advance(1)
    path = f"/crm/lists/2026-03/{vip}/memberships/join-order"

    def page(**params: object) -> list[str]:
        return [row["recordId"] for row in client.get(path, params={"limit": 2, **params}).json()["results"]]

    assert (page(), page(after=ids[3])) == ([ids[4], ids[3]], [ids[2], ids[1]])
    assert (page(before=""), page(before=ids[1])) == ([ids[0], ids[1]], [ids[2], ids[3]])


@pytest.mark.parametrize(
    ("path", "most"),
    [("/email/public/v1/events", 1_000), ("/form-integrations/v1/submissions/forms/{form}", 50)],
)
def test_events_and_submissions_have_a_largest_page(simulator, client, path, most):
    path = path.format(form=simulator.marketing.add_form("Contact us"))
    assert [client.get(path, params={"limit": limit}).status_code for limit in (most, most + 1)] == [200, 400]


def test_scopes_are_those_of_the_object(clock):
    account = Account(tier=None, scopes=("crm.objects.deals.read", "content"), custom=("cars",))
    with HubSpotSimulator(account, clock=clock) as simulator:
        headers = {"authorization": f"Bearer {STATIC}"}
        with httpx.Client(base_url=simulator.url, headers=headers) as client:
            paths = (
                f"{ROOT}/deals",
                "/email/public/v1/events",
                f"{ROOT}/cars",
                f"{ROOT}/contacts",
                "/marketing/v3/forms",
            )
            answers = [client.get(path) for path in paths]
            assert [answer.status_code for answer in answers] == [200, 200, 403, 403, 403]
            assert answers[2].json()["errors"][0]["context"]["requiredGranularScopes"] == ["crm.objects.custom.read"]


def test_everything_outlives_the_simulator(simulator, clock):
    ann = simulator.contacts.add({"email": "ann@x.example"}).id
    deal = simulator.deals.add({"dealname": "Big"}).id
    simulator.custom["cars"].add({"plate": "W-1"})
    simulator.associations.join("deals", deal, "contacts", ann)
    simulator.marketing.email("ann@x.example", "OPEN")
    simulator.marketing.submit(simulator.marketing.add_form("Contact us"), {"email": "ann@x.example"})
    simulator.marketing.event_names = {"pe1_entered"}
    simulator.properties_of("deals").define({"name": "margin"})
    other = HubSpotSimulator(ACCOUNT, clock=clock)
    other.load(json.loads(json.dumps(simulator.dump())))
    assert other.dump() == simulator.dump()
    assert "margin" in other.properties_of("0-3").known


def test_a_million_contacts_take_little_memory_and_are_contacts_like_others(simulator, client):
    tracemalloc.start()
    simulator.contacts.seed(1_000_000, spread=86_400)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 12 * 2**20
    assert len(simulator.contacts.records) == 1_000_000
    found = simulator.contacts.find("email", "P999999@seed.example")
    assert found.properties["firstname"] == "P999999"
    body = {"inputs": [{"id": "p5@seed.example", "idProperty": "email", "properties": {"city": "Graz"}}]}
    answer = client.post(f"{ROOT}/contacts/batch/upsert", json=body).json()
    assert (answer["results"][0]["new"], answer["results"][0]["id"]) == (False, "106")
    new = simulator.contacts.add({"email": "new@x.example"}).id
    simulator.contacts.archive("107")
    page = client.get(f"{ROOT}/contacts", params={"after": "104", "limit": 3, "properties": "city"}).json()["results"]
    assert [(row["id"], row["properties"].get("city")) for row in page] == [
        ("105", None),
        ("106", "Graz"),
        ("108", None),
    ]
    assert client.get(f"{ROOT}/contacts", params={"after": "1000100"}).json()["results"][0]["id"] == new
    query = {"sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}], "filterGroups": [{"filters": []}]}
    assert client.post(f"{ROOT}/contacts/search", json=query).json()["total"] == 1_000_000
