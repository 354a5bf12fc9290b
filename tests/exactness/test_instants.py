"""What the membership log says of a move: the instant of truth, when it was noticed, and why. One person, one rule."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from switchyard_plugins.segmentation.parser import parse

from .history import Message
from .hub import SmallHub
from .story import LOST, Mishap, Step

NOON = datetime(2026, 3, 10, 12)
ORDERS = "count(order, last 2 days) >= 2"


def day(number: float) -> datetime:
    return NOON + timedelta(days=number)


class Case:
    """A hub with people who did things."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.hub = SmallHub(folder / "hub", template)
        self._count = 0

    def did(self, at: float, what: str | None = "order", who: str = "ann", **said: str) -> Message:
        self._count += 1
        card = said.pop("card", None)
        return Message(f"m{self._count}", who, day(at), what, {}, said, card)

    def tick(
        self, at: float, *messages: Message, where: str | None = ORDERS, mishap: Mishap | None = None
    ) -> list[tuple[str, bool, float, str]]:
        """Evaluates on a day. Gives the moves: who, in or out, on which day, why."""
        rules = {"busy": (parse(where), False, "UTC")} if where else {}
        moves = self.hub.live(Step(day(at), [messages] if messages else [], rules, mishap))
        assert all(move.noticed == day(at) for move in moves)
        return [(move.person, move.entered, (move.at - NOON) / timedelta(days=1), move.reason) for move in moves]


@pytest.fixture
def case(tmp_path: Path, sqlite_template: Path) -> Iterator[Case]:
    one = Case(tmp_path, sqlite_template)
    yield one
    one.hub.close()


def test_an_event_moves_at_its_own_time(case: Case) -> None:
    case.tick(0, case.did(0))
    assert case.tick(1, case.did(0.5)) == [("ann", True, 0.5, "event")]


def test_time_moves_at_the_instant_whenever_the_hub_looks(case: Case) -> None:
    case.tick(0, case.did(-1), case.did(-0.5))
    assert case.tick(0.75) == []
    assert case.tick(5) == [("ann", False, 1, "time")]


def test_what_began_and_ended_unseen_is_told_in_order(case: Case) -> None:
    case.tick(0, case.did(-9))
    assert case.tick(8.5, case.did(1), case.did(2), case.did(7), case.did(8)) == [
        ("ann", True, 2, "event"),
        ("ann", False, 3, "time"),
        ("ann", True, 8, "event"),
    ]


def test_an_event_dated_ahead_waits(case: Case) -> None:
    case.tick(0, case.did(0))
    assert case.tick(0.1, case.did(1)) == []
    assert case.tick(4) == [("ann", True, 1, "event"), ("ann", False, 2, "time")]


def test_a_late_event_tells_what_still_holds_and_since_when(case: Case) -> None:
    case.tick(0, case.did(-1))
    assert case.tick(0.5, case.did(-0.5)) == [("ann", True, -0.5, "event")]


def test_a_late_event_tells_nothing_of_what_is_over(case: Case) -> None:
    case.tick(0, case.did(-9))
    assert case.tick(0.5, case.did(-8.5)) == []


@pytest.mark.parametrize("orders", [3, 4, 5])
def test_of_a_long_past_is_told_what_held_at_the_last_evaluation(
    case: Case, orders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchyard.evaluation.walk.PAST_ROUNDS", 4)
    where = "count(order, last 1 hour) >= 1"
    case.tick(0, case.did(-9), where=where)
    late = [case.did(-(2 * number + 0.5) / 24) for number in range(orders)]
    late.append(case.did(-(2 * orders - 1.2) / 24))
    assert case.tick(0.01, *late, where=where) == [("ann", True, 0, "event")]


def test_the_example_of_the_explanation(case: Case) -> None:
    case.tick(0, case.did(0))
    assert case.tick(5, case.did(1)) == [("ann", True, 1, "event"), ("ann", False, 2, "time")]
    assert case.tick(6, case.did(2.5), case.did(4.5), case.did(4.75)) == [("ann", True, 4.75, "event")]
    assert case.tick(7) == [("ann", False, 6.5, "time")]


def test_an_attribute_counts_from_when_the_hub_knows_it(case: Case) -> None:
    where = 'city = "Pau"'
    case.tick(0, case.did(0), where=where)
    assert case.tick(2, case.did(1, None, city="Pau"), where=where) == [("ann", True, 2, "profile")]


def test_two_who_become_one_are_one_from_when_the_hub_knows_it(case: Case) -> None:
    case.tick(0, case.did(-0.2, card="7"), case.did(-0.1, who="bob"), case.did(0, who="bob"))
    assert case.tick(1, case.did(1, None, who="bob", card="7")) == [
        ("ann", True, 1, "profile"),
        ("bob", False, 1, "profile gone"),
    ]


def test_definitions_move_when_they_are_first_asked(case: Case) -> None:
    assert case.tick(0, case.did(-1), case.did(-0.5)) == [("ann", True, 0, "definition new")]
    assert case.tick(0.1, where="did(view)") == [("ann", False, 0.1, "definition changed")]
    assert case.tick(0.2, where="count(order) >= 1") == [("ann", True, 0.2, "definition changed")]
    assert case.tick(0.3, where=None) == [("ann", False, 0.3, "definition removed")]
    assert case.tick(0.4, where="did(order)") == [("ann", True, 0.4, "definition changed")]


def test_another_spelling_moves_nobody(case: Case) -> None:
    case.tick(0, case.did(-1), case.did(-0.5))
    assert case.tick(0.1, where="count( order ,last 48 hours)>=2") == []


@pytest.mark.parametrize("mishap", [LOST, "restarted", "flushed"])
def test_a_mishap_moves_nobody(case: Case, mishap: Mishap) -> None:
    case.tick(0, case.did(-1), case.did(-0.5))
    since = dict(case.hub.members())
    assert case.tick(0.1, mishap=mishap) == []
    assert dict(case.hub.members()) == since
    assert case.tick(9, mishap=mishap) == [("ann", False, 1, "time")]
