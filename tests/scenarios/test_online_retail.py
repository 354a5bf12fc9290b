"""Ten months of a real shop as a drop folder, in order: what comes out is what Python's csv module counts."""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.projects import Folder, events_of, rows_of

from switchyard.app.hub import Hub
from switchyard.app.syncs import sync_all
from switchyard.store.tables import Page, Quarantine, Subject

TILLS = {
    "connector": "pos_csv",
    "config": {
        "folder": "drop",
        "ready": "rename",
        "columns": {
            "order_id": "InvoiceNo",
            "sold_at": "InvoiceDate",
            "sku": "StockCode",
            "quantity": "Quantity",
            "price": "UnitPrice",
            "description": "Description",
            "customer_id": "CustomerID",
        },
        "timezone": "Europe/London",
        "strip_float_ids": ["customer_id"],
    },
}


@dataclass
class Expected:
    """What is in the files, by the plainest reading."""

    lines: Counter[str] = field(default_factory=Counter)
    customers: set[str] = field(default_factory=set)
    anonymous: int = 0
    purchases: int = 0
    sold: Decimal = Decimal(0)
    orders: set[str] = field(default_factory=set)
    refunds: set[str] = field(default_factory=set)
    refunded: Counter[str] = field(default_factory=Counter)

    def read(self, path: Path) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                amount = Decimal(row["Quantity"]) * Decimal(row["UnitPrice"])
                self.lines[path.name] += 1
                self.customers.add(row["CustomerID"].removesuffix(".0"))
                self.anonymous += not row["CustomerID"]
                if Decimal(row["Quantity"]) < 0:
                    self.refunds.add(row["InvoiceNo"])
                    self.refunded[row["InvoiceNo"]] += amount
                else:
                    self.purchases += 1
                    self.orders.add(row["InvoiceNo"])
                    self.sold += amount


def check(hub: Hub, synced: dict[str, Any], expected: Expected) -> None:
    names = ("product_purchased", "order_completed", "order_refunded")
    events = {name: events_of(hub.log, name) for name in names}
    pages = rows_of(hub.database, Page)
    people = [row for row in rows_of(hub.database, Subject) if row.profile_id is not None]
    assert rows_of(hub.database, Quarantine) == []
    total = sum(expected.lines.values())
    assert synced == {"connection": "tills", "stream": "lines", "read": total, "mapped": total,
                      "quarantined": 0, "duplicates": 0}  # fmt: skip
    assert [page.origin for page in sorted(pages, key=lambda page: page.id)] == sorted(expected.lines)
    assert {page.origin: page.read for page in pages} == dict(expected.lines)
    assert len(events["product_purchased"]) == expected.purchases
    assert {event["order_id"] for event in events["order_completed"]} == expected.orders
    assert {event["order_id"] for event in events["order_refunded"]} == expected.refunds
    assert sum(event["amount"] for event in events["product_purchased"]) == expected.sold
    assert sum(event["total"] for event in events["order_completed"]) == expected.sold
    assert sum(len(event["items"]) for event in events["order_completed"]) == expected.purchases
    refunded = {event["order_id"]: event["total"] for event in events["order_refunded"]}
    assert refunded == {order: abs(total) for order, total in expected.refunded.items()}
    assert {person.key for person in people} == expected.customers - {""}
    known = {person.id for person in people}
    sold = sum(event["_subject"] not in known for event in events["product_purchased"])
    back = sum(len(event["items"]) for event in events["order_refunded"] if event["_subject"] not in known)
    assert sold + back == expected.anonymous


@pytest.fixture
def retail(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "retail", {"connections": {"tills": TILLS}}).write()


@pytest.fixture
def archive(shared_folder: Path) -> Path:
    (found,) = (shared_folder / "data" / "online_retail").glob("*.tar.gz")
    return found


@pytest.mark.shared
def test_all_days(retail, archive):
    expected = Expected()
    with tarfile.open(archive) as days:
        days.extractall(retail.drop, filter="data")
    for path in retail.drop.iterdir():
        expected.read(path)
    with retail.hub() as hub:
        (synced,) = sync_all(hub)
        check(hub, synced, expected)
        pages = len(rows_of(hub.database, Page))

    for path in sorted(retail.drop.iterdir()):
        (retail.drop / f"again-{path.name}").write_bytes(path.read_bytes())
        path.touch()
    with retail.hub() as hub:
        (again,) = sync_all(hub)
        assert again["read"] == 0
        assert len(rows_of(hub.database, Page)) == pages
        assert len(events_of(hub.log, "product_purchased")) == expected.purchases


@pytest.mark.shared
def test_days_that_come_one_at_a_time_are_those_that_come_together(tmp_path, archive):
    """Every day in a run of its own, and then every file once more under its own name."""
    folders = {name: Folder(tmp_path / name, {"connections": {"tills": TILLS}}).write() for name in ("one", "all")}
    with tarfile.open(archive) as days:
        days.extractall(tmp_path / "days", filter="data")
    counts = {name: Counter() for name in folders}
    for path in sorted((tmp_path / "days").iterdir())[:10]:
        for folder in folders.values():
            (folder.drop / path.name).write_bytes(path.read_bytes())
        with folders["one"].hub() as hub:
            counts["one"].update({key: value for key, value in sync_all(hub)[0].items() if isinstance(value, int)})
    with folders["all"].hub() as hub:
        counts["all"].update({key: value for key, value in sync_all(hub)[0].items() if isinstance(value, int)})
    assert counts["one"] == counts["all"]
