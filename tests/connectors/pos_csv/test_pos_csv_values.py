"""What the cells of a line become, and which lines are refused rather than guessed at."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from switchyard.api import ConfigError
from switchyard_connectors.pos_csv import switchyard_connectors
from switchyard_connectors.pos_csv.config import FIELDS

SPEC = switchyard_connectors()[0]


def test_a_line_with_every_column(shop):
    (row,) = shop.rows("0001,2024-05-06 07:08:09,007,2,1.25")
    assert list(row) == ["_line", "_byte", *FIELDS]
    assert (row["_line"], row["_byte"]) == (2, 36)
    assert (row["order_id"], row["sku"], row["kind"]) == ("0001", "007", "sale")
    assert row["sold_at"] == datetime(2024, 5, 6, 7, 8, 9)
    assert (row["quantity"], row["price"], row["amount"]) == (Decimal(2), Decimal("1.25"), Decimal("2.5"))
    assert row["email"] is None


def test_headers_are_matched_by_name_in_any_case_and_order(shop):
    (row,) = shop.rows(
        "9,Ann,1,2024-05-06,x",
        header="Preis,Kunde,BON,Datum,Till Number",
        columns={"order_id": "Bon", "sold_at": "DATUM", "price": "preis", "customer_id": "kunde"},
        extra={"till": "till number"},
    )
    assert (row["order_id"], row["price"], row["customer_id"], row["till"]) == ("1", Decimal(9), "Ann", "x")


def test_unknown_columns_are_kept_whole(shop):
    (row,) = shop.rows('1,2024-05-06, two  ,"a\nb",,9', header="order_id,sold_at,CustomerName,Qty (kg),2nd,%%")
    assert {name: row[name] for name in ("customer_name", "qty_kg", "n2nd", "column_6")} == {
        "customer_name": " two  ",
        "qty_kg": "a\nb",
        "n2nd": None,
        "column_6": "9",
    }


@pytest.mark.parametrize(
    ("text", "value", "config"),
    [
        ("-12.50", "-12.5", {}),
        (".5", "0.5", {}),
        ("00012", "12", {}),
        ("(12.00)", "-12", {}),
        ("1.50000000", "1.5", {}),
        ("99999999999999.9999", "99999999999999.9999", {}),
        ('"1,234,567.89"', "1234567.89", {"thousands": ","}),
        ('"1.234,5"', "1234.5", {"decimal": ",", "thousands": "."}),
        ('"-$1,234.50"', "-1234.5", {"thousands": ",", "currency": "$"}),
        ("$-2", "-2", {"currency": "$"}),
        ('"12,00 €"', "12", {"decimal": ",", "currency": "€"}),
    ],
)
def test_numbers_by_the_declared_format(shop, text, value, config):
    (row,) = shop.rows(f"1,2024-05-06,a,1,{text}", **config)
    assert row["price"] == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "inf",
        "-Infinity",
        "1e3",
        "1e400",
        '"1,5"',
        "1.2.3",
        "1_0",
        "0x1",
        "1.23456",
        "18446744073709551616",
        "--1",
    ],
)
def test_what_is_no_number_is_a_reject(shop, text):
    assert shop.rejects(f"1,2024-05-06,a,1,{text}") == [("bad_number", "price", 2)]


def test_thousands_in_the_wrong_place_are_a_reject(shop):
    assert shop.rejects('1,2024-05-06,a,1,"1,23"', thousands=",") == [("bad_number", "price", 2)]


def test_an_amount_beyond_the_type_is_a_reject(shop):
    assert shop.rejects("1,2024-05-06,a,99999999,99999999") == [("bad_number", "amount", 2)]


def test_an_amount_of_the_file_is_taken_as_it_is(shop):
    (row,) = shop.rows("1,2024-05-06,2,3,5.99", header="order_id,sold_at,quantity,price,amount")
    assert row["amount"] == Decimal("5.99")


def test_the_product_is_rounded_to_four_decimals(shop):
    (row,) = shop.rows("1,2024-05-06,a,0.0005,0.3")
    assert row["amount"] == Decimal("0.0002")


@pytest.mark.parametrize(
    ("text", "formats", "timezone", "instant"),
    [
        ("2024-05-06", (), "UTC", datetime(2024, 5, 6)),
        ("2024-05-06T07:08", (), "UTC", datetime(2024, 5, 6, 7, 8)),
        ("2024-05-06 07:08:09.5", (), "UTC", datetime(2024, 5, 6, 7, 8, 9, 500000)),
        ("2024-05-06T07:08:09Z", (), "Europe/Paris", datetime(2024, 5, 6, 7, 8, 9)),
        ("2024-05-06 07:08:09+02:00", (), "America/New_York", datetime(2024, 5, 6, 5, 8, 9)),
        ("2024-05-06 07:08:09 -0400", (), "UTC", datetime(2024, 5, 6, 11, 8, 9)),
        ("2024-05-06 07:08:09", (), "Europe/Paris", datetime(2024, 5, 6, 5, 8, 9)),
        ("10/8/26 5:18 PM", ("%m/%d/%y %I:%M %p",), "UTC", datetime(2026, 10, 8, 17, 18)),
        ("06.05.2024", ("%Y-%m-%d", "%d.%m.%Y"), "UTC", datetime(2024, 5, 6)),
        # Skipped by the spring change: the moment of the change. Repeated by the autumn change: the first.
        ("2026-03-29 02:30:00", (), "Europe/Paris", datetime(2026, 3, 29, 1)),
        ("2026-10-25 02:30:00", (), "Europe/Paris", datetime(2026, 10, 25, 0, 30)),
    ],
)
def test_instants_by_the_declared_formats(shop, text, formats, timezone, instant):
    (row,) = shop.rows(f"1,{text},a,1,1", formats=formats, timezone=timezone)
    assert row["sold_at"] == instant


@pytest.mark.parametrize(
    "text",
    ["05/06/2024", "2024-02-30", "24-05-06", "infinity", "epoch", "2024-05-06 25:00", "2200-01-01", "1715000000"],
)
def test_what_is_no_instant_is_a_reject(shop, text):
    assert shop.rejects(f"1,{text},a,1,1") == [("bad_date", "sold_at", 2)]


def test_a_date_that_fits_two_formats_is_a_reject(shop):
    formats = ("%d/%m/%Y", "%m/%d/%Y")
    pages = shop.sync_lines("1,05/06/2024,a,1,1", "2,25/06/2024,a,1,1", "3,06/06/2024,a,1,1", formats=formats)
    assert [(r.code, r.line, r.record["text"]) for page in pages for r in page.rejected] == [
        ("ambiguous_date", 2, "1,05/06/2024,a,1,1")
    ]


def test_date_and_time_of_two_columns(shop):
    (row,) = shop.rows("1,09/12/2026,2:30:00 PM", header="order_id,date,time", formats="%m/%d/%Y %I:%M:%S %p")
    assert row["sold_at"] == datetime(2026, 9, 12, 14, 30)


def test_an_unknown_format_or_zone_is_a_configuration_error(shop):
    with pytest.raises(ConfigError, match="not a date format"):
        shop.source(formats=("%Q",))
    with pytest.raises(ValidationError, match="unknown time zone"):
        shop.source(timezone="Mars/Olympus")


def test_ids_stay_text(shop):
    (row,) = shop.rows("18446744073709551617,2024-05-06,00012.0", header="order_id,sold_at,customer_id")
    assert (row["order_id"], row["customer_id"]) == ("18446744073709551617", "00012.0")


def test_float_ids_are_stripped_where_asked(shop):
    rows = shop.rows(
        "1,2024-05-06,17850.0",
        "2,2024-05-06,1.05",
        header="order_id,sold_at,customer_id",
        strip_float_ids=["customer_id"],
    )
    assert [row["customer_id"] for row in rows] == ["17850", "1.05"]


def test_formula_guards_are_taken_off_ids_only(shop):
    (row,) = shop.rows(
        '\'0815,2024-05-06,\'+336123,"=""007""",\'=x,O\'Hara',
        header="order_id,sold_at,phone,sku,description,last_name",
    )
    assert (row["order_id"], row["phone"], row["sku"]) == ("0815", "+336123", "007")
    assert (row["description"], row["last_name"]) == ("'=x", "O'Hara")


def test_an_id_that_a_spreadsheet_damaged_is_a_reject(shop):
    assert shop.rejects("4.00638E+12,2024-05-06,a,1,1") == [("damaged_id", "order_id", 2)]


def test_missing_values(shop):
    assert shop.rejects(" ,2024-05-06,a,1,1", "1,,a,1,1") == [
        ("missing_value", "order_id", 2),
        ("missing_value", "sold_at", 3),
    ]


def test_declared_nulls_are_missing(shop):
    (row,) = shop.rows("1,2024-05-06,NULL,nan", header="order_id,sold_at,customer_id,price", nulls=("NULL", "nan"))
    assert (row["customer_id"], row["price"]) == (None, None)


def test_refunds_and_voids(shop):
    rows = shop.rows(
        "1,2024-05-06,1,5,SALE",
        "2,2024-05-06,-1,5,",
        "3,2024-05-06,1,5,Return",
        "4,2024-05-06,-1,5,annulled",
        "5,2024-05-06,,5,x",
        header="order_id,sold_at,quantity,price,type",
        columns={"kind": "Type"},
        kinds={"refund": ["return"], "void": ["ANNULLED"]},
    )
    assert [row["kind"] for row in rows] == ["sale", "refund", "refund", "void", "sale"]


def test_a_kind_that_is_not_named_is_a_reject_once_sales_are(shop):
    header = "order_id,sold_at,kind"
    assert shop.rejects("1,2024-05-06,exchange", header=header, kinds={"sale": ["sale"]}) == [("bad_kind", "kind", 2)]


def test_the_same_line_has_the_same_id_in_every_file_and_a_double_is_a_second_line(shop):
    line = "1,2024-05-06,a,1,1\n"
    shop.drop("a.csv", f"order_id,sold_at,sku,quantity,price\n{line}{line}2,2024-05-06,b,1,1\n")
    shop.drop("b.csv", f"order_id,sold_at,sku,quantity,price\n2,2024-05-06,c,1,1\n{line}")
    ids = [row["line_id"] for row in shop.rows_of(shop.sync())]
    assert ids[0] == ids[4]
    assert ids[0].endswith("-1") and ids[1] == ids[0].replace("-1", "-2")
    assert len(set(ids)) == 4


def test_the_digest_of_a_line_never_changes(shop):
    long = "x" * 300
    rows = shop.rows("1,2024-05-06,a,1,1", f"2,2024-05-06,{long},1,1")
    assert [row["line_id"] for row in rows] == ["b2dfa752c23f294c-1", "fcbf3322b7ac8c26-1"]


def test_a_line_id_of_the_file_is_taken(shop):
    (row,) = shop.rows("1,2024-05-06,7", header="order_id,sold_at,line_id")
    assert row["line_id"] == "7"


def test_further_columns_are_read_as_numbers_and_instants(shop):
    header, types = "order_id,sold_at,Deposit,Due,Note", {"deposit": "decimal", "due": "timestamp", "absent": "decimal"}
    (row,) = shop.rows("1,2024-05-06,2.50,2024-06-01,x", header=header, types=types)
    assert (row["deposit"], row["due"], row["note"]) == (Decimal("2.5"), datetime(2024, 6, 1), "x")
    assert row["absent"] is None


def test_a_further_column_that_is_no_number_is_a_reject(shop):
    lines = ("1,2024-05-06,2,5", "2,2024-05-06,,soon")
    types = {"deposit": "decimal", "due": "timestamp"}
    rejects = shop.rejects(*lines, header="order_id,sold_at,deposit,due", types=types)
    assert rejects == [("bad_date", "due", 2), ("bad_date", "due", 3)]


def test_a_role_has_its_type():
    with pytest.raises(ValidationError, match="types: price is a role"):
        SPEC.config(folder="drop", types={"price": "decimal"})


def test_a_column_may_say_the_zone_of_each_line(shop):
    lines = ("1,2024-05-06 12:00,Europe/Vienna", "2,2024-05-06 12:00,Kasse", "3,2024-05-06 12:00,")
    rows = shop.rows(
        *lines,
        header="order_id,sold_at,where",
        columns={"time_zone": "where"},
        zones={"kasse": "America/New_York"},
        timezone="Asia/Tokyo",
    )
    assert [row["sold_at"].hour for row in rows] == [10, 16, 3]
