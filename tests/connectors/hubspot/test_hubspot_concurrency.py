"""Several calls at once: the same calls, the same verdicts, and a clean stop."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchyard.api import AuthError, ListChanges, Member, PermanentError, QuotaExhausted, TransientError
from switchyard.api.connectors import Lagging
from switchyard.testing.simulator import Answer, Fault, Slow
from switchyard_connectors.hubspot.simulator import Account
from switchyard_connectors.hubspot.simulator_auth import OAuthApp

LANES = 4
APP = OAuthApp(rotates=True)
SIGN_IN = {"client_id": APP.client_id, "client_secret": APP.client_secret, "refresh_token": APP.refresh_token}
DAILY = {"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}
ROLLING = {"status": "error", "message": "ten_secondly_rolling", "policyName": "TEN_SECONDLY_ROLLING"}
STORM = [
    None,
    Answer(429, ROLLING),
    Answer(429, "Too many requests"),
    Answer(429, {"category": "RATE_LIMITS", "message": "You have reached your secondly limit."}),
    Answer(429, "busy", {"Retry-After": "3"}),
    Answer(429, "busy", {"Retry-After": "0"}),
    Answer(429, "busy", {"Retry-After": "Mon, 21 Sep 2026 13:33:00 GMT"}),
    Answer(429, "busy", {"Retry-After": "soon"}),
    Answer(423),
    Answer(477, "moving", {"Retry-After": "2"}),
    Answer(500, "oops"),
    Answer(502, "<html>bad gateway</html>"),
    Answer(503),
    Answer(504),
    Fault(drop="before"),
    Fault(drop="after"),
    Fault(truncate=30),
]


@pytest.fixture
def wide(open_desk):
    return open_desk(concurrency=LANES, membership_batch=100)


def test_the_calls_are_as_few_as_one_after_the_other_and_adds_come_last(wide, people):
    ref = wide.ensure()
    members = people(950)
    calls = wide.calls(lambda: wide.deliver(ref, upsert=members, add=members))
    assert [call.rpartition("/")[2] for call in calls] == ["upsert"] * 10 + ["add-and-remove"] * 10
    assert len(wide.held(ref)) == 950


def test_calls_overlap_as_far_as_configured(open_desk, people):
    desk = open_desk(concurrency=LANES)
    ref = desk.ensure()
    under_way = []

    def arrive():
        under_way.append(sum(call.status is None for call in desk.simulator.calls("POST", "upsert")))

    desk.simulator.script("POST", "upsert", itertools.repeat(Fault(call=arrive)))
    desk.simulator.slow = [Slow(0.5, path="upsert")]
    done = desk.deliver(ref, upsert=people(100 * 2 * LANES))
    assert max(under_way) == LANES
    assert len(done.receipts) == 2 * LANES


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401, {"category": "INVALID_AUTHENTICATION"}), AuthError),
        (Answer(429, DAILY), QuotaExhausted),
        (Answer(403, {"category": "MISSING_SCOPES"}), PermanentError),
        (Answer(200, b'{"results": ['), TransientError),
    ],
)
@pytest.mark.parametrize("path", ["upsert", "add-and-remove"])
def test_an_error_of_one_call_hides_nothing_that_others_confirmed(wide, people, answer, error, path):
    ref = wide.ensure()
    members = people(3_000)
    wide.simulator.script(None, path, [None, None, answer])
    receipts = []
    with pytest.raises(error):
        for receipt in wide.sink.apply(ref, ListChanges("1", upsert=members, add=members)):
            receipts.append(receipt)
    confirmed = {value for receipt in receipts for value in receipt.upserted.values()}
    assert confirmed == set(wide.simulator.contacts.records)
    assert sum(len(receipt.added) for receipt in receipts) == len(wide.simulator.lists.lists[ref.id].members)
    assert wide.simulator.count(None, path) < 30


def test_a_delivery_that_is_closed_calls_no_more(wide, people):
    ref = wide.ensure()
    receipts = wide.sink.apply(ref, ListChanges("1", upsert=people(2_000)))
    next(receipts)
    receipts.close()
    made = wide.simulator.count("POST", "upsert")
    assert made <= LANES
    assert "lane" not in {thread.name for thread in threading.enumerate()}
    assert {call.status for call in wide.simulator.calls("POST", "upsert")} == {200}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # A call is tried five times, and one may meet them all.
    steps=st.lists(st.sampled_from(STORM), max_size=4),
    bad=st.sets(st.integers(0, 249), max_size=100),
    lanes=st.sampled_from([1, LANES]),
)
def test_storms_and_refused_rows_in_any_mixture_end_in_the_list_that_was_wanted(open_desk, people, steps, bad, lanes):
    desk = open_desk(concurrency=lanes, membership_batch=100)
    ref = desk.ensure()
    members = people(250)
    for each in bad:
        desk.simulator.contacts.block(f"p{each}@x.example")
    desk.simulator.script(None, "upsert|add-and-remove", steps)
    done = desk.deliver(ref, upsert=members, add=members)
    good = {f"p{each}" for each in range(250)} - {f"p{each}" for each in bad}
    assert done.added == done.upserted.keys() == good
    assert done.codes.keys() == {f"p{each}" for each in bad}
    assert desk.held(ref) == set(done.upserted.values())


def test_a_token_that_ends_in_the_middle_is_renewed_once_for_all_lanes(open_desk, people):
    desk = open_desk(Account(tier=None, app=APP), oauth=SIGN_IN, concurrency=LANES, membership_batch=50)
    ref = desk.ensure()
    for number in (4, 14):
        desk.simulator.at_call(desk.simulator.journal.total + number, desk.simulator.auth.expire)
    done = desk.deliver(ref, upsert=people(500), add=people(500))
    assert len(done.added) == 500
    assert desk.simulator.count("POST", "/oauth/") == 3
    assert {call.status for call in desk.simulator.calls("POST", "/oauth/")} == {200}


def test_a_token_that_ends_between_two_pages_loses_nothing(open_desk, people):
    desk = open_desk(Account(tier=None, app=APP), oauth=SIGN_IN)
    ref = desk.ensure()
    ids = [desk.simulator.contacts.add({"email": f"m{each}@x.example"}).id for each in range(600)]
    desk.simulator.lists.put_on(ref.id, ids)
    read = []
    for page in desk.sink.members(ref, None):
        read += [row["remote_id"] for row in page.records]
        desk.simulator.auth.expire()
    assert read == ids


def test_a_used_up_day_ends_the_delivery_until_midnight_of_the_accounts_zone(open_desk, people):
    desk = open_desk(Account(daily=5, time_zone="Asia/Tokyo"), time_zone="Asia/Tokyo", tier="enterprise")
    ref = desk.ensure()
    with pytest.raises(QuotaExhausted) as refused:
        desk.deliver(ref, upsert=people(2_000))
    tomorrow = datetime.now(ZoneInfo("Asia/Tokyo")).date() + timedelta(days=1)
    midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert refused.value.until == midnight.astimezone(UTC).replace(tzinfo=None)
    asked = desk.simulator.journal.total
    with pytest.raises(QuotaExhausted):
        desk.held(ref)
    assert desk.simulator.journal.total == asked


def test_the_configured_lag_is_declared(open_desk):
    desk = open_desk(list_lag=45)
    assert isinstance(desk.sink, Lagging)
    assert desk.sink.lag() == 45


def test_an_unknown_member_is_refused_before_any_lane_starts(wide):
    ref = wide.ensure()
    assert wide.deliver(ref, add=[Member("a")]).codes == {"a": "no_record"}
