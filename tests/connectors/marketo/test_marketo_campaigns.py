from __future__ import annotations

from datetime import datetime

import pytest

from switchyard.api import Batch, Change, PermanentError
from switchyard.api.http import UnknownOutcome
from switchyard.testing.simulator import Fault


def batch(*keys, kind="entered", name="Welcome"):
    changes = [Change(f"c{at}", kind, key, {}, profile=at, at=datetime(2026, 9, 21)) for at, key in enumerate(keys)]
    return Batch("b1", "welcome", "new_people", name, "email", changes)


@pytest.fixture
def leads(desk):
    return [desk.simulator.people.create({"email": f"p{each}@x.example"}).id for each in range(3)]


def test_whoever_entered_is_taken_up(desk, leads):
    campaign = desk.simulator.campaigns.add("Welcome")
    receipt = desk.campaigns.write(batch("P0@x.example", "p2@x.example"))
    assert receipt.remote_ids == {0: str(leads[0]), 1: str(leads[2])}
    assert [lead for ids, _ in campaign.requests for lead in ids] == [leads[0], leads[2]]


def test_whoever_left_or_changed_asks_for_nothing(desk, leads):
    desk.simulator.campaigns.add("Welcome")
    assert desk.calls(lambda: desk.campaigns.write(batch("p0@x.example", kind="left"))) == []


def test_whom_marketo_does_not_know_is_refused_alone(desk, leads):
    desk.simulator.campaigns.add("Welcome")
    receipt = desk.campaigns.write(batch("nobody@x.example", "p1@x.example"))
    assert (set(receipt.rejected), set(receipt.remote_ids)) == ({0}, {1})
    assert receipt.rejected[0].retryable


def test_a_batch_takes_two_calls_once_the_campaign_is_known(desk, leads):
    desk.simulator.campaigns.add("Welcome")
    sink = desk.campaigns
    sink.write(batch("p0@x.example"))
    made = desk.calls(lambda: sink.write(batch("p0@x.example", "p1@x.example")))
    assert made == ["GET /rest/v1/leads.json", "POST /rest/v1/campaigns/{campaign_id}/trigger.json"]


def test_a_campaign_that_cannot_be_requested_is_told(desk, leads):
    with pytest.raises(PermanentError, match="campaign"):
        desk.campaigns.write(batch("p0@x.example"))


def test_a_lost_answer_is_not_asked_for_again(desk, leads):
    desk.simulator.campaigns.add("Welcome")
    desk.simulator.script("POST", "/trigger.json", [Fault(drop="after")])
    with pytest.raises(UnknownOutcome):
        desk.campaigns.write(batch("p0@x.example"))
    assert desk.simulator.count("POST", "/trigger.json") == 1
