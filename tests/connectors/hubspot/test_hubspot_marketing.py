"""E-mail events and form submissions: each once, also where they are many, of one instant, or late."""

from __future__ import annotations

from math import ceil

import pytest

LATE = 300


@pytest.fixture
def library(open_library):
    return open_library(read=("email_events", "form_submissions"), properties={})


def keys(library, stream, cursor=None):
    records, after = library.sync(cursor, stream)
    named = [record["event_id" if stream == "email_events" else "submission_id"] for record in records]
    assert len(set(named)) == len(named), "one came twice"
    return set(named), after


@pytest.mark.parametrize("count", [1, 999, 1_000, 1_001])
def test_email_events_are_read_by_1_000(library, count):
    sent = {library.simulator.marketing.email(f"p{each}@x.example", "OPEN") for each in range(count)}
    library.clock.advance(LATE)
    found, cursor = keys(library, "email_events")
    assert found == sent
    assert library.simulator.count() == ceil(count / 1_000)
    assert keys(library, "email_events", cursor)[0] == set()


def test_email_events_that_can_be_read_late_are_not_lost(library):
    marketing = library.simulator.marketing
    marketing.email_lag = 200
    first = marketing.email("a@x.example", "OPEN")
    library.clock.advance(LATE)
    found, cursor = keys(library, "email_events")
    assert found == {first}
    second = marketing.email("b@x.example", "OPEN")
    library.clock.advance(100)
    found, cursor = keys(library, "email_events", cursor)
    assert found == set()
    library.clock.advance(LATE)
    assert keys(library, "email_events", cursor)[0] == {second}


def test_events_of_the_windows_last_instant_come_once(library):
    marketing = library.simulator.marketing
    now = library.clock()
    first = {marketing.email("a@x.example", "OPEN", at=now), marketing.email("a@x.example", "CLICK", at=now)}
    library.clock.advance(LATE)
    found, cursor = keys(library, "email_events")
    assert (found, cursor) == (first, {"since": int(now * 1000)})
    second = marketing.email("a@x.example", "OPEN", at=now + 0.001)
    library.clock.advance(1)
    assert keys(library, "email_events", cursor)[0] == {second}


@pytest.mark.parametrize("count", [1, 49, 50, 51])
def test_submissions_are_read_by_50_and_the_new_ones_alone(library, count):
    marketing = library.simulator.marketing
    form = marketing.add_form("Contact us")
    sent = {marketing.submit(form, {"email": f"p{each}@x.example"}) for each in range(count)}
    library.clock.advance(LATE)
    found, cursor = keys(library, "form_submissions")
    assert found == sent
    assert library.simulator.count("GET", "/submissions/") == ceil(count / 50)
    library.clock.advance(1)
    new = {marketing.submit(form, {"email": "new@x.example"})}
    library.clock.advance(LATE)
    before = library.simulator.journal.total
    assert keys(library, "form_submissions", cursor)[0] == new
    assert library.simulator.count("GET", "/submissions/", since=before) == 1


def test_submissions_that_come_while_others_are_read_come_with_the_next_read(library):
    marketing = library.simulator.marketing
    form = marketing.add_form("Contact us")
    old = {marketing.submit(form, {"email": f"p{each}@x.example"}) for each in range(120)}
    library.clock.advance(LATE)
    new: set[str] = set()
    library.simulator.at_call(
        3, lambda: new.update(marketing.submit(form, {"email": "n@x.example"}) for _ in range(60))
    )
    found, cursor = keys(library, "form_submissions")
    assert found == old
    library.clock.advance(LATE)
    assert keys(library, "form_submissions", cursor)[0] == new
    assert len(new) == 60


def test_a_form_that_is_new_is_read_from_its_beginning(library):
    marketing = library.simulator.marketing
    marketing.submit(marketing.add_form("One"), {"email": "a@x.example"})
    library.clock.advance(LATE)
    _, cursor = keys(library, "form_submissions")
    second = marketing.submit(marketing.add_form("Two"), {"email": "b@x.example"})
    library.clock.advance(LATE)
    assert keys(library, "form_submissions", cursor)[0] == {second}


def test_the_fields_of_a_form_are_fields_of_the_record(library):
    marketing = library.simulator.marketing
    form = marketing.add_form("Contact us")
    marketing.submit(form, {"email": "a@x.example", "form_name": "mine", "message": "hello"})
    library.clock.advance(LATE)
    (record,), _ = library.sync(stream="form_submissions")
    assert (record["email"], record["message"], record["form_name"]) == ("a@x.example", "hello", "Contact us")
    assert record["submitted_values"]["form_name"] == "mine"
