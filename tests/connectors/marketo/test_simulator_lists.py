"""The simulated static lists: as lists of leads, and as assets in folders."""

from __future__ import annotations

import json

import pytest
from tests.connectors.marketo.simulated import Desk, code, opened, reason


@pytest.fixture
def desk():
    with opened() as desk:
        yield desk


@pytest.fixture
def ids(desk) -> list[int]:
    return [row["id"] for row in desk.sync(*({"email": f"p{n}@x.example"} for n in range(7)))]


def created(desk: Desk, name: str = "vip") -> int:
    (folder,) = desk.get("/rest/asset/v1/folder/byName.json", name="Group Lists")["result"]
    assert folder["isSystem"] is True
    form = {"name": name, "folder": json.dumps(folder["folderId"])}
    return desk.http.post("/rest/asset/v1/staticLists.json", data=form).json()["result"][0]["id"]


def members(desk: Desk, list_id: int, **params: int) -> list[list[int]]:
    """The ids of every page."""
    pages, token = [], {}
    while True:
        page = desk.get(f"/rest/v1/lists/{list_id}/leads.json", fields="email", **params, **token)
        pages.append([row["id"] for row in page["result"]])
        if "nextPageToken" not in page:
            return pages
        token = {"nextPageToken": page["nextPageToken"]}


def test_a_list_is_created_in_a_folder_by_a_form_and_found_by_name(desk):
    list_id = created(desk)
    (found,) = desk.get("/rest/asset/v1/staticList/byName.json", name="vip")["result"]
    assert (found["id"], found["folder"]) == (list_id, {"id": 13, "type": "Folder"})
    (row,) = desk.get("/rest/v1/lists.json", name="vip")["result"]
    assert (row["id"], row["workspaceName"]) == (list_id, "Default")
    again = desk.http.post(
        "/rest/asset/v1/staticLists.json", data={"name": "vip", "folder": '{"id":13,"type":"Folder"}'}
    )
    assert code(again.json()) == "709"
    nowhere = desk.http.post(
        "/rest/asset/v1/staticLists.json", data={"name": "x", "folder": '{"id":99,"type":"Folder"}'}
    )
    assert code(nowhere.json()) == "711"


def test_an_asset_that_is_not_there_is_a_success_with_a_warning_and_no_result(desk):
    answer = desk.get("/rest/asset/v1/staticList/byName.json", name="nobody")
    assert answer["success"]
    assert answer["warnings"] == ["No assets found for the given search criteria."]
    assert "result" not in answer
    assert "result" not in desk.get("/rest/asset/v1/folder/byName.json", name="nobody")


def test_assets_are_browsed_by_offset(desk):
    for n in range(25):
        desk.simulator.lists.add(f"list {n}")
    assert len(desk.get("/rest/asset/v1/staticLists.json")["result"]) == 20
    rest = desk.get("/rest/asset/v1/staticLists.json", offset=20, maxReturn=200)
    assert [row["name"] for row in rest["result"]] == [f"list {n}" for n in range(20, 25)]
    assert "result" not in desk.get("/rest/asset/v1/staticLists.json", offset=25)


def test_lists_in_use_cannot_be_deleted(desk):
    list_id = created(desk)
    desk.simulator.edits()["use_list"](list="vip")
    assert code(desk.post(f"/rest/asset/v1/staticList/{list_id}/delete.json")) == "709"
    free = created(desk, "free")
    assert desk.post(f"/rest/asset/v1/staticList/{free}/delete.json")["result"] == [{"id": free}]
    assert code(desk.get(f"/rest/v1/lists/{free}.json")) == "1013"
    renamed = desk.http.post(f"/rest/asset/v1/staticList/{list_id}.json", data={"name": "gold"}).json()
    assert renamed["result"][0]["name"] == "gold"


def test_adding_and_removing_have_verdicts_in_order(desk, ids):
    list_id = created(desk)
    path = f"/rest/v1/lists/{list_id}/leads.json"
    added = desk.post(path, {"input": [{"id": ids[0]}, {"id": 1}, {"id": ids[0]}]})["result"]
    assert [(row["id"], row["status"]) for row in added] == [(ids[0], "added"), (1, "skipped"), (ids[0], "added")]
    removed = desk.http.delete(path, params={"id": [ids[0], ids[1], 1]}).json()["result"]
    assert removed[0] == {"id": ids[0], "status": "removed"}
    assert [reason(row) for row in removed[1:]] == ["1015", "1004"]


def test_members_are_removed_by_a_body_as_well(desk, ids):
    list_id = created(desk)
    desk.post(f"/rest/v1/lists/{list_id}/leads.json", id=ids[:3])
    body = {"input": [{"id": ids[0]}]}
    answer = desk.http.request("DELETE", f"/rest/v1/lists/{list_id}/leads.json", json=body).json()
    assert answer["result"] == [{"id": ids[0], "status": "removed"}]
    assert members(desk, list_id) == [ids[1:3]]


def test_members_are_paged_in_order_of_ids_while_the_list_changes(desk, ids):
    list_id = created(desk)
    desk.simulator.lists.put_on(list_id, reversed(ids))
    assert members(desk, list_id, batchSize=3) == [ids[:3], ids[3:6], ids[6:]]
    first = desk.get(f"/rest/v1/lists/{list_id}/leads.json", batchSize=3)
    desk.simulator.lists.take_off(list_id, ids[:2])
    second = desk.get(f"/rest/v1/lists/{list_id}/leads.json", batchSize=3, nextPageToken=first["nextPageToken"])
    assert [row["id"] for row in second["result"]] == ids[3:6]


def test_membership_can_be_asked_for(desk, ids):
    list_id = created(desk)
    desk.simulator.lists.put_on(list_id, ids[:1])
    answer = desk.get(f"/rest/v1/lists/{list_id}/leads/ismember.json", id=f"{ids[0]},{ids[1]}")
    assert [row["status"] for row in answer["result"]] == ["memberof", "notmemberof"]
    (row,) = desk.get(f"/rest/v1/leads/{ids[0]}/listMembership.json")["result"]
    assert row["listId"] == list_id


def test_300_members_a_call(desk):
    list_id = created(desk)
    body = {"input": [{"id": n} for n in range(1, 302)]}
    assert code(desk.post(f"/rest/v1/lists/{list_id}/leads.json", body)) == "1003"


def test_readers_see_a_change_after_the_lag(desk, ids):
    list_id = created(desk)
    desk.simulator.settings()["list_lag"](60)
    desk.post(f"/rest/v1/lists/{list_id}/leads.json", {"input": [{"id": ids[0]}]})
    assert members(desk, list_id) == [[]]
    desk.clock.advance(60)
    assert members(desk, list_id) == [ids[:1]]


def test_hand_edits_name_lists_and_leads_as_people_do(desk, ids):
    edits = desk.simulator.edits()
    list_id = edits["create_list"]("gold")
    edits["add_members"]("gold", ["p0@x.example", ids[1]])
    assert desk.simulator.member_emails("gold") == {"p0@x.example", "p1@x.example"}
    edits["remove_members"](list_id, ["p0@x.example"])
    edits["merge_leads"]("p2@x.example", ["p1@x.example"])
    assert desk.simulator.member_emails("gold") == {"p2@x.example"}
    answer = desk.http.post("/_simulator/edit/delete_list", json={"list": "gold"})
    assert answer.json() == {"result": None}
    assert desk.simulator.lists.named("gold") is None


def test_the_instance_goes_on_from_what_was_kept(desk, ids):
    list_id = created(desk)
    desk.simulator.lists.put_on(list_id, ids[:2])
    desk.simulator.people.delete(ids[0])
    state = json.loads(json.dumps(desk.simulator.dump()))
    with opened() as other:
        other.simulator.load(state)
        other.http.headers.update(desk.http.headers)
        assert members(other, list_id) == [ids[1:2]]
        assert other.sync({"email": "p1@x.example", "city": "Graz"}) == [{"id": ids[1], "status": "updated"}]
        assert len(other.simulator.log) == len(desk.simulator.log) + 1
