"""The shares of an account as plain data: who gets what, and what becomes of the dead."""

from __future__ import annotations

import subprocess

import pytest

from switchyard.api import Limits, Window
from switchyard.app.processes import is_gone, own_name
from switchyard.app.shares import PATIENCE, Part, Shares

LIMITS = Limits(windows={"default": (Window(10, 10.0),)}, daily=100)
NOW, DAY = 1_000_000.0, "2026-03-10"
URGENT, PATIENT = 0, 3


def shares(*parts: Part, day: str = DAY, now: float = NOW) -> Shares:
    made = Shares(None, LIMITS, DAY, NOW)
    made.parts = {f"p{number}": part for number, part in enumerate(parts)}
    return Shares(made.dump(), LIMITS, day, now)


def part(**facts) -> Part:
    return Part(**{"until": NOW + 10, "process": own_name()} | facts)


def waiting(seconds: float, kind: int) -> Part:
    return part(waiting={"default": (NOW - seconds, kind)})


def test_whoever_did_not_renew_has_made_all_calls_that_it_held():
    found = shares(part(until=NOW - 3, held={"default": 7}, used={"default": 2}, places=3))
    assert found.held(None) == {}
    assert found.all_used() == {"default": 9}
    assert found.ended("default", None) == [NOW - 3] * 7
    assert found.places("new", 4, NOW) == 4


def test_whoever_is_there_is_left_alone():
    found = shares(part(held={"default": 7}, used={"default": 2}))
    assert found.held(None) == {"default": 7}
    assert found.all_used() == {"default": 2}


def test_nothing_is_kept_of_the_dead_once_their_calls_left_the_window():
    assert shares(part(until=NOW - 12, held={"default": 7})).parts == {}


def test_a_new_day_forgets_what_was_used_and_nothing_that_is_held():
    found = shares(part(held={"default": 7}, used={"default": 2}, kinds={"sync": 2}), day="2026-03-11")
    assert found.all_used() == found.all_kinds() == {}
    assert found.held(None) == {"default": 7}


def test_a_clock_set_back_makes_nobody_wait_for_longer_than_a_window():
    found = shares(part(ended={"default": [NOW + 9_000]}))
    assert found.ended("default", None) == [NOW]


@pytest.mark.parametrize("concurrency", [1, 2, 4, 5])
def test_places_are_shared_out_completely_and_go_round(concurrency):
    both = shares(part(), part())
    at = [NOW, NOW + 2]
    given = [[both.places(id, concurrency, now) for id in ("p0", "p1")] for now in at]
    assert [sum(each) for each in given] == [concurrency] * 2
    assert sum(each[0] for each in given) == concurrency


@pytest.mark.parametrize(
    ("mine", "other", "available", "share"),
    [
        ((1.0, URGENT), None, 9, 9),
        ((1.0, URGENT), (2.0, URGENT), 9, 4),
        ((2.0, URGENT), (1.0, URGENT), 9, 5),
        ((1.0, URGENT), (2.0, PATIENT), 1, 1),
        ((2.0, PATIENT), (1.0, URGENT), 1, 0),
        ((PATIENCE + 1, PATIENT), (1.0, URGENT), 1, 1),
    ],
    ids=["alone", "came later", "came first", "more urgent", "less urgent", "has waited long"],
)
def test_of_what_is_available_the_first_takes_the_larger_half(mine, other, available, share):
    found = shares(waiting(*mine), *([waiting(*other)] if other else []))
    assert found.share("p0", "default", mine[1], available, NOW) == share


def test_a_process_knows_itself_and_no_stranger():
    assert not is_gone(own_name())
    for stranger in ("", "elsewhere/1", f"{own_name()}x", f"other:{own_name()}"):
        assert not is_gone(stranger)


def test_a_process_that_ended_is_gone():
    child = subprocess.Popen(["true"])
    child.wait()
    assert is_gone(f"{own_name().rpartition('/')[0]}/{child.pid}")
