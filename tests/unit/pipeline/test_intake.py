"""The commit of a page: what of it is new, what every subject is known by, and what waits in quarantine."""

import json
import math
from dataclasses import replace

import pyarrow as pa
import pytest
from tests.unit.pipeline.conftest import CONTACTS, TICKETS

from switchyard.api import Reject
from switchyard.api.errors import ConfigError
from switchyard.store import names
from switchyard.store.tables import AttributeType, Identifier, Quarantine, Stream, StreamMark, Subject
from switchyard.store.tables import Page as CommittedPage

CONTACT = {
    "subject": "id",
    "observed_at": "CAST(seen AS TIMESTAMP)",
    "identifiers": {"email": "email"},
    "attributes": {"city": "city", "age": "TRY_CAST(age AS INTEGER)"},
}
TICKET = {
    "subject": "who",
    "observed_at": "CAST(seen AS TIMESTAMP)",
    "events": {
        "bought": {"properties": {"paid": "CAST(paid AS DECIMAL(18,4))"}, "when": "kind = 'sale'"},
        "basket": {
            "group": "basket",
            "at": "min(CAST(seen AS TIMESTAMP))",
            "properties": {"total": "sum(CAST(paid AS DECIMAL(18,4)))"},
            "items": {"paid": "CAST(paid AS DECIMAL(18,4))"},
        },
    },
}


def contact(key, day=1, **fields):
    return {"id": key, "seen": f"2026-01-{day:02d}", **fields}


def ticket(key, paid="1.00", basket=None, kind="sale", who="ann", day=1):
    return {"id": key, "who": who, "seen": f"2026-01-{day:02d}", "paid": paid, "basket": basket, "kind": kind}


def said(spine, key="1"):
    (subject,) = [row for row in spine.rows(Subject) if row.key == key]
    return {name: value for name, (value, _) in json.loads(subject.attributes or "{}").items()}


def counts(read, mapped, quarantined=0, duplicate=0):
    from switchyard.pipeline.intake import Counts

    return Counts(read, mapped, quarantined, duplicate)


def test_the_newest_word_on_a_subject_wins(spine):
    spine = spine(CONTACTS, CONTACT)
    spine.feed([contact("1", 2, city="Lyon", age="40")])
    spine.feed([contact("1", 3, city="Nice")])
    assert said(spine) == {"city": "Nice", "age": 40}
    spine.feed([contact("1", 1, city="Brest", age="39")])
    assert said(spine) == {"city": "Nice", "age": 40}, "what comes late is not newer"
    spine.feed([contact("1", 3, city="Lille")])
    assert said(spine) == {"city": "Lille", "age": 40}, "of one instant, what came later"


def test_the_newest_word_within_a_page_wins_whatever_the_order(spine):
    spine = spine(CONTACTS, CONTACT)
    spine.feed([contact("1", 3, city="Nice"), contact("1", 5, city="Lille"), contact("1", 4, city="Brest", age="7")])
    assert said(spine) == {"city": "Lille", "age": 7}


def test_a_record_without_an_instant_is_of_now(spine):
    spine = spine(CONTACTS, CONTACT)
    spine.feed([contact("1", 3, city="Nice")])
    spine.feed([{"id": "1", "city": "Lille", "seen": None}])
    assert said(spine) == {"city": "Lille"}


WHOLE = replace(CONTACTS, whole=True)


def test_a_whole_record_takes_back_what_it_has_no_value_for(spine):
    spine = spine(WHOLE, CONTACT)
    spine.feed([contact("1", 2, city="Lyon", age="40"), contact("2", 2, city="Nice")])
    spine.feed([contact("1", 3, city="Brest")])
    assert said(spine) == {"city": "Brest"}
    spine.feed([contact("1", 4), contact("2", 4, age="7")])
    assert said(spine) == {}
    assert said(spine, "2") == {"age": 7}


def test_a_whole_record_that_comes_late_says_nothing(spine):
    spine = spine(WHOLE, CONTACT)
    spine.feed([contact("1", 3, city="Nice")])
    spine.feed([contact("1", 2, city="Lyon", age="40")])
    assert said(spine) == {"city": "Nice"}
    spine.feed([contact("1", 3, city="Lille")])
    assert said(spine) == {"city": "Lille"}, "of one instant, what came later"


def test_of_the_versions_in_a_page_the_newest_is_the_whole_one(spine):
    spine = spine(WHOLE, CONTACT)
    spine.feed([contact("1", 3, city="Nice"), contact("1", 5, city="Lille"), contact("1", 4, city="Brest", age="7")])
    assert said(spine) == {"city": "Lille"}


@pytest.mark.parametrize("stream", [CONTACTS, WHOLE])
def test_a_deleted_record_takes_back_what_it_said_and_goes_on_naming_its_person(spine, stream):
    spine = spine(stream, CONTACT)
    spine.feed([contact("1", 2, email="ann@x.org", city="Lyon"), contact("2", 2, email="ann@x.org", city="Nice")])
    spine.feed([{"id": "1", "_deleted": True}])
    assert said(spine) == {}
    assert said(spine, "2") == {"city": "Nice"}
    assert len(spine.rows(Identifier)) == 2
    assert len({row.profile_id for row in spine.rows(Subject)}) == 1
    assert {row.key: row.is_gone for row in spine.rows(Subject)} == {"1": True, "2": False}
    spine.feed([contact("1", 4, city="Brest")])
    assert said(spine) == {"city": "Brest"}, "it was restored"
    assert not any(row.is_gone for row in spine.rows(Subject))


def test_a_record_may_be_deleted_and_come_again_within_a_page(spine):
    spine = spine(CONTACTS, CONTACT)
    spine.feed([contact("1", 2, city="Lyon", age="40")])
    spine.feed([contact("1", 3, city="Nice", _deleted=True), contact("1", 4, age="41", _deleted=None)])
    assert said(spine) == {"age": 41}


def test_a_deleted_record_makes_no_event(spine):
    stream = replace(TICKETS, mode="upsert")
    spine = spine(stream, TICKET)
    spine.feed([ticket("1", basket="a"), ticket("2", basket="b") | {"_deleted": True}])
    assert [len(spine.events(name)) for name in ("bought", "basket")] == [1, 1]


@pytest.mark.parametrize("text", ['"', "\\", "\n", "'", "\u2028", "é", "{}", "null", "\x01"])
def test_texts_survive(spine, text):
    spine = spine(CONTACTS, {**CONTACT, "attributes": {"city": "city"}})
    spine.feed([contact("1", city=text)])
    spine.feed([contact("1", 2)])
    assert said(spine) == {"city": text}


@pytest.mark.parametrize("given", [math.nan, math.inf])
def test_a_number_that_is_none_says_nothing(spine, given):
    spine = spine(CONTACTS, {**CONTACT, "attributes": {"score": "score"}})
    spine.feed([contact("1", score=1.5)])
    spine.feed([contact("1", 2, score=given)])
    spine.feed([contact("1", 3, score=given), contact("2", 3, score=2.5)])
    assert said(spine) == {"score": 1.5}


def test_a_record_of_an_append_stream_counts_once(spine):
    spine = spine(TICKETS, TICKET)
    assert spine.feed([ticket("1"), ticket("2"), ticket("1")]) == counts(3, 2, 0, 1)
    assert spine.feed([ticket("2"), ticket("3", kind="void"), ticket("4")]) == counts(3, 2, 0, 1)
    assert spine.feed([ticket("3", kind="void"), ticket("4")]) == counts(2, 0, 0, 2)
    assert [event["paid"] for event in spine.events("bought")] == [1, 1, 1]


def test_what_was_seen_is_known_to_the_next_process(spine):
    spine(TICKETS, TICKET).feed([ticket("1"), ticket("2", kind="void", basket="b"), ticket("3", basket="b")])
    again = spine(TICKETS, TICKET)
    assert again.feed([ticket("1"), ticket("2", kind="void", basket="b"), ticket("3", basket="b")]) == counts(
        3, 0, 0, 3
    )


def test_a_record_that_was_refused_may_come_again(spine):
    spine = spine(TICKETS, TICKET)
    assert spine.feed([ticket("1", paid="much")]) == counts(1, 0, 1)
    assert spine.feed([ticket("1", paid="2.00")]) == counts(1, 1)
    assert [event["paid"] for event in spine.events("bought")] == [2]


def test_a_key_with_a_missing_part_is_a_key(spine):
    spine = spine(TICKETS, TICKET)
    assert spine.feed([ticket(None), ticket(None), ticket("")]) == counts(3, 2, 0, 1)


def test_records_of_a_group_are_one_event(spine):
    spine = spine(TICKETS, TICKET)
    spine.feed([ticket("1", "1.50", "b"), ticket("2", "9.00"), ticket("3", "2.25", "c"), ticket("4", "2.00", "b")])
    baskets = sorted(spine.events("basket"), key=lambda event: event["total"])
    assert [(float(event["total"]), [float(item["paid"]) for item in event["items"]]) for event in baskets] == [
        (2.25, [2.25]),
        (3.5, [1.5, 2.0]),
    ]


def test_a_value_that_spoils_a_group_sends_its_records_to_quarantine(spine):
    """The record's own event does not read the value, so only the group fails."""
    mapping = {**TICKET, "events": {"basket": TICKET["events"]["basket"]}}
    spine = spine(TICKETS, mapping)
    done = spine.feed([ticket("1", "1.00", "b"), ticket("2", "much", "b"), ticket("3", "3.00", "c")])
    assert done == counts(3, 1, 2)
    assert [float(event["total"]) for event in spine.events("basket")] == [3.0]
    assert {json.loads(row.record)["id"] for row in spine.rows(Quarantine)} == {"1", "2"}


def test_a_group_without_a_time_is_refused(spine):
    mapping = {**TICKET, "observed_at": None, "events": {"basket": TICKET["events"]["basket"]}}
    spine = spine(TICKETS, mapping)
    done = spine.feed(
        [{**ticket("1", basket="b"), "seen": None}, {**ticket("2", basket="b"), "seen": None}, ticket("3", basket="c")]
    )
    assert done == counts(3, 1, 2)
    assert {row.code for row in spine.rows(Quarantine)} == {"bad_group"}


def test_groups_of_one_upsert_record_are_told_apart_by_type(spine):
    basket = TICKET["events"]["basket"]
    spine = spine(CONTACTS, {**TICKET, "events": {"basket": basket, "parcel": {**basket, "when": "kind = 'sent'"}}})
    spine.feed([ticket("1", basket="b")])
    spine.feed([ticket("1", basket="b", kind="sent")])
    assert (len(spine.events("basket")), len(spine.events("parcel"))) == (1, 1)


def test_an_upsert_stream_has_records_again_and_events_once(spine):
    mapping = {**CONTACT, "events": {"signed_up": {"when": "state = 'new'"}, "left": {"when": "state = 'gone'"}}}
    spine = spine(CONTACTS, mapping)
    assert spine.feed([contact("1", state="new")]) == counts(1, 1)
    assert spine.feed([contact("1", 2, state="new")]) == counts(1, 1)
    spine.feed([contact("1", 3, state="gone")])
    assert len(spine.events("signed_up")) == 1
    assert len(spine.events("left")) == 1, "another event of the same record is another event"


def test_events_without_a_natural_id_are_not_taken_for_one(spine):
    mapping = {**CONTACT, "events": {"opened": {"id": "token"}}}
    spine = spine(CONTACTS, mapping)
    spine.feed([contact("1", token=None), contact("2", token=None), contact("3", token="t"), contact("4", token="t")])
    assert len(spine.events("opened")) == 3


def test_quarantine_holds_the_record_whole_with_its_place(spine):
    spine = spine(TICKETS, TICKET)
    table = pa.table(
        {
            "id": ["1", "2"], "who": ["ann", "bob"], "seen": ["2026-01-01", "soon"], "paid": ["1", "2"],
            "basket": [None, "é"], "kind": ["sale", "sale"], "_line": [2, 5], "_byte": [30, 77],
        }
    )  # fmt: skip
    rejected = [Reject("bad_date", "the date is none", "3;x;y", line=9, byte=99, field="seen")]
    assert spine.feed(table, rejected=rejected, origin="till.csv") == counts(3, 1, 2)
    first, second = sorted(spine.rows(Quarantine), key=lambda row: row.line)
    assert (first.origin, first.line, first.byte, first.code, first.state) == (
        "till.csv",
        5,
        77,
        "bad_value",
        "waiting",
    )
    assert json.loads(first.record) == {
        "id": "2", "who": "bob", "seen": "soon", "paid": "2", "basket": "é", "kind": "sale",
    }  # fmt: skip
    assert (second.origin, second.line, second.byte, second.code, second.field) == (
        "till.csv",
        9,
        99,
        "bad_date",
        "seen",
    )
    assert json.loads(second.record) == "3;x;y"


def test_records_about_someone_without_a_place_are_fine(spine):
    """Lines that are known for some records only."""
    table = pa.table({"id": ["1", "2"], "seen": ["2026-01-01"] * 2, "email": ["a@x.org", "b@x.org"]})
    table = table.append_column("_line", pa.array([None, 3], pa.int64()))
    spine = spine(CONTACTS, CONTACT)
    spine.feed(table)
    assert sorted((row.value, row.line) for row in spine.rows(Identifier)) == [("a@x.org", None), ("b@x.org", 3)]


@pytest.mark.parametrize("records", [[], [{"id": None}]], ids=["nothing", "nobody"])
def test_a_page_without_a_usable_record_moves_the_cursor(spine, records):
    spine = spine(CONTACTS, CONTACT)
    spine.feed(records, cursor={"page": 2}, marks=["m"])
    assert [row.cursor for row in spine.rows(Stream)] == [{"page": 2}]
    assert [row.mark for row in spine.rows(StreamMark)] == ["m"]
    assert len(spine.rows(CommittedPage)) == 1


def test_an_attribute_keeps_its_type(spine):
    spine = spine(CONTACTS, {**CONTACT, "attributes": {"score": "score"}})
    spine.feed([contact("1", score=1)])
    spine.feed([contact("1", 2)])
    with pytest.raises(ConfigError, match="attribute 'score' was integer and comes as text"):
        spine.feed([contact("1", 3, score="many")])
    assert said(spine) == {"score": 1}
    assert [(row.name, row.type) for row in spine.rows(AttributeType)] == [("score", "integer")]
    assert len(spine.rows(CommittedPage)) == 2, "the page is not committed"


def test_an_event_property_keeps_its_type(spine):
    mapping = {**CONTACT, "events": {"seen": {"id": "seen", "properties": {"v": "v"}}}}
    spine = spine(CONTACTS, mapping)
    spine.feed([contact("1", v=1)])
    with pytest.raises(ConfigError, match="property 'v' is registered as integer"):
        spine.feed([contact("1", 2, v="many")])
    spine.feed([contact("1", 3)])
    assert [event["v"] for event in spine.events("seen")] == [1, None]


def test_a_property_nobody_has_yet_has_no_type(spine):
    mapping = {**CONTACT, "events": {"seen": {"id": "seen", "properties": {"v": "v"}}}}
    spine = spine(CONTACTS, mapping)
    spine.feed([contact("1")])
    spine.feed([contact("1", 2, v=7)])
    assert [event["v"] for event in spine.events("seen")] == [None, 7]


def test_what_the_mapping_does_not_name_is_kept(spine):
    mapping = {**CONTACT, "events": {"seen": {"id": "seen"}}}
    spine = spine(CONTACTS, mapping)
    spine.feed([contact("1", Colour="red", colour="blue", **{"": "nameless", "with space": 1, 'q"uote': True})])
    (event,) = spine.events("seen")
    extra = json.loads(event["extra"])
    assert extra["with space"] == 1
    assert extra['q"uote'] is True
    assert extra["Colour"] == "red"


def test_a_property_may_be_called_extra(spine):
    mapping = {**CONTACT, "events": {"seen": {"id": "seen", "properties": {"extra": "colour"}}}}
    spine = spine(CONTACTS, mapping)
    spine.feed([contact("1", colour="red", size=7)])
    (event,) = spine.events("seen")
    assert event["extra"] == "red"


@pytest.mark.parametrize("file_rows", [1, 1_000], ids=["files", "journal"])
def test_files_and_journal_hold_the_same(spine, file_rows):
    spine = spine(TICKETS, TICKET, file_rows=file_rows)
    spine.feed([ticket("1", "1.5", "b"), ticket("2", "2.5", "b", day=2)])
    assert [float(event["paid"]) for event in spine.events("bought")] == [1.5, 2.5]
    assert [len(event["items"]) for event in spine.events("basket")] == [2]


def test_a_store_with_one_connection_takes_pages(spine, monkeypatch):
    """An SQLite that may lose commits gets a single connection: no transaction may be opened within another."""
    monkeypatch.setattr("switchyard.store.database._is_safe", lambda version: False)
    spine = spine(TICKETS, TICKET)
    assert spine.feed([ticket("1"), ticket("2")]) == counts(2, 2)
    with spine.database.read() as session:
        assert names.known_kinds(session) == {}
