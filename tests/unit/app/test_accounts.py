"""Budgets of accounts in the store: no call is forgotten, whatever ends a process, and none is one too many."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from switchyard.api import Limits, QuotaExhausted, TransientError, Window
from switchyard.api.priorities import Priority, priority
from switchyard.app.budgets import AccountBudget
from switchyard.app.processes import own_name
from switchyard.store import tables

LIMITS = Limits(windows={"default": (Window(100, 10.0),)}, daily=10_000)


def calls(budget: AccountBudget, count: int) -> None:
    for _ in range(count):
        with budget.acquire():
            pass


@pytest.fixture(scope="module")
def gone() -> str:
    """The name of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return f"{own_name().rpartition('/')[0]}/{process.pid}"


@pytest.fixture
def account(database) -> Iterator[Callable[[Limits], AccountBudget]]:
    """Makes budgets of one account, as processes would that share it."""
    made: list[AccountBudget] = []

    def make(limits: Limits) -> AccountBudget:
        made.append(AccountBudget(limits, database, "a"))
        return made[-1]

    yield make
    for budget in made:
        budget.save()


@pytest.fixture
def killed(database, gone):
    """Makes so many calls in a process that is killed then: what is left of it is what stands in the store."""

    def act(limits: Limits, count: int) -> None:
        budget = AccountBudget(limits, database, "a")
        calls(budget, count)
        budget._over.set()
        if budget._keeper is not None:
            budget._keeper.join()
        amend(database, process=gone)

    return act


@pytest.fixture
def ended(database):
    """Makes so many calls in a process that ends in order."""

    def act(limits: Limits, count: int) -> None:
        budget = AccountBudget(limits, database, "a")
        calls(budget, count)
        budget.save()

    return act


def amend(database, **facts: Any) -> None:
    """Write something else about all that hold calls of the account."""

    def write(session) -> None:
        row = session.get_one(tables.AccountBudget, "a")
        parts = {id: part | (facts if not part["is_gone"] else {}) for id, part in row.state["parts"].items()}
        row.state = row.state | {"parts": parts}
        session.add(row)

    database.transact(write)


def at_once(budget: AccountBudget, most: int) -> int:
    """How many calls may be begun now, of so many at most."""
    for count in range(most):
        try:
            with budget.acquire(deadline=budget.clock() + 0.001):
                pass
        except TransientError:
            return count
    return most


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 99])
def test_a_process_that_ends_in_order_leaves_the_exact_number(count, account):
    budget = account(LIMITS)
    calls(budget, count)
    budget.save()
    again = account(LIMITS)
    assert again.left() == 10_000 - count
    assert again.kinds == ({"delivery": count} if count else {})


@pytest.mark.parametrize("count", [1, 3, 49, 50, 51, 99])
def test_a_killed_process_counts_as_having_made_a_few_calls_more(killed, count, account):
    killed(LIMITS, count)
    left = account(LIMITS).left()
    assert 10_000 - count - 25 <= left <= 10_000 - count


def test_a_process_that_made_few_calls_takes_few_from_the_next(killed, account):
    killed(LIMITS, 1)
    assert account(LIMITS).left() >= 10_000 - 4


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_calls_of_an_ended_process_count_in_the_windows(how, request, account):
    request.getfixturevalue(how)(LIMITS, 60)
    again = account(LIMITS)
    assert at_once(again, 100) <= 40
    again.save()


def test_calls_of_another_process_are_waited_for_no_longer_than_needed(ended):
    limits = Limits(windows={"default": (Window(2, 0.5),)})
    ended(limits, 2)
    began = time.monotonic()
    ended(limits, 1)
    assert time.monotonic() - began > 0.4


def test_kills_of_a_small_quota_eat_a_hundredth_of_it_each(killed, account):
    for _ in range(5):
        killed(Limits(daily=500), 1)
    assert 500 - 5 * 5 <= account(Limits(daily=500)).left() <= 495


def test_the_end_of_the_quota_survives_a_kill(killed, account):
    killed(Limits(daily=20), 20)
    again = account(Limits(daily=20))
    with pytest.raises(QuotaExhausted) as caught:
        calls(again, 1)
    assert caught.value.until == again.until() > datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def commits(database) -> Iterator[list[int]]:
    made: list[int] = []

    def note(connection) -> None:
        if not connection.get_execution_options().get("switchyard_reads"):
            made.append(1)

    event.listen(database.engine, "commit", note)
    try:
        yield made
    finally:
        event.remove(database.engine, "commit", note)


def test_many_calls_cost_one_transaction(database, account):
    budget = account(Limits())
    calls(budget, 100)
    with commits(database) as made:
        calls(budget, 500)
    budget.save()
    assert len(made) <= 12


def test_what_is_held_is_given_back_when_nothing_is_called(account):
    budget = account(LIMITS)
    calls(budget, 10)
    other = account(LIMITS)
    until = time.monotonic() + 10
    while other.left() != 10_000 - 10 and time.monotonic() < until:
        time.sleep(0.1)
        other._look()
    assert other.left() == 10_000 - 10
    calls(budget, 1)
    budget.save()
    assert account(LIMITS).left() == 10_000 - 11


def test_saving_beside_a_call_under_way_keeps_its_place(account):
    limits = Limits(concurrency=1)
    budget, other = (account(limits) for _ in range(2))
    with budget.acquire():
        budget.save()
        with pytest.raises(TransientError), other.acquire(deadline=other.clock() + 0.3):
            pass
    budget.save()
    calls(other, 1)
    other.save()


def test_whoever_was_taken_for_dead_holds_nothing_any_more_and_is_counted_once(database, account):
    stopped = account(LIMITS)
    calls(stopped, 3)
    amend(database, until=time.time() - 1)
    late = account(LIMITS)
    calls(late, 1)
    stopped._until = 0.0
    calls(stopped, 1)
    stopped.save()
    late.save()
    # Of the four that it held it had made three; that it made none of them after is not known.
    assert account(LIMITS).left() == 10_000 - 4 - 1 - 1


def test_penalties_and_the_vendors_refusal_are_everybodys(account):
    first, second = (account(Limits()) for _ in range(2))
    calls(first, 1)
    first.penalise("default", 100)
    first.save()
    with pytest.raises(TransientError) as held, second.acquire(deadline=second.clock() + 1):
        pass
    assert held.value.retry_after == pytest.approx(100, abs=2)
    first.exhaust(datetime(2999, 1, 1))
    calls_refused(first)
    first._settle()
    second._settle()
    calls_refused(second)
    second.save()
    first.save()


def calls_refused(budget: AccountBudget) -> None:
    with pytest.raises(QuotaExhausted):
        calls(budget, 1)


def test_the_vendors_count_is_everybodys(account):
    limits = Limits(daily=1_000)
    first = account(limits)
    calls(first, 1)
    first.observed(900, 2_000)
    first.save()
    assert account(limits).left() == 100


def test_two_at_once_exceed_no_window_no_quota_and_no_number_of_places(account):
    window = Window(40, 0.5)
    limits = Limits(windows={"default": (window,)}, daily=200, concurrency=5)
    budgets = [account(limits) for _ in range(2)]
    lock, under_way, most, begun, ended = threading.Lock(), 0, 0, [], []

    def work(budget: AccountBudget) -> None:
        nonlocal under_way, most
        while True:
            try:
                with budget.acquire():
                    with lock:
                        under_way += 1
                        most = max(most, under_way)
                        begun.append(time.monotonic())
                    time.sleep(0.01)
                    with lock:
                        ended.append(time.monotonic())
                        under_way -= 1
            except QuotaExhausted:
                return

    threads = [threading.Thread(target=work, args=(budget,)) for budget in budgets for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for budget in budgets:
        budget.save()
    assert most <= 5
    assert 196 <= len(begun) <= 200
    assert all(budget.made >= 40 for budget in budgets)
    pairs = zip(sorted(ended), sorted(begun)[window.calls :], strict=False)
    assert all(later - earlier >= window.seconds for earlier, later in pairs)


def test_of_two_processes_that_are_not_equally_urgent_both_get_something(account):
    limits = Limits(windows={"default": (Window(20, 0.5),)})
    urgent, patient = (account(limits) for _ in range(2))
    until = time.monotonic() + 2.5

    def work(budget: AccountBudget, kind: Priority) -> None:
        with priority(kind):
            while time.monotonic() < until:
                calls(budget, 1)

    threads = [
        threading.Thread(target=work, args=(urgent, Priority.DELIVERY)),
        threading.Thread(target=work, args=(patient, Priority.BACKFILL)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for budget in (urgent, patient):
        budget.save()
    assert patient.made >= 5
    assert urgent.made >= 5
