import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.api import ConfigError, Limits, QuotaExhausted, TransientError, Window
from switchyard.api.http import Budget, concurrently
from switchyard.api.priorities import Priority, priority


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
@settings(max_examples=200, deadline=None)
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


def in_queue(account: Budget, kinds: Sequence[Priority]) -> list[Priority]:
    """The order in which calls that all wait for one place are begun; they come in the order given."""
    begun: list[Priority] = []
    queued = threading.Semaphore(0)

    def work(kind: Priority) -> None:
        with priority(kind):
            queued.release()
            with account.acquire():
                begun.append(kind)

    with account.acquire():
        # Whoever came first watches the clock, whatever its kind.
        threads = [threading.Thread(target=work, args=(kind,)) for kind in kinds]
        for number, thread in enumerate(threads):
            thread.start()
            assert queued.acquire(timeout=10)
            until = time.monotonic() + 10
            while account._turns["default"].waiting < number + 1 and time.monotonic() < until:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    return begun


URGENT, READ_BACK, SYNC, BACKFILL = Priority


def test_the_more_urgent_goes_first_also_before_whoever_already_watches_the_clock() -> None:
    account = Budget(Limits(concurrency=1))
    assert in_queue(account, [BACKFILL, SYNC, URGENT, READ_BACK, URGENT]) == [URGENT, URGENT, READ_BACK, SYNC, BACKFILL]


def test_one_turn_in_ten_goes_to_whoever_has_waited_longest() -> None:
    order = in_queue(Budget(Limits(concurrency=1)), [BACKFILL, *[URGENT] * 25, BACKFILL])
    assert order.index(BACKFILL) < 10
    assert order[-1] is BACKFILL


def test_lanes_inherit_what_their_calls_are_for() -> None:
    account = Budget(Limits(daily=100))
    with priority(SYNC) as calls:
        list(concurrently([lambda: account.acquire().__enter__()] * 5, 3))
    assert account.kinds == {"sync": 5}
    assert calls.made == 5


@pytest.mark.parametrize(("kind", "allowed"), [(BACKFILL, 75), (SYNC, 90), (READ_BACK, 100), (URGENT, 100)])
def test_the_last_part_of_the_day_is_kept_for_what_is_more_urgent(kind: Priority, allowed: int) -> None:
    clock = Clock()
    account = budget(Limits(daily=100), clock)
    with priority(kind):
        assert account.left() == allowed
        for _ in range(allowed):
            call(account, clock)
        with pytest.raises(QuotaExhausted, match="used up" if allowed == 100 else "kept for what is more urgent"):
            call(account, clock)
    assert account.left() == 100 - allowed


def test_what_is_kept_is_a_setting() -> None:
    account = Budget(Limits(daily=100), kept={SYNC: 0.5})
    assert account.left(SYNC) == 50
    assert account.left(BACKFILL) == 100


def test_the_vendors_count_takes_in_what_others_called_and_never_widens_a_limit() -> None:
    clock = Clock()
    account = budget(Limits(daily=100), clock)
    call(account, clock)
    account.observed(41, 5_000)
    assert account.left() == 59
    call(account, clock)
    assert account.left() == 58
    account.observed(42, 50)
    assert account.left() == 8
    account.observed(0, 5_000)  # a count that lags behind
    assert account.left() == 98
