"""The streams of what leads did: pages that are short or empty, tokens, groups of types, history in bulk."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from switchyard_connectors.marketo.windows import instant_of

from .conftest import DAY

OPENED, CLICKED, VISITED = 10, 11, 1


@pytest.fixture
def lead(open_desk):
    """A desk that reads from today on, and its one lead."""
    desk = open_desk(since="2026-09-20")
    return desk, desk.simulator.people.create({"email": "a@x.example"}).id


def guids(records):
    return [record["marketoGUID"] for record in records]


def test_all_pages_are_read_although_some_are_short_or_empty(lead):
    desk, ann = lead
    desk.simulator.log.scan = 7
    for each in range(100):
        desk.simulator.activities.record(OPENED if each % 10 == 0 else 12, ann, primary="Mail")
    desk.clock.advance(60)
    records, _ = desk.read("activities")
    assert len(records) == len(set(guids(records))) == 10
    assert desk.simulator.count("GET", "/activities.json") > 10


def test_a_later_run_reads_what_is_new_and_nothing_twice(lead):
    desk, ann = lead
    cursor, seen = None, []
    for each in range(4):
        desk.simulator.activities.record(OPENED, ann, primary=f"Mail {each}")
        desk.clock.advance(60)
        records, cursor = desk.read("activities", cursor)
        seen += guids(records)
    assert len(seen) == len(set(seen)) == 4


def test_the_last_token_is_kept_and_no_new_one_asked_for(lead):
    desk, _ = lead
    _, cursor = desk.read("activities")
    made = desk.calls(lambda: desk.read("activities", cursor))
    assert made == ["GET /rest/v1/activities.json"]


def test_a_token_that_is_refused_is_replaced_by_its_instant(lead):
    desk, ann = lead
    _, cursor = desk.read("activities")
    desk.clock.advance(60)
    desk.simulator.activities.record(OPENED, ann)
    (mark,) = cursor["feeds"].values()
    mark["token"] = "OUTDATED"
    desk.clock.advance(60)
    assert len(desk.read("activities", cursor)[0]) == 1
    # What is written down late has an earlier date.
    (*_, asked) = desk.simulator.calls("GET", "/pagingtoken.json")
    (since,) = parse_qs(asked.query)["sinceDatetime"]
    assert instant_of(mark["at"]) - instant_of(since) == timedelta(days=1)


def test_types_are_asked_for_by_ten(open_desk):
    desk = open_desk(since="2026-09-20")
    own = [desk.simulator.activities.add_type(f"Own {each}", f"own{each}_c", "Name", {}) for each in range(12)]
    desk.configured(activity_types=(*desk.config.activity_types, *(each.id for each in own))).read("activities")
    asked = [parse_qs(call.query)["activityTypeIds"][0] for call in desk.simulator.calls("GET", "/activities.json")]

    assert [len(each.split(",")) for each in asked] == [10, 10, 1]
    assert desk.simulator.count("GET", "/pagingtoken.json") == 1


def test_a_type_asked_for_later_is_read_from_the_beginning(open_desk):
    desk = open_desk(since="2026-09-20", activity_types=[OPENED])
    ann = desk.simulator.people.create({"email": "a@x.example"}).id
    for kind in (OPENED, CLICKED):
        desk.simulator.activities.record(kind, ann)
    desk.clock.advance(60)
    first, cursor = desk.read("activities")
    other = desk.configured(activity_types=(OPENED, CLICKED))
    second, cursor = other.read("activities", cursor)
    assert [each["activityTypeId"] for each in (*first, *second)] == [str(OPENED), str(CLICKED)]
    assert other.read("activities", cursor)[0] == []


def test_history_is_read_in_bulk_and_joins_the_feed_without_gap_or_double(open_desk):
    desk = open_desk(since="2026-09-21")
    ann = desk.simulator.people.create({"email": "a@x.example"}).id
    for _ in range(40):
        desk.simulator.activities.record(OPENED, ann, primary="Mail", primary_id=7, attributes={"Device": "x"})
        desk.clock.advance(DAY)
    desk.simulator.activities.record(CLICKED, ann, primary="Mail", primary_id=7, attributes={"Link": "y"})
    desk.clock.advance(60)
    records, cursor = desk.read("activities")
    assert len(records) == len(set(guids(records))) == 41
    assert desk.simulator.count("POST", "/activities/export/create.json") == 2
    assert {json.loads(each["attributes"]).get("Device") for each in records} == {"x", None}
    assert {name for each in records for name in each} == set(records[0])
    desk.clock.advance(60)
    assert desk.read("activities", cursor)[0] == []


def test_a_killed_run_goes_on_from_any_page(open_desk):
    desk = open_desk(since="2026-09-21")
    ann = desk.simulator.people.create({"email": "a@x.example"}).id
    for _ in range(10):
        desk.simulator.activities.record(OPENED, ann)
        desk.clock.advance(DAY)
    for _ in range(700):
        desk.simulator.activities.record(VISITED, ann)
    desk.clock.advance(60)
    pages = desk.pages("activities")
    counts = [len(page.records) for page in pages]
    for number in range(1, len(pages)):
        rest, _ = desk.read("activities", pages[number - 1].cursor)
        assert sum(counts[:number]) + len(rest) == 710


def test_changes_of_fields_are_records_of_their_own(open_desk):
    desk = open_desk(since="2026-09-20", changes=["firstName", "lastName"])
    ann = desk.simulator.people.create({"email": "a@x.example", "firstName": "A"}).id
    desk.clock.advance(60)
    _, cursor = desk.read("lead_changes")
    desk.simulator.people.update(ann, {"firstName": "Ann"})
    desk.simulator.people.update(ann, {"email": "b@x.example"})
    desk.clock.advance(60)
    records, _ = desk.read("lead_changes", cursor)
    assert [(each["leadId"], each["field"], each["oldValue"], each["newValue"]) for each in records] == [
        (str(ann), "firstName", "A", "Ann")
    ]


def test_a_date_to_come_does_not_move_a_feed_on(lead):
    desk, ann = lead
    _, cursor = desk.read("activities")
    desk.simulator.activities.record(OPENED, ann, at=desk.clock() + 30 * DAY)
    desk.clock.advance(60)
    _, cursor = desk.read("activities", cursor)
    desk.clock.advance(DAY)
    desk.simulator.activities.record(OPENED, ann, primary="later")
    desk.clock.advance(60)
    (mark,) = cursor["feeds"].values()
    mark["token"] = "OUTDATED"
    assert "later" in [each["primaryAttributeValue"] for each in desk.read("activities", cursor)[0]]


def test_a_type_asked_for_later_is_read_in_bulk_where_it_is_old(open_desk):
    desk = open_desk(since="2026-09-01", activity_types=[OPENED])
    ann = desk.simulator.people.create({"email": "a@x.example"}).id
    for kind in (OPENED, CLICKED):
        desk.simulator.activities.record(kind, ann)
    desk.clock.advance(10 * DAY)
    first, cursor = desk.read("activities")
    other = desk.configured(activity_types=(OPENED, CLICKED))
    made = []
    second = []
    made += desk.calls(lambda: second.extend(other.read("activities", cursor)))
    assert [each["activityTypeId"] for each in (*first, *second[0])] == [str(OPENED), str(CLICKED)]
    assert made.count("POST /bulk/v1/activities/export/create.json") == 1
    desk.simulator.activities.record(CLICKED, ann)
    desk.clock.advance(60)
    assert len(other.read("activities", second[1])[0]) == 1


def test_a_type_asked_for_amid_history_is_read_from_the_beginning(open_desk):
    desk = open_desk(since="2026-09-01", activity_types=[OPENED])
    ann = desk.simulator.people.create({"email": "a@x.example"}).id
    for kind in (OPENED, CLICKED):
        desk.simulator.activities.record(kind, ann)
    desk.clock.advance(10 * DAY)
    reading = desk.source.read(desk.stream("activities"), None)
    cursor = next(reading).cursor
    reading.close()
    records, _ = desk.configured(activity_types=(OPENED, CLICKED)).read("activities", cursor)
    assert {each["activityTypeId"] for each in records} == {str(OPENED), str(CLICKED)}
