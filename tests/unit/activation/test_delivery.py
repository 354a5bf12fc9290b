"""Deliveries against a list kept in memory: what is sent, what is remembered, what the report says."""

from __future__ import annotations

import pytest
from tests.projects import rows_of
from tests.unit.activation.desk import REFUSED, people

from switchyard.activation.task import Consent
from switchyard.api import Rejection
from switchyard.api.errors import ConfigError, ListGone
from switchyard.store.tables import Proof


def test_first_everything_then_nothing(desk):
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.wanted, report.held, report.upserted, report.added, report.exact) == (2, 2, 2, 2, True)
    again = desk.deliver()
    assert (again.upserted, again.added, again.removed, again.exact) == (0, 0, 0, True)
    assert len(desk.shelf.changes) == 1
    assert [(proof.wanted, proof.held, proof.missing, proof.extra) for proof in rows_of(desk.database, Proof)] == [
        (2, 2, 0, 0)
    ] * 2


def test_a_plan_says_what_a_delivery_does_and_does_nothing(desk):
    desk.people(*people("ann", "bob"))
    plan = desk.delivery.plan(desk.route)
    assert (plan.upserted, plan.added, plan.removed, plan.held) == (2, 2, 0, 0)
    assert desk.shelf.changes == []
    report = desk.deliver()
    assert (report.upserted, report.added, report.removed) == (plan.upserted, plan.added, plan.removed)
    assert desk.delivery.plan(desk.route).upserted == 0


def test_who_has_no_key_is_skipped_and_of_two_with_one_key_the_older_is_sent(desk):
    desk.people((1, "ann@x.org", "Lyon"), (2, None, "Nice"), (3, " ANN@x.org ", "Brest"), (4, "", "Lille"))
    report = desk.deliver()
    assert (report.segment, report.skipped, report.wanted, report.exact) == (4, 3, 1, True)
    assert [record["town"] for record in desk.shelf.records.values()] == ["Lyon"]


def test_a_refused_person_is_not_sent_again_until_something_changes(desk):
    desk.shelf.refuses["bob@x.org"] = REFUSED
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.rejected, report.wanted, report.exact) == (1, 1, True)
    assert (desk.members()[2].code, desk.members()[2].reason) == ("BAD_VALUE", "the value is not allowed")
    desk.deliver()
    assert len(desk.shelf.changes) == 1
    desk.shelf.refuses.clear()
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nice"))
    assert desk.deliver().held == 2


def test_what_may_succeed_later_is_tried_again(desk):
    desk.shelf.refuses["bob@x.org"] = Rejection("BUSY", "later", retryable=True)
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.missing, report.exact) == (1, False)
    desk.shelf.refuses.clear()
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@x.org", "bob@x.org"}


def test_a_member_whose_new_fields_are_refused_keeps_the_place(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.shelf.refuses["bob@x.org"] = REFUSED
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nowhere"))
    report = desk.deliver()
    assert (report.wanted, report.held, report.exact) == (2, 2, True)
    assert desk.members()[2].reason == "the value is not allowed"
    sent = len(desk.shelf.changes)
    desk.deliver()
    assert len(desk.shelf.changes) == sent
    desk.people((1, "ann@x.org", "Lyon"))
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@x.org"}


def test_the_guard(desk):
    desk.audience = desk.audience.model_copy(update={"guard": desk.audience.guard.model_copy(update={"at_least": 1})})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"abcde"))
    blocked = desk.deliver()
    assert (blocked.blocked, blocked.removed, blocked.extra, blocked.exact) == (3, 0, 3, False)
    assert len(desk.shelf.members_) == 8
    assert desk.deliver(removals=True).exact
    assert len(desk.shelf.members_) == 5


def test_strangers_beyond_the_guard_stay_until_a_person_agrees(desk):
    desk.people(*people("ann"))
    desk.deliver()
    for number in range(30):
        desk.shelf.records[f"s{number}"] = {"email": f"s{number}@y.org"}
        desk.shelf.members_.add(f"s{number}")
    report = desk.deliver()
    assert (report.blocked, report.extra, report.exact) == (30, 30, False)
    assert desk.deliver(removals=True).exact
    assert desk.shelf.emails() == {"ann@x.org"}


def test_a_person_with_a_new_key_leaves_no_old_record_on_the_list(desk):
    desk.people((1, "ann@x.org", "Lyon"))
    desk.deliver()
    desk.people((1, "ann@work.org", "Lyon"))
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@work.org"}


def test_a_field_that_no_mapping_gives_says_what_there_is(desk):
    desk.audience = desk.audience.model_copy(update={"fields": {"email": "email", "x": "shoe_size"}})
    with pytest.raises(ConfigError, match=r"field 'x' shows 'shoe_size'.*city, email"):
        desk.deliver()


def test_a_vendors_field_may_have_any_name(desk):
    odd = 'it\'s {a} "name"'
    desk.audience = desk.audience.model_copy(update={"fields": {"email": "email", odd: "city"}})
    desk.people(*people("ann"))
    assert desk.deliver().exact
    (record,) = desk.shelf.records.values()
    assert record[odd] == "Lyon"


def test_a_plan_with_consent_passes_the_guard_as_the_delivery_does(desk):
    desk.audience = desk.audience.model_copy(update={"guard": desk.audience.guard.model_copy(update={"at_least": 1})})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"abcde"))
    assert (desk.delivery.plan(desk.route).removed, desk.delivery.plan(desk.route).blocked) == (0, 3)
    agreed = desk.delivery.plan(desk.route, Consent(removals=True))
    assert (agreed.removed, agreed.blocked) == (3, 0)


def test_to_verify_changes_nothing(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.shelf.members_.pop()
    desk.shelf.members_.add("stranger")
    report = desk.verify()
    assert (report.missing, report.extra, report.exact) == (1, 1, False)
    assert len(desk.shelf.changes) == 1


def test_a_list_never_delivered_cannot_be_verified(desk):
    with pytest.raises(ConfigError, match="never delivered"):
        desk.verify()


def test_a_member_was_seen_on_the_list_before_it_counts_as_verified(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    assert desk.states() == {1: "verified", 2: "verified"}
    (row, _) = desk.members().values()
    assert row.applied_us <= row.verified_us


def test_a_refused_person_is_tried_again_when_the_mapping_or_the_key_changes(desk):
    desk.shelf.refuses["ann@x.org"] = REFUSED
    desk.people(*people("ann"))
    for change in ({}, {"key": "town"}, {"fields": {"email": "email", "town": "email"}}):
        desk.change(**change)
        desk.deliver()
        asked = len(desk.shelf.changes)
        desk.deliver()
        assert len(desk.shelf.changes) == asked
    assert asked == 3


def test_hand_edits_are_repaired_whether_or_not_somebody_looked_first(desk):
    for verified in (False, True):
        desk.people(*people("ann", "bob"))
        desk.deliver()
        desk.shelf.records["s"] = {"email": "stranger@y.org"}
        desk.shelf.members_ = {"s", desk.shelf.record("bob@x.org")}
        if verified:
            looked = desk.verify()
            assert (looked.missing, looked.extra, looked.exact) == (1, 1, False)
        assert desk.deliver().exact
        assert desk.shelf.emails() == {"ann@x.org", "bob@x.org"}


def test_a_record_merged_into_another_is_found_again_and_never_taken_off(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    old = desk.shelf.record("ann@x.org")
    desk.shelf.records["heir"] = desk.shelf.records.pop(old)
    desk.shelf.members_ = desk.shelf.members_ - {old} | {"heir"}
    desk.shelf.said.clear()
    assert desk.deliver().exact
    assert desk.members()[1].remote_id == "heir"
    assert not [call for call in desk.shelf.writes() if call.startswith("off")]


def test_a_deleted_list_stops_the_audience_until_a_person_decides(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.shelf.deleted = True
    for _ in range(2):
        with pytest.raises(ListGone, match=r"deleted; restore it, or .*switchyard deliver a --recreate-list"):
            desk.deliver()
    desk.shelf.deleted = False
    assert desk.deliver().exact
    desk.shelf.deleted = True
    desk.shelf.said.clear()
    assert desk.deliver(new_list=True).exact
    assert desk.shelf.list_id == "2"
    assert all(call.startswith("on") for call in desk.shelf.writes()), "the records are known"
    assert desk.deliver().exact


def test_who_left_before_the_list_was_recreated_is_not_taken_off_the_new_one(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.shelf.deleted = True
    desk.people(*people("ann"))
    desk.shelf.said.clear()
    assert desk.deliver(new_list=True).exact
    assert len(desk.shelf.writes()) == 1


def test_a_list_named_otherwise_in_the_configuration_is_kept_and_named(desk):
    desk.people(*people("ann"))
    desk.deliver()
    desk.change(list="M")
    report = desk.deliver()
    assert (report.list, report.exact) == ("L", True)
    assert "now names the list 'M', and 'L' is still the one" in report.notes[0]
    assert desk.delivery.plan(desk.route).notes == report.notes
    moved = desk.deliver(new_list=True)
    assert (moved.list, moved.exact, moved.notes, desk.shelf.list_id) == ("M", True, [], "2")
    assert desk.deliver().notes == []


def test_a_list_renamed_at_the_vendor_is_reported_by_its_name_and_needs_nothing(desk):
    desk.people(*people("ann"))
    desk.deliver()
    desk.shelf.name = "M"
    report = desk.deliver()
    assert (report.list, report.exact, report.notes) == ("M", True, [])
    desk.change(list="M")
    assert desk.deliver().notes == []


def test_the_guard_counts_people_who_leave_and_strangers_together(desk):
    desk.change(guard={"max_removal": 3})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"abcdef"))
    for name in ("s", "t"):
        desk.shelf.records[name] = {"email": name}
        desk.shelf.members_.add(name)
    report = desk.deliver()
    assert (report.removed, report.blocked, report.extra) == (2, 2, 2)


def test_the_guards_share_is_of_the_list_before_anybody_left(desk):
    desk.change(guard={"max_removal": "100%", "at_least": 0})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"ab"))
    for number in range(3):
        desk.shelf.records[f"s{number}"] = {"email": f"s{number}@y.org"}
        desk.shelf.members_.add(f"s{number}")
    report = desk.deliver()
    assert (report.removed, report.blocked, report.exact) == (9, 0, True)


def test_to_verify_says_how_many_removals_the_guard_would_hold_back(desk):
    desk.change(guard={"max_removal": 3})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"abcd"))
    assert desk.verify().blocked == 4
    desk.people(*people(*"abcde"))
    assert desk.verify().blocked == 0


def test_a_delivery_that_is_only_sent_reads_nothing_back_and_the_next_proves_it(desk):
    desk.people(*people("ann", "bob"))
    first = desk.delivery.send(desk.begin(), desk.route)
    assert first.exact, "the list was never read back, so it is now"
    desk.people(*people("ann"), (3, "cat@x.org", "Lyon"))
    desk.shelf.said.clear()
    sent = desk.delivery.send(desk.begin(), desk.route)
    assert (sent.added, sent.removed, sent.missing, sent.read_at, sent.exact) == (1, 1, None, None, False)
    assert "read" not in desk.shelf.said
    assert len(rows_of(desk.database, Proof)) == 1
    assert desk.deliver().exact


def test_after_a_kill_nothing_is_only_sent(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.people(*people("ann", "bob", "cat"))
    desk.die(1, unseen=True)
    desk.shelf.said.clear()
    assert desk.delivery.send(desk.begin(), desk.route).exact
    assert desk.shelf.said[0] == "read"
