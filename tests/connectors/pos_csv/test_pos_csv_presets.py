"""Presets: the real headers of Square, Shopify and Toast, read by name, and what their lines mean."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.projects import Folder, Spine, rows_of

from switchyard.api import Reject
from switchyard.app.syncs import sync_all
from switchyard.store.tables import Subject
from switchyard_connectors.pos_csv import switchyard_connectors
from switchyard_connectors.pos_csv.presets import PRESETS

SPEC = switchyard_connectors()[0]
KNOWN = json.loads((Path(__file__).parents[2] / "data" / "pos" / "headers.json").read_text(encoding="utf-8"))
HEADERS = {
    "square_items": KNOWN["square.items"]["columns"],
    "square_transactions": KNOWN["square.transactions"]["columns"],
    "shopify_orders": KNOWN["shopify.orders"]["columns"],
    "toast_item_selection_details": KNOWN["toast.ItemSelectionDetails.csv"]["columns"],
    "toast_check_details": KNOWN["toast.CheckDetails.csv"]["columns"],
    "toast_payment_details": KNOWN["toast.PaymentDetails.csv"]["columns"],
}
ZONES = {"toast_item_selection_details", "toast_check_details", "toast_payment_details"}
EASTERN = "Eastern Time (US & Canada)"
SQUARE = {
    "Date": "2026-09-13",
    "Time": "10:02:11",
    "Time Zone": EASTERN,
    "Transaction ID": "T1",
    "Payment ID": "P1",
    "Event Type": "Payment",
    "Location": "Main St",
    "Customer ID": "SQ1",
    "Customer Name": "Ann Ames",
    "Customer Reference ID": "L-7",
}
ITEM = {
    **SQUARE,
    "Category": "Coffee",
    "Item": "Latte",
    "Qty": "2.0",
    "SKU": "007",
    "Gross Sales": "$1,009.00",
    "Discounts": "-$9.00",
    "Net Sales": "$1,000.00",
    "Tax": "$80.00",
}
ORDER = {
    "Name": "#1001",
    "Email": "Ann@x.example",
    "Financial Status": "paid",
    "Paid at": "2026-09-12 12:00:05 -0400",
    "Created at": "2026-09-12 12:00:00 -0400",
    "Currency": "USD",
    "Subtotal": "30.00",
    "Taxes": "2.40",
    "Total": "32.40",
    "Billing Name": "Ann Ames",
    "Billing Zip": "'02134",
    "Phone": "'+15551234567",
    "Location": "Main St",
    "Id": "5678901234567890123",
    "Source": "pos",
    "Refunded Amount": "0.00",
}
LATTE = {"Lineitem name": "Latte", "Lineitem quantity": "2", "Lineitem price": "10.00", "Lineitem sku": "L"}
MUFFIN = {"Lineitem name": "Muffin", "Lineitem quantity": "1", "Lineitem price": "10.00", "Lineitem sku": "M"}


def export(preset: str, *lines: Mapping[str, str], headers: list[str] | None = None) -> str:
    """A file of these lines under the vendor's header."""
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, headers or HEADERS[preset], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return written.getvalue()


@pytest.fixture
def read(shop):
    """Read a file of one preset: its records, none of which is refused."""

    def records(preset: str, content: str, name: str = "till.csv", **config: Any) -> list[dict[str, Any]]:
        shop.drop(name, content)
        pages = shop.sync(preset=preset, **config)
        assert shop.rejects_of(pages) == []
        return shop.rows_of(pages)

    return records


@pytest.fixture
def store(shop, tmp_path) -> Iterator[Callable[..., Spine]]:
    """Bring files of one preset into a store, one after the other."""
    with ExitStack() as opened:

        def bring(preset: str, *contents: str, **config: Any) -> Spine:
            (stream,) = SPEC.objects(SPEC.config(folder="drop", preset=preset, timezone="UTC"))
            made = Spine(tmp_path, stream, {})
            opened.callback(made.close)
            for number, content in enumerate(contents):
                shop.drop(f"{number}.csv", content)
                pages = shop.sync(preset=preset, **config)
                assert shop.rejects_of(pages) == []
                for page in pages:
                    made.feed(page.records)
            return made

        yield bring


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stream_of_a_preset_takes_the_place_of_the_plain_one(preset):
    config = SPEC.config(folder="drop", preset=preset, timezone="UTC")
    (stream,) = SPEC.objects(config)
    assert (stream.name, stream.key, stream.group) == ("lines", ("order_id", "line_id"), ("order_id",))
    assert SPEC.objects(SPEC.config(folder="drop")) == ()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_header_that_a_preset_names_is_one_of_the_vendors(preset):
    described = PRESETS[preset]
    named = {*described.columns.values(), *described.names.values(), *(described.identity or ()), *described.filled}
    assert named <= set(HEADERS[preset])
    assert set(described.aliases.values()) <= set(HEADERS[preset])


def test_square_money_negatives_zones_and_text_ids(read):
    (row,) = read("square_items", export("square_items", ITEM))
    assert row["sold_at"] == datetime(2026, 9, 13, 14, 2, 11)
    assert (row["amount"], row["gross_sales"], row["discounts"]) == (Decimal(1000), Decimal(1009), Decimal(-9))
    assert (row["quantity"], row["sku"], row["kind"]) == (Decimal(2), "007", "sale")
    assert (row["customer_id"], row["loyalty_card"], row["store_id"]) == ("SQ1", "L-7", "Main St")


@pytest.mark.parametrize(
    ("date", "time", "at"),
    [
        ("10/25/2026", "2:30:00 PM", datetime(2026, 10, 25, 18, 30)),
        ("25/10/2026", "14:30:00", datetime(2026, 10, 25, 18, 30)),
        ("2026-01-05", "10:02:11", datetime(2026, 1, 5, 15, 2, 11)),
    ],
)
def test_square_dates(read, date, time, at):
    (row,) = read("square_items", export("square_items", {**ITEM, "Date": date, "Time": time}))
    assert row["sold_at"] == at


def test_a_date_that_could_be_two_is_refused_until_the_format_is_said(shop):
    content = export("square_items", {**ITEM, "Date": "10/05/2026", "Time": "2:30:00 PM"})
    shop.drop("till.csv", content)
    pages = shop.sync(preset="square_items")
    assert shop.rejects_of(pages) == [("ambiguous_date", "sold_at", 2)]
    shop.drop("till.csv", content + "\n")
    (row,) = shop.rows_of(shop.sync(preset="square_items", formats="%m/%d/%Y %I:%M:%S %p"))
    assert row["sold_at"] == datetime(2026, 10, 5, 18, 30)


@pytest.mark.parametrize(
    ("zone", "hour"),
    [
        (EASTERN, 14),
        ("Pacific Standard Time", 17),
        ("America/Chicago", 15),
        ("sydney", 0),
        ("Head Office", 8),
        ("", 10),
    ],
)
def test_zones_by_long_names_windows_names_and_own_ones(read, zone, hour):
    zones = {"head office": "Europe/Vienna"}
    (row,) = read("square_items", export("square_items", {**ITEM, "Time Zone": zone}), zones=zones)
    assert row["sold_at"].hour == hour


def test_lines_of_several_zones_keep_their_order(read):
    lines = [
        {**ITEM, "Payment ID": f"P{n}", "Time Zone": zone} for n, zone in enumerate((EASTERN, "", "Arizona", EASTERN))
    ]
    assert [row["sold_at"].hour for row in read("square_items", export("square_items", *lines))] == [14, 10, 17, 14]


def test_a_zone_that_nobody_knows_is_refused(shop):
    shop.drop("till.csv", export("square_items", {**ITEM, "Time Zone": "Middle Earth"}))
    assert shop.rejects_of(shop.sync(preset="square_items")) == [("bad_zone", "sold_at", 2)]


def test_old_exports_with_fewer_columns_are_the_same_lines(read):
    lines = [ITEM, ITEM, {**ITEM, "Item": "Muffin", "Qty": "1"}]
    new = read("square_items", export("square_items", *lines))
    old = read("square_items", export("square_items", *lines, headers=HEADERS["square_items"][:24]), "old.csv")
    assert len({row["line_id"] for row in new}) == 3
    assert [row["line_id"] for row in old] == [row["line_id"] for row in new]


def test_transactions_of_37_and_55_columns(read):
    line = {
        **SQUARE,
        "Net Sales": "$10.00",
        "Total Collected": "$12.30",
        "Tip": "$1.50",
        "Fees": "-$0.42",
        "Card": "$12.30",
        "Tender Note": "voucher",
    }
    headers = HEADERS["square_transactions"]
    (new,) = read("square_transactions", export("square_transactions", line))
    renamed = ["Other Tender Note" if each == "Tender Note" else each for each in headers[:37]]
    old_line = {**line, "Other Tender Note": "voucher"}
    (old,) = read("square_transactions", export("", old_line, headers=renamed), "old.csv")
    for row in (new, old):
        assert (row["order_id"], row["line_id"], row["tender_note"]) == ("T1", "P1", "voucher")
        assert (row["amount"], row["fees"], row["card"]) == (Decimal(10), Decimal("-0.42"), Decimal("12.30"))


def test_a_square_refund_is_an_event_of_its_own(store):
    muffin = {**ITEM, "Item": "Muffin", "Qty": "1", "Gross Sales": "$5.00", "Discounts": "$0.00", "Net Sales": "$5.00"}
    back = {
        **muffin,
        "Payment ID": "P2",
        "Event Type": "Refund",
        "Qty": "-1",
        "Net Sales": "-$5.00",
        "Date": "2026-09-20",
    }
    # The second file has a line of the first again.
    days = store("square_items", export("square_items", ITEM, muffin), export("square_items", muffin, back))
    (bought,) = days.events("order_completed")
    assert (bought["total"], bought["quantity"], len(bought["items"])) == (Decimal(1005), Decimal(3), 2)
    (refund,) = days.events("order_refunded")
    assert (refund["order_id"], refund["total"]) == ("T1", Decimal(5))
    assert len(days.events("product_purchased")) == 2


def test_square_payments_make_one_order_and_one_refund(store):
    half = {**SQUARE, "Net Sales": "$10.00", "Total Collected": "$12.30", "Tip": "$1.50"}
    back = {**half, "Payment ID": "P3", "Event Type": "Refund", "Net Sales": "-$10.00", "Date": "2026-09-20"}
    content = export("square_transactions", half, {**half, "Payment ID": "P2"}, back)
    days = store("square_transactions", content, content + "\n")
    assert [event["total"] for event in days.events("order_completed")] == [Decimal(20)]
    assert [event["total"] for event in days.events("order_refunded")] == [Decimal(10)]
    assert [event["collected"] for event in days.events("payment_received")] == [Decimal("12.3")] * 2


def test_shopify_gives_what_stands_on_an_orders_first_line_to_all_of_its_lines(read):
    lines = [{**ORDER, **LATTE}, {"Name": "#1001", **MUFFIN}, {**ORDER, **LATTE, "Name": "#1002", "Email": ""}]
    first, second, other = read("shopify_orders", export("shopify_orders", *lines))
    assert second["sold_at"] == first["sold_at"] == datetime(2026, 9, 12, 16)
    assert (second["email"], second["phone"], second["total"]) == ("Ann@x.example", "+15551234567", Decimal("32.4"))
    assert (second["amount"], second["sku"], second["id"]) == (Decimal(10), "M", "5678901234567890123")
    assert (second["financial_status"], second["store_id"]) == ("paid", "Main St")
    assert other["email"] is None


def test_an_order_exported_again_after_a_refund_is_no_second_order(store):
    first = export("shopify_orders", {**ORDER, **LATTE}, {"Name": "#1001", **MUFFIN})
    refunded = {**ORDER, **LATTE, "Financial Status": "partially_refunded", "Refunded Amount": "10.00"}
    again = export("shopify_orders", refunded, {"Name": "#1001", **MUFFIN})
    weeks = store("shopify_orders", first, again, again + "\n")
    (bought,) = weeks.events("order_completed")
    assert (bought["total"], bought["quantity"], len(bought["items"])) == (Decimal("32.4"), Decimal(3), 2)
    assert len(weeks.events("product_purchased")) == 2
    (refund,) = weeks.events("order_refunded")
    assert (refund["total"], refund["financial_status"]) == (Decimal(10), "partially_refunded")
    (person,) = weeks.rows(Subject)
    assert json.loads(person.attributes)["postal_code"][0] == "02134"


def test_a_pending_order_counts_once_it_is_paid(store):
    pending = export("shopify_orders", {**ORDER, **LATTE, "Financial Status": "pending"})
    assert store("shopify_orders", pending).events("order_completed") == []
    assert len(store("shopify_orders", export("shopify_orders", {**ORDER, **LATTE})).events("order_completed")) == 1


def test_a_refused_line_of_an_order_can_be_read_again_alone(shop):
    wrong = {"Name": "#1001", **MUFFIN, "Lineitem price": "10,00"}
    shop.drop("till.csv", export("shopify_orders", {**ORDER, **LATTE}, wrong))
    (page,) = shop.sync(preset="shopify_orders")
    (reject,) = page.rejected
    assert (reject.code, reject.line) == ("bad_number", 3)
    held = Reject(reject.code, reject.reason, json.loads(json.dumps(reject.record)), line=3, byte=reject.byte)
    content = held.record["text"].replace('"10,00"', "10.00")
    mended = Reject(held.code, held.reason, {**held.record, "text": content}, line=3, byte=held.byte)
    (stream,) = SPEC.objects(SPEC.config(folder="drop", preset="shopify_orders"))
    again = shop.source(preset="shopify_orders").replay(stream, [mended], "till.csv")
    (row,) = again.records.to_pylist()
    assert (row["email"], row["sold_at"], row["amount"]) == ("Ann@x.example", datetime(2026, 9, 12, 16), Decimal(10))
    (first,) = page.records.to_pylist()
    assert row["line_id"] != first["line_id"]


def test_toast_needs_the_restaurants_zone():
    with pytest.raises(ValidationError, match="give the restaurant's timezone"):
        SPEC.config(folder="drop", preset="toast_check_details")


def test_toast_ids_of_19_digits_dates_of_both_kinds_and_voids(read):
    line = {
        "Location": "Diner",
        "Order Id": "9007199254740993123",
        "Check Id": "9007199254740993124",
        "Item Selection Id": "9007199254740993125",
        "Order Date": "10/8/26 5:18 PM",
        "Menu Item": "Soup",
        "Qty": "1.0",
        "Net Price": "7.50",
        "Void?": "false",
    }
    void = {**line, "Item Selection Id": "9007199254740993126", "Void?": "true", "Order Date": "10/08/2026 17:18:00"}
    sold, gone = read(
        "toast_item_selection_details",
        export("toast_item_selection_details", line, void),
        timezone="America/New_York",
    )
    assert (sold["order_id"], sold["line_id"]) == ("9007199254740993123", "9007199254740993125")
    assert sold["sold_at"] == gone["sold_at"] == datetime(2026, 10, 8, 21, 18)
    assert (sold["kind"], gone["kind"], sold["discount"]) == ("sale", "void", None)


def test_a_toast_id_that_a_spreadsheet_destroyed_is_refused(shop):
    line = {"Order Id": "9.00719925474099E+18", "Item Selection Id": "1", "Order Date": "10/8/26 5:18 PM", "Qty": "1"}
    shop.drop("till.csv", export("toast_item_selection_details", {**line, "Net Price": "1"}))
    pages = shop.sync(preset="toast_item_selection_details", timezone="UTC")
    assert shop.rejects_of(pages) == [("damaged_id", "order_id", 2)]


def test_a_toast_check_says_who_came(store):
    check = {
        "Location Code": "D1",
        "Opened Date": "10/08/2026",
        "Opened Time": "5:18 PM",
        "Check Id": "77",
        "Total": "$21.50",
        "Customer": "Ann Ames",
        "Customer Phone": "5551234567",
        "Customer Email": "ann@x.example",
        "Table Size": "2",
    }
    night = store("toast_check_details", export("toast_check_details", check), timezone="UTC")
    (opened,) = night.events("check_opened")
    assert (opened["check_id"], opened["total"], opened["table_size"]) == ("77", Decimal("21.5"), 2)


def test_a_toast_payment_that_is_refunded_later_is_told_then(store):
    paid = {
        "Payment Id": "1",
        "Order Id": "2",
        "Check Id": "3",
        "Paid Date": "10/8/26 5:18 PM",
        "Amount": "20.00",
        "Tip": "3.00",
        "Total": "23.00",
        "Status": "CAPTURED",
    }
    back = {**paid, "Refunded": "FULL", "Refund Date": "10/9/26 9:00 AM", "Refund Amount": "20.00"}
    void = {**paid, "Payment Id": "9", "Status": "VOIDED"}
    preset = "toast_payment_details"
    nights = store(preset, export(preset, paid, void), export(preset, back), timezone="UTC")
    (received,) = nights.events("payment_received")
    assert (received["amount"], received["tip"]) == (Decimal(20), Decimal(3))
    (refund,) = nights.events("order_refunded")
    assert (refund["total"], refund["_at"]) == (Decimal(20), datetime(2026, 10, 9, 9))


def test_a_toast_check_joins_what_was_eaten_and_paid_to_its_guest(tmp_path):
    files = {
        "toast_item_selection_details": {
            "Order Id": "1",
            "Item Selection Id": "9",
            "Order Date": "10/8/26 5:18 PM",
            "Qty": "1",
            "Net Price": "7.50",
        },
        "toast_check_details": {
            "Opened Date": "10/08/2026",
            "Opened Time": "5:18 PM",
            "Total": "8.10",
            "Customer Email": "ann@x.example",
        },
        "toast_payment_details": {"Payment Id": "5", "Order Id": "1", "Paid Date": "10/8/26 6:00 PM", "Amount": "8.10"},
    }
    folder = Folder(tmp_path)
    for preset, line in files.items():
        settings = {"folder": "drop", "ready": "rename", "pattern": f"{preset}.csv", "timezone": "America/Chicago"}
        folder.config.setdefault("connections", {})[preset] = {
            "connector": "pos_csv",
            "config": {**settings, "preset": preset},
        }
        folder.put(f"{preset}.csv", export(preset, {**line, "Check Id": "7"}))
    with folder.write().hub() as hub:
        sync_all(hub)
        subjects = rows_of(hub.database, Subject)
    assert len(subjects) == 3
    assert len({subject.profile_id for subject in subjects}) == 1


def test_headers_and_settings_can_be_said_otherwise(read):
    german = {**ITEM, "Qty": "2", "Net Sales": "1.000,00 €", "Gross Sales": "", "Discounts": "", "Tax": ""}
    content = export("square_items", german)
    (row,) = read("square_items", content, decimal=",", thousands=".", currency="€", columns={"amount": "net sales"})
    assert (row["amount"], row["gross_sales"]) == (Decimal(1000), None)


def test_a_file_of_another_export_is_refused(shop):
    reason, _, _ = shop.refusal(export("square_transactions", SQUARE), preset="square_items")
    assert reason == "the header has no column 'Qty'"
