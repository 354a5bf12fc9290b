from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from switchyard.api import Member, QuotaExhausted, TransientError
from switchyard.testing.simulator import Answer
from switchyard_connectors.hubspot.refusals import classify, rejection
from switchyard_connectors.hubspot.simulator import Account

NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def general(policy: str, words: str) -> dict[str, str]:
    return {"status": "error", "message": words, "errorType": "RATE_LIMIT", "policyName": policy}


def answered(body: object, **headers: str) -> httpx.Response:
    if isinstance(body, str):
        return httpx.Response(429, text=body, headers=headers)
    return httpx.Response(429, json=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        (general("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit."), 10),
        (general("SECONDLY", "You have reached your secondly limit."), 1),
        ({"status": "error", "message": "You have reached your secondly limit.", "category": "RATE_LIMITS"}, 1),
        ({"message": "You have reached your ten_secondly_rolling limit."}, 10),
        ("Too many requests", 10),
        ([], 10),
    ],
)
def test_every_form_of_429_says_how_long_to_wait(body, wait):
    error = classify("UTC", lambda: NOW)(answered(body))
    assert isinstance(error, TransientError)
    assert error.retry_after == wait


def test_a_retry_after_header_is_left_to_the_client():
    assert classify("UTC", lambda: NOW)(answered("slow down", **{"Retry-After": "3"})) is None


@pytest.mark.parametrize(
    ("zone", "until"),
    [
        ("UTC", datetime(2026, 11, 23)),
        ("America/New_York", datetime(2026, 11, 22, 5)),
        ("Asia/Tokyo", datetime(2026, 11, 22, 15)),
    ],
)
@pytest.mark.parametrize(
    "body", [general("DAILY", "You have reached your daily limit."), {"message": "Your daily limit"}]
)
def test_a_daily_limit_ends_at_the_accounts_midnight(zone, until, body):
    error = classify(zone, lambda: NOW)(answered(body))
    assert isinstance(error, QuotaExhausted)
    assert error.until == until


def test_a_daily_limit_stops_the_delivery_and_all_further_calls(desk):
    ref = desk.ensure()
    desk.simulator.script("PUT", "add-and-remove", [Answer(429, general("DAILY", "daily"))])
    before = desk.simulator.journal.total
    for _ in range(2):
        with pytest.raises(QuotaExhausted):
            desk.deliver(ref, add=[Member("p", "1")])
    assert desk.simulator.journal.total - before == 1


def test_rolling_and_secondly_limits_are_waited_out(desk, people):
    ref = desk.ensure()
    rolling = Answer(429, general("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit."))
    desk.simulator.script(
        "POST", "upsert", [rolling, Answer(429, "slow down"), Answer(423), Answer(477, headers={"Retry-After": "5"})]
    )
    before = desk.clock.now
    assert len(desk.deliver(ref, upsert=people(1)).upserted) == 1
    assert desk.clock.now - before >= 25


def test_the_declared_limits_keep_the_vendor_from_ever_saying_429(open_desk, people):
    desk = open_desk(Account(tier="starter"), tier="starter", membership_batch=1)
    ref = desk.ensure()
    members = people(250)
    before = desk.clock.now
    desk.deliver(ref, upsert=members, add=members)
    assert 429 not in {call.status for call in desk.simulator.calls()}
    assert desk.clock.now - before < 30


def test_a_rejection_names_the_property_at_fault_in_hubspots_words():
    error = {
        "category": "VALIDATION_ERROR",
        "message": "Property values were not valid",
        "errors": [{"message": "x was not a valid option", "code": "INVALID_OPTION", "context": {}}],
    }
    found = rejection(error)
    assert (found.code, found.reason, found.retryable) == ("INVALID_OPTION", "x was not a valid option", False)
    assert rejection({}).code == "UNKNOWN"
    assert rejection({"category": "RATE_LIMITS"}).retryable
