"""Calls side by side: how many at once, what is yielded, and how it stops."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.api import AuthError, Limits, Window
from switchyard.api.http import Budget, CalledOff, concurrently
from switchyard.api.lanes import check, pause

PATIENCE = 10


class Gate:
    """Calls that wait to be let through, and tell how many are inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: set[int] = set()
        self.inside: set[int] = set()
        self.begun: list[int] = []
        self.most = 0

    def call(self, number: int, error: Exception | None = None) -> Callable[[], int]:
        def act() -> int:
            with self._changed:
                self.begun.append(number)
                self.inside.add(number)
                self.most = max(self.most, len(self.inside))
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: number in self._open, PATIENCE)
                self.inside.remove(number)
            if error is not None:
                raise error
            return number

        return act

    def open(self, *numbers: int) -> None:
        with self._changed:
            self._open.update(numbers)
            self._changed.notify_all()

    def await_inside(self, *numbers: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside >= set(numbers), PATIENCE)


@settings(deadline=None, max_examples=50)
@given(count=st.integers(0, 40), limit=st.integers(1, 6))
def test_every_call_is_made_once_and_every_result_is_yielded_once(count: int, limit: int) -> None:
    made: list[int] = []

    def call(number: int) -> Callable[[], int]:
        return lambda: made.append(number) or number  # type: ignore[func-returns-value]

    results = list(concurrently(map(call, range(count)), limit))
    assert sorted(results) == sorted(made) == list(range(count))


def test_no_more_than_the_limit_are_under_way_or_not_yet_looked_at() -> None:
    gate, asked = Gate(), []

    def calls() -> Iterator[Callable[[], int]]:
        for number in range(6):
            asked.append(number)
            yield gate.call(number)

    with closing(concurrently(calls(), 2)) as results:
        threading.Timer(0.05, gate.open, [1]).start()
        assert next(results) == 1
        assert asked == [0, 1]
        gate.open(*range(6))
        assert sorted(results) == [0, 2, 3, 4, 5]
    assert gate.most == 2


def test_with_a_limit_of_one_the_caller_does_it_all_in_order() -> None:
    threads = set()

    def call(number: int) -> Callable[[], int]:
        return lambda: threads.add(threading.current_thread()) or number  # type: ignore[func-returns-value]

    assert list(concurrently(map(call, range(5)), 1)) == list(range(5))
    assert threads == {threading.current_thread()}


def test_after_an_error_nothing_is_begun_and_what_is_under_way_is_yielded_first() -> None:
    begun = []
    all_begun = threading.Barrier(3, timeout=PATIENCE)

    def failing() -> int:
        all_begun.wait()
        raise AuthError("sign in")

    def until_called_off(number: int) -> Callable[[], int]:
        def act() -> int:
            begun.append(number)
            all_begun.wait()
            with pytest.raises(CalledOff):
                pause(PATIENCE)
            return number

        return act

    seen: list[int] = []
    with pytest.raises(AuthError, match="sign in"):
        for result in concurrently([failing, *(until_called_off(number) for number in range(9))], 3):
            seen.append(result)
    assert sorted(seen) == sorted(begun) == [0, 1]


def test_closing_waits_for_the_calls_under_way_and_begins_no_other() -> None:
    gate = Gate()
    gate.open(0)
    results = concurrently((gate.call(number) for number in range(9)), 3)
    assert next(results) == 0
    gate.await_inside(1, 2)
    later = threading.Timer(0.05, gate.open, [1, 2])
    later.start()
    results.close()
    later.join()
    assert not gate.inside
    assert sorted(gate.begun) == [0, 1, 2]
    assert "lane" not in {thread.name for thread in threading.enumerate()}


def test_waits_end_when_another_call_fails() -> None:
    waiting = threading.Event()

    def patient() -> None:
        waiting.set()
        pause(3_600)

    def failing() -> None:
        assert waiting.wait(PATIENCE)
        raise AuthError("sign in")

    with pytest.raises(AuthError):
        list(concurrently([patient, failing], 2))


def test_a_lane_that_waits_for_the_accounts_limits_is_called_off() -> None:
    account = Budget(Limits(windows={"default": [Window(1, 3_600.0)]}))
    refused = []
    all_begun = threading.Barrier(4, timeout=PATIENCE)

    def call() -> None:
        all_begun.wait()
        try:
            with account.acquire():
                raise AuthError("sign in")
        except CalledOff:
            refused.append(1)
            raise

    with pytest.raises(AuthError):
        list(concurrently([call] * 4, 4))
    assert len(refused) == 3
    assert account.used == {"default": 1}


def test_outside_of_lanes_nothing_is_called_off() -> None:
    check()
    pause(0)


def test_an_error_of_whoever_lists_the_calls_is_raised() -> None:
    def calls() -> Iterator[Callable[[], int]]:
        yield lambda: 1
        raise LookupError("no more")

    with pytest.raises(LookupError):
        list(concurrently(calls(), 4))
