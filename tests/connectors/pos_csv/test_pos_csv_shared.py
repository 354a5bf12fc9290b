"""Ten months of a real shop against Python's own csv module."""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

CONFIG = {
    "columns": {
        "order_id": "InvoiceNo",
        "sold_at": "InvoiceDate",
        "sku": "StockCode",
        "price": "UnitPrice",
        "customer_id": "CustomerID",
    },
    "timezone": "Europe/London",
    "strip_float_ids": ["customer_id"],
    "stable_seconds": 0,
}


@pytest.mark.shared
def test_the_days_of_online_retail(shop, shared_folder):
    (archive,) = (shared_folder / "data" / "online_retail").glob("*.tar.gz")
    with tarfile.open(archive) as days:
        days.extractall(shop.folder, filter="data")
    expected = Counter()
    revenue, customers, anonymous = Decimal(0), set(), 0
    for path in shop.folder.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                expected[path.name] += 1
                revenue += Decimal(row["Quantity"]) * Decimal(row["UnitPrice"])
                customers.add(row["CustomerID"].removesuffix(".0"))
                anonymous += not row["CustomerID"]
    pages = shop.sync(**CONFIG)
    assert [page.origin for page in pages] == sorted(expected)
    assert {page.origin: page.records.num_rows for page in pages} == dict(expected)
    assert not any(page.rejected for page in pages)
    lines = pa.concat_tables([page.records for page in pages])
    assert pc.sum(lines["amount"]).as_py() == revenue
    assert lines["customer_id"].null_count == anonymous
    assert set(lines["customer_id"].drop_null().unique().to_pylist()) == customers - {""}
    keys = lines.group_by(["order_id", "line_id"]).aggregate([])
    assert keys.num_rows == lines.num_rows
    assert shop.sync(**CONFIG) == []
