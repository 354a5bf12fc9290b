from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel

from switchyard.api.errors import PermanentError
from switchyard.eventlog.relations import journal_events
from switchyard.eventlog.types import arrow_type
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database


@dataclass(frozen=True)
class Entry:
    name: str
    kind: str = "event"
    type: str = "order_completed"
    size: int = 10
    rows: int = 1
    min_subject: int = 1
    max_subject: int = 2
    min_at_us: int = 3
    max_at_us: int = 4
    last_page_id: int = 5
    level: int = 0


@dataclass(frozen=True)
class Drained:
    kind: str
    type: str
    last: int
    rows: int


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("store")
    database = Database("sqlite:///store.db", folder)
    yield database
    database.close()


@pytest.fixture
def catalogue(database: Database) -> Iterator[StoreCatalogue]:
    SQLModel.metadata.create_all(database.engine)
    yield StoreCatalogue(database)
    SQLModel.metadata.drop_all(database.engine)


def events(subjects: list[int], **properties: pa.Array) -> pa.Table:
    rows = len(subjects)
    return pa.table(
        {
            "_id": pa.array([number.to_bytes(16, "big") for number in range(rows)], pa.binary(16)),
            "_subject": pa.array(subjects, pa.int64()),
            "_at": pa.array([datetime(2024, 1, 1, 12, 0, 0, number) for number in range(rows)], pa.timestamp("us")),
            **properties,
        }
    )


def on_page(table, page=1):
    return table.append_column("_page", pa.array([page] * table.num_rows, pa.int64()))


def journal(catalogue, database, table, page=1, event_type="order_completed"):
    with database.write() as session:
        catalogue.journal_events(session, event_type, on_page(table, page))


def test_a_named_file_is_listed_as_it_was_given(catalogue, database):
    entry = Entry("event/order_completed/a.parquet", level=2)
    with database.write() as session:
        catalogue.add(session, [entry])
    [file] = catalogue.files()
    assert {name: getattr(file, name) for name in Entry.__dataclass_fields__} == entry.__dict__


def test_what_is_rolled_back_is_not_listed(catalogue, database):
    with pytest.raises(RuntimeError), database.write() as session:
        catalogue.add(session, [Entry("a")])
        catalogue.journal_events(session, "order_completed", on_page(events([1])))
        raise RuntimeError
    assert not catalogue.files()
    assert catalogue.journal_sizes() == {}
    assert catalogue.version().types == {}


def test_register_keeps_the_type_that_was_there_first(catalogue, database):
    with database.write() as session:
        assert catalogue.register(session, "order", {"total": "decimal"}) == {"total": "decimal"}
        assert catalogue.register(session, "order", {"total": "text", "note": "text"}) == {
            "total": "decimal",
            "note": "text",
        }
        assert catalogue.register(session, "visit", {"total": "integer"}) == {"total": "integer"}
    assert catalogue.version().types == {"order": {"note": "text", "total": "decimal"}, "visit": {"total": "integer"}}


def test_register_lets_items_grow(catalogue, database):
    with database.write() as session:
        catalogue.register(session, "order", {"items": "items(sku text, price decimal)"})
        grown = catalogue.register(session, "order", {"items": "items(tax number, price text)"})
    assert grown == {"items": "items(sku text, price decimal, tax number)"}


def test_a_version_has_the_journal_of_the_types_and_subjects_asked_for(catalogue, database):
    journal(catalogue, database, events([1, 2, 3, 2]))
    journal(catalogue, database, events([2]), event_type="page_viewed")
    assert {name: rows.num_rows for name, rows in catalogue.version().events.items()} == {
        "order_completed": 4,
        "page_viewed": 1,
    }
    narrow = catalogue.version(["order_completed"], pa.array([2, 2, 9]), memberships=False)
    assert narrow.events["order_completed"]["subject_id"].to_pylist() == [2, 2]
    assert set(narrow.events) == {"order_completed"}
    assert catalogue.version(()).events == {}


def test_journal_ids_name_events_and_pages(catalogue, database):
    journal(catalogue, database, events([1]), page=4)
    assert catalogue.journal_ids().to_pylist() == [{"event_id": bytes(16), "page_id": 4}]


def test_memberships_come_back_as_they_went(catalogue, database):
    instant = datetime(2024, 1, 2, 3, 4, 5, 6)
    table = pa.table(
        {
            "profile_id": [1, 2],
            "segment": ["vip", "new"],
            "version": [3, 4],
            "entered": [True, False],
            "at": pa.array([instant] * 2, pa.timestamp("us")),
            "noticed": pa.array([instant] * 2, pa.timestamp("us")),
            "reason": ["event", "time"],
            "run_id": [5, 6],
        }
    )
    with database.write() as session:
        catalogue.journal_memberships(session, table)
    found = catalogue.version().memberships
    plain = ["profile_id", "segment", "version", "entered", "reason", "run_id"]
    assert found.select(plain).to_pylist() == table.select(plain).to_pylist()
    assert found["at_us"].cast(pa.timestamp("us")).to_pylist() == [instant] * 2
    assert catalogue.journal_sizes() == {("membership", ""): 2}


def test_swap_puts_a_file_in_the_place_of_journal_rows(catalogue, database):
    journal(catalogue, database, events([1, 2]))
    journal(catalogue, database, events([3]), event_type="page_viewed")
    last = catalogue.version().events["order_completed"]["id"].to_pylist()[-1]
    catalogue.swap([Entry("a")], drained=Drained("event", "order_completed", last, 2))
    assert catalogue.journal_sizes() == {("event", "page_viewed"): 1}
    assert [file.name for file in catalogue.files()] == ["a"]


def test_swap_leaves_rows_that_came_after_the_read(catalogue, database):
    journal(catalogue, database, events([1, 2]))
    last = catalogue.version().events["order_completed"]["id"].to_pylist()[-1]
    journal(catalogue, database, events([3, 4, 5]))
    catalogue.swap([Entry("a")], drained=Drained("event", "order_completed", last, 2))
    assert catalogue.journal_sizes() == {("event", "order_completed"): 3}


@pytest.mark.parametrize("rows", [1, 3])
def test_swap_refuses_when_the_rows_are_not_those_that_were_read(catalogue, database, rows):
    journal(catalogue, database, events([1, 2]))
    with pytest.raises(PermanentError, match="another hub"):
        catalogue.swap([Entry("a")], drained=Drained("event", "order_completed", 10**9, rows))
    assert catalogue.journal_sizes() == {("event", "order_completed"): 2}
    assert not catalogue.files()


def test_swap_refuses_to_replace_a_file_twice(catalogue, database):
    with database.write() as session:
        catalogue.add(session, [Entry("a"), Entry("b")])
    catalogue.swap([Entry("c", level=1)], replaced=["a", "b"])
    with pytest.raises(PermanentError, match="another hub"):
        catalogue.swap([replace(Entry("d"), level=1)], replaced=["a", "b"])
    assert [file.name for file in catalogue.files()] == ["c"]


DECIMALS = st.decimals(Decimal(-(10**14)) + 1, Decimal(10**14) - 1, places=4)
VALUES = {
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": DECIMALS,
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "timestamp": st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "list": st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))),
    "items(sku text, price decimal)": st.lists(
        st.fixed_dictionaries({"sku": st.none() | st.text(max_size=5), "price": st.none() | DECIMALS})
    ),
}
NAMES = st.sampled_from(["total", "with \"both\" 'quotes'", "é, {}", "a.b", "$x"])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=NAMES, text=st.sampled_from(list(VALUES)))
def test_every_value_survives_the_journal(database, data, name, text):
    values = data.draw(st.lists(st.none() | VALUES[text], min_size=1, max_size=4))
    SQLModel.metadata.create_all(database.engine)
    catalogue = StoreCatalogue(database)
    with database.write() as session:
        catalogue.register(session, "t", {name: text})
        table = events([1] * len(values), **{name: pa.array(values, arrow_type(text))})
        catalogue.journal_events(session, "t", on_page(table))
    version = catalogue.version()
    SQLModel.metadata.drop_all(database.engine)
    import duckdb

    with duckdb.connect() as connection:
        found = journal_events(connection, version.events["t"], version.types["t"])
    assert found[name].to_pylist() == values
    assert found["_at"].to_pylist()[0] == datetime(2024, 1, 1, 12)
