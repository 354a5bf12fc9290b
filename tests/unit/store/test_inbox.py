"""The inbox: what is kept once, in one order, for how long."""

import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchyard.api.errors import ConfigError, TransientError
from switchyard.store.database import Database
from switchyard.store.inbox import FILE, KEPT, PAGE, PAGE_BYTES, Delivery, Inbox

NOON = datetime(2026, 3, 1, 12)


def delivery(id: str | None = None, body: bytes = b"{}", connection: str = "shop", at: datetime = NOON) -> Delivery:
    return Delivery(connection, id, {}, body, at)


def ids(inbox: Inbox, connection: str = "shop", after: int | None = None) -> list[str]:
    return [id for page in inbox.pages(connection, after) for id in page["id"].to_pylist()]


@pytest.fixture
def inbox(database: Database) -> Iterator[Inbox]:
    opened = Inbox(database)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """A store on SQLite."""
    opened = Database(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def test_what_came_is_read_as_it_came_and_in_order(inbox: Inbox) -> None:
    inbox.append([Delivery("shop", "b", {"x": "é\0"}, b"\0\xff", NOON + timedelta(microseconds=1))])
    inbox.append([delivery("c"), delivery("a")])
    table = inbox.read("shop")
    assert table.schema == PAGE
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == ["b", "c", "a"]
    assert rows[0]["body"] == b"\0\xff"
    assert json.loads(rows[0]["headers"]) == {"x": "é\0"}
    assert rows[0]["received_at"] == NOON + timedelta(microseconds=1)
    assert rows[0]["sequence"] < rows[1]["sequence"] < rows[2]["sequence"] < 2**53
    assert ids(inbox, after=rows[0]["sequence"]) == ["c", "a"]
    assert ids(inbox, after=rows[2]["sequence"]) == []


def test_a_delivery_that_is_known_is_left_out(inbox: Inbox) -> None:
    inbox.append([delivery("a", b"1"), delivery("b"), delivery("a", b"2")])
    inbox.append([delivery("b"), delivery("c"), delivery("a", connection="till")])
    assert ids(inbox) == ["a", "b", "c"]
    assert ids(inbox, "till") == ["a"]
    assert inbox.read("shop")["body"][0].as_py() == b"1"


def test_without_an_id_the_same_body_is_the_same_delivery(inbox: Inbox) -> None:
    inbox.append([delivery(None, b"1"), delivery(None, b"1"), delivery(None, b"2")])
    inbox.append([delivery(None, b"2"), delivery(None, b"1", connection="till")])
    assert len(ids(inbox)) == 2
    assert len(ids(inbox, "till")) == 1
    assert ids(inbox, "till")[0] not in ids(inbox)
    assert all(len(bytes.fromhex(id)) == 16 for id in ids(inbox))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.text(max_size=300), st.dictionaries(st.text(), st.text()), st.binary()), max_size=8))
def test_whatever_a_sender_calls_a_delivery_it_is_kept_once(
    inbox: Inbox, given: list[tuple[str, dict[str, str], bytes]]
) -> None:
    before = inbox.newest()
    deliveries = [Delivery("any", id, headers, body, NOON) for id, headers, body in given]
    inbox.append(deliveries)
    inbox.append(deliveries)
    kept = inbox.read("any", before)
    first = {id: (headers, body) for id, headers, body in reversed(given)}
    known = inbox.read("any")["id"].to_pylist()
    assert len(set(known)) == len(known)
    # Names of an earlier example are known.
    assert kept.num_rows <= len(first)
    found = {(row["headers"], row["body"]) for row in kept.to_pylist()}
    assert found <= {(json.dumps(headers), body) for headers, body in first.values()}


def test_names_that_differ_only_where_no_column_holds_it_are_different_names(inbox: Inbox) -> None:
    odd = ["a", "a\0", "a\0b", "\ud800", "a ", " a", "", "é", "x" * 201, "x" * 202, "a\n"]
    inbox.append([delivery(id) for id in odd])
    assert len(set(ids(inbox))) == len(odd)
    inbox.append([delivery(id) for id in odd])
    assert len(ids(inbox)) == len(odd)


def test_ids_outlast_rows_until_no_sender_tries_again(inbox: Inbox) -> None:
    inbox.append([delivery("old"), delivery("young", at=NOON + timedelta(days=1))])
    assert inbox.trim("shop", inbox.newest()) == 2
    assert ids(inbox) == []
    inbox.append([delivery("old"), delivery("young")])
    assert ids(inbox) == []
    assert inbox.forget(NOON + KEPT) == 0
    assert inbox.forget(NOON + KEPT + timedelta(hours=1)) == 1
    inbox.append([delivery("old"), delivery("young")])
    assert ids(inbox) == ["old"]


def test_an_id_is_not_forgotten_before_its_row_was_read(inbox: Inbox) -> None:
    inbox.append([delivery("a")])
    assert inbox.forget(NOON + 10 * KEPT) == 0
    inbox.append([delivery("a")])
    assert ids(inbox) == ["a"]


def test_trimming_stops_at_its_number_and_at_its_connection(inbox: Inbox) -> None:
    inbox.append([delivery(f"{n}") for n in range(2_500)])
    inbox.append([delivery("other", connection="till")])
    middle = inbox.read("shop")["sequence"][2_100].as_py()
    assert inbox.trim("shop", middle) == 2_101
    assert ids(inbox)[:2] == ["2101", "2102"]
    assert inbox.trim("shop", inbox.newest()) == 399
    assert ids(inbox, "till") == ["other"]
    assert inbox.trim("shop", inbox.newest()) == 0


def test_numbers_are_never_given_again(database: Database) -> None:
    first = Inbox(database)
    first.append([delivery("a")])
    number = first.newest()
    first.trim("shop", number)
    first.forget(NOON + 2 * KEPT)
    first.close()
    again = Inbox(database)
    again.append([delivery("b")])
    assert again.read("shop", number)["id"].to_pylist() == ["b"]
    again.close()


def test_a_cursor_of_a_lost_inbox_skips_nothing_of_the_next(store: Database, tmp_path: Path) -> None:
    lost = Inbox(store)
    lost.append([delivery(f"{n}") for n in range(1_000)])
    cursor = lost.newest()
    lost.close()
    (tmp_path / FILE).unlink()
    fresh = Inbox(store)
    fresh.append([delivery("a")])
    assert ids(fresh, after=cursor) == ["a"]
    fresh.close()


def test_pages_have_bounds(inbox: Inbox) -> None:
    inbox.append([delivery(f"{n}") for n in range(5)])
    assert [inbox.read("shop", None, limit).num_rows for limit in (1, 3, 9)] == [1, 3, 5]
    third = b"x" * (PAGE_BYTES // 3)
    inbox.append([delivery(f"{n}", third, "big") for n in range(4)])
    inbox.append([delivery("huge", third * 4, "big"), delivery("last", b"", "big")])
    assert [page["id"].to_pylist() for page in inbox.pages("big")] == [["0", "1"], ["2", "3"], ["huge"], ["last"]]


def test_depths_say_what_waits_and_since_when(inbox: Inbox) -> None:
    assert inbox.depths() == {}
    inbox.append([delivery("a"), delivery("b", at=NOON + timedelta(minutes=1)), delivery("c", connection="till")])
    first = inbox.read("shop")["sequence"][0].as_py()
    depths = inbox.depths({"shop": first, "till": inbox.newest()})
    assert (depths["shop"].rows, depths["shop"].oldest) == (1, NOON + timedelta(minutes=1))
    assert (depths["till"].rows, depths["till"].oldest) == (0, None)
    assert inbox.depths()["shop"].oldest == NOON


def test_a_reader_that_goes_by_numbers_misses_nothing_while_many_write(database: Database) -> None:
    writers = [Inbox(database) for _ in range(3)]
    reader = Inbox(database)
    found: list[str] = []
    done = threading.Event()

    def read() -> None:
        cursor = None
        while True:
            was_done = done.is_set()
            page = reader.read("shop", cursor, 7)
            found.extend(page["id"].to_pylist())
            if page.num_rows:
                cursor = page["sequence"][-1].as_py()
            elif was_done:
                return

    def write(number: int) -> None:
        for group in range(40):
            writers[number].append([delivery(f"{number}-{group}-{each}") for each in range(3)])

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        for writing in [pool.submit(write, number) for number in range(3)]:
            writing.result()
        done.set()
        reading.result()
    assert len(found) == 360
    assert len(set(found)) == 360
    for inbox in (*writers, reader):
        inbox.close()


def test_the_same_delivery_from_many_sides_at_once_is_kept_once(database: Database) -> None:
    inboxes = [Inbox(database) for _ in range(4)]
    start = threading.Barrier(4)

    def write(inbox: Inbox) -> None:
        start.wait()
        for n in range(25):
            inbox.append([delivery(f"{n}")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, inboxes))
    assert sorted(ids(inboxes[0]), key=int) == [f"{n}" for n in range(25)]
    for inbox in inboxes:
        inbox.close()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_news_wake_those_who_wait(database: Database, inbox: Inbox, elsewhere: bool) -> None:
    writer = Inbox(database) if elsewhere else inbox
    assert not inbox.wait(inbox.newest(), 0.05)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(inbox.wait, inbox.newest(), 30)
        writer.append([delivery("a")])
        assert waiting.result()
    assert inbox.wait(0, 0)
    assert not inbox.wait(inbox.newest(), 0)
    if elsewhere:
        writer.close()


def test_on_sqlite_the_inbox_is_a_file_of_its_own_for_its_owner_alone(store: Database, tmp_path: Path) -> None:
    inbox = Inbox(store)
    inbox.append([delivery("a")])
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    with inbox._database.read() as session:
        assert session.connection().exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    with store.write() as session:
        session.connection()
        inbox.append([delivery("b")])
    assert ids(inbox) == ["a", "b"]
    inbox.close()


def test_an_inbox_of_a_newer_version_is_refused(store: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("PRAGMA user_version=7")
    file.close()
    with pytest.raises(ConfigError, match="inbox is at version 7: it was written by a newer switchyard"):
        Inbox(store)


def test_a_locked_inbox_keeps_nothing_says_so_and_recovers(store: Database, tmp_path: Path) -> None:
    inbox = Inbox(store)
    other = Database(f"sqlite:///{tmp_path / FILE}")
    with other.write() as session:
        session.connection()
        with pytest.raises(TransientError, match="locked by another program"):
            inbox.append([delivery("a")])
    other.close()
    assert ids(inbox) == []
    inbox.append([delivery("a")])
    assert ids(inbox) == ["a"]
    inbox.close()


def test_a_full_disk_keeps_nothing_says_so_and_recovers(store: Database) -> None:
    inbox = Inbox(store)
    body = b"x" * 10_000

    def pages(limit: int) -> Any:
        with inbox._database.write() as session:
            return session.connection().exec_driver_sql(f"PRAGMA max_page_count={limit}").scalar()

    pages(60)
    kept = 0
    with pytest.raises(TransientError, match="the disk of the store is full"):
        for kept in range(100):
            inbox.append([delivery(f"{kept}", body)])
    assert 5 < kept < 60
    assert ids(inbox) == [f"{n}" for n in range(kept)]
    pages(1_000_000)
    inbox.append([delivery(f"{kept}", body)])
    assert ids(inbox) == [f"{n}" for n in range(kept + 1)]
    inbox.close()
