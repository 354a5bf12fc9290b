"""The simulated activity log, read page by page."""

from __future__ import annotations

from typing import Any

import pytest
from tests.connectors.marketo.simulated import Desk, code, opened, reason

from switchyard_connectors.marketo.simulator_instance import iso

FEED = "/rest/v1/activities.json"


@pytest.fixture
def desk():
    with opened() as desk:
        yield desk


def since(desk: Desk, at: float) -> str:
    return desk.get("/rest/v1/activities/pagingtoken.json", sinceDatetime=iso(at))["nextPageToken"]


def pages(desk: Desk, path: str, token: str, **params: Any) -> list[list[dict[str, Any]]]:
    """The results of every page until there is no more."""
    found = []
    while True:
        page = desk.get(path, nextPageToken=token, **params)
        found.append(page.get("result", []))
        token = page["nextPageToken"]
        if not page["moreResult"]:
            return found


def test_what_happened_since_an_instant(desk):
    desk.sync({"email": "old@x.example"})
    desk.clock.advance(60)
    token = since(desk, desk.clock.now)
    (made,) = desk.sync({"email": "ann@x.example", "firstName": "Ann"})
    desk.sync({"email": "ann@x.example", "city": "Graz"})
    ((new, change),) = pages(desk, FEED, token, activityTypeIds="12,13")
    assert [(row["leadId"], row["activityTypeId"]) for row in (new, change)] == [(made["id"], 12), (made["id"], 13)]
    assert change["primaryAttributeValue"] == "City"
    assert {each["name"]: each["value"] for each in change["attributes"]}["New Value"] == "Graz"
    assert new["marketoGUID"] != change["marketoGUID"]


def test_at_most_ten_types_which_are_required(desk):
    token = since(desk, 0)
    assert code(desk.get(FEED, nextPageToken=token)) == "1002"
    assert code(desk.get(FEED, nextPageToken=token, activityTypeIds="1,2,3,6,7,8,9,10,11,12,13")) == "1003"
    assert code(desk.get(FEED, nextPageToken="made up", activityTypeIds="1")) == "1003"
    assert code(desk.get("/rest/v1/activities/pagingtoken.json", sinceDatetime="yesterday")) == "1003"


def test_pages_are_short_and_empty_while_there_is_more(desk):
    desk.simulator.settings()["activity_scan"](4)
    token = since(desk, 0)
    ids = [row["id"] for row in desk.sync(*({"email": f"p{n}@x.example"} for n in range(9)))]
    desk.simulator.activities.record(10, ids[0], primary="Mail", primary_id=7)
    found = pages(desk, FEED, token, activityTypeIds=10)
    assert [len(page) for page in found] == [0, 0, 1]
    empty = desk.get(FEED, nextPageToken=token, activityTypeIds=10)
    assert "result" not in empty
    assert empty["moreResult"] is True


def test_the_token_of_the_last_page_goes_on_with_what_comes_later(desk):
    desk.sync({"email": "a@x.example"})
    page = desk.get(FEED, nextPageToken=since(desk, 0), activityTypeIds=12)
    assert (len(page["result"]), page["moreResult"]) == (1, False)
    desk.sync({"email": "b@x.example"})
    (rest,) = pages(desk, FEED, page["nextPageToken"], activityTypeIds=12)
    assert len(rest) == 1


def test_batches_of_300_with_equal_instants_lose_nothing(desk):
    token = since(desk, 0)
    for start in range(0, 1_000, 300):
        desk.sync(*({"email": f"p{n}@x.example"} for n in range(start, min(start + 300, 1_000))))
    found = pages(desk, FEED, token, activityTypeIds=12)
    assert [len(page) for page in found] == [300, 300, 300, 100]
    assert len({row["marketoGUID"] for page in found for row in page}) == 1_000


def test_entries_show_after_the_lag(desk):
    desk.simulator.settings()["activity_lag"](120)
    token = since(desk, 0)
    desk.sync({"email": "a@x.example"})
    assert pages(desk, FEED, token, activityTypeIds=12) == [[]]
    desk.clock.advance(120)
    assert [len(page) for page in pages(desk, FEED, token, activityTypeIds=12)] == [1]


def test_lead_changes_name_fields_as_the_api_does(desk):
    token = since(desk, 0)
    desk.sync({"email": "a@x.example", "city": "Graz"})
    desk.sync({"email": "a@x.example", "city": "Linz", "phone": "1"})
    ((new, change),) = pages(desk, "/rest/v1/activities/leadchanges.json", token, fields="city")
    assert new["fields"] == []
    (field,) = change["fields"]
    assert (field["name"], field["oldValue"], field["newValue"]) == ("city", "Graz", "Linz")
    assert code(desk.get("/rest/v1/activities/leadchanges.json", nextPageToken=token, fields="nothing")) == "1006"


def test_deletions_can_be_read_for_14_days(desk):
    (made,) = desk.sync({"email": "a@x.example", "firstName": "Ann"})
    token = since(desk, desk.clock.now)
    desk.simulator.people.delete(made["id"])
    ((row,),) = pages(desk, "/rest/v1/activities/deletedleads.json", token)
    assert (row["leadId"], row["activityTypeId"], row["primaryAttributeValue"]) == (made["id"], 37, "Ann")
    desk.clock.advance(14 * 86_400 + 1)
    desk.sign_in()
    assert pages(desk, "/rest/v1/activities/deletedleads.json", token) == [[]]


def test_a_merge_names_its_losers_and_is_in_no_feed_of_deletions(desk):
    winner, loser = (row["id"] for row in desk.sync({"email": "a@x.example"}, {"email": "b@x.example"}))
    token = since(desk, 0)
    desk.simulator.people.merge(winner, [loser])
    ((row,),) = pages(desk, FEED, token, activityTypeIds=32)
    assert (row["leadId"], row["attributes"][0]) == (winner, {"name": "Merge IDs", "value": str(loser)})
    assert pages(desk, "/rest/v1/activities/deletedleads.json", token) == [[]]
    (news,) = pages(desk, FEED, token, activityTypeIds=12)
    assert {each["leadId"] for each in news} == {winner}


def test_custom_activities_of_approved_types(desk):
    (lead,) = desk.sync({"email": "a@x.example"})
    bought = desk.simulator.activities.add_type("Bought", "bought_c", "Product", {"Price": "currency"})
    draft = desk.simulator.activities.add_type("Draft", "draft_c", "Thing", {}, approved=False)
    row = {
        "leadId": lead["id"],
        "activityDate": "2026-09-01T10:00:00Z",
        "activityTypeId": bought.id,
        "primaryAttributeValue": "Chair",
        "attributes": [{"name": "Price", "value": 12.5}],
    }
    rows = [row, {**row, "leadId": 1}, {**row, "activityTypeId": draft.id}, {**row, "primaryAttributeValue": ""}]
    verdicts = desk.post("/rest/v1/activities/external.json", {"input": rows})["result"]
    assert [reason(each) for each in verdicts[1:]] == ["1004", "1003", "1002"]
    ((read,),) = pages(desk, FEED, since(desk, 0), activityTypeIds=bought.id)
    assert (read["marketoGUID"], read["activityDate"]) == (verdicts[0]["marketoGUID"], "2026-09-01T10:00:00Z")
    names = [each["name"] for each in desk.get("/rest/v1/activities/types.json")["result"]]
    assert "Bought" in names
    assert "Draft" not in names
    assert len(desk.get("/rest/v1/activities/external/types.json")["result"]) == 2


def test_activities_of_a_large_list_are_refused(desk):
    ids = desk.simulator.seed(10_000)
    entry = desk.simulator.lists.add("large")
    desk.simulator.lists.put_on(entry.id, ids[1:])
    token = since(desk, 0)
    assert desk.get(FEED, nextPageToken=token, activityTypeIds=24, listId=entry.id)["success"]
    desk.simulator.lists.put_on(entry.id, ids[:1])
    assert code(desk.get(FEED, nextPageToken=token, activityTypeIds=24, listId=entry.id)) == "1003"
