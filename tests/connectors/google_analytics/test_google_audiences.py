"""Audience exports: one a day, resumed by name, users who left taken back."""

from __future__ import annotations

from math import ceil

import pytest

from switchyard.api import TransientError
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.google_analytics.simulator import Property

from .conftest import alive, gone, rows

BUYERS = {"audiences": [{"name": "buyers", "id": "2"}], "audience_poll": 60}
STREAM = "audience_buyers"


def _buyers(desk):
    found = desk.simulator.events.ask(
        "SELECT client_id FROM seen WHERE consent GROUP BY ALL HAVING bool_or(name = 'purchase')"
    )
    return {client for (client,) in found}


@pytest.fixture
def slow(open_desk):
    """Exports that take a quarter of an hour."""
    return open_desk(Property(events=1_000, export_seconds=900))


def test_everybody_in_the_audience_is_given_with_their_ids(desk):
    members = alive(desk.sync(STREAM, **BUYERS))
    assert {row["device_id"] for row in members} == _buyers(desk)
    signed_in = [row for row in members if row["user_id"]]
    assert 0 < len(signed_in) < len(members)
    assert all(row["user_id"] == f"u{row['device_id'].removeprefix('1000.')}" for row in signed_in)
    assert {row["exported_at"].timestamp() for row in members}


def test_what_is_not_set_is_no_consent(desk):
    members = {row["device_id"]: row["ads_personalization"] for row in alive(desk.sync(STREAM, **BUYERS))}
    said = dict(desk.simulator.events.ask("SELECT d0, d2 FROM export_4000"))
    assert {"true", "false", "(not set)"} == set(said.values())
    assert members == {device: answer == "true" for device, answer in said.items()}


@pytest.mark.parametrize("page_rows", [10, 1_000])
def test_the_calls_are_list_create_polls_and_pages(desk, page_rows):
    members = alive(desk.sync(STREAM, page_rows=page_rows, **BUYERS))
    polls = desk.simulator.count("GET", r"audienceExports/\d+$")
    assert desk.calls("audienceExports") == 2 + polls + ceil(len(members) / page_rows)
    assert polls == 2


def test_nothing_is_asked_for_twice_a_day(desk, clock):
    desk.sync(STREAM, **BUYERS)
    before = desk.calls()
    clock.advance(23 * 3_600)
    assert desk.sync(STREAM, **BUYERS) == []
    assert desk.calls() == before
    clock.advance(2 * 3_600)
    assert len(alive(desk.sync(STREAM, **BUYERS))) == len(_buyers(desk))
    assert desk.simulator.count("POST", "audienceExports$") == 2


def test_who_left_the_audience_is_given_as_deleted(desk, clock):
    first = alive(desk.sync(STREAM, **BUYERS))
    left = first[0]
    desk.simulator.events.change("DELETE FROM events WHERE client_id = ?", [left["device_id"]])
    clock.advance(86_400)
    second = desk.sync(STREAM, page_rows=10, **BUYERS)
    assert [row["member_id"] for row in gone(second)] == [left["member_id"]]
    assert gone(second)[0]["device_id"] == left["device_id"]
    assert len(alive(second)) == len(first) - 1


def test_a_run_killed_after_any_page_asks_for_no_second_export(slow, clock):
    read = []
    for _ in range(40):
        pages = slow.sync(STREAM, pages=1, page_rows=40, **BUYERS)
        if not pages:
            break
        read += pages
    assert {row["device_id"] for row in rows(read)} == _buyers(slow)
    assert slow.simulator.count("POST", "audienceExports$") == 1


def test_an_export_whose_name_got_lost_is_found_again(desk):
    desk.simulator.script("POST", "audienceExports$", [Fault(drop="after")])
    with pytest.raises(TransientError):
        desk.sync(STREAM, **BUYERS)
    assert len(alive(desk.sync(STREAM, **BUYERS))) == len(_buyers(desk))
    assert len(desk.simulator.exports.made) == 1


def test_an_export_that_takes_longer_is_read_by_a_later_sync(slow):
    first = slow.sync(STREAM, audience_wait=120, **BUYERS)
    assert rows(first) == []
    assert first[-1].cursor["export"].endswith("/audienceExports/4000")
    slow.clock.advance(900)
    assert len(alive(slow.sync(STREAM, audience_wait=120, **BUYERS))) == len(_buyers(slow))


def test_a_failed_export_is_told_and_asked_for_anew_a_day_later(desk, clock):
    desk.simulator.exports.fail_next = "Quota exhausted while the audience was exported."
    with pytest.raises(TransientError, match="Quota exhausted"):
        desk.sync(STREAM, **BUYERS)
    assert desk.sync(STREAM, **BUYERS) == []
    clock.advance(86_400)
    assert len(alive(desk.sync(STREAM, **BUYERS))) == len(_buyers(desk))


def test_an_export_that_expired_is_left_for_a_new_one(slow, clock):
    slow.sync(STREAM, audience_wait=0, **BUYERS)
    clock.advance(73 * 3_600)
    assert len(alive(slow.sync(STREAM, **BUYERS))) == len(_buyers(slow))
    assert slow.simulator.count("POST", "audienceExports$") == 2


def test_a_row_that_names_nobody_is_refused(desk):
    nobody = {"dimensionValues": [{}, {"value": "(not set)"}, {"value": "true"}]}
    desk.simulator.script("POST", ":query", [Answer(body={"audienceRows": [nobody], "rowCount": 1})])
    pages = desk.sync(STREAM, **BUYERS)
    assert rows(pages) == []
    assert [reject.code for page in pages for reject in page.rejected] == ["nobody"]


def test_who_was_given_of_an_export_that_was_given_up_is_taken_back_too(slow, clock):
    first = rows(slow.sync(STREAM, pages=2, page_rows=20, **BUYERS))
    assert len(first) == 20
    left = first[0]["device_id"]
    slow.simulator.events.change("DELETE FROM events WHERE client_id = ?", [left])
    clock.advance(73 * 3_600)
    second = slow.sync(STREAM, page_rows=20, **BUYERS)
    assert [row["device_id"] for row in gone(second)] == [left]
    assert {row["device_id"] for row in alive(second)} == _buyers(slow)
