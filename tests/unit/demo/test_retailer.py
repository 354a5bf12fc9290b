"""The generated files hold what the generator says, as a plain reader of CSV finds it."""

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import phonenumbers
import pytest

from switchyard.demo.catalogue import BLOCKED_EMAIL, BLOCKED_PHONE, TILL_PHONES
from switchyard.demo.retailer import Retailer
from switchyard.demo.truth import Broken, Truth

SMALL = Retailer(seed=11, people=600, days=40, lines=8_000)


@dataclass
class Read:
    """One data row: where it stood, and its fields, or None where it cannot be read."""

    file: str
    line: int
    fields: dict[str, str] | None


def text_of(path: Path) -> str:
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252")


def read(path: Path) -> Iterator[Read]:
    lines = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    header = next(lines)
    line = lines.line_num
    for values in lines:
        fields = dict(zip(header, values, strict=False))
        yield Read(path.name, line + 1, fields if usable(fields, len(values) == len(header)) else None)
        line = lines.line_num


def usable(fields: dict[str, str], whole: bool) -> bool:
    try:
        datetime.strptime(fields["sold_at"], "%d/%m/%Y %H:%M")
        int(fields["quantity"])
        Decimal(fields["price"])
    except (KeyError, ValueError, InvalidOperation):
        return False
    return whole


def identifiers(fields: dict[str, str]) -> set[tuple[str, str]]:
    """The identifiers of a person in this row, normalised."""
    found = {(kind, fields[kind]) for kind in ("customer_id", "loyalty_card") if fields[kind]}
    email, phone = fields["email"].strip().lower(), fields["phone"]
    if email and email != BLOCKED_EMAIL:
        found.add(("email", email))
    if phone and phone not in (*TILL_PHONES, BLOCKED_PHONE):
        number = phonenumbers.parse(phone, "FR")
        assert phonenumbers.is_valid_number(number), phone
        found.add(("phone", phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)))
    return found


def groups(rows: list[dict[str, str]]) -> tuple[int, int]:
    """How many identifiers stand in the rows, and how many groups they form by standing in one row."""
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def find(one: tuple[str, str]) -> tuple[str, str]:
        while leader.setdefault(one, one) != one:
            one = leader[one]
        return one

    for row in rows:
        first, *others = [*identifiers(row)] or [None]
        if first:
            find(first)
        for other in others:
            leader[find(other)] = find(first)
    return len(leader), len({find(one) for one in leader})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("tills")
    return folder, SMALL.write_days(folder)


@pytest.fixture(scope="module")
def rows(written: tuple[Path, Truth]) -> list[Read]:
    folder, _ = written
    return [row for path in sorted(folder.iterdir()) for row in read(path)]


@pytest.fixture(scope="module")
def unique(rows: list[Read]) -> list[dict[str, str]]:
    """The readable rows, each once."""
    return list({(row.fields["order_id"], row.fields["line_no"]): row.fields for row in rows if row.fields}.values())


def test_every_row_is_accounted_for(written, rows, unique) -> None:
    _, truth = written
    readable = sum(row.fields is not None for row in rows)
    assert (len(rows), len(unique), readable - len(unique)) == (truth.records, truth.lines, truth.duplicates)
    assert (truth.lines, truth.files) == (8_000, 40)
    assert truth.duplicates > 20


def test_broken_rows_stand_where_the_truth_says(written, rows) -> None:
    _, truth = written
    assert [(row.file, row.line) for row in rows if row.fields is None] == [
        (bad.file, bad.line) for bad in truth.broken
    ]
    assert {bad.problem for bad in truth.broken} == {"too_few_columns", "bad_date", "bad_number"}


def test_lines_sent_again_are_the_same_text_in_a_later_file(rows) -> None:
    first: dict[tuple[str, str], Read] = {}
    again = []
    for row in rows:
        if (
            row.fields
            and (earlier := first.setdefault((row.fields["order_id"], row.fields["line_no"]), row)) is not row
        ):
            again.append((earlier, row))
    assert again
    assert all(earlier.file < later.file and earlier.fields == later.fields for earlier, later in again)


def test_orders_and_money_add_up(written, unique) -> None:
    _, truth = written
    cents = {"sale": Decimal(0), "refund": Decimal(0), "void": Decimal(0)}
    for row in unique:
        cents[row["kind"]] += Decimal(row["price"]) * int(row["quantity"]) * 100
    assert (cents["sale"], -cents["refund"]) == (truth.revenue_cents, truth.refunded_cents)
    orders = {kind: len({row["order_id"] for row in unique if row["kind"] == kind}) for kind in cents}
    assert orders == {"sale": truth.orders, "refund": truth.refunds, "void": truth.voids}
    assert min(orders.values()) > 0
    assert sum(row["kind"] == "void" for row in unique) == truth.void_lines


def test_people_come_out_as_connected_identifiers(written, unique) -> None:
    _, truth = written
    assert groups(unique) == (truth.identifiers, truth.profiles)
    assert truth.people == SMALL.people
    anonymous = sum(row["kind"] != "void" and not identifiers(row) for row in unique)
    assert anonymous == truth.anonymous_lines > 0


def test_the_dirt_of_real_tills_is_there(written, unique) -> None:
    folder, _ = written
    texts = [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix == ".csv"]
    assert sum(body.startswith(b"\xef\xbb\xbf") for body in texts) == 1
    assert sum(is_cp1252(body) for body in texts) == 1
    assert [path.name for path in folder.iterdir() if path.suffix == ".gz"] == ["tickets-2026-06-11.csv.gz"]
    assert {row["phone"] for row in unique} > {*TILL_PHONES, BLOCKED_PHONE}
    assert {row["email"] for row in unique} & {BLOCKED_EMAIL}
    descriptions = "".join(row["description"] for row in unique)
    assert all(mark in descriptions for mark in (",", '"', "\n", "é"))


def is_cp1252(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


def test_tickets_stand_together_and_in_order_of_time(rows) -> None:
    seen: set[tuple[str, str]] = set()
    last = None
    for row in rows:
        if row.fields is None:
            continue
        order = (row.file, row.fields["order_id"])
        assert order == last or order not in seen
        seen.add(order)
        last = order


def test_equal_parameters_give_equal_bytes(written, tmp_path: Path) -> None:
    folder, truth = written
    assert Retailer(seed=11, people=600, days=40, lines=8_000).write_days(tmp_path) == truth
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def test_another_seed_gives_another_retailer(written, tmp_path: Path) -> None:
    _, truth = written
    assert Retailer(seed=12, people=600, days=40, lines=8_000).write_days(tmp_path) != truth


def test_the_last_day_is_the_one_asked_for(tmp_path: Path) -> None:
    Retailer(people=50, days=3, lines=400, last_day=date(2024, 3, 1)).write_days(tmp_path)
    assert sorted(path.name[8:18] for path in tmp_path.iterdir()) == ["2024-02-28", "2024-02-29", "2024-03-01"]


@pytest.mark.parametrize("poison", [1, 2_345, 3_999])
def test_one_file_with_one_poison_row(tmp_path: Path, poison: int) -> None:
    path = tmp_path / "all.csv"
    truth = Retailer(people=500, days=30, lines=3_999).write_file(path, poison=poison)
    found = list(read(path))
    assert (len(found), truth.records, truth.lines) == (4_000, 4_000, 3_999)
    assert [index for index, row in enumerate(found, 1) if row.fields is None] == [poison]
    assert truth.broken == (Broken("all.csv", found[poison - 1].line, "bad_number"),)


def test_one_file_is_the_same_whatever_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retailer = Retailer(people=500, days=30, lines=3_999)
    whole = retailer.write_file(tmp_path / "tills.csv", poison=3_000)
    text = (tmp_path / "tills.csv").read_bytes()
    monkeypatch.setattr("switchyard.demo.retailer._BATCH", 700)
    assert retailer.write_file(tmp_path / "tills.csv", poison=3_000) == whole
    assert (tmp_path / "tills.csv").read_bytes() == text


def test_a_poison_row_outside_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from 1 to 100"):
        Retailer(people=10, days=1, lines=100).write_file(tmp_path / "tills.csv", poison=101)
