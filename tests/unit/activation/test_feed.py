"""Deliveries to a sink that is told of changes: who is told what, once, in order, whatever happens in between."""

from __future__ import annotations

import pytest
from tests.projects import rows_of
from tests.unit.activation.desk import REFUSED, Killed, people
from tests.unit.activation.listener import Announcements

from switchyard.activation.task import Consent
from switchyard.api import Rejection, TransientError
from switchyard.api.errors import ConfigError
from switchyard.store.tables import Proof

BUSY = Rejection("busy", "try later", retryable=True)


@pytest.fixture
def desk(tmp_path, database):
    one = Announcements(tmp_path, database)
    yield one
    one.working.close()


def test_who_enters_changes_and_leaves_is_told_once(desk):
    desk.people(*people("ann", "bob", "cat"))
    report = desk.deliver()
    assert (report.added, report.upserted, report.held, report.wanted) == (3, 3, 3, 3)
    assert [len(batch.changes) for batch in desk.listener.batches] == [2, 1]
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nice"))
    report = desk.deliver()
    assert (report.added, report.upserted, report.removed) == (0, 1, 1)
    assert desk.listener.told()[3:] == [("changed", "bob@x.org"), ("left", "cat@x.org")]
    written = len(desk.listener.batches)
    assert desk.deliver().held == 2
    assert len(desk.listener.batches) == written
    assert desk.listener.people() == {
        "ann@x.org": {"email": "ann@x.org", "town": "Lyon"},
        "bob@x.org": {"email": "bob@x.org", "town": "Nice"},
    }


def test_a_batch_says_whose_changes_they_are(desk):
    desk.people(*people("ann"))
    desk.deliver()
    (batch,) = desk.listener.batches
    assert (batch.audience, batch.segment, batch.list, batch.key_field) == ("a", "s", "L", "email")
    (change,) = batch.changes
    assert (change.profile, change.at, change.fields) == (1, desk.now, {"email": "ann@x.org", "town": "Lyon"})


def test_nothing_is_proven_and_nobody_pretends_so(desk):
    desk.people(*people("ann"))
    report = desk.deliver()
    assert (report.exact, report.missing, report.extra, report.read_at) == (None, None, None, None)
    assert any("cannot be read back" in note for note in report.notes)
    assert rows_of(desk.database, Proof) == []
    for act in (desk.verify, lambda: desk.deliver(new_list=True)):
        with pytest.raises(ConfigError, match="keeps no list"):
            act()


def test_who_left_is_told_with_what_was_said_last(desk):
    desk.people((1, "ann@x.org", "Lyon"))
    desk.deliver()
    desk.people((2, None, "Nice"))
    desk.deliver()
    left = desk.listener.heard[-1]
    assert (left.kind, left.key, left.fields["town"]) == ("left", "ann@x.org", "Lyon")
    assert desk.kept() == {}


def test_who_enters_again_is_another_change(desk):
    for _ in range(2):
        desk.people(*people("ann"))
        desk.deliver()
        desk.people()
        desk.deliver()
    assert [kind for kind, _ in desk.listener.told()] == ["entered", "left", "entered", "left"]
    assert len({change.id for change in desk.listener.heard}) == 4


def test_another_key_is_another_person_to_the_sink(desk):
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nice"))
    desk.deliver()
    desk.people((1, "bob@x.org", "Lyon"), (2, "ann@x.org", "Nice"))
    desk.deliver()
    assert desk.listener.people()["ann@x.org"]["town"] == "Nice"
    assert desk.listener.people()["bob@x.org"]["town"] == "Lyon"
    written = len(desk.listener.batches)
    desk.deliver()
    assert len(desk.listener.batches) == written


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("fault", [Killed(), TransientError("no answer")], ids=["killed", "unanswered"])
@pytest.mark.parametrize("write", range(3))
def test_what_is_not_known_is_told_again_word_for_word(desk, write, fault, unseen):
    desk.people(*people("ann", "bob", "cat", "dan", "eve"))
    desk.fail(write, fault, unseen=unseen)
    failed = desk.listener.batches[-1]
    desk.people((1, "ann@x.org", "Nice"), (2, "bob@x.org", "Lyon"), (4, "dan@x.org", "Nice"))
    desk.now = desk.now.replace(hour=13)
    desk.deliver(removals=True)
    again = [change for batch in desk.listener.batches[write + 1 :] for change in batch.changes]
    assert [change for change in again if change in failed.changes] == list(failed.changes)
    answered = [change for batch in desk.listener.batches[:write] for change in batch.changes]
    assert not [change for change in again if change in answered], "what was answered is told again"
    assert {key: each["town"] for key, each in desk.listener.people().items()} == {
        "ann@x.org": "Nice", "bob@x.org": "Lyon", "dan@x.org": "Nice"
    }  # fmt: skip
    assert {row.state for row in desk.outbox()} == {"settled", "done"}
    written = len(desk.listener.batches)
    desk.deliver()
    assert len(desk.listener.batches) == written


@pytest.mark.parametrize("unseen", [False, True])
def test_leaving_that_is_not_known_is_told_before_who_came_back(desk, unseen):
    desk.people(*people("ann"))
    desk.deliver()
    desk.people()
    desk.fail(0, Killed(), unseen=unseen)
    desk.people(*people("ann"))
    desk.deliver()
    assert [kind for kind, _ in desk.listener.told()] == ["entered", "left", "entered"]
    assert list(desk.listener.people()) == ["ann@x.org"]


@pytest.mark.parametrize("commit", range(1, 5))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_commit_nobody_is_told_twice_nor_forgotten(desk, commit, moment):
    desk.people(*people("ann", "bob", "cat"))
    desk.deliver()
    desk.people((1, "ann@x.org", "Nice"), (2, "bob@x.org", "Lyon"), (4, "dan@x.org", "Nice"))
    desk.die_at_commit(commit, moment)
    desk.deliver()
    assert {key: each["town"] for key, each in desk.listener.people().items()} == {
        "ann@x.org": "Nice", "bob@x.org": "Lyon", "dan@x.org": "Nice"
    }  # fmt: skip
    assert len(desk.listener.heard) == 3 + 3


def test_who_is_refused_for_good_is_told_anew_when_something_changes(desk):
    desk.listener.refuses["bob@x.org"] = REFUSED
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.rejected, report.held, report.waiting) == (1, 1, 0)
    desk.deliver()
    assert len(desk.listener.batches) == 1
    desk.listener.refuses.clear()
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nice"))
    assert desk.deliver().held == 2
    assert desk.listener.told()[-1] == ("entered", "bob@x.org")


def test_who_was_never_told_of_does_not_leave(desk):
    desk.listener.refuses["bob@x.org"] = REFUSED
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.people(*people("ann"))
    desk.deliver()
    assert desk.listener.told() == [("entered", "ann@x.org")]


def test_who_is_refused_for_now_is_told_the_same_again(desk):
    desk.listener.refuses["bob@x.org"] = BUSY
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.waiting, report.rejected) == (1, 0)
    assert desk.states()[2] == "retry"
    desk.people(*people("ann"))
    assert (desk.deliver().waiting, desk.states()[2]) == (1, "retry")
    assert desk.listener.told() == [("entered", "ann@x.org")]
    desk.listener.refuses.clear()
    assert desk.deliver().waiting == 0
    ids = [change.id for batch in desk.listener.batches for change in batch.changes if change.kind == "entered"]
    assert len(set(ids)) == 2
    assert list(desk.listener.people()) == ["ann@x.org"]
    assert desk.listener.told()[1:] == [("entered", "bob@x.org"), ("left", "bob@x.org")]


def test_a_leaving_that_is_refused_for_good_is_not_told_for_ever(desk):
    desk.people(*people("ann"))
    desk.deliver()
    desk.listener.refuses["ann@x.org"] = REFUSED
    desk.people()
    assert (desk.deliver().removed, desk.members()[1].reason) == (0, REFUSED.reason)
    written = len(desk.listener.batches)
    desk.deliver()
    assert len(desk.listener.batches) == written
    desk.listener.refuses.clear()
    desk.people(*people("ann"))
    desk.deliver()
    assert len(desk.listener.batches) == written
    desk.people()
    assert desk.deliver().removed == 1


def test_another_key_whose_old_one_cannot_leave_is_a_change(desk):
    desk.people((1, "ann@x.org", "Lyon"))
    desk.deliver()
    desk.listener.refuses["ann@x.org"] = REFUSED
    desk.people((1, "anna@x.org", "Lyon"))
    desk.deliver()
    assert desk.listener.told() == [("entered", "ann@x.org"), ("changed", "anna@x.org")]


def test_the_guard_holds_mass_leaving_back(desk):
    names = [f"p{number}" for number in range(40)]
    desk.people(*people(*names))
    desk.deliver()
    desk.people(*people(*names[:5]))
    report = desk.deliver()
    assert (report.removed, report.blocked) == (0, 35)
    assert desk.deliver(removals=True).removed == 35
    assert len(desk.listener.people()) == 5


def test_the_first_delivery_may_take_everybody_as_known(desk):
    desk.change(first="assume")
    desk.people(*people("ann", "bob"))
    plan = desk.delivery.plan(desk.route)
    assert (plan.added, plan.upserted, plan.held) == (0, 0, 2)
    assert any("tells of nobody" in note for note in plan.notes)
    report = desk.deliver()
    assert (report.added, report.upserted, report.held, desk.listener.batches) == (0, 0, 2, [])
    desk.people((1, "ann@x.org", "Nice"), (3, "cat@x.org", "Lyon"))
    desk.deliver()
    assert sorted(desk.listener.told()) == [("changed", "ann@x.org"), ("entered", "cat@x.org"), ("left", "bob@x.org")]


def test_a_plan_says_that_the_first_delivery_tells_of_everybody(desk):
    desk.people(*people("ann", "bob"))
    plan = desk.delivery.plan(desk.route)
    assert (plan.added, plan.exact) == (2, None)
    assert any("tells of 2 people" in note for note in plan.notes)
    desk.deliver()
    assert not desk.delivery.plan(desk.route).notes


def test_another_connection_is_told_from_the_beginning(desk):
    desk.people(*people("ann"))
    desk.deliver()
    desk.people(*people("ann", "bob"))
    desk.fail(0, Killed())
    desk.change(connection="other")
    desk.people(*people("ann"))
    desk.deliver()
    assert desk.listener.told() == [("entered", "ann@x.org")] * 2, "bob is nothing to the other connection"


def test_a_list_whose_connection_now_is_told_of_changes_begins_anew(desk):
    desk.people(*people("ann"))
    desk.deliver()
    list_route = super(Announcements, desk).route
    assert desk.delivery.run(desk.begin(), list_route, Consent()).exact
    assert desk.shelf.emails() == {"ann@x.org"}
    desk.deliver()
    assert desk.listener.told() == [("entered", "ann@x.org")] * 2


def test_live_sending_is_the_same_delivery(desk):
    desk.people(*people("ann"))
    report = desk.delivery.send(desk.begin(), desk.route)
    assert (report.added, report.exact) == (1, None)
    desk.people()
    desk.delivery.send(desk.begin(), desk.route)
    assert desk.listener.people() == {}
