"""Two hubs on one store: one works, the other waits; one that froze finds out before it does harm."""

import time
from collections.abc import Callable, Iterator

import pytest
from tests.projects import rows_of

from switchyard.api import TransientError
from switchyard.store import runs, tables
from switchyard.store.database import Database
from switchyard.store.leases import Lease, LeaseLost
from switchyard.store.tables import Run


class Clock:
    """Seconds of a process, which go on while it is stopped."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    one = Database(database_url)
    yield one
    one.close()


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub renews anything."""
    monkeypatch.setattr(Lease, "_keep", lambda _: None)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def lease(database: Database, holder: str, seconds: float = 30, clock: Clock | None = None) -> Lease:
    return Lease(database, "engine", holder, seconds, clock or Clock())


def test_one_holds_it_and_the_other_is_told_who(database: Database) -> None:
    with (
        lease(database, "here"),
        pytest.raises(TransientError, match=r"another hub \(here\)"),
        lease(database, "there"),
    ):
        pass


def test_it_is_free_at_once_when_its_holder_ends(database: Database) -> None:
    with lease(database, "here"):
        pass
    with lease(database, "there") as held:
        held.require()


def test_the_same_holder_comes_again_at_once(database: Database) -> None:
    killed = lease(database, "here")
    killed.__enter__()
    with lease(database, "here") as held, database.write() as session:
        held.check(session)
        with pytest.raises(LeaseLost):
            killed.check(session)


@pytest.mark.usefixtures("frozen")
def test_one_that_froze_makes_no_call_and_no_commit(database: Database) -> None:
    late = lease(database, "here", seconds=0)
    late.__enter__()
    with lease(database, "there"):
        with pytest.raises(LeaseLost, match="did not renew"):
            late.require()
        with pytest.raises(LeaseLost, match=r"another hub \(there\) has taken over"), database.write() as session:
            runs.started(session, "sync", "late")
            late.check(session)
        with pytest.raises(LeaseLost):
            late.renew()
    assert rows_of(database, Run) == []


def test_one_that_was_late_and_that_nobody_followed_goes_on(database: Database) -> None:
    clock = Clock()
    with lease(database, "here", clock=clock) as held:
        clock.now += 31
        with pytest.raises(LeaseLost):
            held.require()
        held.renew()
        held.require()


@pytest.mark.usefixtures("frozen")
def test_what_was_lost_in_between_is_not_given_back(database: Database) -> None:
    with lease(database, "here", seconds=0) as lost, lease(database, "there") as held:
        lost.__exit__()
        with database.write() as session:
            held.check(session)
        with pytest.raises(TransientError, match=r"\(there\)"), lease(database, "third"):
            pass


def test_it_is_renewed_while_it_is_held(database: Database) -> None:
    with lease(database, "here", seconds=1.5) as held:
        taken = rows_of(database, tables.Lease)[0].expires_at
        wait_until(lambda: rows_of(database, tables.Lease)[0].expires_at > taken)
        with pytest.raises(TransientError), lease(database, "there"):
            pass
        held.require()
