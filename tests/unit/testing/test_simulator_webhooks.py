"""The sender that simulators share: what is posted, when again, and when no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchyard.testing.simulator import Answer, ManualClock, Simulator
from switchyard.testing.simulator_webhooks import Outgoing, Sender


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def door() -> Iterator[Simulator]:
    """Somebody who is posted to."""
    with Simulator() as simulator:
        simulator.route("POST", "/hook", lambda _: Answer(204))
        yield simulator


@pytest.fixture
def sender(clock: ManualClock) -> Iterator[Sender]:
    made = Sender(clock, waits=(10, 100), concurrency=3, timeout=2)
    yield made
    made.close()


def message(door: Simulator, text: str = "hello") -> Outgoing:
    return Outgoing(
        f"{door.url}/hook",
        lambda attempt: f"{text} {attempt}".encode(),
        lambda url, body: {"x-signature": f"{len(url)}-{len(body)}"},
    )


def bodies(door: Simulator) -> list[bytes | None]:
    return sorted(call.body for call in door.calls() if call.body is not None)


def test_a_message_is_posted_once_with_its_signature(door, sender):
    sender.send(message(door))
    sender.settle()
    assert (bodies(door), sender.waiting) == ([b"hello 0"], 0)
    assert [(each.number, each.status) for each in sender.attempts] == [(0, 204)]


def test_what_is_refused_comes_again_by_the_simulators_clock_and_then_no_more(door, sender, clock):
    door.script("POST", "/hook", [Answer(500), Answer(401), Answer(400)])
    sender.send(message(door))
    for seconds, waiting in ((9, 1), (1, 1), (99, 1), (1, 0), (10_000, 0)):
        sender.settle()
        clock.advance(seconds)
        sender.settle()
        assert sender.waiting == waiting
    assert [(each.body, each.status) for each in sender.attempts] == [
        (b"hello 0", 500),
        (b"hello 1", 401),
        (b"hello 2", 400),
    ]


def test_nobody_there_is_an_attempt_too(sender, clock):
    sender.send(Outgoing("http://127.0.0.1:9/hook", lambda _: b"x", lambda *_: {}))
    sender.settle()
    assert [each.status for each in sender.attempts] == [0]
    assert sender.waiting == 1


def test_what_counts_as_taken_is_the_vendors_to_say(door, clock):
    sender = Sender(clock, waits=(1,), accepted=lambda answer: b"ack" in answer.content)
    sender.send(message(door))
    sender.settle()
    assert sender.waiting == 1
    sender.close()


def test_messages_go_side_by_side_and_all_arrive(door, sender):
    door.latency = 0.05
    for number in range(9):
        sender.send(message(door, f"m{number}"))
    sender.settle()
    assert len(set(bodies(door))) == 9


def test_a_message_without_a_body_is_not_sent(door, sender):
    sender.send(Outgoing(f"{door.url}/hook", lambda _: b"", lambda *_: {}))
    sender.settle()
    assert door.count() == 0


def test_nothing_goes_out_once_it_is_closed(door, sender):
    sender.close()
    sender.send(message(door))
    assert (door.count(), sender.waiting) == (0, 0)


def test_a_message_that_cannot_be_made_is_an_error_of_the_simulator(door, clock):
    sender = Sender(clock, waits=())
    sender.send(Outgoing(f"{door.url}/hook", lambda _: bytes(1 // 0), lambda *_: {}))
    sender.settle()
    with pytest.raises(ZeroDivisionError):
        sender.close()
