"""The kit for sources, with files in a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest

from switchyard.testing.conformance import HOSTILE_RECORDS, Drift, SourceConformance
from switchyard_connectors.pos_csv import switchyard_connectors
from switchyard_connectors.pos_csv.layout import snake_case

HEADER = "order_id,line_id,sold_at,sku,quantity,price"


class TestPosCsv(SourceConformance):
    @pytest.fixture
    def spec(self):
        return switchyard_connectors()[0]

    @pytest.fixture
    def config(self, shop):
        shop.drop("1.csv", till([1, 1, 2, 3, 3]))
        shop.drop("2.csv", till([4, 5]))
        return {"folder": str(shop.folder), "stable_seconds": 0, "page_rows": 2, "order_window": 1}

    @pytest.fixture
    def empty(self, config, tmp_path):
        (tmp_path / "none").mkdir()
        return {**config, "folder": str(tmp_path / "none")}

    @pytest.fixture
    def drifted(self, config, open_shop, tmp_path):
        """The till's next version writes the same orders with other columns."""
        (tmp_path / "next").mkdir()
        other = open_shop(tmp_path / "next")
        header = "till,order_id,line_id,sold_at,quantity,price,note"
        for name, orders in (("1.csv", [1, 1, 2, 3, 3]), ("2.csv", [4, 5])):
            lines = [
                f"7,{order},{number},2024-05-06T10:00:00+02:00,1,1,n{number}" for number, order in enumerate(orders)
            ]
            other.drop(name, "\n".join([header, *lines, ""]))
        return Drift({**config, "folder": str(other.folder)}, gone="sku", new="note", retyped="sold_at")


def till(orders: Sequence[int]) -> str:
    lines = [f"{order},{number},2024-05-06,s{number},1,1" for number, order in enumerate(orders)]
    return "\n".join([HEADER, *lines, ""])


def test_odd_but_legal_values_come_through_as_they_are(shop):
    record = {snake_case(name): str(value) for name, value in HOSTILE_RECORDS[0].items()}
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [["order_id", "sold_at", *HOSTILE_RECORDS[0]], ["1", "2024-05-06", *record.values()]]
    )
    shop.drop("till.csv", written.getvalue())
    (row,) = shop.rows_of(shop.sync())
    assert {name: row[name] for name in record} == record
