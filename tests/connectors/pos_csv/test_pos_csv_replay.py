"""Lines that were refused once are read again after the configuration was mended, without their file."""

from __future__ import annotations

import json

import pytest
from tests.projects import Folder

from switchyard.api import Reject
from switchyard.api.connectors import Replayable
from switchyard.app import quarantine
from switchyard.app.syncs import sync_all
from switchyard_connectors.pos_csv import LINES

GOOD = "1,2024-05-06,a,1,1"
ENGLISH = "%d/%m/%Y"


def kept(pages):
    """The rejects of pages as a store gives them back."""
    rejects = [reject for page in pages for reject in page.rejected]
    return [
        Reject(each.code, each.reason, json.loads(json.dumps(each.record)), each.line, each.byte, each.field)
        for each in rejects
    ]


def replayed(shop, rejects, **config):
    source = shop.source(**config)
    assert isinstance(source, Replayable)
    return source.replay(LINES, rejects, "till.csv")


def codes(page):
    return [(reject.code, reject.line) for reject in page.rejected]


def test_a_mended_line_is_the_record_that_it_would_have_been(shop, tmp_path, open_shop):
    lines = [GOOD, "2,06/05/2024,a,2,1", "2,06/05/2024,a,2,1", '3,06/05/2024,"b, c",1,1.5', "4,soon,a,1,1"]
    rejects = kept(shop.sync_lines(*lines))
    page = replayed(shop, rejects, formats=["%Y-%m-%d", ENGLISH])
    (tmp_path / "mended").mkdir()
    mended = open_shop(tmp_path / "mended").sync_lines(*lines, formats=["%Y-%m-%d", ENGLISH])
    assert page.records.to_pylist() == shop.rows_of(mended)[1:]
    assert (page.origin, page.cursor, codes(page)) == ("till.csv", None, [("bad_date", 6)])
    assert page.rejected[0].record == rejects[-1].record


def test_the_order_is_that_of_the_rejects_over_different_headers(shop):
    shop.drop("a.csv", "order_id,sold_at,sku\n1,06/05/2024,a\n")
    shop.drop("b.csv", "sold_at;order_id;note\n06/05/2024;2;x\nlater;3;y\n")
    first, second, third = kept(shop.sync())
    page = replayed(shop, [second, first, third, first], formats=ENGLISH)
    rows = page.records.to_pylist()
    assert [(row["order_id"], row["sku"], row["note"]) for row in rows] == [
        ("2", None, "x"),
        ("1", "a", None),
        ("1", "a", None),
    ]
    assert rows[1] == rows[2]
    assert codes(page) == [("bad_date", 3)]


def test_equal_lines_that_were_not_lines_are_told_apart_when_they_become_some(shop):
    line = '1,2024-05-06,5" pipe,1,1'
    rejects = kept(shop.sync_lines(line, line, GOOD))
    assert [reject.code for reject in rejects] == ["stray_quote", "stray_quote"]
    mended = replayed(shop, rejects, quote="").records
    assert mended["sku"].to_pylist() == ['5" pipe'] * 2
    assert mended["line_id"].to_pylist() == [f"{mended['line_id'][0].as_py()[:-2]}-{number}" for number in (1, 2)]


def test_a_text_that_is_no_whole_line_any_more_does_not_touch_its_neighbours(shop):
    rejects = kept(shop.sync_lines("1,06/05/2024,'a,1,1", '2,06/05/2024,"x\ny",1,1', "3,06/05/2024,c,1,1"))
    page = replayed(shop, rejects, formats=ENGLISH, quote="'")
    assert page.records["order_id"].to_pylist() == ["3"]
    assert codes(page) == [("not_one_line", 2), ("not_one_line", 3)]


def test_more_stray_quotes_than_a_file_may_have_are_still_told_apart(shop):
    lines = [*['1,2024-05-06,5" pipe,1,1'] * 600, '2,06/05/2024,"a ""b""",1,1']
    rejects = kept(shop.sync_lines(*lines))
    page = replayed(shop, [*rejects, *rejects], formats=ENGLISH)
    assert page.records["sku"].to_pylist() == ['a "b"'] * 2
    assert [reject.code for reject in page.rejected] == ["stray_quote"] * 1_200


def test_what_is_still_wrong_says_what_now(shop):
    rejects = kept(shop.sync_lines("1,2024-05-06,a,1", "2,06/05/2024,a,x,1"))
    page = replayed(shop, rejects, formats=ENGLISH)
    assert [(each.code, each.field) for each in page.rejected] == [
        ("too_few_columns", None),
        ("bad_number", "quantity"),
    ]
    assert codes(replayed(shop, rejects, columns={"order_id": "bon"})) == [("bad_header", 2), ("bad_header", 3)]


@pytest.mark.parametrize(
    ("code", "record", "words"),
    [
        ("order_split", {"text": GOOD, "columns": ["a"], "delimiter": ","}, "sorted by order"),
        ("file_refused", {"file": "till.csv"}, "the next sync reads it"),
        ("nul_byte", {"text": "a\\u0000", "columns": ["a"], "delimiter": ","}, "without it"),
        ("bad_date", GOOD, "into the folder again"),
    ],
)
def test_what_cannot_be_replayed_says_what_to_do(shop, code, record, words):
    page = replayed(shop, [Reject(code, "once", record, 7, 99, "field")])
    assert len(page.records) == 0
    (reject,) = page.rejected
    assert (reject.code, reject.record, reject.line, reject.byte) == (code, record, 7, 99)
    assert words in reject.reason


def test_a_project_replays_its_quarantine(tmp_path):
    config = {"folder": "drop", "ready": "rename", "formats": "%Y-%m-%d"}
    folder = Folder(tmp_path, {"connections": {"tills": {"connector": "pos_csv", "config": config}}}).write()
    read = f"order_id,sold_at,sku,quantity,price\n{GOOD}\n"
    read += "2,06/05/2024,a,2,1\n" * 2 + "3,06/05/2024,b,1,1\n"
    folder.put("till.csv", f"{read}4,soon,c,1,1\n5,2024-05-06,d,1\n")
    with folder.hub() as hub:
        (answer,) = sync_all(hub)
        assert (answer["read"], answer["mapped"], answer["quarantined"]) == (6, 1, 5)
        assert quarantine.replay(hub) == counts(replayed=5, quarantined=5)
    config["formats"] = ["%Y-%m-%d", ENGLISH]
    with folder.write().hub() as hub:
        assert quarantine.replay(hub) == counts(replayed=5, mapped=3, quarantined=2)
        waiting = quarantine.listed(hub)["quarantine"]
        assert [(row["code"], row["line"]) for row in waiting] == [("bad_date", 6), ("too_few_columns", 7)]
        assert quarantine.replay(hub) == counts(replayed=2, quarantined=2)
    folder.put("mended.csv", read)
    with folder.hub() as hub:
        (answer,) = sync_all(hub)
        assert (answer["mapped"], answer["duplicates"]) == (0, 4)


def counts(**given):
    return {"replayed": 0, "mapped": 0, "quarantined": 0, "duplicates": 0, "left": 0} | given
