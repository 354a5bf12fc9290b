"""The simulator keeps to the vendor's documentation where clients of HubSpot are known to stumble."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.paths import PATHS
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC, OAuthApp

CONTACTS = "/crm/v3/objects/contacts"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def simulator(clock: ManualClock) -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
def client(simulator: HubSpotSimulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url, headers={"authorization": f"Bearer {STATIC}"}) as client:
        yield client


def upsert_input(address: str, trace: str | None = None, **properties: object) -> dict[str, object]:
    item: dict[str, object] = {"id": address, "idProperty": "email", "properties": properties}
    return item | ({"objectWriteTraceId": trace} if trace else {})


def test_one_bad_row_without_trace_id_refuses_them_all(simulator, client):
    inputs = [upsert_input("good@x.example"), upsert_input("bad")]
    answer = client.post(f"{CONTACTS}/batch/upsert", json={"inputs": inputs})
    assert answer.status_code == 400
    assert answer.json()["errors"][0] | {"message": ""} == {
        "message": "",
        "code": "INVALID_EMAIL",
        "context": {"propertyName": ["email"]},
    }
    assert not simulator.contacts.records


def test_with_trace_ids_the_good_are_written_and_the_bad_are_named(simulator, client):
    inputs = [upsert_input("good@x.example", "a"), upsert_input("bad", "b"), upsert_input("c@x.example", "c", nope="1")]
    answer = client.post(f"{CONTACTS}/batch/upsert", json={"inputs": inputs})
    body = answer.json()
    assert (answer.status_code, body["numErrors"], len(body["results"])) == (207, 2, 1)
    assert [error["context"]["objectWriteTraceId"] for error in body["errors"]] == [["b"], ["c"]]
    assert body["errors"][1]["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"


def test_duplicates_and_more_than_100_inputs_refuse_the_call_trace_ids_or_not(client):
    twice = [upsert_input("Ann@x.example", "a"), upsert_input(" ann@x.example", "b")]
    answer = client.post(f"{CONTACTS}/batch/upsert", json={"inputs": twice})
    assert (answer.status_code, answer.json()["context"]) == (400, {"ids": ["ann@x.example"]})
    many = [upsert_input(f"p{each}@x.example", str(each)) for each in range(101)]
    assert client.post(f"{CONTACTS}/batch/upsert", json={"inputs": many}).status_code == 400


def test_results_are_out_of_order_lower_cased_and_the_same_for_the_same_seed(clock):
    orders = []
    for _ in range(2):
        with HubSpotSimulator(clock=clock, seed=7) as simulator:
            inputs = [upsert_input(f"P{each}@X.example", str(each)) for each in range(20)]
            headers = {"authorization": f"Bearer {STATIC}"}
            answer = httpx.post(f"{simulator.url}{CONTACTS}/batch/upsert", json={"inputs": inputs}, headers=headers)
            orders.append([row["properties"]["email"] for row in answer.json()["results"]])
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0], key=lambda email: int(email[1:].split("@")[0]))
    assert set(orders[0]) == {f"p{each}@x.example" for each in range(20)}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("createdate", "2026-01-01", "READ_ONLY_VALUE"),
        ("lifecyclestage", "fan", "INVALID_OPTION"),
        ("visits", "many", "INVALID_INTEGER"),
        ("born", "31.12.1999", "INVALID_DATE"),
        ("member", "yes", "INVALID_OPTION"),
        ("visits", "12.5", None),
        ("born", "1999-12-31", None),
        ("born", "946598400000", None),
        ("member", True, None),
        ("visits", None, None),
    ],
)
def test_values_are_checked_by_their_propertys_type(simulator, client, name, value, code):
    for custom, kind in (("visits", "number"), ("born", "date"), ("member", "bool")):
        simulator.properties.define({"name": custom, "type": kind})
    answer = client.post(CONTACTS, json={"properties": {"email": "a@x.example", name: value}})
    assert (answer.json()["errors"][0]["code"] if answer.status_code == 400 else None) == code


def test_update_takes_record_ids_only_and_leaves_out_who_was_merged_away(simulator, client):
    winner, loser = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in ("w", "l"))
    refused = client.post(f"{CONTACTS}/batch/update", json={"inputs": [upsert_input("w@x.example")]})
    assert refused.status_code == 400
    assert "non-unique 0-1 property" in refused.json()["message"]
    simulator.contacts.merge(winner, loser)
    inputs = [{"id": each, "properties": {"city": "Graz"}} for each in (winner, loser)]
    answer = client.post(f"{CONTACTS}/batch/update", json={"inputs": inputs})
    assert answer.status_code == 200
    assert [row["id"] for row in answer.json()["results"]] == [winner]
    assert client.get(f"{CONTACTS}/{loser}").json()["id"] == winner


def test_an_additional_address_finds_the_contact_and_stays_additional(simulator, client):
    winner, loser = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in ("w", "l"))
    simulator.contacts.merge(winner, loser)
    answer = client.post(f"{CONTACTS}/batch/upsert", json={"inputs": [upsert_input("L@x.example", city="Graz")]})
    (row,) = answer.json()["results"]
    assert (row["id"], row["new"], row["properties"]["email"]) == (winner, False, "w@x.example")


def test_an_erased_address_cannot_be_used_again(simulator, client):
    simulator.contacts.add({"email": "ann@x.example"})
    erase = {"objectId": "ann@x.example", "idProperty": "email"}
    assert client.post(f"{CONTACTS}/gdpr-delete", json=erase).status_code == 204
    assert client.post(CONTACTS, json={"properties": {"email": "ann@x.example"}}).status_code == 400
    assert not simulator.contacts.records


def test_archived_contacts_leave_their_lists_and_free_their_address(simulator, client):
    made = simulator.lists.add("vip")
    gone = simulator.contacts.add({"email": "ann@x.example"}).id
    simulator.lists.put_on(made.id, [gone])
    assert client.post(f"{CONTACTS}/batch/archive", json={"inputs": [{"id": gone}]}).status_code == 204
    assert simulator.member_emails("vip") == set()
    assert client.post(CONTACTS, json={"properties": {"email": "ann@x.example"}}).status_code == 201
    assert [row["id"] for row in client.get(CONTACTS, params={"archived": "true"}).json()["results"]] == [gone]


def test_a_list_of_filters_takes_no_members(simulator, client):
    dynamic = simulator.lists.add("all", "DYNAMIC")
    answer = client.put(f"/crm/v3/lists/{dynamic.id}/memberships/add", json=["1"])
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_both_keys_of_add_and_remove_are_required(simulator, client):
    made = simulator.lists.add("vip")
    path = f"/crm/v3/lists/{made.id}/memberships/add-and-remove"
    assert client.put(path, json={"recordIdsToAdd": []}).status_code == 400


def test_members_come_in_order_of_id_or_of_joining(simulator, client, clock):
    made = simulator.lists.add("vip")
    ids = [simulator.contacts.add({"email": f"p{each}@x.example"}).id for each in range(3)]
    for record_id in reversed(ids):
        simulator.lists.put_on(made.id, [record_id])
        clock.advance(1)
    root = f"/crm/v3/lists/{made.id}/memberships"
    assert [row["recordId"] for row in client.get(root).json()["results"]] == ids
    joined = client.get(f"{root}/join-order", params={"limit": 2}).json()
    rest = client.get(f"{root}/join-order", params={"limit": 2, "after": joined["paging"]["next"]["after"]}).json()
    assert [row["recordId"] for row in (*joined["results"], *rest["results"])] == ids[::-1]
    assert client.get(root, params={"limit": 251}).status_code == 400
    mine = client.get(f"/crm/v3/lists/records/0-1/{ids[0]}/memberships").json()["results"]
    assert [row["listId"] for row in mine] == [made.id]


def test_names_of_lists_are_unique_until_deleted(simulator, client):
    body = {"name": "vip", "objectTypeId": "0-1", "processingType": "MANUAL"}
    first = client.post("/crm/v3/lists/", json=body).json()["list"]["listId"]
    assert client.post("/crm/v3/lists/", json=body).status_code == 400
    assert client.delete(f"/crm/v3/lists/{first}").status_code == 204
    assert client.get(f"/crm/v3/lists/{first}").status_code == 404
    assert client.post("/crm/v3/lists/", json=body).status_code == 200


def test_the_rolling_limit_answers_429_until_the_window_has_rolled(clock):
    with HubSpotSimulator(Account(tier="free"), clock=clock) as simulator:
        headers = {"authorization": f"Bearer {STATIC}"}
        with httpx.Client(base_url=simulator.url, headers=headers) as client:
            answers = [client.get("/crm/v3/properties/contacts/email") for _ in range(101)]
            assert [answer.status_code for answer in answers] == [200] * 100 + [429]
            assert answers[0].headers["x-hubspot-ratelimit-remaining"] == "99"
            assert answers[0].headers["x-hubspot-ratelimit-daily"] == "250000"
            body = answers[-1].json()
            assert (body["errorType"], body["policyName"]) == ("RATE_LIMIT", "TEN_SECONDLY_ROLLING")
            clock.advance(10)
            assert client.get("/crm/v3/properties/contacts/email").status_code == 200


def test_searches_have_a_window_of_their_own_and_another_body(client):
    answers = [client.post(f"{CONTACTS}/search", json={}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert "x-hubspot-ratelimit-max" not in answers[0].headers
    assert (answers[5].json()["category"], "policyName" in answers[5].json()) == ("RATE_LIMITS", False)
    assert client.get(CONTACTS).status_code == 200


def test_the_daily_limit_ends_at_midnight(clock):
    with HubSpotSimulator(Account(daily=2), clock=clock) as simulator:
        headers = {"authorization": f"Bearer {STATIC}"}
        with httpx.Client(base_url=simulator.url, headers=headers) as client:
            answers = [client.get(CONTACTS) for _ in range(3)]
            assert [answer.headers["x-hubspot-ratelimit-daily-remaining"] for answer in answers] == ["1", "0", "0"]
            assert (answers[2].status_code, answers[2].json()["policyName"]) == (429, "DAILY")
            clock.advance(86_400)
            assert client.get(CONTACTS).status_code == 200


def test_search_filters_sorts_pages_and_stops_at_10_000(client, simulator, clock):
    for each in range(5):
        simulator.contacts.add({"email": f"p{each}@x.example", "city": "Graz" if each % 2 else "Linz"})
        clock.advance(60)

    def search(**body: object) -> httpx.Response:
        clock.advance(1)
        return client.post(f"{CONTACTS}/search", json=body)

    def emails(**body: object) -> list[str]:
        return [row["properties"]["email"][:2] for row in search(**body).json()["results"]]

    def where(name: str, operator: str, **value: object) -> list[dict[str, object]]:
        return [{"filters": [{"propertyName": name, "operator": operator, **value}]}]

    assert emails(filterGroups=where("city", "EQ", value="graz")) == ["p1", "p3"]
    assert emails(filterGroups=where("city", "NOT_IN", values=["graz"])) == ["p0", "p2", "p4"]
    since = str(int((clock.now - 3 * 60) * 1000))
    assert emails(filterGroups=where("lastmodifieddate", "GTE", value=since)) == ["p3", "p4"]
    assert emails(sorts=[{"propertyName": "hs_object_id", "direction": "DESCENDING"}], limit=2) == ["p4", "p3"]
    page = search(limit=2).json()
    assert (page["total"], page["paging"]["next"]["after"]) == (5, "2")
    assert emails(limit=2, after="4") == ["p4"]
    assert search(limit=200, after="9900").status_code == 400
    assert search(limit=201).status_code == 400


def test_signing_in_goes_wrong_the_way_hubspot_says_it(simulator, clock):
    app = OAuthApp()
    form = {"grant_type": "refresh_token", "client_id": app.client_id, "client_secret": app.client_secret}
    refused = httpx.post(f"{simulator.url}/oauth/v1/token", data=form | {"refresh_token": "old"})
    assert (refused.status_code, refused.json()["status"]) == (400, "BAD_REFRESH_TOKEN")
    token = httpx.post(f"{simulator.url}/oauth/v1/token", data=form | {"refresh_token": app.refresh_token}).json()
    headers = {"authorization": f"Bearer {token['access_token']}"}
    fine = httpx.get(f"{simulator.url}{CONTACTS}", headers=headers)
    assert "x-hubspot-ratelimit-daily" not in fine.headers
    clock.advance(token["expires_in"])
    expired = httpx.get(f"{simulator.url}{CONTACTS}", headers=headers)
    assert (expired.status_code, expired.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    unknown = httpx.get(f"{simulator.url}{CONTACTS}")
    assert (unknown.status_code, unknown.json()["category"]) == (401, "INVALID_AUTHENTICATION")


def test_hand_edits_over_the_control_api(simulator, client):
    def edit(what: str, /, **arguments: object) -> object:
        return client.post(f"/_simulator/edit/{what}", json=arguments).json()["result"]

    one, two = (edit("create_contact", values={"email": f"{name}@x.example"}) for name in ("one", "two"))
    vip = edit("create_list", name="vip")
    edit("add_members", list_id=vip, record_ids=[one, two])
    edit("merge_contacts", primary_id=one, other_id=two)
    assert client.get("/_simulator/state").json() == {
        "contacts": 1,
        "lists": [{"id": vip, "name": "vip", "size": 1, "processing_type": "MANUAL", "deleted": False}],
        "properties": [],
    }
    edit("delete_list", list_id=vip)
    assert client.get(f"/crm/v3/lists/{vip}").status_code == 404


@pytest.mark.parametrize("version", PATHS)
def test_every_version_reaches_the_same_records(simulator, client, version):
    paths = PATHS[version]
    made = client.post(f"{paths.objects}/0-1", json={"properties": {"email": "a@x.example"}}).json()
    assert client.get(f"{CONTACTS}/{made['id']}").json()["properties"]["email"] == "a@x.example"
    assert client.get(f"{paths.properties}/contacts/email").json()["hasUniqueValue"]
    assert client.post(f"{paths.lists}/search", json={"query": ""}).json()["lists"] == []


def test_what_is_not_there_is_not_found(client):
    assert client.get("/crm/v9/objects/contacts").status_code == 404
    assert client.get("/crm/v3/properties/contacts/none").status_code == 404
    assert client.post(f"{CONTACTS}/batch/upsert", content=b"{").status_code == 400
