"""Records that wait to be replayed."""

import json
from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pytest
from sqlmodel import Session, col, select

from switchyard.store import quarantine, runs
from switchyard.store.database import Database
from switchyard.store.tables import Quarantine, Stream

NOW = datetime(2026, 3, 1, 12, 30, 0, 250)


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A transaction in a store with the streams shop.orders (1) and till.tickets (2), and a run (1)."""
    with database.write() as opened:
        opened.add(Stream(id=1, connection="shop", name="orders"))
        opened.add(Stream(id=2, connection="till", name="tickets"))
        runs.started(opened, "sync", "shop.orders")
        yield opened


def rejects(*streams: int, code: str = "bad_date", reason: str = "no date", record: object = None) -> pa.Table:
    """One record for each given stream."""
    count = len(streams)
    return pa.table(
        {
            "run_id": [1] * count,
            "page_id": [5] * count,
            "stream_id": list(streams),
            "origin": ["monday.csv"] * count,
            "line": pa.array(range(count), pa.int64()),
            "byte": pa.nulls(count, pa.int64()),
            "field": ["at"] * count,
            "code": [code] * count,
            "reason": [reason] * count,
            "record": [json.dumps(record)] * count,
            "created_at": pa.array([NOW] * count, pa.timestamp("us")),
        }
    )


def test_a_record_waits_whole_with_its_place_and_reason(session: Session) -> None:
    quarantine.put(session, rejects(1, record={"id": "a\0\udc80", "at": "soon"}))
    (row,) = quarantine.waiting(session).to_pylist()
    assert json.loads(row.pop("record")) == {"id": "a\0\udc80", "at": "soon"}
    assert row.pop("id") > 0
    assert row == {
        "connection": "shop",
        "stream": "orders",
        "run_id": 1,
        "page_id": 5,
        "stream_id": 1,
        "origin": "monday.csv",
        "line": 0,
        "byte": None,
        "field": "at",
        "code": "bad_date",
        "reason": "no date",
        "created_at": NOW,
    }


def test_a_reason_that_quotes_a_nul_character_can_be_stored(session: Session) -> None:
    quarantine.put(session, rejects(1, reason="'a\0b' is no date"))
    assert quarantine.waiting(session)["reason"].to_pylist() == ["'a\ufffdb' is no date"]


def test_waiting_records_are_found_by_connection_and_stream(session: Session) -> None:
    quarantine.put(session, rejects(1, 2, 1))
    assert quarantine.waiting(session)["stream_id"].to_pylist() == [1, 2, 1]
    assert quarantine.waiting(session, connection="shop")["line"].to_pylist() == [0, 2]
    assert quarantine.waiting(session, "till", "tickets")["line"].to_pylist() == [1]
    assert quarantine.waiting(session, "till", "orders").num_rows == 0
    assert quarantine.waiting(session, "' OR ''='").num_rows == 0


def test_waiting_records_are_read_in_parts(session: Session) -> None:
    quarantine.put(session, rejects(*[1] * 5))
    lines, after = [], 0
    while (part := quarantine.waiting(session, limit=2, after=after)).num_rows:
        lines.append(part["line"].to_pylist())
        after = part["id"][-1].as_py()
    assert lines == [[0, 1], [2, 3], [4]]


def test_replayed_records_wait_no_longer(session: Session) -> None:
    quarantine.put(session, rejects(1, 1, 1))
    ids = quarantine.waiting(session)["id"].to_pylist()
    quarantine.mark_replayed(session, [ids[0], ids[2], 999_999], NOW)
    quarantine.mark_replayed(session, [], NOW)
    assert quarantine.waiting(session)["id"].to_pylist() == [ids[1]]
    found = session.exec(select(Quarantine).order_by(col(Quarantine.id))).all()
    assert [(row.state, row.replayed_at) for row in found] == [
        ("replayed", NOW),
        ("waiting", None),
        ("replayed", NOW),
    ]


def test_counts_tell_what_waits_where_and_why(session: Session) -> None:
    quarantine.put(session, rejects(1, 1, 2))
    quarantine.put(session, rejects(1, code="open_quote"))
    quarantine.mark_replayed(session, quarantine.waiting(session, limit=1)["id"].to_pylist(), NOW)
    assert quarantine.counts(session) == [
        quarantine.Count("shop", "orders", "bad_date", 1),
        quarantine.Count("shop", "orders", "open_quote", 1),
        quarantine.Count("till", "tickets", "bad_date", 1),
    ]
