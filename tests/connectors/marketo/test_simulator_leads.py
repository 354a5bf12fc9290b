"""The simulated lead database: sign-in, limits, leads."""

from __future__ import annotations

import itertools
import threading

import httpx
import pytest
from tests.connectors.marketo.simulated import CREDENTIALS, code, opened, reason

from switchyard_connectors.marketo.simulator import Account, ApiUser


@pytest.fixture
def desk():
    with opened() as desk:
        yield desk


def test_the_same_token_is_given_with_its_remaining_time_until_it_expires(desk):
    first = desk.sign_in()
    desk.clock.advance(3_590)
    again = desk.sign_in()
    assert (again["access_token"], again["expires_in"]) == (first["access_token"], 10)
    desk.clock.advance(10)
    assert code(desk.get("/rest/v1/leads/describe2.json")) == "602"
    assert desk.sign_in()["access_token"] != first["access_token"]
    assert desk.get("/rest/v1/leads/describe2.json")["success"]


def test_bad_credentials_are_401_and_a_bad_token_is_200_with_601(desk):
    answer = desk.http.get("/identity/oauth/token", params={**CREDENTIALS, "client_secret": "wrong"})
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    desk.simulator.identity.revoke()
    refused = desk.http.get("/rest/v1/leads/describe2.json")
    assert (refused.status_code, code(refused.json())) == (200, "601")
    assert desk.sign_in()["expires_in"] == 3_600


def test_calls_with_bad_tokens_are_not_counted(desk):
    desk.simulator.identity.expire()
    desk.get("/rest/v1/leads/describe2.json")
    desk.sign_in()
    desk.get("/rest/v1/leads/describe2.json")
    assert desk.get("/rest/v1/stats/usage.json")["result"][0]["total"] == 2
    assert desk.get("/rest/v1/stats/errors.json")["result"][0]["errors"] == [{"errorCode": "602", "count": 1}]


def test_a_hundred_calls_in_twenty_seconds_and_no_more():
    with opened(Account()) as desk:
        answers = [desk.get("/rest/v1/leads/partitions.json") for _ in range(101)]
        assert [answer["success"] for answer in answers] == [True] * 100 + [False]
        assert code(answers[-1]) == "606"
        desk.clock.advance(20)
        assert desk.get("/rest/v1/leads/partitions.json")["success"]


def test_the_day_ends_at_midnight_in_the_central_zone():
    with opened(Account(daily=1)) as desk:
        # 17:33:20 UTC is 12:33:20 in Central daylight time.
        desk.clock.now = 1_790_012_000.0
        desk.sign_in()
        assert desk.get("/rest/v1/leads/partitions.json")["success"]
        assert code(desk.get("/rest/v1/leads/partitions.json")) == "607"
        for seconds, success in ((41_199, False), (1, True)):
            desk.clock.advance(seconds)
            desk.sign_in()
            assert desk.get("/rest/v1/leads/partitions.json")["success"] is success


def test_the_eleventh_call_at_once_is_refused():
    with opened(Account(), latency=0.3) as desk:
        answers: list[dict] = []

        def call() -> None:
            answers.append(desk.get("/rest/v1/leads/partitions.json"))

        threads = [threading.Thread(target=call) for _ in range(11)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [code(answer) for answer in answers if not answer["success"]] == ["615"]


def test_long_urls_are_414_and_large_bodies_413(desk):
    assert desk.http.get("/rest/v1/leads.json", params={"filterValues": "x" * 8_192}).status_code == 414
    assert desk.http.post("/rest/v1/leads.json", content=b" " * 1_048_577).status_code == 413
    answer = desk.http.post(
        "/rest/v1/leads.json",
        params={"_method": "GET"},
        data={"filterType": "email", "filterValues": ",".join(f"{'x' * 40}{n}@x.example" for n in range(300))},
    )
    assert answer.json()["result"] == []


def test_wrong_paths_methods_and_bodies_are_failures_with_status_200(desk):
    assert code(desk.get("/rest/v1/nothing.json")) == "610"
    assert code(desk.http.put("/rest/v1/leads.json").json()) == "605"
    assert code(desk.http.post("/rest/v1/leads.json", content=b"{").json()) == "609"
    assert code(desk.http.get("/rest/v1/leads.json", headers={"Authorization": ""}).json()) == "600"


def test_sync_gives_one_verdict_per_row_in_order(desk):
    desk.sync({"email": "ann@x.example", "firstName": "Ann"})
    verdicts = desk.sync(
        {"email": "ANN@x.example", "city": "Graz"},
        {"email": "not an address"},
        {"email": "bob@x.example", "shoeSize": 42},
        {"email": "bob@x.example", "company": "Acme"},
        {"firstName": "Nobody"},
        {"email": "bob@x.example", "leadScore": 7},
    )
    assert [each["status"] for each in verdicts] == ["updated", *["skipped"] * 4, "created"]
    assert [reason(each) for each in verdicts[1:5]] == ["1003", "1006", "1021", "1003"]
    found = desk.get(
        "/rest/v1/leads.json", filterType="email", filterValues="ann@x.example", fields="email,city,firstName"
    )
    assert [(row["email"], row["city"], row["firstName"]) for row in found["result"]] == [
        ("ANN@x.example", "Graz", "Ann")
    ]


@pytest.mark.parametrize(
    ("action", "of_known", "of_new"),
    [
        ("createOnly", "1005", "created"),
        ("updateOnly", "updated", "1004"),
        ("createOrUpdate", "updated", "created"),
        ("createDuplicate", "created", "created"),
    ],
)
def test_actions(desk, action, of_known, of_new):
    desk.sync({"email": "ann@x.example"})
    verdicts = desk.sync({"email": "ann@x.example", "city": "Graz"}, {"email": "new@x.example"}, action=action)
    outcomes = [reason(each) if each["status"] == "skipped" else each["status"] for each in verdicts]
    assert outcomes == [of_known, of_new]


def test_lookup_by_a_custom_field_and_by_id(desk):
    desk.simulator.fields.add("customerKey")
    (made,) = desk.sync({"customerKey": "K1", "email": "ann@x.example"}, lookupField="customerKey")
    assert desk.sync({"customerKey": "k1", "email": "ann2@x.example"}, lookupField="customerKey") == [
        {"id": made["id"], "status": "updated"}
    ]
    assert (
        desk.sync({"id": made["id"], "city": "Graz"}, lookupField="id", action="updateOnly")[0]["status"] == "updated"
    )
    assert code(desk.post("/rest/v1/leads.json", {"lookupField": "id", "input": [{"id": 1}]})) == "1003"
    assert reason(desk.sync({"leadScore": 1}, lookupField="leadScore")[0]) == "1011"


def test_null_clears_a_value_and_an_equal_one_changes_nothing(desk):
    (made,) = desk.sync({"email": "ann@x.example", "city": "Graz", "phone": "1"})
    desk.clock.advance(60)
    desk.sync({"email": "ann@x.example", "city": "Graz"})
    entries = len(desk.simulator.log)
    desk.sync({"email": "ann@x.example", "city": None})
    (row,) = desk.get(f"/rest/v1/lead/{made['id']}.json", fields="city,phone,createdAt,updatedAt")["result"]
    assert (row["city"], row["phone"]) == (None, "1")
    assert row["createdAt"] < row["updatedAt"]
    assert len(desk.simulator.log) == entries + 1


def test_two_upserts_of_one_new_key_at_once_make_two_leads_and_then_1007():
    with opened(latency=0.2) as desk:

        def call() -> None:
            body = {"input": [{"email": "ann@x.example"}]}
            httpx.post(f"{desk.simulator.url}/rest/v1/leads.json", headers=desk.http.headers, json=body)

        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        desk.simulator.latency = 0.0
        found = desk.get("/rest/v1/leads.json", filterType="email", filterValues="ann@x.example")["result"]
        assert len(found) == 2
        assert reason(desk.sync({"email": "ann@x.example"})[0]) == "1007"


def test_300_rows_and_values_and_no_more(desk):
    rows = [{"email": f"p{n}@x.example"} for n in range(301)]
    assert len(desk.sync(*rows[:300])) == 300
    assert code(desk.post("/rest/v1/leads.json", {"input": rows})) == "1003"
    form = {"filterType": "email", "filterValues": ",".join(row["email"] for row in rows)}
    assert code(desk.http.post("/rest/v1/leads.json", params={"_method": "GET"}, data=form).json()) == "1003"


def test_leads_are_paged_by_token(desk):
    desk.sync(*({"email": f"p{n}@x.example"} for n in range(7)))
    wanted = {"filterType": "email", "filterValues": ",".join(f"p{n}@x.example" for n in range(7)), "batchSize": 3}
    pages, token = [], {}
    while True:
        page = desk.get("/rest/v1/leads.json", **wanted, **token)
        pages.append(len(page["result"]))
        if "nextPageToken" not in page:
            break
        token = {"nextPageToken": page["nextPageToken"]}
    assert pages == [3, 3, 1]


def test_too_many_leads_of_one_filter(desk):
    for start in range(0, 1_001, 300):
        desk.sync(*({"email": f"p{n}@x.example", "city": "Graz"} for n in range(start, min(start + 300, 1_001))))
    assert code(desk.get("/rest/v1/leads.json", filterType="city", filterValues="Graz")) == "1003"


def test_describe2_names_what_leads_can_be_found_by(desk):
    desk.simulator.fields.add("customerKey")
    (described,) = desk.get("/rest/v1/leads/describe2.json")["result"]
    assert ["email"] in described["searchableFields"]
    assert ["customerKey"] in described["searchableFields"]
    fields = {each["name"]: each for each in described["fields"]}
    assert fields["createdAt"]["updateable"] is False
    old = desk.get("/rest/v1/leads/describe.json")["result"]
    assert any("rest" not in each for each in old)
    assert {each["rest"]["name"] for each in old if "rest" in each} == fields.keys()


def test_custom_fields_are_created_once(desk):
    row = {"name": "vip", "displayName": "VIP", "dataType": "boolean"}
    verdicts = desk.post("/rest/v1/leads/schema/fields.json", {"input": [row, row]})["result"]
    assert [each["status"] for each in verdicts] == ["created", "skipped"]
    assert desk.get("/rest/v1/leads/schema/fields/vip.json")["result"][0]["isApiCreated"] is True
    assert (
        desk.sync({"email": "a@x.example", "vip": "maybe"}, {"email": "a@x.example", "vip": True})[1]["status"]
        == "created"
    )


def test_deleted_leads_leave_their_lists(desk):
    ids = [row["id"] for row in desk.sync({"email": "a@x.example"}, {"email": "b@x.example"})]
    entry = desk.simulator.lists.add("vip")
    desk.simulator.lists.put_on(entry.id, ids)
    verdicts = desk.post("/rest/v1/leads/delete.json", {"input": [{"id": ids[0]}, {"id": 1}]})["result"]
    assert [each["status"] for each in verdicts] == ["deleted", "skipped"]
    assert desk.simulator.member_emails("vip") == {"b@x.example"}
    assert desk.get("/rest/v1/leads.json", filterType="id", filterValues=str(ids[0]))["result"] == []


def test_the_winner_of_a_merge_gets_values_lists_and_activities(desk):
    winner, loser = (row["id"] for row in desk.sync({"email": "a@x.example"}, {"email": "b@x.example", "city": "Graz"}))
    entry = desk.simulator.lists.add("vip")
    desk.simulator.lists.put_on(entry.id, [loser])
    assert desk.post(f"/rest/v1/leads/{winner}/merge.json", leadIds=loser)["success"]
    assert desk.simulator.lists.lists[entry.id].members.keys() == {winner}
    (row,) = desk.get("/rest/v1/leads.json", filterType="id", filterValues=f"{winner},{loser}", fields="email,city")[
        "result"
    ]
    assert (row["email"], row["city"]) == ("a@x.example", "Graz")
    assert code(desk.post(f"/rest/v1/leads/{winner}/merge.json", leadIds=",".join(map(str, range(2, 28))))) == "1080"
    assert code(desk.post(f"/rest/v1/leads/{winner}/merge.json", leadIds=loser)) == "1004"


def test_a_million_seeded_leads_are_found_changed_and_deleted(desk):
    ids = desk.simulator.seed(1_000_000, more=lambda number: {"city": "Graz" if number % 2 else "Linz"})
    middle = ids[500_000]
    (row,) = desk.get("/rest/v1/leads.json", filterType="id", filterValues=str(middle), fields="email,city")["result"]
    assert row == {"id": middle, "email": f"lead{middle}@seeded.example", "city": "Linz"}
    assert desk.sync({"email": row["email"], "city": "Wels"}) == [{"id": middle, "status": "updated"}]
    assert desk.sync({"email": "new@x.example"})[0]["status"] == "created"
    desk.simulator.people.delete(ids[0])
    assert desk.simulator.people.matches("email", f"lead{ids[0]}@seeded.example") == []
    assert desk.simulator.people.get(middle).values["city"] == "Wels"
    assert len(desk.simulator.people.leads) == 2


def test_leads_are_seeded_from_outside_too(desk):
    assert desk.http.post("/_simulator/edit/seed", json={"count": 5, "days": 1}).json() == {"result": 5}
    desk.simulator.people.delete(next(desk.simulator.people.ids()))
    assert desk.http.get("/_simulator/state").json()["leads"] == len(list(desk.simulator.people.ids())) == 4


def test_who_else_signs_in_is_counted_for_itself():
    users = (ApiUser(), ApiUser("other-client", "other-password", "other@api.example"))
    with opened(Account(limited=False, users=users)) as desk:
        desk.get("/rest/v1/leads/partitions.json")
        desk.sign_in(client_id="other-client", client_secret="other-password")
        counted = desk.get("/rest/v1/stats/usage.json")["result"][0]["users"]
        assert {each["userId"]: each["count"] for each in counted} == {"hub@api.example": 1, "other@api.example": 1}


def test_faults_can_be_scripted_in_the_envelope(desk):
    desk.simulator.script("GET", "partitions", itertools.repeat(desk.simulator.failed("604", "Request timed out"), 1))
    assert code(desk.get("/rest/v1/leads/partitions.json")) == "604"
    assert desk.get("/rest/v1/leads/partitions.json")["success"]


@pytest.mark.parametrize("path", ["/rest/v1/lists.json", "/rest/v1/lists/1101/leads.json", "/rest/v1/activities.json"])
def test_a_token_of_a_page_that_is_none_is_refused(desk, path):
    desk.simulator.lists.add("one")
    assert code(desk.get(path, nextPageToken="OUTDATED", activityTypeIds="1")) == "1003"
