"""Deliveries for which the account's quota of the day is too small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.activation.desk import Account, CostedShelf, people

from switchyard.activation.allowance import Allowance, Parts
from switchyard.api import Member, QuotaExhausted

SMALL = st.integers(0, 12)


@pytest.fixture
def scarce(desk):
    desk.shelf = CostedShelf()
    desk.people(*people("ann", "bob", "cat", "dan"))
    desk.deliver()
    desk.shelf.said.clear()
    return desk


def test_removals_and_known_people_go_first_and_nothing_is_lost(scarce):
    scarce.people((1, "ann@x.org", "Nice"), *people("ann", "bob", "cat")[1:], (5, "eve@x.org", "Lyon"))
    scarce.account.remaining = 3
    report = scarce.deliver()
    assert (report.removed, report.added, report.upserted, report.waiting) == (1, 1, 1, 1)
    assert (report.waits_until, report.read_at, report.exact) == (scarce.account.until(), None, False)
    assert "read" not in scarce.shelf.said
    scarce.account.remaining = None
    assert scarce.deliver().exact
    assert len(scarce.shelf.writes()) == 4


def test_where_only_the_read_back_does_not_fit_all_changes_are_made(scarce):
    scarce.people(*people("ann", "bob", "cat"))
    scarce.account.remaining = 1
    report = scarce.deliver()
    assert (report.removed, report.waiting, report.exact) == (1, 0, False)
    assert report.waits_until is not None
    assert scarce.shelf.said == ["off 103"]


def test_a_quota_that_covers_everything_changes_nothing(scarce):
    scarce.people(*people("ann", "bob", "cat"))
    scarce.account.remaining = 2
    assert scarce.deliver().exact


def test_what_a_kill_left_is_not_guessed_at_when_the_list_cannot_be_read(scarce):
    scarce.people(*people("ann", "bob", "cat"))
    scarce.die(0)
    scarce.account.remaining = 0
    with pytest.raises(QuotaExhausted) as caught:
        scarce.deliver()
    assert caught.value.until == scarce.account.until()
    assert scarce.shelf.writes() == ["off 103"]


def test_a_quota_that_ends_sooner_than_reckoned_loses_nothing(scarce):
    scarce.people(*people("ann", "bob"), *((number, f"p{number}@x.org", "Lyon") for number in range(5, 9)))
    scarce.shelf.breaks_after, scarce.shelf.fault = 5, QuotaExhausted("used up", until=scarce.account.until())
    report = scarce.deliver()
    assert (report.upserted, report.added, report.removed) == (4, 1, 0)
    assert (report.waiting, report.waits_until) == (3 + 2, scarce.account.until())
    scarce.shelf.breaks_after = None
    assert scarce.deliver().exact


def test_a_plan_says_that_a_part_has_to_wait(scarce):
    scarce.people(*people("ann", "bob"))
    scarce.account.remaining = 2
    assert scarce.delivery.plan(scarce.route).notes == ["today's quota leaves 2 calls; a part waits until 00:00 UTC"]


@given(new=SMALL, changed=SMALL, joins=SMALL, removals=SMALL, left=st.integers(0, 60))
def test_as_much_is_chosen_as_fits(new, changed, joins, removals, left):
    fresh = [Member(f"n{each}") for each in range(new)]
    known = [Member(f"j{each}", "1") for each in range(joins)]
    parts = Parts(
        [*fresh, *(Member(f"c{each}") for each in range(changed))],
        [*known, *fresh],
        [Member(f"r{each}", "2") for each in range(removals)],
    )
    chosen = Allowance(CostedShelf(), Account(left)).within(parts)
    assert sum(chosen.sizes) <= left
    written = {member.key for member in chosen.upsert}
    assert {member.key for member in chosen.add if member.key.startswith("n")} == {k for k in written if k[0] == "n"}
    if chosen.rows < parts.rows:
        # The next one would have been one call too many, or two for somebody new.
        assert sum(chosen.sizes) >= left - 1
