"""A Marketo client that others wrote, as an independent witness that the simulator speaks Marketo's API."""

from __future__ import annotations

import pytest
from tests.connectors.marketo.simulated import opened

from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET


@pytest.fixture
def desk():
    with opened() as desk:
        yield desk


@pytest.fixture
def client(desk):
    library = pytest.importorskip("marketorestpython.client")
    made = library.MarketoClient("123-ABC-456", CLIENT_ID, CLIENT_SECRET, max_retry_time=1)
    made.host = desk.simulator.url
    return made


def test_leads_are_synced_found_merged_and_deleted(desk, client):
    leads = [{"email": "ann@x.example", "firstName": "Ann"}, {"email": "bob@x.example"}, {"email": "bad"}]
    verdicts = client.execute(method="create_update_leads", leads=leads, lookupField="email", action="createOrUpdate")
    assert [row["status"] for row in verdicts] == ["created", "created", "skipped"]
    found = client.execute(
        method="get_multiple_leads_by_filter_type",
        filterType="email",
        filterValues=["ann@x.example", "bob@x.example"],
        fields="firstName,email",
        batchSize=1,
    )
    assert [row["email"] for row in found] == ["ann@x.example", "bob@x.example"]
    client.execute(method="merge_lead", id=found[0]["id"], leadIds=[found[1]["id"]])
    assert [row["status"] for row in client.execute(method="delete_lead", id=[found[0]["id"]])] == ["deleted"]
    assert len(desk.simulator.people) == 0


def test_lists_are_made_filled_and_read(desk, client):
    ids = [row["id"] for row in desk.sync(*({"email": f"p{n}@x.example"} for n in range(5)))]
    (folder,) = client.execute(method="get_folder_by_name", name="Group Lists", type="Folder")
    (made,) = client.execute(method="create_list", name="vip", folderId=folder["id"], folderType="Folder")
    assert client.execute(method="get_list_by_name", name="vip")[0]["id"] == made["id"]
    client.execute(method="add_leads_to_list", listId=made["id"], id=ids)
    assert client.execute(method="remove_leads_from_list", listId=made["id"], id=ids[:1])[0]["status"] == "removed"
    asked = client.execute(method="member_of_list", listId=made["id"], id=ids[:2])
    assert [row["status"] for row in asked] == ["notmemberof", "memberof"]
    read = client.execute(method="get_multiple_leads_by_list_id", listId=made["id"], fields="email", batchSize=3)
    assert [row["id"] for row in read] == ids[1:]


def test_activities_changes_and_deletions_are_read_to_their_end(desk, client):
    desk.simulator.settings()["activity_scan"](6)
    ids = [row["id"] for row in desk.sync(*({"email": f"p{n}@x.example"} for n in range(5)))]
    desk.sync({"email": "p0@x.example", "city": "Graz"})
    desk.simulator.people.delete(ids[4])
    start = "2026-01-01T00:00:00Z"
    read = client.execute(method="get_lead_activities", activityTypeIds=["12"], sinceDatetime=start)
    assert [row["leadId"] for row in read] == ids
    changes = client.execute(method="get_lead_changes", fields=["city"], sinceDatetime=start)
    assert [row["fields"][0]["newValue"] for row in changes if row["fields"]] == ["Graz"]
    assert [row["leadId"] for row in client.execute(method="get_deleted_leads", sinceDatetime=start)] == ids[4:]


def test_an_extract_is_created_enqueued_and_read(desk, client):
    desk.sync({"email": "ann@x.example"})
    span = {"startAt": "2026-09-01T00:00:00Z", "endAt": "2026-09-30T00:00:00Z"}
    (made,) = client.execute(method="create_leads_export_job", fields=["email"], filters={"createdAt": span})
    client.execute(method="enqueue_leads_export_job", job_id=made["exportId"])
    desk.clock.advance(60)
    (status,) = client.execute(method="get_leads_export_job_status", job_id=made["exportId"])
    assert status["status"] == "Completed"
    assert client.execute(method="get_leads_export_job_file", job_id=made["exportId"]) == b"email\nann@x.example\n"


# The client leaves the file that it sends open.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_an_import_and_a_campaign(desk, client, tmp_path):
    file = tmp_path / "leads.csv"
    file.write_text("email,city\nann@x.example,Graz\nbad,Linz\n", encoding="utf-8")
    (batch,) = client.execute(method="import_lead", format="csv", file=str(file), lookupField="email")
    (status,) = client.execute(method="get_import_lead_status", id=batch["batchId"])
    assert (status["status"], status["numOfRowsFailed"]) == ("Complete", 1)
    assert "bad,Linz" in client.execute(method="get_import_failure_file", id=batch["batchId"])
    campaign = desk.simulator.campaigns.add("VIP")
    ids = list(desk.simulator.people.leads)
    assert client.execute(method="request_campaign", id=campaign.id, leads=ids, tokens={"my.reason": "won"}) is True
    assert campaign.requests == [(ids, {"{{my.reason}}": "won"})]


def test_an_expired_token_is_renewed_and_the_call_made_again(desk, client):
    client.execute(method="get_daily_usage")
    desk.simulator.identity.expire()
    # The client trusts its own clock, which says that the token is still good.
    client.valid_until = None
    assert client.execute(method="get_daily_usage")[0]["total"] == 2
