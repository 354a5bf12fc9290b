"""Two processes on one store and one account, against a vendor that counts: together never one call too many."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.app.callers import DAILY_USED, LIMITS

from switchyard.app.budgets import AccountBudget
from switchyard.store.database import Database
from switchyard.testing.simulator import Answer, RateWindow, Request, Route, Simulator, Slow

SECONDS = 25.0
# What the windows allow in this time at most: the widest, once at the start and then as it empties.
MOST = 95 * (1 + int(SECONDS // 10))


class Strict(Simulator):
    """Refuses whoever is too fast, and whoever has too much under way."""

    def __init__(self) -> None:
        super().__init__(latency=0.15)
        self.slow = [Slow(0.05, 0.3)]
        self._windows = [RateWindow(window.calls, window.seconds) for window in LIMITS.windows["default"]]
        self.route("PUT", "/thing", lambda _: Answer(body={}))

    def admit(self, request: Request, route: Route) -> Answer | None:
        now = self.clock()
        return None if all(window.take(now) for window in self._windows) else Answer(429)


@pytest.fixture
def strict() -> Iterator[Strict]:
    with Strict() as simulator:
        yield simulator


def begin(url: str, strict: Strict, seconds: float = SECONDS, lanes: int = 6) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("callers.py")), url, strict.url, str(seconds), str(lanes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def made(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(said.removeprefix(DAILY_USED))


@pytest.mark.slow
def test_two_processes_are_never_told_to_slow_down(database_url, strict):
    counts = [made(process) for process in [begin(database_url, strict) for _ in range(2)]]
    assert {call.status for call in strict.calls()} == {200}
    assert strict.count() == sum(counts)
    assert sum(counts) >= 0.8 * MOST
    assert min(counts) >= 0.2 * sum(counts)


@pytest.mark.slow
def test_a_kill_costs_no_call_too_many_and_the_other_goes_on(database_url, strict):
    survivor, victim = begin(database_url, strict), begin(database_url, strict)
    time.sleep(6)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    count = made(survivor)
    assert {call.status for call in strict.calls()} <= {200, None}
    assert count >= 95
    database = Database(database_url)
    used = LIMITS.daily - AccountBudget(LIMITS, database, "shared").left()
    database.close()
    assert strict.count() <= used <= strict.count() + 50


@pytest.mark.slow
def test_a_process_that_stood_still_beyond_its_lease_asks_before_it_calls(database_url, strict):
    other, stopped = begin(database_url, strict), begin(database_url, strict)
    time.sleep(5)
    stopped.send_signal(signal.SIGSTOP)
    time.sleep(12)
    stopped.send_signal(signal.SIGCONT)
    assert made(stopped) > 0
    assert made(other) > 0
    assert {call.status for call in strict.calls()} <= {200, None}
