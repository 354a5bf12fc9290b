"""Budgets of accounts over restarts: whatever ends a process, no call of it is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlmodel import Session

from switchyard.api import Limits, QuotaExhausted, Window
from switchyard.app.accounts import AccountBudget

LIMITS = Limits(windows={"default": (Window(100, 10.0),)}, daily=10_000)


def calls(budget: AccountBudget, count: int) -> None:
    for _ in range(count):
        with budget.acquire():
            pass


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 99])
def test_a_process_that_ends_in_order_leaves_the_exact_number(database, count):
    budget = AccountBudget(LIMITS, database, "a")
    calls(budget, count)
    budget.save()
    assert AccountBudget(LIMITS, database, "a").left() == 10_000 - count


@pytest.mark.parametrize("count", [1, 49, 50, 51, 99])
def test_a_killed_process_counts_as_having_made_a_few_calls_more(database, count):
    calls(AccountBudget(LIMITS, database, "a"), count)
    left = AccountBudget(LIMITS, database, "a").left()
    assert 10_000 - count - 50 <= left <= 10_000 - count


def test_calls_of_a_killed_process_count_in_the_windows_as_made_just_now(database):
    calls(AccountBudget(LIMITS, database, "a"), 60)
    again = AccountBudget(LIMITS, database, "a").state()
    assert len(again["ended"]["default"]) >= 60


def test_kills_of_a_small_quota_eat_a_hundredth_of_it_each(database):
    for _ in range(5):
        calls(AccountBudget(Limits(daily=500), database, "a"), 1)
    assert 500 - 5 * 5 <= AccountBudget(Limits(daily=500), database, "a").left() <= 495


def test_the_end_of_the_quota_survives_a_kill(database):
    budget = AccountBudget(Limits(daily=20), database, "a")
    calls(budget, 20)
    with pytest.raises(QuotaExhausted) as caught:
        calls(AccountBudget(Limits(daily=20), database, "a"), 1)
    assert caught.value.until == budget.until() > datetime.now(UTC).replace(tzinfo=None)


def test_reserving_costs_a_write_for_fifty_calls(database, monkeypatch):
    writes = []
    merge = Session.merge
    monkeypatch.setattr(Session, "merge", lambda *args: writes.append(1) or merge(*args))
    calls(AccountBudget(Limits(), database, "a"), 200)
    assert len(writes) == 4
