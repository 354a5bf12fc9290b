"""The simulator keeps to the vendor's documentation where clients of HubSpot are known to stumble."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

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
    simulator.contacts.merges_keep_id = True
    simulator.contacts.merge(winner, loser)
    inputs = [{"id": each, "properties": {"city": "Graz"}} for each in (winner, loser)]
    answer = client.post(f"{CONTACTS}/batch/update", json={"inputs": inputs})
    assert answer.status_code == 200
    assert [row["id"] for row in answer.json()["results"]] == [winner]


@pytest.mark.parametrize("keeps", [False, True])
def test_two_contacts_that_are_merged_become_one_that_both_ids_lead_to(simulator, client, keeps):
    simulator.contacts.merges_keep_id = keeps
    made = [simulator.lists.add(name) for name in ("first's", "second's", "nobody's")]
    first, second, third = (simulator.contacts.add({"email": f"{name}@x.example", "city": name}).id for name in "abc")
    simulator.lists.put_on(made[0].id, [first])
    simulator.lists.put_on(made[1].id, [second])
    once = client.post(f"{CONTACTS}/merge", json={"primaryObjectId": first, "objectIdToMerge": second}).json()["id"]
    assert (once == first) is keeps
    twice = client.post(f"{CONTACTS}/merge", json={"primaryObjectId": third, "objectIdToMerge": second}).json()["id"]
    for each in (first, second, third, once):
        assert client.get(f"{CONTACTS}/{each}").json()["id"] == twice
    read = client.post(f"{CONTACTS}/batch/read", json={"inputs": [{"id": first}], "properties": ["city"]}).json()
    assert [(row["id"], row["properties"]["city"]) for row in read["results"]] == [(twice, "c")]
    assert [simulator.member_emails(each.name) for each in made] == [{"c@x.example"}, {"c@x.example"}, set()]
    rows = client.post(f"{CONTACTS}/batch/upsert", json={"inputs": [upsert_input(f"{n}@x.example") for n in "abc"]})
    assert {row["id"] for row in rows.json()["results"]} == {twice}
    assert len(simulator.contacts.records) == 1


def test_a_record_that_was_merged_away_cannot_be_put_on_a_list(simulator, client):
    vip = simulator.lists.add("vip")
    first, second = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in "ab")
    simulator.contacts.merge(first, second)
    answer = client.put(f"/crm/v3/lists/{vip.id}/memberships/add", json=[first, second])
    assert answer.json()["recordIdsMissing"] == [first, second]
    assert not vip.members


def test_nothing_is_left_of_an_erased_contact_but_its_blocked_addresses(simulator, client):
    vip = simulator.lists.add("vip")
    main, other = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in ("main", "other"))
    gone = simulator.contacts.merge(main, other)
    simulator.lists.put_on(vip.id, [gone])
    assert client.post(f"{CONTACTS}/gdpr-delete", json={"objectId": other}).status_code == 204
    ids = (main, other, gone)
    assert [client.get(f"{CONTACTS}/{each}").status_code for each in ids] == [404, 404, 404]
    read = client.post(f"{CONTACTS}/batch/read", json={"inputs": [{"id": each} for each in ids]})
    assert (read.status_code, read.json()["errors"][0]["context"]["ids"]) == (207, list(ids))
    inputs = [upsert_input(f"{name}@x.example", name) for name in ("main", "other", "new")]
    upsert = client.post(f"{CONTACTS}/batch/upsert", json={"inputs": inputs}).json()
    assert [row["properties"]["email"] for row in upsert["results"]] == ["new@x.example"]
    assert {error["context"]["objectWriteTraceId"][0] for error in upsert["errors"]} == {"main", "other"}
    assert client.put(f"/crm/v3/lists/{vip.id}/memberships/add", json=[gone]).json()["recordIdsMissing"] == [gone]
    assert client.post(f"{CONTACTS}/search", json={}).json()["total"] == 1
    assert not vip.members


def test_an_additional_address_finds_the_contact_and_stays_additional(simulator, client):
    winner, loser = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in ("w", "l"))
    winner = simulator.contacts.merge(winner, loser)
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


def test_the_day_ends_at_midnight_of_the_accounts_zone(clock):
    with HubSpotSimulator(Account(daily=1, time_zone="Asia/Tokyo"), clock=clock) as simulator:
        headers = {"authorization": f"Bearer {STATIC}"}
        with httpx.Client(base_url=simulator.url, headers=headers) as client:
            statuses = []
            for _ in range(25):
                statuses.append(client.get(CONTACTS).status_code)
                clock.advance(3_600)
            began = datetime.fromtimestamp(clock.now - 25 * 3_600, ZoneInfo("Asia/Tokyo"))
            fresh = [hour for hour in range(25) if hour == 0 or (began + timedelta(hours=hour)).hour == 0]
            assert [hour for hour, status in enumerate(statuses) if status == 200] == fresh


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


def test_lists_show_their_members_late(simulator, client, clock):
    vip = simulator.lists.add("vip")
    early, late = (simulator.contacts.add({"email": f"{name}@x.example"}).id for name in ("early", "late"))
    simulator.lists.put_on(vip.id, [early])
    simulator.lists.lag = 60
    root = f"/crm/v3/lists/{vip.id}/memberships"

    def shown() -> list[list[str]]:
        answers = [client.get(path).json() for path in (root, f"{root}/join-order")]
        assert {answer["total"] for answer in answers} == {len(answer["results"]) for answer in answers}
        return [[row["recordId"] for row in answer["results"]] for answer in answers]

    clock.advance(60)
    assert shown() == [[early]] * 2
    body = {"recordIdsToAdd": [late], "recordIdsToRemove": [early]}
    assert client.put(f"{root}/add-and-remove", json=body).json()["recordsIdsAdded"] == [late]
    assert client.get(f"/crm/v3/lists/{vip.id}").json()["list"]["size"] == 1
    clock.advance(59)
    assert shown() == [[early]] * 2
    assert client.get(f"/crm/v3/lists/records/0-1/{late}/memberships").json()["results"] == []
    assert client.put(f"{root}/add-and-remove", json=body).json()["recordsIdsAdded"] == []
    clock.advance(1)
    assert shown() == [[late]] * 2


def test_searches_find_changes_late(simulator, client, clock):
    contacts = simulator.contacts
    moved, gone, merged = (contacts.add({"email": f"{name}@x.example", "city": "Graz"}).id for name in "abc")
    contacts.lag = 30

    def found() -> list[str]:
        groups = [{"filters": [{"propertyName": "city", "operator": "EQ", "value": "graz"}]}]
        rows = client.post(f"{CONTACTS}/search", json={"filterGroups": groups}).json()["results"]
        clock.advance(1)
        return [row["id"] for row in rows]

    assert found() == [moved, gone, merged]
    contacts.update(moved, {"city": "Linz"})
    contacts.archive(gone)
    new = contacts.add({"email": "d@x.example", "city": "Graz"}).id
    both = contacts.merge(merged, new)
    assert found() == [moved, gone, merged]
    assert client.get(f"{CONTACTS}/{moved}", params={"properties": "city"}).json()["properties"]["city"] == "Linz"
    clock.advance(30)
    assert found() == [both]
    contacts.update(moved, {"city": "Graz"})
    contacts.lag = 0
    assert sorted(found()) == sorted([moved, both])


def test_hand_edits_over_the_control_api(simulator, client):
    def edit(what: str, /, **arguments: object) -> object:
        return client.post(f"/_simulator/edit/{what}", json=arguments).json()["result"]

    def state() -> dict[str, object]:
        return client.get("/_simulator/state").json()

    one, two, three = (
        edit("create_contact", values={"email": f"{name}@x.example"}) for name in ("one", "two", "three")
    )
    vip = edit("create_list", name="vip")
    edit("add_members", list_id=vip, record_ids=[one, two])
    both = edit("merge_contacts", primary_id=one, other_id=two)
    assert state() == {
        "contacts": 2,
        "lists": [{"id": vip, "name": "vip", "size": 1, "processing_type": "MANUAL", "deleted": False}],
        "properties": [],
    }
    edit("remove_members", list_id="vip", record_ids=["two@x.example"])
    edit("add_members", list_id="vip", record_ids=["Three@x.example"])
    assert list(simulator.lists.lists[vip].members) == [int(three)]
    edit("archive_contact", record_id="three@x.example")
    edit("erase_contact", record_id=both)
    assert state()["lists"][0]["size"] == 0
    edit("rename_list", list_id="vip", name="gold")
    edit("delete_list", list_id="gold")
    assert client.get(f"/crm/v3/lists/{vip}").status_code == 404
    edit("restore_list", list_id="gold")
    assert client.get(f"/crm/v3/lists/{vip}").json()["list"]["name"] == "gold"
    assert client.post("/_simulator/edit/delete_list", json={"list_id": "silver"}).status_code == 400
    assert client.get("/_simulator/edit").json()["restore_list"] == ["list_id"]


def test_a_deleted_list_comes_back_with_its_members_within_90_days(simulator, client, clock):
    made = simulator.lists.add("vip")
    simulator.lists.put_on(made.id, [simulator.contacts.add({"email": "ann@x.example"}).id])
    path = f"/crm/v3/lists/{made.id}"
    for days, status in ((90, 204), (91, 404)):
        client.delete(path)
        clock.advance(days * 86_400)
        assert client.put(f"{path}/restore").status_code == status
        assert client.get(path).status_code == (200 if status == 204 else 404)
    assert simulator.lists.lists[made.id].members


def test_settings_over_the_control_api(simulator, client):
    def set_(**values: object) -> int:
        return client.post("/_simulator/settings", json=values).status_code

    assert set_(list_lag=5, index_lag=7, merges_keep_id=True, latency=0, tier="free") == 204
    assert (simulator.lists.lag, simulator.contacts.lag, simulator.contacts.merges_keep_id) == (5, 7, True)
    assert client.get(CONTACTS).headers["x-hubspot-ratelimit-max"] == "100"
    assert set_(tier=None) == 204
    assert "x-hubspot-ratelimit-max" not in client.get(CONTACTS).headers


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
