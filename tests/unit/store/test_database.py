"""Transactions: what they promise to each other, to the disk, and to readers of error texts."""

import sqlite3
import stat
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import event, text
from sqlmodel import Session, func, select

from switchyard.api.errors import ConfigError, PermanentError, SwitchyardError, TransientError
from switchyard.store import bulk, schema
from switchyard.store import database as database_module
from switchyard.store.database import Database
from switchyard.store.tables import Counter, IdentifierKind, SharedValue

CANARY = "canary@example.org"


def counter(session: Session, name: str = "subject") -> int:
    found = session.get(Counter, name)
    return found.next if found else 0


def set_counter(database: Database, value: int, name: str = "subject") -> None:
    with database.write() as session:
        session.merge(Counter(name=name, next=value))


def shown(error: BaseException) -> str:
    """All that a log or a terminal would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "var" / "store.db"


@pytest.fixture
def sqlite(sqlite_file: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{sqlite_file}")
    schema.prepare(opened)
    yield opened
    opened.close()


def test_what_a_block_wrote_is_there_after_it(database: Database) -> None:
    set_counter(database, 7)
    with database.read() as session:
        assert counter(session) == 7


def test_a_block_that_raises_leaves_nothing_and_passes_its_error_on(database: Database) -> None:
    problem = KeyError("mine")
    with pytest.raises(KeyError) as raised, database.write() as session:
        session.add(Counter(name="subject", next=1))
        bulk.insert(session, IdentifierKind, pa.table({"id": [1], "name": ["email"]}))
        raise problem
    assert raised.value is problem
    with database.read() as session:
        assert counter(session) == 0
        assert session.exec(select(func.count()).select_from(IdentifierKind)).one() == 0


def test_a_reader_sees_one_instant_while_a_writer_commits(database: Database) -> None:
    set_counter(database, 1)
    with database.read() as session:
        assert counter(session) == 1
        set_counter(database, 2)
        session.expire_all()
        assert counter(session) == 1
    with database.read() as session:
        assert counter(session) == 2


@pytest.mark.parametrize("write", ["session", "bulk"])
def test_a_reading_transaction_cannot_write(database: Database, write: str) -> None:
    """It would be rolled back, and the rows lost without a word."""
    with pytest.raises(PermanentError, match="refused a statement"), database.read() as session:
        if write == "session":
            session.add(Counter(name="subject", next=1))
            session.flush()
        else:
            bulk.insert(session, IdentifierKind, pa.table({"id": [1], "name": ["email"]}))
    set_counter(database, 3)


def test_writers_in_threads_take_turns(database: Database) -> None:
    """Each reads, then writes what it read: a deferred transaction would lose that race whatever the timeout."""
    set_counter(database, 0)

    def increase(_: int) -> None:
        for _ in range(10):
            with database.write() as session:
                row = session.get_one(Counter, "subject", with_for_update=True)
                row.next += 1
                session.add(row)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increase, range(4)))
    with database.read() as session:
        assert counter(session) == 40


def test_a_store_locked_by_another_program_is_a_passing_fault(sqlite: Database, sqlite_file: Path) -> None:
    event.listen(sqlite.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=50"))
    sqlite.close()
    # The store's own SQLite: two libraries in one process do not see each other's locks.
    other = database_module._sqlite_module().connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TransientError, match="locked by another program"):
        set_counter(sqlite, 1)
    other.execute("ROLLBACK")
    other.close()
    set_counter(sqlite, 2)


def test_a_deadlock_is_done_again_and_leaves_one_effect(postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    set_counter(database, 0, "a")
    set_counter(database, 0, "b")
    met = threading.Barrier(2)
    attempts: list[str] = []

    def move(first: str, second: str) -> None:
        def work(session: Session) -> None:
            attempts.append(first)
            again = attempts.count(first) > 1
            for step in (first, second):
                session.connection().execute(text("UPDATE counter SET next = next + 1 WHERE name = :n"), {"n": step})
                if step == first and not again:
                    met.wait(10)

        database.transact(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(move, "ab", "ba"))
    assert len(attempts) == 3
    with database.read() as session:
        assert (counter(session, "a"), counter(session, "b")) == (2, 2)
    database.close()
    postgres.drop(name)


def test_a_lost_connection_is_a_passing_fault_and_transact_gets_over_it(postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"

    def cut_off(session: Session) -> None:
        session.connection()
        postgres.run(kill.format(name))
        session.merge(Counter(name="subject", next=1))

    with pytest.raises(TransientError), database.write() as session:
        cut_off(session)
    left = iter([cut_off, cut_off])

    def work(session: Session) -> None:
        next(left, lambda session: session.merge(Counter(name="subject", next=5)))(session)

    database.transact(work)
    with database.read() as session:
        assert counter(session) == 5
    database.close()
    postgres.drop(name)


def test_transact_does_not_repeat_what_will_fail_again(database: Database) -> None:
    attempts: list[int] = []

    def work(session: Session) -> None:
        attempts.append(1)
        twice_by_session(session)

    with pytest.raises(PermanentError):
        database.transact(work)
    assert len(attempts) == 1


def twice_by_session(session: Session) -> None:
    for page in (1, 2):
        session.add(SharedValue(kind_id=1, value=CANARY, page_id=page))
        session.flush()
        session.expunge_all()


def twice_by_bulk(session: Session) -> None:
    rows = pa.table({"kind_id": [1, 1], "value": [CANARY, CANARY], "page_id": [1, 2]})
    bulk.insert(session, SharedValue, rows)


def after_a_failed_flush(session: Session) -> None:
    try:
        twice_by_session(session)
    except Exception:  # the test is about what comes after any failure
        session.get(Counter, CANARY)


def half_a_character(session: Session) -> None:
    session.add(SharedValue(kind_id=1, value=CANARY + "\udc80", page_id=1))


def bad_statement(session: Session) -> None:
    session.connection().execute(text("SELECT * FROM nowhere WHERE value = :value"), {"value": CANARY})


@pytest.mark.parametrize(
    "fault", [twice_by_session, twice_by_bulk, after_a_failed_flush, half_a_character, bad_statement]
)
def test_no_error_shows_a_value(database: Database, fault) -> None:
    with pytest.raises(PermanentError) as raised, database.write() as session:
        fault(session)
    assert CANARY not in shown(raised.value)
    with database.read() as session:
        assert session.exec(select(func.count()).select_from(SharedValue)).one() == 0


def test_a_violated_constraint_is_named(database: Database) -> None:
    with pytest.raises(PermanentError, match="shared_value") as raised, database.write() as session:
        twice_by_session(session)
    assert "unique" in str(raised.value).lower()


def test_bound_values_do_not_reach_the_server_log(postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    database = Database(postgres.url(name))
    before = len(postgres.log.read_text())
    with pytest.raises(PermanentError), database.write() as session:
        bad_statement(session)
    deadline = time.monotonic() + 5
    while "nowhere" not in (logged := postgres.log.read_text()[before:]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "FROM nowhere WHERE value = $1" in logged
    assert CANARY not in logged
    database.close()
    postgres.drop(name)


def test_postgresql_syncs_every_commit_and_waits_for_nothing_for_ever(postgres, postgres_template: str) -> None:
    name = postgres.create(postgres_template)
    postgres.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    database = Database(postgres.url(name))
    wanted = {
        "synchronous_commit": "on",
        "statement_timeout": "5min",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "10min",
        "timezone": "UTC",
        "client_encoding": "UTF8",
    }
    with database.write() as session:
        found = {key: session.connection().execute(text(f"SHOW {key}")).scalar() for key in wanted}
    assert found == wanted
    database.close()
    postgres.drop(name)


def test_sqlite_syncs_every_commit_and_overwrites_what_is_deleted(sqlite: Database) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1, "trusted_schema": 0}
    with sqlite.write() as session:
        found = {key: session.connection().execute(text(f"PRAGMA {key}")).scalar() for key in wanted}
    assert found == wanted


def test_a_new_sqlite_store_is_the_owners_alone(sqlite: Database, sqlite_file: Path) -> None:
    set_counter(sqlite, 1)
    assert stat.S_IMODE(sqlite_file.parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sqlite_file.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_an_sqlite_that_can_lose_commits_gets_one_connection(
    monkeypatch: pytest.MonkeyPatch, sqlite_file: Path
) -> None:
    class Old:
        """The module as it is, of another version."""

        sqlite_version = "3.40.1"

        def __getattr__(self, name: str) -> object:
            return getattr(sqlite3, name)

    monkeypatch.setattr(database_module, "_sqlite_module", Old)
    database = Database(f"sqlite:///{sqlite_file}")
    schema.prepare(database)
    assert database.engine.pool.size() == 1
    database.engine.pool._timeout = 0.05
    with database.write() as session:
        session.add(Counter(name="subject", next=1))
        with pytest.raises(TransientError, match="opened within another"), database.read() as inner:
            counter(inner)
    database.close()


@pytest.mark.parametrize(
    ("version", "safe"),
    [("3.40.1", False), ("3.44.6", True), ("3.50.6", False), ("3.50.7", True), ("3.51.2", False), ("3.51.3", True)],
)
def test_which_versions_of_sqlite_are_safe(version: str, safe: bool) -> None:
    assert database_module._is_safe(version) is safe


def test_a_store_in_memory_is_one_store() -> None:
    database = Database("sqlite:///:memory:")
    schema.prepare(database)
    set_counter(database, 4)
    with database.read() as session:
        assert counter(session) == 4
    database.close()


def test_a_damaged_file_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is no database" * 500)
    database = Database("sqlite:///store.db", tmp_path)
    with pytest.raises(PermanentError, match="damaged or not a database"):
        schema.prepare(database)
    database.close()


@pytest.mark.parametrize(
    "url", ["mysql://root:s3cret@db/x", "s3cret", "sqlite:///store.db?mode=ro", "postgresql://x:s3cret@h:port/y"]
)
def test_an_unusable_url_is_an_error_of_the_configuration(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        Database(url, tmp_path)
    assert "s3cret" not in shown(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_a_passing_fault(tmp_path: Path) -> None:
    database = Database(f"postgresql://postgres:s3cret@/x?host={tmp_path}")
    with pytest.raises(TransientError, match="cannot be reached") as raised, database.read() as session:
        counter(session)
    assert "s3cret" not in shown(raised.value)
    database.close()


def test_every_error_of_the_store_is_one_of_the_hubs(database: Database) -> None:
    with pytest.raises(SwitchyardError), database.write() as session:
        bulk.select(session, "SELECT 1 / 0 FROM nowhere", pa.schema([("x", pa.int64())]))
