"""What becomes of calls: a record for each event, and a reject for each that is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.received import NOON, inbox

from switchyard.api import Page
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.tracking import EVENTS, SOURCE

from .conftest import CONFIG, Read


def rows(page: Page) -> list[dict[str, Any]]:
    return page.records.to_pylist()  # type: ignore[union-attr]


def codes(page: Page) -> list[str]:
    return [reject.code for reject in page.rejected]


def said(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says: its fields that are not empty."""
    return {name: value for name, value in row.items() if value is not None}


def test_an_identify_call(read: Read) -> None:
    (row,) = rows(read(("identify", {
        "messageId": "m1", "userId": 5, "anonymousId": "a1", "traits": {"email": "ann@x.org", "age": 30},
        "context": {"ip": "24.5.68.47"}, "timestamp": "2024-05-01T13:58:00+02:00",
    })))  # fmt: skip
    assert said(row) == {
        "message_id": "m1", "type": "identify", "user_id": "5", "anonymous_id": "a1",
        "traits": '{"email":"ann@x.org","age":30}', "context": '{"ip":"24.5.68.47"}',
        "timestamp": datetime(2024, 5, 1, 11, 58), "original_timestamp": datetime(2024, 5, 1, 11, 58),
        "received_at": NOON,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        ("order_completed", "order_completed"),
        ("  Order -- Completed! ", "order_completed"),
        ("Añadido al carrito", "añadido_al_carrito"),
        ("Step 2 Viewed", "step_2_viewed"),
    ],
)
def test_the_name_of_a_track_call_in_our_spelling(read: Read, event: str, expected: str) -> None:
    (row,) = rows(read(("track", {"userId": "u", "event": event})))
    assert (row["event"], row["event_type"]) == (event.strip(), expected)


def test_a_batch_is_taken_apart_and_says_what_it_says_for_all(read: Read) -> None:
    page = read(("batch", {
        "batch": [
            {"type": "page", "userId": "u", "name": "Home", "context": {"page": {"path": "/"}, "ip": None}},
            {"type": "screen", "userId": "u", "name": "Start", "integrations": {"All": True}},
            {"type": "track", "userId": "u", "event": "Played", "context": "junk"},
        ],
        "context": {"ip": "1.2.3.4", "page": {"title": "T"}}, "integrations": {"All": False}, "writeKey": "wk",
    }))  # fmt: skip
    assert [(row["type"], row["name"], row["event"]) for row in rows(page)] == [
        ("page", "Home", None), ("screen", "Start", None), ("track", None, "Played"),
    ]  # fmt: skip
    assert [json.loads(row["context"]) for row in rows(page)] == [
        {"page": {"title": "T", "path": "/"}},
        {"ip": "1.2.3.4", "page": {"title": "T"}},
        {"ip": "1.2.3.4", "page": {"title": "T"}},
    ]
    assert [row["integrations"] for row in rows(page)] == ['{"All":false}', '{"All":true}', '{"All":false}']


def test_a_batch_that_says_nothing_for_all(read: Read) -> None:
    page = read(("batch", {"batch": [{"type": "page", "userId": "u", "context": {"ip": "1"}}], "context": [1]}))
    assert [row["context"] for row in rows(page)] == ['{"ip":"1"}']
    assert rows(read(("batch", {"batch": []}))) == []


@pytest.mark.parametrize(
    ("original", "sent", "expected"),
    [
        # The sender's clock is an hour fast; the event happened ten seconds before it was sent.
        ("2024-05-01T12:59:50Z", "2024-05-01T13:00:00Z", NOON - timedelta(seconds=10)),
        # A telephone that believes it is 1970.
        ("1970-01-01T00:00:00Z", "1970-01-01T00:05:00.500Z", NOON - timedelta(minutes=5, milliseconds=500)),
        # History, imported today.
        ("2012-12-02T00:30:12Z", "2024-05-01T12:00:00Z", datetime(2012, 12, 2, 0, 30, 12)),
        ("2012-12-02T00:30:12Z", None, datetime(2012, 12, 2, 0, 30, 12)),
        ("2012-12-02T00:30:12Z", "junk", datetime(2012, 12, 2, 0, 30, 12)),
        ("2012-12-02T00:30:12Z", "290000-01-01T00:00:00Z", datetime(2012, 12, 2, 0, 30, 12)),
        (None, "2024-05-01T13:00:00Z", NOON),
        (None, None, NOON),
    ],
)
def test_a_wrong_clock_is_corrected(read: Read, original: str | None, sent: str | None, expected: datetime) -> None:
    alone = {"userId": "u", "timestamp": original, "sentAt": sent}
    batched = {"batch": [{"type": "page", "userId": "u", "timestamp": original}], "sentAt": sent}
    twice = {"userId": "u", "timestamp": "2001-01-01T00:00:00Z", "originalTimestamp": original, "sentAt": sent}
    assert [row["timestamp"] for row in rows(read(("page", alone)))] == [expected]
    assert [row["timestamp"] for row in rows(read(("batch", batched)))] == [expected]
    if original:
        assert [row["timestamp"] for row in rows(read(("page", twice)))] == [expected]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "track", "event": "Played"}, "no_user_anon_id"),
        ({"type": "page", "userId": "", "anonymousId": " "}, "no_user_anon_id"),
        ({"type": "page", "userId": None, "anonymousId": "undefined"}, "no_user_anon_id"),
        ({"type": "page", "userId": {}, "anonymousId": True}, "no_user_anon_id"),
        ({"type": "alias", "userId": "u"}, "no_previous_id"),
        ({"type": "alias", "previousId": "a", "anonymousId": "b"}, "no_previous_id"),
        ({"type": "track", "userId": "u", "event": " "}, "no_event_name"),
        ({"type": "group", "userId": "u"}, "no_group_id"),
        ({"type": "group", "userId": "u", "groupId": []}, "no_group_id"),
        ({"type": "purchase", "userId": "u"}, "unknown_type"),
        ({"userId": "u"}, "unknown_type"),
        ({"type": "page", "userId": "u", "timestamp": "yesterday"}, "bad_timestamp"),
        ({"type": "page", "userId": "u", "timestamp": 1714564800000}, "bad_timestamp"),
        ({"type": "page", "userId": "u", "timestamp": "290000-01-01T00:00:00Z"}, "bad_timestamp"),
        ({"type": "page", "userId": "u", "properties": {"x": "y" * 33_000}}, "too_large"),
        (["page"], "no_event"),
        (None, "no_event"),
    ],
)
def test_an_event_that_is_none_is_rejected_and_its_neighbours_are_not(read: Read, event: Any, code: str) -> None:
    good = {"type": "page", "userId": "u"}
    page = read(("batch", {"batch": [good, event, good]}))
    assert len(rows(page)) == 2
    assert codes(page) == [code]
    (reject,) = page.rejected
    assert isinstance(reject.record, dict)
    assert json.loads(str(reject.record["body"])) == event
    assert (reject.record["delivery"], reject.record["call"]) == ("d0", "batch")


def test_a_rejected_call_does_not_show_its_write_key(read: Read) -> None:
    (reject,) = read(("page", {"writeKey": "wk_website_1", "name": "Home"})).rejected
    assert reject.record == {
        "delivery": "d0", "body": '{"name":"Home"}', "call": "page", "received_at": "2024-05-01 12:00:00",
    }  # fmt: skip


def test_the_path_says_what_a_call_alone_is(read: Read) -> None:
    assert [row["type"] for row in rows(read(("page", {"userId": "u", "type": "purchase"})))] == ["page"]


def test_an_event_without_a_name_is_named_by_its_content_and_place(read: Read) -> None:
    event = {"type": "page", "userId": "u"}
    calls = (("batch", {"batch": [event, event]}), ("page", event), ("page", {**event, "messageId": "m"}))
    names = [row["message_id"] for row in rows(read(*calls))]
    assert len(set(names)) == 4
    assert names[3] == "m"
    assert [row["message_id"] for row in rows(read(*calls))] == names


def test_traits_of_a_group_are_not_those_of_the_person(read: Read) -> None:
    group, track = rows(read(
        ("group", {"userId": "u", "groupId": "g", "traits": {"name": "Initech"}, "context": {"traits": {"name": "P"}}}),
        ("track", {"userId": "u", "event": "E", "traits": {"name": "Q"}, "context": {"traits": "junk"}}),
    ))  # fmt: skip
    assert (group["traits"], group["group_traits"], group["group_id"]) == ('{"name":"P"}', '{"name":"Initech"}', "g")
    assert (track["traits"], track["group_traits"]) == (None, None)


def test_a_call_that_is_no_json_stops_nobody(read: Read) -> None:
    page = read(("page", "junk"), ("page", {"userId": "u"}), ("batch", "3"))
    assert len(rows(page)) == 1
    assert codes(page) == ["no_json"]
    assert page.cursor == {"sequence": 13}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    ["type", "messageId", "userId", "anonymousId", "previousId", "groupId", "event", "name", "timestamp", "sentAt",
     "originalTimestamp", "traits", "properties", "context", "integrations"]
)  # fmt: skip
_INSTANTS = st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "infinity", "epoch", "2024-13-01", "now"])
_JUNK = st.dictionaries(_NAMES, _VALUES | _INSTANTS | st.sampled_from(["page", "alias", "group", "track"]))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(_JUNK | _VALUES, max_size=6), _VALUES, _VALUES)
def test_every_event_ends_as_a_record_or_as_a_reject(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], context: Any, sent: Any
) -> None:
    calls = [("d0", {"call": "batch"}, {"batch": events, "context": context, "sentAt": sent})]
    calls += [(f"d{n}", {"call": "page"}, event) for n, event in enumerate(events, 1) if isinstance(event, dict)]
    made = SimpleContext(tmp_path_factory.getbasetemp())
    made.pushed = list(inbox(calls))
    (page,) = SOURCE.build(SOURCE.config.model_validate(CONFIG), made).read(EVENTS, None)
    assert len(rows(page)) + len(page.rejected) == len(events) + len(calls) - 1
    assert all(row["timestamp"] is not None for row in rows(page))
