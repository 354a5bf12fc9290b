"""Arrow tables into the store and out of it, on both databases alike."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session, SQLModel, select

from switchyard.api.errors import PermanentError
from switchyard.store import bulk
from switchyard.store.database import Database
from switchyard.store.tables import (
    AccountBudget,
    IdentifierKind,
    JournalEvent,
    JournalMembership,
    Merge,
    SharedValue,
    Stream,
)

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "NULL", "\\N", "\\.", '"', "''", ",", "\r\n", "a\n\\.\nb", " x ", "%s", ":name", "?", "{keys}", "\ufeff", "😀"]
)
BIG = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-(2**15), 2**15 - 1)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
EACH = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

EVENTS = pa.schema(
    [
        ("event_type_id", pa.int16()),
        ("event_id", pa.binary()),
        ("subject_id", pa.int64()),
        ("at_us", pa.int64()),
        ("page_id", pa.int64()),
        ("properties", pa.string()),
    ]
)
MEMBERSHIPS = pa.schema(
    [
        ("segment", pa.string()),
        ("version", pa.int32()),
        ("profile_id", pa.int64()),
        ("entered", pa.bool_()),
        ("at_us", pa.int64()),
        ("noticed_us", pa.int64()),
        ("reason", pa.string()),
        ("run_id", pa.int32()),
    ]
)
STREAMS = pa.schema(
    [
        ("id", pa.int16()),
        ("connection", pa.string()),
        ("name", pa.string()),
        ("cursor", pa.string()),
        ("updated_at", pa.timestamp("us")),
    ]
)
SHARED = pa.schema([("kind_id", pa.int16()), ("value", pa.string()), ("page_id", pa.int64())])
STRATEGIES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXTS,
    pa.binary(): st.binary(max_size=20),
    pa.bool_(): st.booleans(),
    pa.int16(): SMALL,
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): BIG,
    pa.timestamp("us"): INSTANTS,
}


def tables(schema: pa.Schema, key: tuple[str, ...] = (), nullable: tuple[str, ...] = ()) -> st.SearchStrategy[pa.Table]:
    """Tables of a schema, at least one row, with distinct keys."""
    columns = {}
    for field in schema:
        values = STRATEGIES[field.type]
        columns[field.name] = st.none() | values if field.name in nullable else values
    unique = (lambda row: tuple(row[name] for name in key)) if key else None
    rows = st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=8, unique_by=unique)
    return rows.map(lambda listed: pa.Table.from_pylist(listed, schema=schema))


def stored(session: Session, table: type[SQLModel], schema: pa.Schema) -> list[dict[str, Any]]:
    columns = ", ".join(schema.names)
    rows = bulk.select(session, f"SELECT {columns} FROM {table.__tablename__}", schema).to_pylist()
    return sorted(rows, key=repr)


def same(rows: pa.Table) -> list[dict[str, Any]]:
    return sorted(rows.to_pylist(), key=repr)


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A writing transaction that can be rolled back between examples."""
    with database.write() as opened:
        yield opened
        opened.rollback()


def count_of(session: Session, table: type[SQLModel]) -> int:
    return len(session.exec(select(table)).all())


@given(rows=tables(EVENTS))
@EACH
def test_blobs_and_big_integers_come_back_as_they_went_in(session: Session, rows: pa.Table) -> None:
    session.connection().execute(text("INSERT INTO event_type (id, name) VALUES (1, 'x')"))
    rows = rows.set_column(0, "event_type_id", pa.array([1] * rows.num_rows, pa.int16()))
    bulk.insert(session, JournalEvent, rows)
    assert stored(session, JournalEvent, EVENTS) == same(rows)
    session.rollback()


@given(rows=tables(MEMBERSHIPS))
@EACH
def test_texts_and_booleans_come_back_as_they_went_in(session: Session, rows: pa.Table) -> None:
    bulk.insert(session, JournalMembership, rows)
    assert stored(session, JournalMembership, MEMBERSHIPS) == same(rows)
    session.rollback()


JSONS = st.none() | st.dictionaries(TEXTS, TEXTS | st.booleans() | BIG, max_size=3).map(json.dumps)


@given(rows=tables(STREAMS, key=("id",), nullable=("updated_at",)), data=st.data())
@EACH
def test_json_and_instants_are_read_by_the_models_and_the_other_way_round(
    session: Session, rows: pa.Table, data: st.DataObject
) -> None:
    cursors = data.draw(st.lists(JSONS, min_size=rows.num_rows, max_size=rows.num_rows))
    names = pa.array([str(number) for number in range(rows.num_rows)])
    rows = rows.set_column(2, "name", names).set_column(3, "cursor", pa.array(cursors, pa.string()))
    bulk.insert(session, Stream, rows)
    assert stored(session, Stream, STREAMS) == same(rows)
    for row in rows.to_pylist():
        model = session.get_one(Stream, row["id"])
        assert model.updated_at == row["updated_at"]
        assert model.cursor == (None if row["cursor"] is None else json.loads(row["cursor"]))
    session.rollback()


@given(before=tables(SHARED, key=("kind_id", "value")), after=tables(SHARED, key=("kind_id", "value")))
@EACH
def test_upsert_replaces_known_rows_and_adds_the_others(session: Session, before: pa.Table, after: pa.Table) -> None:
    bulk.insert(session, SharedValue, before)
    bulk.upsert(session, SharedValue, after, ["kind_id", "value"])
    expected = {(row["kind_id"], row["value"]): row for table in (before, after) for row in table.to_pylist()}
    assert stored(session, SharedValue, SHARED) == sorted(expected.values(), key=repr)
    session.rollback()


@given(before=tables(SHARED, key=("kind_id", "value")), after=tables(SHARED, key=("kind_id", "value")))
@EACH
def test_update_changes_known_rows_only(session: Session, before: pa.Table, after: pa.Table) -> None:
    bulk.insert(session, SharedValue, before)
    bulk.update(session, SharedValue, after, ["kind_id", "value"])
    expected = {(row["kind_id"], row["value"]): row for row in before.to_pylist()}
    for row in after.to_pylist():
        if (row["kind_id"], row["value"]) in expected:
            expected[row["kind_id"], row["value"]] = row
    assert stored(session, SharedValue, SHARED) == sorted(expected.values(), key=repr)
    session.rollback()


@given(rows=tables(SHARED, key=("kind_id", "value")), wanted=st.lists(TEXTS, max_size=6))
@EACH
def test_matching_finds_the_rows_of_the_keys(session: Session, rows: pa.Table, wanted: list[str]) -> None:
    bulk.insert(session, SharedValue, rows)
    keys = wanted + rows["value"].to_pylist()[::2]
    statement = "SELECT v.kind_id, v.value, v.page_id FROM {keys} k JOIN shared_value v ON v.value = k.value"
    found = bulk.matching(session, statement, pa.array(keys, pa.string()), SHARED)
    expected = [row for row in rows.to_pylist() for key in keys if key == row["value"]]
    assert same(found) == sorted(expected, key=repr)
    session.rollback()


@given(pages=st.lists(BIG, min_size=1, max_size=6, unique=True), wanted=st.lists(st.none() | BIG, max_size=4))
@EACH
def test_matching_takes_integers_and_its_keys_may_stand_twice(
    session: Session, pages: list[int], wanted: list[int | None]
) -> None:
    rows = pa.table({"kind_id": [1] * len(pages), "value": [str(page) for page in pages], "page_id": pages})
    bulk.insert(session, SharedValue, rows)
    one = "SELECT v.page_id FROM {keys} k JOIN shared_value v ON v.page_id = k.value AND v.value LIKE '%'"
    keys = pa.chunked_array([pa.array(wanted, pa.int64()), pa.array(pages[:2], pa.int64())])
    found = bulk.matching(session, f"{one} UNION ALL {one}", keys, pa.schema([("page_id", pa.int64())]))
    expected = [page for page in pages for key in keys.to_pylist() if key == page] * 2
    assert sorted(found["page_id"].to_pylist()) == sorted(expected)
    session.rollback()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_matching_on_sqlite_looks_every_key_up_in_an_index(session: Session) -> None:
    """The other order reads all keys once per row: minutes where this takes less than a second."""
    bulk.insert(
        session, SharedValue, pa.table({"kind_id": [1] * 9, "value": [*"abcdefghi"], "page_id": list(range(9))})
    )
    statement = "SELECT v.page_id FROM {keys} k JOIN shared_value v ON v.kind_id = 1 AND v.value = k.value"
    plan = bulk.matching(
        session,
        f"EXPLAIN QUERY PLAN {statement}",
        pa.array(["a"]),
        pa.schema([("id", pa.int64()), ("parent", pa.int64()), ("unused", pa.int64()), ("detail", pa.string())]),
    )
    first, second = plan["detail"].to_pylist()
    assert first.startswith("SCAN json_each")
    assert second.startswith("SEARCH v USING") and second.endswith("(kind_id=? AND value=?)")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_kind_of_text_column_is_taken(session: Session, kind: pa.DataType) -> None:
    values = pa.array(["a", "", "ü"]).cast(kind)
    bulk.upsert(session, IdentifierKind, pa.table({"id": [1, 2, 3], "name": values}), ["id"])
    assert [row.name for row in session.exec(select(IdentifierKind).order_by("id"))] == ["a", "", "ü"]


@pytest.mark.parametrize("value", [pa.scalar("a\0b"), pa.scalar(b"a\xed\xb2\x80").cast(pa.binary())])
@pytest.mark.parametrize("action", ["insert", "upsert", "update"])
def test_a_text_no_database_can_hold_is_refused_by_name(session: Session, value: pa.Scalar, action: str) -> None:
    texts = pa.StringArray.from_buffers(1, *pa.array([value.as_py()]).buffers()[1:])
    rows = pa.table({"kind_id": [1], "value": texts, "page_id": [1]})
    call = {"insert": (rows,), "upsert": (rows, ["kind_id", "page_id"]), "update": (rows, ["kind_id", "page_id"])}
    with pytest.raises(PermanentError, match="column 'value'") as raised:
        getattr(bulk, action)(session, SharedValue, *call[action])
    assert "a\0b" not in str(raised.value)
    assert count_of(session, SharedValue) == 0


def test_only_given_columns_are_written(session: Session) -> None:
    bulk.insert(
        session,
        Merge,
        pa.table(
            {"profile_id": [1, 1], "merged_id": [2, 3], "kind_id": [1, 1], "value": ["x", "y"], "page_id": [7, 7]}
        ),
    )
    found = session.exec(select(Merge).order_by("id")).all()
    assert [(row.merged_id, row.value) for row in found] == [(2, "x"), (3, "y")]
    assert found[0].id < found[1].id


def test_rows_added_to_the_session_come_before_bulk_rows(session: Session) -> None:
    session.add(Stream(id=1, connection="shop", name="orders"))
    bulk.update(session, Stream, pa.table({"id": [1], "connection": ["till"]}), ["id"])
    found = bulk.select(session, "SELECT connection FROM stream", pa.schema([("connection", pa.string())]))
    assert found.to_pylist() == [{"connection": "till"}]


def test_instants_of_bulk_rows_are_compared_with_those_of_models(session: Session) -> None:
    rows = pa.table(
        {
            "id": pa.array([1, 2], pa.int64()),
            "connection": ["a", "a"],
            "name": ["x", "y"],
            "updated_at": pa.array([datetime(2026, 1, 2), datetime(2026, 1, 2, 0, 0, 0, 1)], pa.timestamp("us")),
        }
    )
    bulk.upsert(session, Stream, rows, ["id"])
    late = select(Stream.id).where(Stream.updated_at > datetime(2026, 1, 2))
    assert session.exec(late).all() == [2]


def test_no_rows_are_no_statement(session: Session) -> None:
    nothing = SHARED.empty_table()
    bulk.insert(session, SharedValue, nothing)
    bulk.upsert(session, SharedValue, nothing, ["kind_id", "value"])
    bulk.update(session, SharedValue, nothing, ["kind_id", "value"])
    keys = pa.array([], pa.string())
    assert bulk.matching(session, "SELECT k.value FROM {keys} k", keys, pa.schema([("v", pa.string())])).num_rows == 0


def test_more_rows_than_a_slice(session: Session) -> None:
    number = 120_001
    rows = pa.table({"kind_id": [1] * number, "value": [f"{n:06}" for n in range(number)], "page_id": range(number)})
    bulk.insert(session, SharedValue, rows)
    assert bulk.select(session, "SELECT kind_id, value, page_id FROM shared_value ORDER BY value", SHARED) == rows.cast(
        SHARED
    )
    keys = bulk.matching(
        session,
        "SELECT v.kind_id, v.value, v.page_id FROM {keys} k JOIN shared_value v ON v.kind_id = 1 AND v.value = k.value",
        rows["value"],
        SHARED,
    )
    assert keys.num_rows == number


def test_postgresql_gets_one_statement_per_call(postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    rows = pa.table({"kind_id": [1] * 300, "value": [str(n) for n in range(300)], "page_id": [1] * 300})
    with database.write() as session:
        session.connection().execute(text("SET LOCAL log_statement = 'all'"))
        before = len(postgres.log.read_text())
        bulk.insert(session, SharedValue, rows.slice(0, 100))
        bulk.upsert(session, SharedValue, rows, ["kind_id", "value"])
        bulk.update(session, SharedValue, rows, ["kind_id", "value"])
    logged = [line for line in postgres.log.read_text()[before:].splitlines() if "LOG:  " in line]
    verbs = [line.partition(": ")[2].strip().split(": ")[-1].split()[0] for line in logged]
    assert [verb for verb in verbs if verb in {"COPY", "INSERT", "UPDATE"}] == [
        "COPY",
        "COPY",
        "INSERT",
        "COPY",
        "UPDATE",
    ]
    database.close()
    postgres.drop(name)


@given(ids=st.lists(BIG))
def test_packed_ids_are_ascending_and_unique(ids: list[int]) -> None:
    assert bulk.unpacked(bulk.packed(pa.array(ids, pa.int64()))).to_pylist() == sorted(set(ids))
    assert len(bulk.packed(pa.chunked_array([pa.array(ids, pa.int64())] * 2))) == 8 * len(set(ids))


def test_budget_states_are_json_on_both_sides(session: Session) -> None:
    state = '{"used": 3, "name": "\\u0000"}'
    bulk.insert(session, AccountBudget, pa.table({"account": ["a"], "state": [state]}))
    assert session.get_one(AccountBudget, "a").state == {"used": 3, "name": "\0"}
