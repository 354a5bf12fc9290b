"""People whom Salesforce has merged, deleted or has more of than the hub: nobody is made twice, nothing is wiped."""

from __future__ import annotations

import pytest

from switchyard.api import Member

from .conftest import add_contacts


@pytest.fixture(params=["Email", "Ext__c", "a job"])
def merged(request, open_desk):
    """A desk, its list, and the key of a contact that was merged into another: (desk, ref, winner, loser, key)."""
    by_job = request.param == "a job"
    key = "Ext__c" if by_job else request.param
    desk = open_desk(bulk_ingest_above=0 if by_job else 20_000)
    winner = desk.simulator.add("Contact", LastName="W", Email="w@x.example", Ext__c="w")
    loser = desk.simulator.add("Contact", LastName="L", Email="l@x.example", Ext__c="l")
    ref = desk.ensure(fields=(key, "Title"), key_field=key)
    desk.simulator.life.merge(winner, [loser])
    return desk, ref, winner, loser, {key: "l@x.example" if key == "Email" else "l"}


def test_the_loser_of_a_merge_is_not_made_anew(merged):
    """Its address and its external id are nobody's any more: whoever looks by them makes a second record."""
    desk, ref, winner, loser, key = merged
    member = Member("p", loser, {**key, "Title": "x"})
    done = desk.deliver(ref, upsert=[member], add=[member])
    assert (done.upserted, done.added, done.codes) == ({"p": winner}, {"p"}, {})
    assert desk.simulator.row(winner)["Title"] == "x"
    assert (desk.simulator.row(winner)["Email"], desk.simulator.row(winner)["Ext__c"]) == ("w@x.example", "w")
    assert len([row for row in desk.simulator.store["Contact"].rows.values() if not row["IsDeleted"]]) == 1


def test_what_the_winner_itself_is_to_be_stays(merged):
    desk, ref, winner, loser, key = merged
    own = {name: desk.simulator.row(winner)[name] for name in key}
    members = [Member("l", loser, {**key, "Title": "loser"}), Member("w", winner, {**own, "Title": "winner"})]
    done = desk.deliver(ref, upsert=members)
    for ticket in done.tickets:
        desk.polled(ref, ticket)
    assert done.upserted["l"] == winner
    assert desk.simulator.row(winner)["Title"] == "winner"


def test_merges_are_followed_onward_and_to_those_that_live(desk):
    ids = add_contacts(desk, 3)
    desk.simulator.life.merge(ids[1], [ids[0]])
    desk.simulator.life.merge(ids[2], [ids[1]])
    ref = desk.ensure(fields=("Email", "Title"))
    member = Member("p", ids[0], {"Email": "c0@x.example", "Title": "x"})
    assert desk.deliver(ref, upsert=[member]).upserted == {"p": ids[2]}
    desk.simulator.life.delete(ids[2])
    done = desk.deliver(ref, upsert=[member])
    assert done.upserted["p"] not in ids


def test_a_record_that_has_another_external_id_by_now_stays_one(desk):
    """Found by its old key alone, the person would be made a second time."""
    known = desk.simulator.add("Contact", LastName="A", Ext__c="old")
    ref = desk.ensure(fields=("Ext__c",), key_field="Ext__c")
    done = desk.deliver(ref, upsert=[Member("p", known, {"Ext__c": "new", "Title": "x"})])
    assert done.upserted == {"p": known}
    assert desk.simulator.row(known)["Ext__c"] == "new"


def test_an_external_id_that_went_over_to_another_record_is_followed(desk):
    known = desk.simulator.add("Contact", LastName="A", Ext__c="other")
    other = desk.simulator.add("Contact", LastName="B", Ext__c="e1")
    ref = desk.ensure(fields=("Ext__c",), key_field="Ext__c")
    done = desk.deliver(ref, upsert=[Member("p", known, {"Ext__c": "e1", "Title": "x"})])
    assert done.upserted == {"p": other}
    assert desk.simulator.row(known)["Ext__c"] == "other"


@pytest.mark.parametrize("key", ["Email", "Ext__c", "a job"])
def test_a_name_that_the_hub_does_not_know_is_not_wiped(open_desk, key):
    """Clearing a required field is refused, and the default for new people would overwrite the name that is there."""
    desk = open_desk(bulk_ingest_above=0 if key == "a job" else 20_000)
    field = "Email" if key == "Email" else "Ext__c"
    known = desk.simulator.add("Contact", LastName="Hopper", Email="g@x.example", Ext__c="g@x.example")
    ref = desk.ensure(fields=(field, "LastName", "Title"), key_field=field)
    members = [
        Member(each, None, {field: f"{each}@x.example", "LastName": None, "Title": "x"}) for each in ("g", "new")
    ]
    done = desk.deliver(ref, upsert=members)
    receipts = [receipt for ticket in done.tickets for receipt in desk.polled(ref, ticket)]
    made = {key: value for receipt in receipts for key, value in receipt.upserted.items()} | done.upserted
    assert (done.codes, made["g"]) == ({}, known)
    assert desk.simulator.row(known)["LastName"] == "Hopper"
    assert desk.simulator.row(known)["Title"] == "x"
    assert desk.simulator.row(made["new"])["LastName"] == "[not provided]"
