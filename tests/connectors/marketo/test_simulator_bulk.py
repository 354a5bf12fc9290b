"""The simulated bulk extract and import: jobs, files, limits."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import Any

import pytest
from tests.connectors.marketo.simulated import Desk, code, opened

from switchyard.testing.simulator_jobs import JobFault
from switchyard_connectors.marketo.simulator import Account, ApiUser
from switchyard_connectors.marketo.simulator_instance import iso

LEADS = "/bulk/v1/leads/export"


@pytest.fixture
def desk():
    with opened() as desk:
        yield desk


def lately(desk: Desk, days: float = 31) -> dict[str, str]:
    return {"startAt": iso(desk.clock.now - days * 86_400), "endAt": iso(desk.clock.now)}


def created(desk: Desk, root: str = LEADS, **body: Any) -> str:
    wanted = {"fields": ["id", "email"], "format": "CSV", "filter": {"createdAt": lately(desk)}, **body}
    return desk.post(f"{root}/create.json", wanted)["result"][0]["exportId"]


def started(desk: Desk, root: str = LEADS, **body: Any) -> str:
    name = created(desk, root, **body)
    assert desk.post(f"{root}/{name}/enqueue.json")["result"][0]["status"] == "Queued"
    return name


def status(desk: Desk, name: str, root: str = LEADS) -> dict[str, Any]:
    return desk.get(f"{root}/{name}/status.json")["result"][0]


def rows(desk: Desk, name: str, root: str = LEADS) -> list[dict[str, str]]:
    content = desk.http.get(f"{root}/{name}/file.json").content.decode()
    return list(csv.DictReader(io.StringIO(content, newline="")))


def upload(desk: Desk, content: str, path: str = "/bulk/v1/leads.json", **params: Any) -> dict[str, Any]:
    files = {"file": ("leads.csv", content.encode(), "text/csv")}
    return desk.http.post(path, params={"format": "csv", **params}, files=files).json()


def test_a_job_is_created_enqueued_polled_and_its_file_verified(desk):
    desk.sync(*({"email": f"p{n}@x.example"} for n in range(3)))
    name = started(desk)
    assert status(desk, name)["status"] == "Queued"
    desk.clock.advance(60)
    done = status(desk, name)
    whole = desk.http.get(f"{LEADS}/{name}/file.json").content
    assert (done["status"], done["numberOfRecords"], done["fileSize"]) == ("Completed", 3, len(whole))
    assert done["fileChecksum"] == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert [row["email"] for row in rows(desk, name)] == [f"p{n}@x.example" for n in range(3)]


def test_a_status_is_refreshed_every_minute_only(desk):
    desk.simulator.settings()["extract_takes"](90)
    name = started(desk)
    seen = []
    for _ in range(5):
        desk.clock.advance(30)
        seen.append(status(desk, name)["status"])
    assert seen == ["Queued", "Processing", "Processing", "Completed", "Completed"]


def test_a_file_that_is_not_ready_is_404_in_plain_text(desk):
    name = created(desk)
    answer = desk.http.get(f"{LEADS}/{name}/file.json")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain;charset=utf-8")
    desk.simulator.settings()["file_lag"](30)
    desk.post(f"{LEADS}/{name}/enqueue.json")
    assert desk.http.get(f"{LEADS}/{name}/file.json").status_code == 404
    desk.clock.advance(30)
    assert desk.http.get(f"{LEADS}/{name}/file.json").status_code == 200


def test_a_file_is_read_in_ranges(desk):
    desk.sync({"email": "a@x.example"})
    path = f"{LEADS}/{started(desk)}/file.json"
    whole = desk.http.get(path).content
    pieces = [desk.http.get(path, headers={"Range": each}) for each in ("bytes=0-4", "bytes=5-", "bytes=-3")]
    assert [piece.status_code for piece in pieces] == [206, 206, 206]
    assert pieces[0].content + pieces[1].content == whole
    assert pieces[2].content == whole[-3:]
    assert pieces[1].headers["content-range"] == f"bytes 5-{len(whole) - 1}/{len(whole)}"
    assert desk.http.get(path, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_empty_values_are_null_and_control_characters_come_as_they_are(desk):
    desk.simulator.people.create({"email": "a@x.example", "firstName": "A\x00n\rn", "lastName": 'line\nbreak "q", NA'})
    name = started(desk, fields=["email", "firstName", "lastName", "city", "unsubscribed"])
    content = desk.http.get(f"{LEADS}/{name}/file.json").content
    assert content.splitlines()[0] == b"email,firstName,lastName,city,unsubscribed"
    assert b"\x00" in content
    assert content.endswith(b"null,null\n")
    # A stray CR is in no quotes, so that readers take it for the end of a row unless they drop it.
    (row,) = csv.DictReader(io.StringIO(content.replace(b"\r", b"").decode(), newline=""))
    assert row["lastName"] == 'line\nbreak "q", NA'


def test_columns_can_be_renamed(desk):
    desk.sync({"email": "a@x.example"})
    assert rows(desk, started(desk, columnHeaderNames={"email": "Address"}))[0]["Address"] == "a@x.example"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"fields": []}, "1002"),
        ({"fields": ["nothing"]}, "1006"),
        ({"filter": {}}, "1003"),
        ({"filter": {"createdAt": {"startAt": "2026-01-01T00:00:00Z"}}}, "1003"),
        ({"filter": {"createdAt": {"startAt": "2026-01-01T00:00:00Z", "endAt": "2026-02-01T00:00:01Z"}}}, "1003"),
        ({"filter": {"createdAt": {"startAt": "2026-01-01T00:00:00.000Z", "endAt": "2026-01-02T00:00:00Z"}}}, "1003"),
        ({"filter": {"staticListId": 99}}, "1013"),
        ({"format": "XML"}, "1003"),
    ],
)
def test_what_a_job_cannot_be(desk, body, expected):
    wanted = {"fields": ["id"], "filter": {"createdAt": lately(desk)}, **body}
    assert code(desk.post(f"{LEADS}/create.json", wanted)) == expected


def test_1035_where_the_subscription_cannot_filter_by_changes():
    with opened(Account(limited=False, corona=False)) as desk:
        wanted = {"fields": ["id"], "filter": {"updatedAt": lately(desk)}}
        assert code(desk.post(f"{LEADS}/create.json", wanted)) == "1035"
        assert created(desk)


def test_updated_at_filters_by_any_field_though_the_visible_one_shows_standard_fields(desk):
    desk.simulator.fields.add("favourite")
    desk.sync({"email": "a@x.example"}, {"email": "b@x.example"})
    desk.clock.advance(86_400)
    desk.sign_in()
    desk.sync({"email": "b@x.example", "favourite": "tea"})
    window = {"startAt": iso(desk.clock.now), "endAt": iso(desk.clock.now)}
    found = rows(desk, started(desk, fields=["email", "updatedAt", "favourite"], filter={"updatedAt": window}))
    assert [(row["email"], row["favourite"]) for row in found] == [("b@x.example", "tea")]
    assert found[0]["updatedAt"] < iso(desk.clock.now)


def test_1029_has_three_meanings(desk):
    desk.simulator.settings()["extract_takes"](600)
    first = started(desk)
    twice = desk.post(f"{LEADS}/{first}/enqueue.json")
    assert (code(twice), twice["errors"][0]["message"]) == ("1029", "Job already queued")
    for _ in range(11):
        started(desk, "/bulk/v1/activities/export", fields=["leadId"])
    full = desk.post(f"{LEADS}/{created(desk)}/enqueue.json")
    assert (code(full), "Too many jobs" in full["errors"][0]["message"]) == ("1029", True)
    desk.clock.advance(3_600 * 2)
    desk.sign_in()
    desk.simulator.settings()["extract_bytes"](1)
    quota = desk.post(f"{LEADS}/{created(desk)}/enqueue.json")
    assert (code(quota), "daily quota" in quota["errors"][0]["message"]) == ("1029", True)
    desk.clock.advance(86_400)
    desk.sign_in()
    assert started(desk)


def test_two_jobs_are_processed_at_once(desk):
    desk.simulator.settings()["extract_takes"](200)
    names = [started(desk) for _ in range(3)]
    desk.clock.advance(60)
    assert [status(desk, name)["status"] for name in names] == ["Processing", "Processing", "Queued"]
    desk.post(f"{LEADS}/{names[0]}/cancel.json")
    desk.clock.advance(60)
    listed = desk.get("/bulk/v1/leads/export.json", status="processing,cancelled")["result"]
    assert [each["status"] for each in listed] == ["Cancelled", "Processing", "Processing"]


def test_a_list_of_jobs_is_no_fresher_than_the_question_after_one(desk):
    name = started(desk)
    desk.clock.advance(59)
    assert [each["status"] for each in desk.get("/bulk/v1/leads/export.json")["result"]] == ["Queued"]
    desk.clock.advance(1)
    assert status(desk, name)["status"] != "Queued"


def test_jobs_fail_and_are_forgotten_after_seven_days(desk):
    desk.simulator.extracts.jobs.script("leads", [JobFault("Internal error")])
    name = started(desk)
    desk.clock.advance(60)
    assert (status(desk, name)["status"], status(desk, name)["errorMsg"]) == ("Failed", "Internal error")
    desk.clock.advance(7 * 86_400)
    desk.sign_in()
    assert code(desk.get(f"{LEADS}/{name}/status.json")) == "1013"


def test_only_who_made_a_job_may_ask_for_it():
    users = (ApiUser(), ApiUser("other-client", "other-password", "other@api.example"))
    with opened(Account(limited=False, users=users)) as desk:
        name = started(desk)
        desk.sign_in(client_id="other-client", client_secret="other-password")
        assert code(desk.get(f"{LEADS}/{name}/status.json")) == "1013"
        assert desk.get("/bulk/v1/leads/export.json")["result"] == []


def test_activities_are_extracted_with_their_attributes_as_json(desk):
    root = "/bulk/v1/activities/export"
    ids = [row["id"] for row in desk.sync({"email": "a@x.example"}, {"email": "b@x.example"})]
    desk.simulator.activities.record(10, ids[0], primary="Mail, 1", primary_id=7, attributes={"Device": "x"})
    desk.simulator.people.delete(ids[1])
    found = rows(desk, started(desk, root, fields=[]), root)
    assert [row["activityTypeId"] for row in found] == ["12", "12", "10"]
    assert json.loads(found[2]["attributes"]) == {"Device": "x"}
    only = started(desk, root, fields=["leadId"], filter={"createdAt": lately(desk), "activityTypeIds": [10]})
    assert rows(desk, only, root) == [{"leadId": str(ids[0])}]


def test_lists_members_and_objects_are_extracted(desk):
    ids = [row["id"] for row in desk.sync({"email": "a@x.example"}, {"email": "b@x.example"})]
    entry = desk.simulator.lists.add("vip")
    desk.simulator.lists.put_on(entry.id, ids[1:])
    assert [row["id"] for row in rows(desk, started(desk, filter={"staticListId": entry.id}))] == [str(ids[1])]
    desk.simulator.contents.smart_lists[7, "smart"] = lambda: ids[:1]
    assert [row["id"] for row in rows(desk, started(desk, filter={"smartListName": "smart"}))] == [str(ids[0])]
    program = desk.simulator.programs.add("Webinar")
    desk.simulator.programs.put(program.id, ids, "Attended")
    root = "/bulk/v1/program/members/export"
    wanted = {"fields": ["leadId", "statusName", "reachedSuccess"], "filter": {"programId": program.id}}
    assert rows(desk, started(desk, root, **wanted), root)[0] == {
        "leadId": str(ids[0]),
        "statusName": "Attended",
        "reachedSuccess": "true",
    }
    desk.simulator.objects.add_type("order_c", {"number": "string", "email": "string"}, ["number"], ("email", "email"))
    desk.simulator.objects.put("order_c", {"number": "1", "email": "b@x.example"})
    root = "/bulk/v1/customobjects/order_c/export"
    wanted = {"fields": ["number", "email"], "filter": {"staticListId": entry.id}}
    assert rows(desk, started(desk, root, **wanted), root) == [{"number": "1", "email": "b@x.example"}]


def test_a_large_extract_spreads_over_windows(desk):
    desk.simulator.seed(20_000, over=40 * 86_400)
    ids = set()
    for days in (40, 20):
        window = {
            "startAt": iso(desk.clock.now - days * 86_400),
            "endAt": iso(desk.clock.now - (days - 20) * 86_400 - 1),
        }
        ids |= {row["id"] for row in rows(desk, started(desk, fields=["id"], filter={"createdAt": window}))}
    assert len(ids) == 20_000


def test_an_import_upserts_and_joins_a_list_and_tells_of_bad_rows(desk):
    desk.sync({"email": "a@x.example", "city": "Graz"})
    entry = desk.simulator.lists.add("vip")
    content = "email,firstName,leadScore\na@x.example,Ann,\nbad,Bob,1\nc@x.example,Cid,many\n"
    (batch,) = upload(desk, content, lookupField="email", listId=entry.id)["result"]
    assert batch["status"] == "Queued"
    (done,) = desk.get(f"/bulk/v1/leads/batch/{batch['batchId']}.json")["result"]
    counts = [done[name] for name in ("numOfLeadsProcessed", "numOfRowsFailed", "numOfRowsWithWarning")]
    assert (done["status"], counts) == ("Complete", [2, 1, 1])
    assert desk.simulator.member_emails("vip") == {"a@x.example", "c@x.example"}
    (failure,) = csv.DictReader(
        io.StringIO(desk.http.get(f"/bulk/v1/leads/batch/{batch['batchId']}/failures.json").text)
    )
    assert (failure["email"], "bad" in failure["Import Failure Reason"]) == ("bad", True)
    (warning,) = csv.DictReader(
        io.StringIO(desk.http.get(f"/bulk/v1/leads/batch/{batch['batchId']}/warnings.json").text)
    )
    assert "many" in warning["Import Warning Reason"]
    lead = desk.simulator.people.get(desk.simulator.people.matches("email", "a@x.example")[0])
    assert (lead.values["city"], lead.values["firstName"]) == ("Graz", "Ann")


def test_an_import_with_a_header_that_does_not_fit_fails_whole(desk):
    (batch,) = upload(desk, "email,shoeSize\na@x.example,42\n")["result"]
    (done,) = desk.get(f"/bulk/v1/leads/batch/{batch['batchId']}.json")["result"]
    assert (done["status"], "shoeSize" in done["message"]) == ("Failed", True)
    assert len(desk.simulator.people) == 0


def test_imports_wait_until_1016_and_hold_their_list(desk):
    desk.simulator.settings()["import_takes"](600)
    entry = desk.simulator.lists.add("vip")
    (lead,) = desk.sync({"email": "a@x.example"})
    for _ in range(12):
        assert upload(desk, "email\na@x.example\n", listId=entry.id)["success"]
    assert code(upload(desk, "email\na@x.example\n")) == "1016"
    path = f"/rest/v1/lists/{entry.id}/leads.json"
    assert code(desk.post(path, {"input": [{"id": lead["id"]}]})) == "1019"
    desk.clock.advance(6 * 600)
    desk.sign_in()
    assert desk.post(path, {"input": [{"id": lead["id"]}]})["success"]


def test_files_of_more_than_10_mb_are_413(desk):
    files = {"file": ("leads.csv", b"x" * 10_485_760, "text/csv")}
    assert desk.http.post("/bulk/v1/leads.json", params={"format": "csv"}, files=files).status_code == 413
    assert code(desk.http.post("/bulk/v1/leads.json", params={"format": "csv"}, content=b"email\n").json()) == "612"


def test_objects_and_members_are_imported(desk):
    desk.simulator.objects.add_type("order_c", {"number": "string", "total": "currency"}, ["number"])
    (batch,) = upload(desk, "number,total\n1,5\n,6\n", "/bulk/v1/customobjects/order_c/import.json")["result"]
    root = f"/bulk/v1/customobjects/order_c/import/{batch['batchId']}"
    (done,) = desk.get(f"{root}/status.json")["result"]
    assert (done["numOfObjectsProcessed"], done["numOfRowsFailed"], done["operation"]) == (1, 1, "import")
    program = desk.simulator.programs.add("Webinar")
    path = f"/bulk/v1/program/{program.id}/members/import.json"
    (batch,) = upload(desk, "email\na@x.example\n", path, programMemberStatus="Invited")["result"]
    (done,) = desk.get(f"/bulk/v1/program/members/import/{batch['batchId']}/status.json")["result"]
    assert done["status"] == "Complete"
    assert [member.status for member in program.members.values()] == ["Invited"]
