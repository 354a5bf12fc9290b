"""A hub that stood still for days writes the membership log of one that never stopped."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from .history import Message
from .hub import Move, SmallHub
from .story import Step, Story

Entry = tuple[str, datetime, str, bool, int]


@pytest.mark.parametrize("seed", range(2))
def test_a_stop_of_days_leaves_no_trace_in_the_log(tmp_path: Path, sqlite_template: Path, seed: int) -> None:
    first, *rest = Story(seed, people=450, rules=6, calm=True).steps(8)
    arrived = sorted((each for step in rest for page in step.pages for each in page), key=lambda each: each.seen)
    end = rest[-1].at
    assert end - first.at > timedelta(days=2)
    steady = SmallHub(tmp_path / "steady", sqlite_template)
    stopped = SmallHub(tmp_path / "stopped", sqlite_template)
    for hub in (steady, stopped):
        hub.live(first)
    for step in ticks(first, end, arrived, Random(seed)):
        steady.live(step)
    half = len(arrived) // 2
    stopped.live(Step(end, [arrived[half:], arrived[:half]], first.rules, "restarted"))
    written = log(steady.moves())
    assert written == log(stopped.moves())
    assert sum(entry[1] > first.at for entry in written) > 100, "too few people moved while it stood still"
    assert steady.members() == stopped.members()
    steady.close()
    stopped.close()


def ticks(first: Step, end: datetime, messages: Sequence[Message], random: Random) -> Iterator[Step]:
    """Minutes to hours apart, each with what had happened by then."""
    waiting, at = list(messages), first.at
    while at < end:
        at = min(end, at + timedelta(minutes=random.choice((5, 45, 180, 420))))
        come = [each for each in waiting if each.seen <= at]
        waiting = waiting[len(come) :]
        yield Step(at, [come] if come else [], first.rules)


def log(moves: Sequence[Move]) -> list[Entry]:
    """Person by person in order of the instants; of one instant by segment."""
    return sorted((move.person, move.at, move.segment, move.entered, move.version) for move in moves)
