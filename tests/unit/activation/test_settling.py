"""Lists that show a change only some time after the vendor confirmed it: nobody is put on or taken off in circles."""

from __future__ import annotations

import pytest
from tests.projects import rows_of
from tests.unit.activation.desk import LateShelf, people

from switchyard.store.tables import AudienceRemoval, Proof


@pytest.fixture
def late(desk):
    desk.shelf = LateShelf(clock=lambda: desk.now)
    return desk


def test_a_delivery_waits_a_while_for_the_list_to_show_it(late):
    late.people(*people("ann", "bob"))
    report = late.deliver()
    assert (report.held, report.settling, report.exact) == (2, 0, True)
    assert late.shelf.said.count("read") == 2


def test_what_is_not_shown_yet_is_neither_missing_nor_sent_again(late):
    late.shelf.late = 50.0
    late.people(*people("ann", "bob"))
    report = late.deliver()
    assert (report.held, report.missing, report.settling, report.exact) == (0, 0, 2, False)
    assert rows_of(late.database, Proof)[0].settling == 2
    assert set(late.states().values()) == {"applied"}
    assert late.deliver().exact
    assert len(late.shelf.writes()) == 4


def test_a_removal_that_is_not_shown_yet_is_not_repeated(late):
    late.people(*people("ann", "bob"))
    late.deliver()
    late.shelf.late = 50.0
    late.people(*people("ann"))
    late.wait(60)
    report = late.deliver()
    assert (report.removed, report.extra, report.settling, report.exact) == (1, 0, 1, False)
    assert late.deliver().exact
    assert late.shelf.emails() == {"ann@x.org"}
    assert len([call for call in late.shelf.writes() if call.startswith("off")]) == 1
    assert rows_of(late.database, AudienceRemoval) == []


def test_a_stranger_is_taken_off_once(late):
    late.people(*people("ann"))
    late.deliver()
    late.shelf.records["s"] = {"email": "s@y.org"}
    late.shelf._put("s", True)
    late.wait(60)
    late.shelf.late = 59.0
    report = late.deliver()
    assert (report.removed, report.settling) == (1, 1)
    late.deliver()
    late.wait(60)
    assert late.deliver().exact
    assert len([call for call in late.shelf.writes() if call.startswith("off")]) == 1


def test_who_comes_back_while_the_removal_settles_is_added(late):
    late.people(*people("ann", "bob"))
    late.deliver()
    late.shelf.late = 50.0
    late.people(*people("ann"))
    late.deliver()
    late.people(*people("ann", "bob"))
    late.deliver()
    for _ in range(3):
        late.wait(60)
        report = late.deliver()
    assert report.exact
    assert late.shelf.emails() == {"ann@x.org", "bob@x.org"}


def test_who_was_seen_and_is_missing_was_taken_off_by_hand(late):
    late.people(*people("ann", "bob"))
    late.deliver()
    late.shelf.late = 0.0
    late.shelf._put(late.shelf.record("ann@x.org"), False)
    assert late.deliver().exact
    assert late.shelf.emails() == {"ann@x.org", "bob@x.org"}


def test_a_confirmation_that_was_not_true_is_repaired_when_the_lag_is_over(late):
    late.shelf.late = 3_600.0
    late.people(*people("ann"))
    assert late.deliver().settling == 1
    late.shelf.late = 0.0
    late.shelf._put(late.shelf.record("ann@x.org"), False)
    assert late.deliver().settling == 0
    assert late.shelf.emails() == {"ann@x.org"}


def test_a_list_that_never_shows_anything_is_written_once_per_lag(late):
    late.shelf.late = 10**6
    late.people(*people("ann"))
    for _ in range(12):
        assert not late.deliver().exact
        late.wait(10)
    assert len([call for call in late.shelf.writes() if call.startswith("on")]) <= 1 + 12 * 40 // 60
