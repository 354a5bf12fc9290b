"""Bytes, quotes, lines and headers: every record comes whole, with its exact place, or says why it does not."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.api import Page
from switchyard_connectors.pos_csv import scan as scanning
from switchyard_connectors.pos_csv.scan import STRAY_LIMIT

GOOD = "1,2024-05-06,a,1,1"
HEADER = "order_id,sold_at,sku,quantity,price\n"

_cell = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8) | st.text(
    '",;\t|\n\r ab=\ufeff', max_size=6
)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.lists(_cell, min_size=2, max_size=2), max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    block=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_what_pythons_csv_module_writes_comes_back(open_shop, cells, delimiter, quoting, end, encoding, block):
    texts = [["order_id", "sold_at", "one", "two"]]
    texts += [[str(number), "2024-05-06", *pair] for number, pair in enumerate(cells)]
    if end != "\r\n" and any({"\r", "\n"} & set(cell) for pair in cells for cell in pair):
        quoting = csv.QUOTE_ALL  # before Python 3.13 the writer quotes no line end but its own
    written, places = io.StringIO(newline=""), []
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator=end)
    for row in texts:
        places.append(written.tell())
        writer.writerow(row)
    content = written.getvalue()
    mark = len("".encode(encoding))
    plain = encoding.removesuffix("-sig").replace("utf-16", "utf-16-le")
    expected = []
    for (order, _, one, two), place in zip(texts[1:], places[1:], strict=True):
        before = content[:place]
        line = 1 + len(before.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1
        expected.append((order, one or None, two or None, line, mark + len(before.encode(plain))))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "BLOCK", block)
        shop = open_shop(Path(folder))
        shop.drop("till.csv", content.encode(encoding))
        pages = shop.sync()
    assert shop.rejects_of(pages) == []
    names = ("order_id", "one", "two", "_line", "_byte")
    assert [tuple(row[name] for name in names) for page in pages for row in page.records.to_pylist()] == expected


def _rejected(pages: list[Page]) -> list[tuple[str, object, int | None, int | None]]:
    rejects = [reject for page in pages for reject in page.rejected]
    for reject in rejects:
        assert (reject.record["columns"], reject.record["delimiter"]) == (HEADER.strip().split(","), ",")
    return [(reject.code, reject.record["text"], reject.line, reject.byte) for reject in rejects]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("1,2024-05-06,a,1", "too_few_columns"),
        ("1,2024-05-06,a,1,1,", "too_many_columns"),
        ('1,2024-05-06,5" pipe,1,1', "stray_quote"),
        ('1,2024-05-06,"a"b,1,1', "stray_quote"),
        ('1,2024-05-06,"5" pipe",1,1', "stray_quote"),
        ("Total", "too_few_columns"),
    ],
)
def test_a_broken_line_is_a_reject_and_its_neighbours_are_read(shop, line, code):
    pages = shop.sync_lines(GOOD, line, '2,2024-05-06,"b, ""c""",1,1')
    assert _rejected(pages) == [(code, line, 3, len(HEADER) + len(GOOD) + 1)]
    assert [row["sku"] for page in pages for row in page.records.to_pylist()] == ["a", 'b, "c"']


def test_a_line_with_nul_is_a_reject(shop):
    pages = shop.sync_lines(GOOD, "2,2024-05-06,a\0b,1,1")
    assert _rejected(pages) == [("nul_byte", "2,2024-05-06,a\\u0000b,1,1", 3, len(HEADER) + len(GOOD) + 1)]


def test_blank_lines_are_nothing(shop):
    rows = shop.rows("", GOOD, "", "2,2024-05-06,a,1,1")
    assert [row["_line"] for row in rows] == [3, 5]


def test_mixed_line_ends(shop):
    shop.drop("till.csv", f"{HEADER}{GOOD}\r\n2,2024-05-06,a,1,1\r3,2024-05-06,a,1,1\n")
    (page,) = shop.sync()
    assert page.records["order_id"].to_pylist() == ["1", "2", "3"]
    assert page.records["_line"].to_pylist() == [2, 3, 4]


def test_an_open_quote_refuses_the_file_where_it_opens(shop):
    content = f'{HEADER}{GOOD}\n2,2024-05-06,"a ""b"",1,1\n{GOOD}\n'
    reason, line, byte = shop.refusal(content)
    assert "never closed" in reason
    assert (line, byte) == (3, content.index('"a'))


def test_an_open_quote_is_found_before_the_file_ends(shop):
    content = f'{HEADER}{GOOD}\n2,2024-05-06,"a,1,1\n' + GOOD * 100
    reason, line, byte = shop.refusal(content, max_record_bytes=1000)
    assert "max_record_bytes" in reason
    assert (line, byte) == (3, content.index('"a'))


def test_a_record_beyond_the_limit_refuses_the_file(shop):
    reason, line, _ = shop.refusal(f"{HEADER}{GOOD}\n1,2024-05-06,{'x' * 2000},1,1\n", max_record_bytes=1000)
    assert "1000 bytes" in reason
    assert line == 3


def test_too_many_stray_quotes_refuse_the_file(shop):
    line = '1,2024-05-06,5" pipe,1,1\n'
    assert "stray quotes" in shop.refusal(HEADER + line * (STRAY_LIMIT + 1))[0]


def test_without_quoting_a_quote_is_a_character(shop):
    (row,) = shop.rows('1,2024-05-06,5" pipe,1,1', quote="")
    assert row["sku"] == '5" pipe'


def test_a_last_line_without_its_end_refuses_the_file_until_somebody_says_it_is_whole(shop):
    content = f"{HEADER}{GOOD}\n2,2024-05-06,a"
    reason, line, byte = shop.refusal(content)
    assert "cut off" in reason
    assert (line, byte) == (3, len(HEADER) + len(GOOD) + 1)
    (page,) = shop.sync(ready="rename")
    assert (page.records.num_rows, _rejected([page])[0][0]) == (1, "too_few_columns")


def test_a_refused_file_is_not_read_again_until_it_or_the_configuration_changes(shop):
    shop.refusal(f"{HEADER}{GOOD}")
    assert shop.sync() == []
    (page,) = shop.sync(ready="rename", decimal=",")
    assert page.records.num_rows == 1
    shop.drop("till.csv", f"{HEADER}{GOOD}\n{GOOD}\n")
    assert [page.records.num_rows for page in shop.sync()] == [2]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("order_id,sold_at,SKU,sku,price", "more than once"),
        ("bon,sold_at,sku,quantity,price", "no column 'order_id'"),
        ("order_id,when,sku,quantity,price", "no column 'sold_at'"),
        ("order_id,sold_at,Store ID,store_id,price", "name it under `extra`"),
    ],
)
def test_a_header_that_is_not_clear_refuses_the_file(shop, header, words):
    reason, line, _ = shop.refusal(f"{header}\n{GOOD}\n")
    assert words in reason
    assert line == 1


def test_a_file_without_lines_is_done_with(shop):
    (page,) = shop.sync_lines()
    assert (page.records.num_rows, shop.rejects_of([page]), page.cursor, len(page.marks)) == (0, [], None, 1)
    assert shop.sync() == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_sniffed_by_the_headers(shop, delimiter):
    header = "order_id,sold_at,note a;b|c".replace(",", delimiter) if delimiter in ",\t" else None
    header = header or delimiter.join(["order_id", "sold_at", "note"])
    (row,) = shop.rows(delimiter.join(["1", "2024-05-06", "x"]), header=header)
    assert row["order_id"] == "1"


@pytest.mark.parametrize("length", [1_000, 1_030, 20_000])
def test_a_header_may_be_long_and_hold_line_ends(shop, length):
    (row,) = shop.rows(f"1,2024-05-06,{'y' * length}", header=f'order_id,sold_at,"{"x" * length}\n2"')
    assert (row["order_id"], row[f"{'x' * length}_2"], row["_line"]) == ("1", "y" * length, 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_told_apart(shop, encoding):
    shop.drop("till.csv", f"{HEADER}1,2024-05-06,Café,1,1\n2,2024-05-06,naïve,1,1\n".encode(encoding))
    (page,) = shop.sync()
    assert page.records["sku"].to_pylist() == ["Café", "naïve"]
    mark = len("".encode(encoding))
    width = 2 if encoding == "utf-16" else 1
    second = len(f"{HEADER}1,2024-05-06,Café,1,1\n") * width + mark + (1 if encoding.startswith("utf-8") else 0)
    assert page.records["_byte"].to_pylist() == [mark + len(HEADER) * width, second]


def test_damaged_utf_8_is_not_taken_for_another_encoding(shop):
    content = f"{HEADER}1,2024-05-06,Café,1,1\n2,2024-05-06,Düne,1,1\n".encode() + b"3,2024-05-06,\xff,1,1\n"
    reason, line, byte = shop.refusal(content)
    assert "utf-8" in reason
    assert (line, byte) == (4, content.index(b"\xff"))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (f"{HEADER}1,2024-05-06,Café,1,1\n".encode("cp1252"), "utf-8"),
        (HEADER.encode("utf-16") + b"\x00\xd8a\x00\n\x00", "auto"),
        (HEADER.encode() + b"1,2024-05-06,\x81,1,1\n", "auto"),
    ],
)
def test_what_is_not_in_its_encoding_refuses_the_file(shop, content, encoding):
    reason, line, byte = shop.refusal(content, encoding=encoding)
    assert "not" in reason
    assert line == 2
    assert byte is not None
