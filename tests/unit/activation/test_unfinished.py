"""What a delivery finds that an earlier one left: calls whose answer nobody saw, and jobs of the vendor."""

from __future__ import annotations

import pytest
from tests.unit.activation.desk import JobShelf, Killed, people

from switchyard.api import TransientError

NAMES = ("ann", "bob", "cat")


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("calls", range(6))
def test_a_delivery_killed_at_any_call_is_settled_by_the_next(desk, calls, unseen):
    desk.people(*people(*NAMES))
    desk.die(calls, unseen=unseen)
    assert [row.state for row in desk.outbox()] == ["sent"]
    assert desk.deliver().exact
    assert desk.shelf.emails() == {f"{name}@x.org" for name in NAMES}
    assert len(desk.shelf.records) == 3
    assert len(desk.shelf.writes()) <= 6 + 1
    assert {row.state for row in desk.outbox()} <= {"settled", "done"}
    wrote = len(desk.shelf.writes())
    desk.deliver()
    assert len(desk.shelf.writes()) == wrote


def test_the_list_is_read_before_anything_is_sent_again(desk):
    desk.people(*people(*NAMES))
    desk.die(4, unseen=True)
    desk.shelf.said.clear()
    desk.deliver()
    ids = [desk.shelf.record(f"{name}@x.org") for name in NAMES]
    assert desk.shelf.said == ["read", f"on {ids[2]}", "read"], "bob was put on the list by the call that nobody saw"


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("calls", range(3))
def test_removals_killed_at_any_call_are_settled_by_the_next(desk, calls, unseen):
    desk.people(*people(*NAMES, "dan"))
    desk.deliver()
    desk.people((4, "dan@x.org", "Lyon"))
    desk.shelf.said.clear()
    desk.die(calls, unseen=unseen)
    assert desk.deliver().exact
    assert len(desk.shelf.writes()) == 3 + (not unseen)


def test_what_an_earlier_run_had_under_way_comes_off_when_the_person_left_meanwhile(desk):
    desk.people(*people(*NAMES))
    desk.die(3, unseen=True)
    assert len(desk.shelf.members_) == 1
    desk.people()
    assert desk.deliver().exact
    assert desk.shelf.members_ == set()


def test_fields_under_way_at_a_kill_are_sent_again(desk):
    """Also where they are by now what they were before."""
    desk.people((1, "ann@x.org", "Lyon"))
    desk.deliver()
    desk.people((1, "ann@x.org", "Nice"))
    desk.die(0, unseen=True)
    desk.people((1, "ann@x.org", "Lyon"))
    desk.deliver()
    assert desk.shelf.records[desk.shelf.record("ann@x.org")]["town"] == "Lyon"


def test_the_same_changes_keep_their_id_and_others_get_one(desk):
    desk.people(*people(*NAMES))
    desk.die(0)
    desk.die(0)
    desk.people(*people(*NAMES, "dan"))
    desk.deliver()
    one, again, other = (changes.id for changes in desk.shelf.changes)
    assert one == again != other
    assert [row.state for row in desk.outbox()] == ["settled", "done"]


def test_a_failed_call_is_settled_like_a_killed_one(desk):
    desk.people(*people(*NAMES))
    desk.shelf.breaks_after, desk.shelf.breaks_unseen = 4, True
    with pytest.raises(TransientError):
        desk.deliver()
    desk.shelf.breaks_after = None
    assert desk.delivery.plan(desk.route).notes == [
        "an earlier delivery was cut off; the list is read back before anything is sent"
    ]
    assert desk.deliver().exact
    assert len(desk.shelf.writes()) == 6


def test_a_job_is_asked_for_its_verdicts_until_all_are_in(desk):
    desk.shelf = JobShelf()
    desk.people(*people(*NAMES))
    report = desk.deliver()
    assert (report.upserted, report.added, report.exact) == (3, 3, True)
    assert [each for each in desk.shelf.said if each in ("job", "poll", "read")] == ["job", "poll", "poll", "read"]
    assert set(desk.states().values()) == {"verified"}
    assert [row.state for row in desk.outbox()] == ["done"]


def test_a_job_outlives_the_process_that_gave_it(desk):
    desk.shelf = JobShelf(breaks_after=0, fault=Killed())
    desk.people(*people(*NAMES))
    with pytest.raises(Killed):
        desk.deliver()
    assert [(row.state, row.tickets) for row in desk.outbox()] == [("accepted", list(desk.shelf.jobs))]
    desk.shelf.breaks_after = None
    desk.people((1, "ann@x.org", "Nice"), *people(*NAMES)[1:])
    assert desk.deliver().exact
    assert desk.shelf.said[:3] == ["job", "poll", "poll"]
    assert len(desk.shelf.jobs) == 2, "ann's new town, and nothing that the first job did"
    assert [len(job.upsert) for job in desk.shelf.jobs.values()] == [3, 1]


def test_while_a_job_is_at_work_nothing_else_is_sent(desk):
    desk.shelf = JobShelf(polls=1000)
    desk.people(*people(*NAMES))
    for _ in range(2):
        with pytest.raises(TransientError, match="still at work on 1 jobs"):
            desk.deliver()
    assert len(desk.shelf.jobs) == 1
    assert set(desk.states().values()) == {"accepted"}


def test_a_job_that_the_vendor_no_longer_knows_is_settled_by_reading_back(desk):
    desk.shelf = JobShelf(forgets=True)
    desk.people(*people(*NAMES))
    report = desk.deliver()
    assert (report.missing, report.exact) == (3, False)
    assert [row.state for row in desk.outbox()] == ["settled"]
    desk.shelf.forgets = False
    assert desk.deliver().exact
