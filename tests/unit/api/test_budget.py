import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.api import ConfigError, Limits, QuotaExhausted, TransientError, Window
from switchyard.api.http import Budget


class Clock:
    """Monotonic and wall seconds in one, which pass only when somebody waits."""

    def __init__(self, wall: datetime = datetime(2026, 3, 10, 12, tzinfo=UTC)) -> None:
        self._wall = wall.timestamp()
        self._now = 1000.0

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self._wall += seconds


def budget(limits: Limits, clock: Clock) -> Budget:
    return Budget(limits, clock=clock.now, sleep=clock.sleep, wall=clock.wall)


def call(account: Budget, clock: Clock, seconds: float = 0.0, bucket: str = "default") -> float:
    """Make a call that takes so long, and tell when it began."""
    with account.acquire(bucket):
        began = clock.now()
        clock.sleep(seconds)
    return began


def about(instants: float | list[float]) -> Any:
    """Clocks drift, and a window is kept a thousandth longer."""
    return pytest.approx(instants, abs=0.1)


windows = st.lists(st.builds(Window, st.integers(1, 5), st.sampled_from([0.5, 1.0, 3.0, 10.0])), min_size=1, max_size=3)


@given(windows, st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.7]), st.sampled_from([0.0, 0.2, 4.0])), max_size=40))
@settings(max_examples=200)
def test_no_window_ever_holds_too_many_calls_wherever_in_a_call_the_vendor_counts_it(
    several: Sequence[Window], steps: Sequence[tuple[float, float]]
) -> None:
    clock = Clock()
    account = budget(Limits(windows={"default": several}), clock)
    latest_arrivals, earliest_next = [], []
    for took, idle in steps:
        clock.sleep(idle)
        began = call(account, clock, took)
        earliest_next.append(began)
        latest_arrivals.append(clock.now())
    for window in several:
        for first, last in zip(latest_arrivals, earliest_next[window.calls :], strict=False):
            assert last - first >= window.seconds - 1e-6


def test_a_window_is_used_to_the_full() -> None:
    clock = Clock()
    account = budget(Limits(windows={"default": [Window(3, 10.0)]}), clock)
    assert [call(account, clock) - 1000 for _ in range(7)] == about([0, 0, 0, 10, 10, 10, 20])


def test_sixteen_threads_never_fill_a_window_beyond_its_calls_and_are_counted_exactly() -> None:
    several = [Window(20, 0.2), Window(30, 0.5)]
    account = Budget(Limits(windows={"default": several}, daily=150, concurrency=16))
    arrivals, refused = [], []

    def work() -> None:
        try:
            for _ in range(10):
                with account.acquire():
                    time.sleep(random.uniform(0, 0.01))
                    arrivals.append(time.monotonic())
                    time.sleep(random.uniform(0, 0.01))
        except QuotaExhausted as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    arrivals.sort()
    for window in several:
        assert all(
            last - first >= window.seconds for first, last in zip(arrivals, arrivals[window.calls :], strict=False)
        )
    assert len(arrivals) == account.used["default"] == 150
    assert refused


def test_buckets_have_windows_of_their_own_and_share_the_daily_quota() -> None:
    clock = Clock()
    account = budget(Limits(windows={"default": [Window(1, 10.0)], "search": [Window(1, 10.0)]}, daily=3), clock)
    assert call(account, clock) == call(account, clock, bucket="search")
    call(account, clock)
    assert account.used == {"default": 2, "search": 1}
    with pytest.raises(QuotaExhausted):
        call(account, clock, bucket="search")


def test_a_bucket_without_windows_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'serach'.*default, search"):
        call(budget(Limits(windows={"default": [], "search": []}), Clock()), Clock(), bucket="serach")


def test_a_bucket_may_be_named_where_there_are_no_windows_at_all() -> None:
    clock = Clock()
    account = budget(Limits(), clock)
    call(account, clock, bucket="search")
    assert account.used == {"search": 1}


@pytest.mark.parametrize(
    ("zone", "now", "midnight"),
    [
        ("UTC", datetime(2026, 3, 10, 12, tzinfo=UTC), datetime(2026, 3, 11)),
        ("US/Central", datetime(2026, 3, 10, 12, tzinfo=UTC), datetime(2026, 3, 11, 5)),
        ("US/Central", datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 3, 9, 5)),  # the clock went forward
        ("Asia/Tokyo", datetime(2026, 3, 10, 16, tzinfo=UTC), datetime(2026, 3, 11, 15)),
    ],
)
def test_the_quota_ends_at_midnight_of_its_zone_and_begins_anew_there(
    zone: str, now: datetime, midnight: datetime
) -> None:
    clock = Clock(now)
    account = budget(Limits(daily=1, day_zone=zone), clock)
    call(account, clock)
    with pytest.raises(QuotaExhausted) as refused:
        call(account, clock)
    assert refused.value.until == midnight
    clock.sleep((midnight.replace(tzinfo=UTC)).timestamp() - clock.wall())
    call(account, clock)
    assert account.used == {"default": 1}


def test_the_vendors_word_that_the_quota_is_used_up_stops_every_call_until_then() -> None:
    clock = Clock()
    account = budget(Limits(), clock)
    account.exhaust(datetime(2026, 3, 10, 13))
    with pytest.raises(QuotaExhausted, match="until 2026-03-10 13:00 UTC"):
        call(account, clock)
    clock.sleep(3600)
    call(account, clock)


def test_a_penalty_holds_back_its_bucket_only() -> None:
    clock = Clock()
    account = budget(Limits(), clock)
    account.penalise("search", 5)
    assert call(account, clock) == 1000
    assert call(account, clock, bucket="search") == 1005


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    clock = Clock()
    account = budget(Limits(windows={"default": [Window(1, 60.0)]}), clock)
    call(account, clock)
    with pytest.raises(TransientError) as refused, account.acquire(deadline=clock.now() + 59):
        pass
    assert refused.value.retry_after == about(60)
    assert clock.now() == 1000
    with account.acquire(deadline=clock.now() + 61):
        assert clock.now() == about(1060)


def test_no_more_calls_are_under_way_at_once_than_allowed() -> None:
    account = Budget(Limits(concurrency=2))
    inside, most, done = 0, 0, 0
    lock, full = threading.Lock(), threading.Barrier(2, timeout=10)

    def work() -> None:
        nonlocal inside, most, done
        with account.acquire():
            with lock:
                inside += 1
                most = max(most, inside)
            full.wait()
            with lock:
                inside -= 1
                done += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (most, done) == (2, 8)


def test_a_place_that_does_not_come_free_in_time_is_a_passing_fault() -> None:
    account = Budget(Limits(concurrency=1))
    with account.acquire(), pytest.raises(TransientError, match="hold every place"):  # noqa: SIM117
        with account.acquire(deadline=account.clock() + 0.01):
            pass


def test_a_failed_call_gives_its_place_back_and_counts() -> None:
    clock = Clock()
    account = budget(Limits(windows={"default": [Window(1, 10.0)]}, concurrency=1), clock)
    with pytest.raises(ZeroDivisionError), account.acquire():
        _ = 1 / 0
    assert call(account, clock) == about(1010)


def restarted(state: Mapping[str, object], limits: Limits, clock: Clock) -> Budget:
    account = budget(limits, clock)
    account.restore(json.loads(json.dumps(state)))
    return account


def test_a_restart_forgets_no_call() -> None:
    limits = Limits(windows={"default": [Window(2, 10.0)]}, daily=4)
    clock = Clock()
    before = budget(limits, clock)
    call(before, clock)
    call(before, clock, 1.0)
    later = Clock()
    later.sleep(4.0)  # another process: its monotonic clock says something else, the wall clock goes on
    later._now = 7.0
    after = restarted(before.state(), limits, later)
    assert [call(after, later), call(after, later)] == about([13.0, 14.0])
    with pytest.raises(QuotaExhausted):
        call(after, later)


def test_a_call_under_way_when_the_state_is_taken_counts() -> None:
    limits = Limits(windows={"default": [Window(1, 10.0)]})
    clock = Clock()
    before = budget(limits, clock)
    with before.acquire():
        state = before.state()
    assert call(restarted(state, limits, clock), clock) == about(1010)


def test_a_restart_keeps_penalties_and_the_vendors_refusal() -> None:
    clock = Clock()
    before = budget(Limits(), clock)
    before.penalise("default", 5)
    assert call(restarted(before.state(), Limits(), clock), clock) == 1005
    before.exhaust(datetime(2026, 3, 11))
    with pytest.raises(QuotaExhausted):
        call(restarted(before.state(), Limits(), clock), clock)


def test_a_wall_clock_set_back_makes_waits_no_longer_than_a_window() -> None:
    limits = Limits(windows={"default": [Window(1, 10.0)]})
    clock = Clock()
    before = budget(limits, clock)
    call(before, clock)
    earlier = Clock(datetime(2026, 3, 10, 9, tzinfo=UTC))
    assert call(restarted(before.state(), limits, earlier), earlier) == about(1010)
