"""Failures come with status 200; the code decides."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from switchyard.api import AuthError, PermanentError, QuotaExhausted, TransientError
from switchyard.api.http import UnknownOutcome
from switchyard.testing.simulator import Answer
from switchyard_connectors.marketo.envelope import Judge, midnight


def answered(code: str) -> httpx.Response:
    return httpx.Response(200, json={"requestId": "1", "success": False, "errors": [{"code": code, "message": "x"}]})


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("601", AuthError),
        ("602", AuthError),
        ("604", TransientError),
        ("606", TransientError),
        ("607", QuotaExhausted),
        ("615", TransientError),
        ("719", TransientError),
        ("603", PermanentError),
        ("1003", PermanentError),
        ("9999", PermanentError),
    ],
)
def test_codes_mean_what_the_runner_does_next(code, meaning):
    assert type(Judge("GET /x")(answered(code))) is meaning


def test_no_data_is_an_empty_result():
    judge = Judge("GET /x")
    assert judge(answered("702")) is None
    assert judge.envelope.result == []


@pytest.mark.parametrize(("code", "meaning"), [("604", UnknownOutcome), ("719", TransientError)])
def test_what_must_happen_once_is_not_repeated_where_it_may_have_happened(code, meaning):
    assert type(Judge("POST /x", once=True)(answered(code))) is meaning


def test_a_message_holds_no_words_of_the_vendor():
    judge = Judge("GET /x")
    body = {"success": False, "errors": [{"code": "1003", "message": "value 'ann@x.example'"}]}
    assert "ann" not in str(judge(httpx.Response(200, json=body)))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"result": []}'])
def test_an_answer_that_is_no_envelope_is_a_passing_fault(body):
    error = Judge("GET /x")(httpx.Response(200, content=body, request=httpx.Request("GET", "https://x.example")))
    assert type(error) is TransientError


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-07-01T04:59", "2026-07-01T05:00"),
        ("2026-07-01T05:01", "2026-07-02T05:00"),
        ("2026-01-15T05:59", "2026-01-15T06:00"),
        ("2026-01-15T06:01", "2026-01-16T06:00"),
        ("2026-03-08T07:00", "2026-03-09T05:00"),
        ("2026-11-01T06:00", "2026-11-02T06:00"),
    ],
)
def test_607_lasts_until_central_midnight_in_summer_and_in_winter(now, until):
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    error = Judge("GET /x", now=lambda: at)(answered("607"))
    assert isinstance(error, QuotaExhausted)
    assert error.until == midnight(at) == datetime.fromisoformat(until)


def test_607_stops_the_whole_account(desk):
    desk.simulator.script(None, "usage.json", [desk.simulator.failed("607", "Daily quota reached")])
    with pytest.raises(QuotaExhausted):
        desk.source.check()
    before = desk.simulator.journal.total
    with pytest.raises(QuotaExhausted):
        desk.sink.check()
    assert desk.simulator.journal.total == before


def test_606_holds_the_account_back_for_the_window(desk):
    desk.simulator.script(None, "usage.json", [desk.simulator.failed("606", "Max rate limit exceeded")])
    begun = desk.clock()
    desk.source.check()
    assert desk.clock() - begun >= 20


def test_an_expired_token_is_renewed_and_the_call_made_again(desk):
    source = desk.source
    source.check()
    desk.simulator.identity.expire()
    assert desk.calls(source.check) == ["GET /rest/v1/stats/usage.json"] * 2


def test_601_in_the_middle_of_paging_loses_no_page(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(700)
    ids = set(desk.deliver(sink, ref, upsert=crowd, add=crowd).upserted.values())
    seen = []
    for page in sink.members(ref, None):
        seen += [row["remote_id"] for row in page.records]
        desk.simulator.identity.revoke()
    assert sorted(seen) == sorted(ids)


def test_the_same_token_with_its_last_seconds_is_no_circle(desk):
    source = desk.source
    source.check()
    desk.clock.advance(3_570)
    for _ in range(3):
        desk.source.check()
    assert desk.simulator.count("POST", "/identity/") <= 4
    desk.clock.advance(60)
    source.check()


def test_bad_credentials_are_told_once(open_desk):
    desk = open_desk(client_secret="wrong")
    source = desk.source
    for _ in range(2):
        with pytest.raises(AuthError):
            source.check()
    assert desk.simulator.count("POST", "/identity/") == 1
    assert desk.simulator.count("GET") == 0


def test_a_refused_token_that_the_identity_service_gives_again_needs_a_person(desk):
    steps = [desk.simulator.failed("601", "Access token invalid")] * 5
    desk.simulator.script(None, "usage.json", steps)
    with pytest.raises(AuthError):
        desk.source.check()


def test_a_gateway_page_with_status_200_is_tried_again(desk):
    desk.simulator.script(None, "usage.json", [Answer(200, "<html>busy</html>")])
    desk.source.check()
