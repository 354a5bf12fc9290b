"""What becomes of deliveries: one record each, or one for each item, with its fields as text."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.received import NOON

from switchyard.api import Page
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.webhook import DELIVERIES, SOURCE

from .conftest import PLAIN, Read


def rows(pages: list[Page]) -> list[dict[str, Any]]:
    assert [page.rejected for page in pages] == [[] for _ in pages]
    return [row for page in pages for row in page.records.to_pylist()]  # type: ignore[union-attr]


def rejects(pages: list[Page]) -> list[tuple[str, int | None]]:
    return [(each.code, each.byte) for page in pages for each in page.rejected]


def test_a_record_has_the_fields_of_its_body_as_text(read: Read) -> None:
    body = {"id": 820982911946154508, "email": "jon@example.com", "paid": True, "note": None, "total": 199.5}
    nested = {"customer": {"email": "jon@example.com"}, "tags": ["a", "b"]}
    (row,) = rows(read(("evt_1", {"x-topic": "orders"}, json.dumps(body | nested).encode())))
    assert json.loads(row.pop("headers")) == {"x-topic": "orders"}
    assert json.loads(row.pop("body")) == body | nested
    assert row == {
        "record_id": "evt_1/0",
        "delivery_id": "evt_1",
        "received_at": NOON,
        "id": "820982911946154508",
        "email": "jon@example.com",
        "paid": "true",
        "note": None,
        "total": "199.5",
        "customer": '{"email":"jon@example.com"}',
        "tags": '["a","b"]',
    }


def test_types_that_change_change_nothing(read: Read) -> None:
    assert [row["n"] for row in rows(read({"n": 1}, {"n": "1"}, {"n": 1.5}, {"n": [1]}, {"other": 1}))] == [
        "1", "1", "1.5", "[1]", None,
    ]  # fmt: skip


def test_odd_names_do_no_harm(read: Read) -> None:
    odd = {
        'a"b': "quote", "it's": "apostrophe", "c/d~e": "pointer", "$.f": "path", "": "empty",
        "_line": "x", "_row": "y", "body": "mine",
        "Record_ID": "z", "nul\u0000": "n", "x" * 300: "long",
    }  # fmt: skip
    (row,) = rows(read(odd))
    assert json.loads(row["body"]) == odd
    fields = set(row) - {"record_id", "delivery_id", "received_at", "headers", "body"}
    assert {name: row[name] for name in fields} == {
        'a"b': "quote", "it's": "apostrophe", "c/d~e": "pointer", "$.f": "path",
    }  # fmt: skip


def test_of_two_names_that_differ_in_case_the_more_frequent_is_a_field(read: Read) -> None:
    found = rows(read({"email": "a", "Email": "b"}, {"email": "c"}))
    assert [row["email"] for row in found] == ["a", "c"]
    assert "Email" not in found[0]


def test_random_names_do_not_make_endless_columns(read: Read) -> None:
    found = rows(read({"email": "a"} | {f"k{number}": 1 for number in range(2_000)}, {"email": "b"}))
    assert [row["email"] for row in found] == ["a", "b"]
    assert len(found[0]) <= 505


def test_a_body_that_is_no_object_is_all_body(read: Read) -> None:
    assert [row["body"] for row in rows(read("[1, 2]", "3", '"text"', "null"))] == ["[1, 2]", "3", '"text"', "null"]


def test_what_is_no_json_is_rejected_where_it_breaks_and_the_rest_goes_on(read: Read) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    pages = read({"a": 1}, "{'a': 1}", b"ab\xff", "", '{"é": tru}', deep, b'"\x00"', {"a": 2}, per_table=4)
    assert [row["a"] for page in pages for row in page.records.to_pylist()] == ["1", "2"]  # type: ignore[union-attr]
    assert rejects(pages) == [
        ("no_json", 1), ("no_json", 2), ("no_json", 0), ("no_json", 7), ("no_json", None), ("no_json", 1),
    ]  # fmt: skip
    first = pages[0].rejected[0]
    assert first.record == {
        "delivery": "d1", "body": "{'a': 1}", "headers": "{}", "received_at": "2024-05-01 12:00:01",
    }  # fmt: skip


def test_the_items_of_an_array_are_the_records(read: Read) -> None:
    found = rows(read({"orders": [{"id": 1}, {"id": 2}]}, {"orders": []}, {"orders": {"id": 3}}, records="/orders"))
    assert [(row["record_id"], row["id"], row["body"]) for row in found] == [
        ("d0/0", "1", '{"id":1}'), ("d0/1", "2", '{"id":2}'), ("d2/0", "3", '{"id":3}'),
    ]  # fmt: skip


def test_a_delivery_without_the_array_is_replayed_once_the_place_is_right(read: Read, tmp_path: Path) -> None:
    (page,) = read({"orders": [{"id": 1}]}, {"data": [{"id": 2}, {"id": 3}]}, records="/orders")
    assert rejects([page]) == [("no_records", 0)]
    mended = SOURCE.build(SOURCE.config.model_validate({**PLAIN, "records": "/data"}), SimpleContext(tmp_path))
    replayed = mended.replay(DELIVERIES, page.rejected, None)  # type: ignore[attr-defined]
    assert [(row["record_id"], row["id"]) for row in rows([replayed])] == [("d1/0", "2"), ("d1/1", "3")]
    assert replayed.records["received_at"].to_pylist()[0] == NOON + timedelta(seconds=1)


def test_hubspot_sends_an_event_again_in_another_batch(read: Read) -> None:
    def event(occurred: int, attempt: int, name: str | None = None) -> dict[str, Any]:
        named = {"propertyName": name} if name else {}
        return {"subscriptionId": 1, "objectId": 2, "occurredAt": occurred, "attemptNumber": attempt, **named}

    batches = ([event(1, 0), event(2, 0)], [event(2, 1), event(3, 0, "email")])
    found = rows(read(*batches, scheme="hubspot_v3"))
    assert [row["record_id"] for row in found] == [
        '["1","2",null,"1"]', '["1","2",null,"2"]', '["1","2",null,"2"]', '["1","2","email","3"]',
    ]  # fmt: skip


def test_a_record_without_a_name_is_named_by_its_place(read: Read) -> None:
    found = rows(read([{"no": "a"}, {}, {"no": None}], records="", record_id="/no"))
    assert [row["record_id"] for row in found] == ["a", "d0/1", "d0/2"]


@pytest.mark.parametrize("per_table", [1, 2, 5])
def test_the_cursor_is_the_last_delivery_of_a_page(read: Read, per_table: int) -> None:
    pages = read(*[{"a": number} for number in range(5)], per_table=per_table)
    assert [page.cursor for page in pages] == [{"sequence": 7 + 3 * last} for last in _lasts(5, per_table)]


def _lasts(count: int, size: int) -> list[int]:
    return [min(start + size, count) - 1 for start in range(0, count, size)]
