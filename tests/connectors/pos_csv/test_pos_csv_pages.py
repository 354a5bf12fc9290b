"""Pages: orders whole, cursors exact, the same again after a crash."""

from __future__ import annotations

import json
from itertools import chain

import pytest

from switchyard_connectors.pos_csv import LINES, switchyard_connectors

SPEC = switchyard_connectors()[0]
HEADER = "order_id,sold_at,sku,quantity,price"


def _lines(orders: list[int]) -> list[str]:
    return [f"{order},2024-05-06,s{number},1,1" for number, order in enumerate(orders)]


def _orders(pages) -> list[list[str]]:
    return [page.records["order_id"].to_pylist() for page in pages]


def test_orders_are_never_split(shop):
    pages = shop.sync_lines(*_lines([1, 1, 2, 2, 2, 3, 4, 4]), page_rows=3, order_window=1)
    assert _orders(pages) == [["1", "1"], ["2", "2", "2"], ["3", "4", "4"]]
    assert [page.cursor and page.cursor["line"] for page in pages] == [4, 7, None]
    assert [len(page.marks) for page in pages] == [0, 0, 1]


def test_an_order_longer_than_a_page_makes_it_longer(shop):
    assert _orders(shop.sync_lines(*_lines([1] * 7 + [2]), page_rows=2, order_window=1)) == [["1"] * 7, ["2"]]


def test_lines_of_open_orders_are_held_back(shop):
    pages = shop.sync_lines(*_lines([1, 2, 1, 3, 2, 4, 3, 5]), page_rows=3, order_window=3)
    assert sorted(chain.from_iterable(_orders(pages))) == ["1", "1", "2", "2", "3", "3", "4", "5"]
    held = [set(orders) for orders in _orders(pages)]
    assert all(not a & b for number, a in enumerate(held) for b in held[number + 1 :])
    assert shop.rejects_of(pages) == []


def test_a_line_of_an_order_that_has_left_is_a_reject(shop):
    pages = shop.sync_lines(*_lines([1, 2, 3, 4, 5, 1]), page_rows=2, order_window=2)
    assert list(chain.from_iterable(_orders(pages))) == ["1", "2", "3", "4", "5"]
    (late,) = [reject for page in pages for reject in page.rejected]
    assert (late.code, late.line, late.field, late.record["text"]) == (
        "order_split",
        7,
        "order_id",
        "1,2024-05-06,s5,1,1",
    )
    assert "order_window" in late.reason


def test_bad_lines_alone_make_pages_too(shop):
    pages = shop.sync_lines(*["broken"] * 10, page_rows=3, order_window=1)
    assert len(shop.rejects_of(pages)) == 10


MIXED = [1, 2, 1, 3, 2, 4, 3, 5, 5, 5, 6, 7, 8, 7, 1, 9, 9, 10]


@pytest.mark.parametrize("page_rows", [1, 2, 3, 5])
def test_resuming_behind_any_page_gives_exactly_the_rest(shop, page_rows):
    lines = _lines(MIXED)
    lines[3] = "3,not a date,x,1,1"
    config = {"page_rows": page_rows, "order_window": 3}
    shop.drop("till.csv", "\n".join([HEADER, *lines, ""]))
    whole = list(shop.source(**config).read(LINES, None))
    assert len(shop.rows_of(whole)) + len(shop.rejects_of(whole)) == len(MIXED)
    for number, page in enumerate(whole[:-1], start=1):
        resumed = list(shop.source(**config).read(LINES, json.loads(json.dumps(page.cursor))))
        assert [_content(page) for page in resumed] == [_content(page) for page in whole[number:]]


def _content(page):
    return page.records.to_pylist(), page.rejected, page.cursor, page.marks, page.origin


def test_a_cursor_of_other_content_or_configuration_starts_the_file_again(shop):
    first = shop.sync_lines(*_lines(MIXED), page_rows=4, order_window=4)[0]
    shop.drop("till.csv", "\n".join([HEADER, *_lines([*MIXED, 11]), ""]))
    pages = shop.sync(first.cursor, page_rows=4, order_window=4)
    assert (len(shop.rows_of(pages)), len(shop.rejects_of(pages))) == (len(MIXED), 1)
    shop.drop("till.csv", "\n".join([HEADER, *_lines([*MIXED, 12]), ""]))
    assert len(shop.rows_of(shop.sync(first.cursor))) == len(MIXED) + 1


def test_the_file_of_the_cursor_comes_first(shop):
    shop.drop("b.csv", "\n".join([HEADER, *_lines([1, 2, 3]), ""]))
    first = next(shop.source(page_rows=1, order_window=1).read(LINES, None))
    shop.drop("a.csv", "\n".join([HEADER, *_lines([4]), ""]))
    pages = shop.sync(first.cursor, page_rows=1, order_window=1)
    assert [(page.origin, *page.records["order_id"].to_pylist()) for page in pages] == [
        ("b.csv", "2"),
        ("b.csv", "3"),
        ("a.csv", "4"),
    ]
