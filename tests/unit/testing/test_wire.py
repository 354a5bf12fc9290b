"""The wire: what a fault lets through to the vendor, and what the connector gets."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from switchyard.testing.wire import Fault, Lag, Wire, after, answering, once, unanswered, unheard


class Counter:
    """A vendor that says how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        before = self.asked
        time.sleep(0.01)  # long enough for others to come in between, if they may
        self.asked = before + 1
        return httpx.Response(200, text=str(self.asked))


def said(wire: Wire, paths: Iterable[str]) -> list[str]:
    """What is answered, or the name of what is raised."""
    found = []
    for path in paths:
        try:
            answer = wire.handle_request(httpx.Request("GET", f"https://vendor.example.com/{path}"))
        except httpx.TransportError as error:
            found.append(type(error).__name__)
        else:
            found.append(answer.read().decode())
    return found


BUSY = answering(httpx.Response(503, text="busy"))


@pytest.mark.parametrize(
    ("fault", "answers", "asked"),
    [
        (BUSY, ["busy", "busy", "busy"], 0),
        (once(BUSY), ["busy", "1", "2"], 2),
        (once(BUSY, at=1), ["1", "busy", "2"], 2),
        (after(2, BUSY), ["1", "2", "busy"], 2),
        (once(unheard), ["ReadTimeout", "1", "2"], 2),
        (once(unanswered), ["ReadError", "2", "3"], 3),
    ],
)
def test_a_fault_stands_between_connector_and_vendor(fault: Fault, answers: list[str], asked: int) -> None:
    vendor = Counter()
    wire = Wire(vendor, fault)
    assert said(wire, "abc") == answers
    assert vendor.asked == asked
    assert wire.requests == 3


def test_what_was_asked_before_is_answered_as_it_was_then_while_it_lags() -> None:
    lag = Lag()
    wire = Wire(Counter(), lag)
    with lag.recording():
        assert said(wire, "ab") == ["1", "2"]
    with lag.lagging():
        assert said(wire, "abac") == ["1", "2", "1", "3"]
        assert lag.unknown == 1
    assert said(wire, "ab") == ["4", "5"]


def test_a_vendor_that_is_a_function_is_asked_one_thing_at_a_time() -> None:
    wire = Wire(Counter())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: said(wire, path), "abcdefgh"))
    assert sorted(answers) == [[str(number)] for number in range(1, 9)]
    assert wire.requests == 8
