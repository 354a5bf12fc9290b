"""The simulated programs, campaigns, webhooks and custom objects."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from tests.connectors.marketo.simulated import code, opened, reason

from switchyard_connectors.marketo.simulator_campaigns import Webhook
from switchyard_connectors.marketo.simulator_instance import iso


@pytest.fixture
def desk():
    with opened() as desk:
        yield desk


@pytest.fixture
def ids(desk) -> list[int]:
    return [row["id"] for row in desk.sync(*({"email": f"p{n}@x.example"} for n in range(3)))]


def test_a_lower_status_is_skipped_with_1037(desk, ids):
    program = desk.simulator.programs.add("Webinar")
    path = f"/rest/v1/programs/{program.id}/members/status.json"

    def become(status: str) -> list[str]:
        rows = [{"leadId": ids[0]}, {"leadId": 1}]
        verdicts = desk.post(path, {"statusName": status, "input": rows})["result"]
        return [reason(each) if each["status"] == "skipped" else each["status"] for each in verdicts]

    assert become("Attended") == ["updated", "1004"]
    assert become("Invited") == ["1037", "1004"]
    assert code(desk.post(path, {"statusName": "Nothing", "input": [{"leadId": ids[0]}]})) == "1003"


def test_members_are_found_by_lead_status_and_change(desk, ids):
    program = desk.simulator.programs.add("Webinar")
    desk.simulator.programs.put(program.id, ids[:2], "Invited")
    desk.clock.advance(3_600)
    desk.sign_in()
    desk.simulator.programs.put(program.id, ids[1:], "Registered")
    path = f"/rest/v1/programs/{program.id}/members.json"

    def found(**params: object) -> list[int]:
        return [row["leadId"] for row in desk.get(path, **params)["result"]]

    assert found(filterType="leadId", filterValues=f"{ids[0]},{ids[2]}") == [ids[0], ids[2]]
    assert found(filterType="statusName", filterValues="Invited") == ids[:1]
    span = {"startAt": iso(desk.clock.now - 60), "endAt": iso(desk.clock.now)}
    assert found(filterType="updatedAt", filterValues="", **span) == ids[1:]
    week = {"startAt": iso(desk.clock.now - 8 * 86_400), "endAt": iso(desk.clock.now)}
    assert code(desk.get(path, filterType="updatedAt", filterValues="", **week)) == "1003"
    (row,) = desk.get(path, filterType="leadId", filterValues=ids[0], fields="email,statusName")["result"]
    assert (row["email"], row["statusName"], row["reachedSuccess"]) == ("p0@x.example", "Invited", False)


def test_programs_of_more_than_100_000_members_are_refused(desk):
    program = desk.simulator.programs.add("Webinar")
    seeded = desk.simulator.seed(100_001)
    desk.simulator.programs.put(program.id, seeded, "Invited")
    path = f"/rest/v1/programs/{program.id}/members.json"
    assert code(desk.get(path, filterType="statusName", filterValues="Invited")) == "1003"
    assert len(desk.get(path, filterType="leadId", filterValues=seeded[0])["result"]) == 1


def test_member_fields_and_deletion(desk, ids):
    program = desk.simulator.programs.add("Webinar")
    desk.simulator.programs.fields.append("seat")
    desk.simulator.programs.put(program.id, ids[:1], "Invited")
    root = f"/rest/v1/programs/{program.id}/members"
    rows = [{"leadId": ids[0], "seat": "7"}, {"leadId": ids[1], "seat": "8"}, {"leadId": ids[0], "row": "1"}]
    verdicts = desk.post(f"{root}.json", {"input": rows})["result"]
    assert (verdicts[0]["status"], [reason(each) for each in verdicts[1:]]) == ("updated", ["1004", "1006"])
    gone = desk.post(f"{root}/delete.json", {"input": [{"leadId": ids[0]}, {"leadId": ids[0]}]})["result"]
    assert [each["status"] for each in gone] == ["deleted", "skipped"]
    assert "seat" in [
        each["name"] for each in desk.get("/rest/v1/programs/members/describe.json")["result"][0]["fields"]
    ]


def test_programs_are_assets(desk):
    program = desk.simulator.programs.add("Webinar")
    assert desk.get("/rest/asset/v1/program/byName.json", name="Webinar")["result"][0]["id"] == program.id
    assert desk.get(f"/rest/asset/v1/program/{program.id}.json")["result"][0]["name"] == "Webinar"
    assert len(desk.get("/rest/asset/v1/programs.json")["result"]) == 1


def test_a_trigger_campaign_is_requested_for_a_hundred_leads(desk, ids):
    vip, newsletter = desk.simulator.campaigns.add("VIP"), desk.simulator.campaigns.add("Newsletter", "batch")
    (found,) = desk.get("/rest/v1/campaigns.json", isTriggerable="true")["result"]
    assert found["id"] == vip.id
    body = {"input": {"leads": [{"id": each} for each in ids], "tokens": [{"name": "{{my.reason}}", "value": "won"}]}}
    path = f"/rest/v1/campaigns/{vip.id}/trigger.json"
    assert desk.post(path, body)["result"] == [{"id": vip.id}]
    assert vip.requests == [(ids, {"{{my.reason}}": "won"})]
    assert code(desk.post(path, {"input": {"leads": [{"id": ids[0]}] * 101}})) == "1003"
    assert code(desk.post(path, {"input": {"leads": [{"id": 1}]}})) == "1004"
    assert code(desk.post(f"/rest/v1/campaigns/{newsletter.id}/trigger.json", body)) == "1003"
    run_at = {"input": {"runAt": iso(desk.clock.now + 600)}}
    assert desk.post(f"/rest/v1/campaigns/{newsletter.id}/schedule.json", run_at)["success"]
    late = {"input": {"runAt": iso(desk.clock.now - 600)}}
    assert code(desk.post(f"/rest/v1/campaigns/{newsletter.id}/schedule.json", late)) == "1042"


def test_a_webhook_is_called_once_per_lead_unsigned(desk, ids):
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append((self.headers["x-secret"], body))
            self.send_response(500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        template = '{"id": {{lead.id}}, "email": "{{lead.email}}", "why": "{{my.reason}}"}'
        hook = Webhook(f"http://127.0.0.1:{server.server_port}/", template, {"x-secret": "s3cret"})
        campaign = desk.simulator.campaigns.add("Call", webhook=hook)
        body = {
            "input": {
                "leads": [{"id": each} for each in ids[:2]],
                "tokens": [{"name": "{{my.reason}}", "value": 'a "b"'}],
            }
        }
        desk.post(f"/rest/v1/campaigns/{campaign.id}/trigger.json", body)
        desk.simulator.campaigns.sender.settle()
        server.shutdown()
    # Refused, and not sent again.
    assert received == [
        ("s3cret", {"id": each, "email": f"p{n}@x.example", "why": 'a "b"'}) for n, each in enumerate(ids[:2])
    ]


def test_custom_objects_with_a_compound_key(desk):
    fields = {"number": "string", "line": "integer", "email": "string", "total": "currency"}
    desk.simulator.objects.add_type("order_c", fields, ["number", "line"], ("email", "email"))
    path = "/rest/v1/customobjects/order_c.json"
    row = {"number": "1", "line": 1, "email": "a@x.example", "total": 5}
    verdicts = desk.post(path, {"input": [row, {**row, "total": 6}, {"number": "2"}, {**row, "colour": "red"}]})[
        "result"
    ]
    assert [each["status"] for each in verdicts] == ["created", "updated", "skipped", "skipped"]
    assert [reason(each) for each in verdicts[2:]] == ["1002", "1006"]
    asked = {"filterType": "dedupeFields", "fields": ["number", "total"], "input": [{"number": "1", "line": 1}]}
    (found,) = desk.post(path, asked, _method="GET")["result"]
    assert (found["marketoGUID"], found["total"]) == (verdicts[0]["marketoGUID"], 6)
    assert len(desk.get(path, filterType="email", filterValues="a@x.example")["result"]) == 1
    by_id = {
        "action": "updateOnly",
        "dedupeBy": "idField",
        "input": [{"marketoGUID": found["marketoGUID"], "total": 7}],
    }
    assert desk.post(path, by_id)["result"][0]["status"] == "updated"
    (described,) = desk.get("/rest/v1/customobjects/order_c/describe.json")["result"]
    assert described["dedupeFields"] == ["number", "line"]
    assert desk.get("/rest/v1/customobjects.json")["result"] == [described]
    gone = {"deleteBy": "dedupeFields", "input": [{"number": "1", "line": 1}, {"number": "9", "line": 1}]}
    verdicts = desk.post("/rest/v1/customobjects/order_c/delete.json", gone)["result"]
    assert [each["status"] for each in verdicts] == ["deleted", "skipped"]
    assert code(desk.get("/rest/v1/customobjects/nothing_c/describe.json")) == "1013"


def test_the_whole_instance_survives_as_json(desk, ids):
    program = desk.simulator.programs.add("Webinar")
    desk.simulator.programs.put(program.id, ids[:1], "Invited")
    desk.simulator.campaigns.add("Call", webhook=Webhook("http://127.0.0.1:9/"))
    desk.simulator.objects.add_type("order_c", {"number": "string"}, ["number"])
    desk.simulator.objects.put("order_c", {"number": "1"})
    desk.simulator.activities.add_type("Bought", "bought_c", "Product", {"Price": "currency"})
    state = json.loads(json.dumps(desk.simulator.dump()))
    with opened() as other:
        other.simulator.load(state)
        assert json.loads(json.dumps(other.simulator.dump())) == state
