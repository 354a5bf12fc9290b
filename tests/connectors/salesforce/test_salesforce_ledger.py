from __future__ import annotations

import pyarrow as pa
import pytest

from switchyard_connectors.salesforce import ledger
from switchyard_connectors.salesforce.ledger import IdLedger


def ids(*numbers: int) -> list[str]:
    return [f"0035g0000{number:06}AAA" for number in numbers]


@pytest.fixture(params=[5, 200_000], ids=lambda share: f"shares of {share}")
def book(request, tmp_path, monkeypatch) -> IdLedger:
    monkeypatch.setattr(ledger, "_SHARE", request.param)
    monkeypatch.setattr(ledger, "_SLACK", 100)
    return IdLedger(tmp_path / "ids")


def note(book: IdLedger, listed: list[str]) -> None:
    book.note(pa.chunked_array([pa.array(listed, pa.string())]))


def test_who_was_noted_and_is_not_present_is_missing(book):
    note(book, ids(*range(50)))
    present = [ids(*range(0, 50, 2)), [], ids(99)]
    lost = [each for share in book.missing(present) for each in share]
    assert sorted(lost) == sorted(ids(*range(1, 50, 2)))


def test_where_nobody_is_present_all_are_missing_and_where_nobody_was_noted_none(book, tmp_path):
    assert [each for share in book.missing([ids(1)]) for each in share] == []
    note(book, ids(1, 2))
    assert sorted(each for share in book.missing([]) for each in share) == ids(1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["ids"]


def test_ids_that_come_again_and_again_take_no_more_room(book, tmp_path):
    for _ in range(100):
        # A connector, and its ledger, live for one sync.
        note(IdLedger(tmp_path / "ids"), ids(*range(20)))
    assert (tmp_path / "ids").stat().st_size <= 3 * 20 * 18 + 100 + 20 * 18
    assert sorted(each for share in book.missing([]) for each in share) == ids(*range(20))


def test_what_is_no_id_is_not_noted(book):
    note(book, ["", "short", "x" * 19, "ä" * 18, *ids(1)])
    assert [each for share in book.missing([]) for each in share] == ids(1)


@pytest.mark.parametrize("left", [b"0035g", b"\0" * 25])
def test_half_an_id_left_by_a_full_disk_spoils_no_other(book, tmp_path, left):
    """Behind it no id would be where it is looked for, and the parts of two would count as one that is gone."""
    note(book, ids(1, 2))
    with (tmp_path / "ids").open("ab") as file:
        file.write(left)
    note(book, ids(3))
    assert [each for share in book.missing([ids(1, 3)]) for each in share] == ids(2)
