"""What the store remembers of runs."""

from collections.abc import Iterator

import pytest
from sqlmodel import Session, col, select

from switchyard.store import runs
from switchyard.store.database import Database
from switchyard.store.tables import Run


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.write() as opened:
        yield opened


def test_a_run_that_starts_is_running(session: Session) -> None:
    run = session.get_one(Run, runs.started(session, "sync", "shop.orders"))
    assert (run.kind, run.name, run.state, run.finished_at) == ("sync", "shop.orders", "running", None)


def test_counts_of_pages_add_up(session: Session) -> None:
    run_id = runs.started(session, "sync", "shop.orders")
    runs.counted(session, run_id, {"read": 10, "mapped": 8, "quarantined": 1, "duplicate": 1})
    runs.counted(session, run_id, {"read": 5, "mapped": 5})
    run = session.get_one(Run, run_id)
    assert (run.read, run.mapped, run.quarantined, run.duplicate) == (15, 13, 1, 1)


def test_other_counts_are_kept_as_detail(database: Database) -> None:
    with database.write() as session:
        run_id = runs.started(session, "deliver", "newsletter")
        runs.counted(session, run_id, {"added": 2})
    with database.write() as session:
        runs.finished(session, run_id, {"added": 3, "removed": 1})
    with database.read() as session:
        assert session.get_one(Run, run_id).detail == {"added": 5, "removed": 1}


def test_a_run_ends_well_or_with_an_error(session: Session) -> None:
    well, badly = (runs.started(session, "sync", name) for name in "ab")
    runs.finished(session, well, {"read": 1, "mapped": 1})
    runs.finished(session, badly, {}, runs.FAILED, "the folder is gone")
    done, failed = (session.get_one(Run, run_id) for run_id in (well, badly))
    assert (done.state, done.error, done.read) == ("done", None, 1)
    assert (failed.state, failed.error) == ("failed", "the folder is gone")
    assert done.finished_at is not None and done.finished_at >= done.started_at


def test_what_a_dead_process_left_running_is_interrupted_and_keeps_its_counts(database: Database) -> None:
    with database.write() as session:
        left, ended = (runs.started(session, "sync", name) for name in "ab")
        runs.counted(session, left, {"read": 4, "mapped": 4})
        runs.finished(session, ended, {})
    with database.write() as session:
        assert runs.interrupt(session) == 1
        assert runs.interrupt(session) == 0
    with database.read() as session:
        found = session.exec(select(Run).order_by(col(Run.id))).all()
        assert [(run.state, run.read) for run in found] == [("interrupted", 4), ("done", 0)]
