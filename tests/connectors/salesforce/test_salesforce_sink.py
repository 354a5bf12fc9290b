"""Campaigns as lists: people written, put on and taken off, row by row."""

from __future__ import annotations

import csv
import io
from math import ceil

import pytest

from switchyard.api import ConfigError, Member, PermanentError, RemoteList
from switchyard.api.errors import ListGone
from switchyard.api.http import UnknownOutcome
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.salesforce.simulator_writes import RowRule

from .conftest import Delivery, add_contacts

_KEYS = {"Ext__c": "external id", "Email": "address"}


def by_external_id(count: int, start: int = 0, **fields: object) -> list[Member]:
    return [
        Member(f"p{each}", fields={"Ext__c": f"e{each}", "LastName": f"L{each}", **fields})
        for each in range(start, start + count)
    ]


def refuse(desk, code: str, times: int, **match: object) -> None:
    desk.simulator.writes.rules.append(RowRule(match.pop("object", "Contact"), code, "", match, times))


# The list


def test_a_campaign_is_found_by_its_name_or_made_with_its_status(open_desk):
    desk = open_desk(member_status="Invited")
    ref = desk.ensure("Spring 'n' \\ more")
    assert ref.created
    assert desk.ensure("Spring 'n' \\ more").id == ref.id
    labels = [row["Label"] for row in desk.simulator.store["CampaignMemberStatus"].rows.values()]
    assert labels.count("Invited") == 1
    desk.deliver(ref, add=[Member("p", add_contacts(desk, 1)[0])])
    (member,) = desk.simulator.members.of(ref.id)
    assert member["Status"] == "Invited"


def test_a_known_campaign_takes_one_call(desk):
    ref = desk.ensure()
    calls = desk.calls(lambda: desk.sink.ensure(RemoteList("vip", "Email", ("Email",)), ref.id))
    assert calls == ["GET sobjects/{object}/{id}"]


def test_another_status_is_made_on_a_known_campaign_too(desk):
    """One that a campaign lacks silently becomes the default one."""
    ref = desk.ensure()
    desk.config = desk.config.model_copy(update={"member_status": "Invited"})
    desk.restart()
    desk.sink.ensure(RemoteList("vip", "Email", ("Email",)), ref.id)
    desk.deliver(ref, add=[Member("p", add_contacts(desk, 1)[0])])
    assert [member["Status"] for member in desk.simulator.members.of(ref.id)] == ["Invited"]


def test_two_lists_of_one_sink_keep_their_keys(desk):
    first, second = desk.ensure("one", ("Ext__c", "LastName"), "Ext__c"), desk.ensure("two")
    done = desk.deliver(first, upsert=by_external_id(1))
    assert desk.simulator.row(done.upserted["p0"])["Ext__c"] == "e0"
    assert desk.deliver(second, upsert=[Member("q", fields={"Email": "q@x.example"})]).codes == {}


@pytest.mark.parametrize("how", ["delete", "hard_delete"])
def test_a_campaign_that_was_deleted_is_gone(desk, how):
    ref = desk.ensure()
    getattr(desk.simulator.life, how)(ref.id)
    with pytest.raises(ListGone, match="recycle bin"):
        desk.sink.ensure(RemoteList("vip", "Email", ()), ref.id)
    with pytest.raises(ListGone):
        desk.deliver(ref, add=[Member("p", add_contacts(desk, 1)[0])])


def test_two_campaigns_of_one_name_are_a_persons_business(desk):
    for _ in range(2):
        desk.simulator.add("Campaign", Name="vip")
    with pytest.raises(PermanentError, match="several campaigns"):
        desk.ensure()


def test_a_campaign_whose_making_was_not_answered_is_found_by_the_next_run(desk):
    desk.simulator.script("POST", "sobjects/Campaign$", [Fault(drop="after")])
    with pytest.raises(UnknownOutcome):
        desk.ensure()
    assert not desk.ensure().created
    assert len(desk.simulator.store["Campaign"].rows) == 1


def test_a_name_longer_than_a_campaigns_is_refused(desk):
    with pytest.raises(ConfigError, match="80 characters"):
        desk.ensure("x" * 81)


def test_fields_that_cannot_be_written_or_recognised_are_named(desk):
    with pytest.raises(PermanentError, match=r"no field Nope__c, SystemModstamp that"):
        desk.ensure(fields=("Email", "SystemModstamp", "Nope__c"))
    with pytest.raises(PermanentError, match="no external id LastName"):
        desk.ensure(key_field="LastName")


# Who is written


def test_people_are_looked_up_by_address_and_made_where_there_are_none(desk, people):
    (known,) = add_contacts(desk, 1)
    ref = desk.ensure(fields=("Email", "Title"))
    member = Member("known", fields={"Email": "C0@X.example", "Title": "Dr"})
    done = desk.deliver(ref, upsert=[member, *people(2, Title="x")], add=[Member("known"), Member("p0")])
    assert done.upserted["known"] == known
    assert desk.simulator.row(known)["Title"] == "Dr"
    assert desk.simulator.row(done.upserted["p0"])["LastName"] == "[not provided]"
    assert done.added == {"known", "p0"}
    assert desk.held(ref) == {known, done.upserted["p0"]}


def test_whoever_is_there_and_has_nothing_to_write_is_not_written(desk):
    (known,) = add_contacts(desk, 1)
    ref = desk.ensure()
    member = Member("k", fields={"Email": "c0@x.example"})
    calls = desk.calls(lambda: desk.deliver(ref, upsert=[member], add=[member]))
    assert calls == ["POST composite", "POST composite"]
    assert desk.held(ref) == {known}


def test_of_several_with_one_address_the_oldest_is_taken(desk, clock):
    old = desk.simulator.add("Contact", LastName="A", Email="a@x.example")
    clock.advance(60)
    desk.simulator.add("Contact", LastName="B", Email="a@x.example")
    done = desk.deliver(desk.ensure(), upsert=[Member("k", fields={"Email": "a@x.example"})])
    assert done.upserted == {"k": old}


def test_more_than_two_hundred_addresses_are_all_found(desk):
    """A look-up of many must not end at a page."""
    desk.simulator.queries.page = 200
    ids = add_contacts(desk, 450)
    members = [Member(f"k{each}", fields={"Email": f"c{each}@x.example"}) for each in range(450)]
    done = desk.deliver(desk.ensure(), upsert=members)
    assert done.upserted == {f"k{each}": ids[each] for each in range(450)}


def test_who_is_known_by_id_is_not_looked_up_and_may_change_the_address(desk):
    (known,) = add_contacts(desk, 1)
    ref = desk.ensure()
    calls = desk.calls(lambda: desk.deliver(ref, upsert=[Member("k", known, {"Email": "new@x.example"})]))
    assert calls == ["POST composite"]
    assert desk.simulator.row(known)["Email"] == "new@x.example"


def test_who_was_known_and_is_deleted_is_looked_for_anew(desk, people):
    (known,) = add_contacts(desk, 1)
    desk.simulator.life.delete(known)
    done = desk.deliver(desk.ensure(), upsert=[Member("p0", known, people(1)[0].fields)])
    assert done.upserted["p0"] != known
    assert not done.codes


def test_an_external_id_creates_and_updates_in_one_call(desk):
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    first = desk.deliver(ref, upsert=by_external_id(3))
    calls = []
    calls += desk.calls(lambda: calls.append(desk.deliver(ref, upsert=by_external_id(3, Title="x")).upserted))
    assert calls == [first.upserted, "POST composite"]
    assert {row["Title"] for row in desk.simulator.store["Contact"].rows.values()} == {"x"}


def test_defaults_are_for_new_people_alone(desk):
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "Title"))
    known = desk.simulator.add("Contact", LastName="Hopper", Ext__c="e0")
    members = [Member(f"p{each}", fields={"Ext__c": f"e{each}", "Title": "x"}) for each in range(2)]
    done = desk.deliver(ref, upsert=members)
    assert desk.simulator.row(known)["LastName"] == "Hopper"
    assert desk.simulator.row(done.upserted["p1"])["LastName"] == "[not provided]"


def test_without_a_default_a_required_field_is_missed(open_desk):
    desk = open_desk(defaults={})
    done = desk.deliver(desk.ensure(), upsert=[Member("p", fields={"Email": "a@x.example"})])
    assert done.codes == {"p": "REQUIRED_FIELD_MISSING"}
    assert not done.retryable


def test_two_rows_for_one_person_never_meet_in_a_call(desk):
    members = [Member("a", fields={"Email": "A@x.example"}), Member("b", fields={"Email": "a@x.example "})]
    done = desk.deliver(desk.ensure(), upsert=[*members, Member("c", fields={"Email": " "})])
    assert done.codes == {"a": "duplicate_key", "c": "missing_key"}
    assert set(done.upserted) == {"b"}


def test_two_keys_of_one_record_are_written_once(desk):
    (known,) = add_contacts(desk, 1)
    first = Member("a", known, {"Email": "new@x.example", "Title": "x"})
    second = Member("b", known, {"Email": "other@x.example", "Title": "y"})
    done = desk.deliver(desk.ensure(fields=("Email", "Title")), upsert=[first, second])
    assert done.upserted == {"a": known, "b": known}
    assert desk.simulator.row(known)["Title"] == "x"


@pytest.mark.parametrize("key", ["Email", "Ext__c"])
@pytest.mark.parametrize("value", ["@{r0[0].id}", "x @{nobody.knows} y"])
def test_a_value_that_looks_like_a_reference_is_a_value(desk, key, value):
    """In a composite call it would stand for another answer, or fail the 200 rows around it."""
    ref = desk.ensure(key_field=key, fields=(key, "LastName", "Title"))
    fields = {"LastName": "A", "Title": value}
    members = [Member(f"p{each}", fields={key: f"p{each}@x.example", **fields}) for each in range(250)]
    done = desk.deliver(ref, upsert=members)
    assert (len(done.upserted), done.codes) == (250, {})
    assert {desk.simulator.row(each)["Title"] for each in done.upserted.values()} == {value}


def test_one_refused_row_hides_no_other_and_an_id_is_no_success(desk):
    """From v53 on a failed row may carry the id of its record."""
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    members = by_external_id(250)
    desk.deliver(ref, upsert=members[:10])
    refuse(desk, "FIELD_CUSTOM_VALIDATION_EXCEPTION", 10**6, Ext__c="e3")
    done = desk.deliver(ref, upsert=members, add=members)
    assert done.codes == {"p3": "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
    assert len(done.upserted) == len(done.added) == 249


def test_an_external_id_of_two_records_is_refused_for_good(desk):
    """HTTP 300 of a single upsert: whom it means is for identity to say."""
    for _ in range(2):
        desk.simulator.add("Contact", LastName="A", Code__c="c1")
    ref = desk.ensure(key_field="Code__c", fields=("Code__c",))
    done = desk.deliver(ref, upsert=[Member("p", fields={"Code__c": "c1", "Title": "x"})])
    assert not done.upserted
    assert not done.retryable
    assert "p" in done.codes


def test_null_clears_and_what_is_absent_stays(desk):
    """A batch of rows with different fields must not wipe what some of them do not have."""
    first, second = add_contacts(desk, 2, Title="old", Phone="1")
    ref = desk.ensure(fields=("Email", "Title", "Phone"))
    one = Member("a", fields={"Email": "c0@x.example", "Title": None})
    two = Member("b", fields={"Email": "c1@x.example", "Phone": ""})
    desk.deliver(ref, upsert=[one, two])
    assert (desk.simulator.row(first)["Title"], desk.simulator.row(first)["Phone"]) == (None, "1")
    assert (desk.simulator.row(second)["Title"], desk.simulator.row(second)["Phone"]) == ("old", None)


def test_locked_rows_alone_are_sent_again_with_growing_waits(desk):
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    refuse(desk, "UNABLE_TO_LOCK_ROW", 3, Ext__c="e1")
    since = desk.simulator.journal.total
    done = desk.deliver(ref, upsert=by_external_id(5))
    assert len(done.upserted) == 5
    bodies = [call.json() for call in desk.simulator.calls("POST", "composite$", since=since)]
    sizes = [len(body["compositeRequest"][0]["body"]["records"]) for body in bodies]
    assert sizes == [5, 1, 1, 1]
    assert [bound / 2 <= wait <= bound for wait, bound in zip(desk.waits, (2, 4, 8), strict=True)] == [True] * 3


def test_rows_that_stay_locked_may_be_tried_later(open_desk):
    desk = open_desk(lock_retries=2)
    refuse(desk, "UNABLE_TO_LOCK_ROW", 10**6)
    done = desk.deliver(desk.ensure(), upsert=[Member("p", fields={"Email": "a@x.example"})])
    assert done.codes == {"p": "UNABLE_TO_LOCK_ROW"}
    assert done.retryable == {"p"}
    assert len(desk.waits) == 2


@pytest.mark.parametrize("allowed", [False, True])
def test_duplicate_rules_are_passed_over_only_where_that_is_wanted(open_desk, allowed):
    desk = open_desk(allow_duplicates=allowed)
    desk.simulator.find_duplicates("Contact", "Email", blocks=False)
    add_contacts(desk, 1)
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "Email"))
    done = desk.deliver(ref, upsert=by_external_id(1, Email="c0@x.example"))
    assert done.codes == ({} if allowed else {"p0": "DUPLICATES_DETECTED"})


def test_a_converted_lead_is_its_contact(open_desk):
    """Whom the org has made a contact is not refused: the contact is put on the campaign."""
    desk = open_desk(people="Lead")
    lead = desk.simulator.add("Lead", LastName="A", Company="B", Ext__c="e1")
    desk.simulator.life.convert_lead(lead)
    contact = desk.simulator.row(lead)["ConvertedContactId"]
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "Title"))
    member = Member("p", fields={"Ext__c": "e1", "Title": "x"})
    done = desk.deliver(ref, upsert=[member], add=[member])
    assert not done.codes
    assert done.upserted == {"p": contact}
    assert desk.held(ref) == {contact}


def test_a_converted_lead_that_is_looked_up_is_its_contact_from_then_on(open_desk):
    desk = open_desk(people="Lead")
    lead = desk.simulator.add("Lead", LastName="A", Company="B", Email="a@x.example")
    desk.simulator.life.convert_lead(lead)
    contact = desk.simulator.row(lead)["ConvertedContactId"]
    ref = desk.ensure(fields=("Email", "Title"))
    for known in (None, contact):
        member = Member("p", known, {"Email": "a@x.example", "Title": "x"})
        done = desk.deliver(ref, upsert=[member], add=[member])
        assert (done.upserted, done.added, done.codes) == ({"p": contact}, {"p"}, {})
    assert desk.held(ref) == {contact}
    assert len(desk.simulator.store["Lead"].rows) == 1


def test_leads_are_members_as_contacts_are(open_desk, people):
    desk = open_desk(people="Lead")
    ref = desk.ensure()
    done = desk.deliver(ref, upsert=people(3), add=people(3))
    assert all(person.startswith("00Q") for person in done.upserted.values())
    assert desk.held(ref) == set(done.upserted.values())
    lead = done.upserted["p0"]
    desk.deliver(ref, remove=[Member("p0", lead)])
    assert lead not in desk.held(ref)


@pytest.mark.parametrize("key", ["Email", "Ext__c"])
def test_whom_the_hub_knows_as_a_lead_is_its_contact_once_it_is_converted(open_desk, key):
    """A converted lead can neither be written nor be put on a campaign any more."""
    desk = open_desk(people="Lead")
    ref = desk.ensure(fields=(key, "Title"), key_field=key)
    lead = desk.simulator.add("Lead", LastName="A", Company="B", Email="old@x.example", Ext__c="old")
    desk.deliver(ref, add=[Member("p", lead)])
    contact = desk.simulator.life.convert_lead(lead)
    assert desk.held(ref) == {contact}
    desk.simulator.life.remove_members(ref.id, [contact])
    assert desk.deliver(ref, add=[Member("p", lead)]).retryable == {"p"}
    member = Member("p", lead, {key: "new@x.example", "Title": "x"})
    done = desk.deliver(ref, upsert=[member], add=[member])
    assert (done.upserted, done.added, done.codes) == ({"p": contact}, {"p"}, {})
    assert desk.held(ref) == {contact}
    assert len(desk.simulator.store["Lead"].rows) == 1


# Who is on


def test_who_is_on_already_and_who_is_off_already_are_done(desk):
    """DUPLICATE_VALUE and a membership that is not there are what was wanted."""
    first, second = add_contacts(desk, 2)
    ref = desk.ensure()
    for _ in range(2):
        done = desk.deliver(ref, add=[Member("a", first)])
        assert done == Delivery({}, frozenset({"a"}), frozenset(), {}, frozenset(), ())
    for _ in range(2):
        done = desk.deliver(ref, remove=[Member("a", first), Member("b", second)])
        assert done.removed == {"a", "b"}
    assert desk.held(ref) == set()
    assert not desk.simulator.row(first)["IsDeleted"]


def test_a_membership_that_somebody_else_removed_meanwhile_is_off(desk):
    (person,) = add_contacts(desk, 1)
    ref = desk.ensure()
    desk.deliver(ref, add=[Member("a", person)])
    (member,) = desk.simulator.members.of(ref.id)
    calls = desk.simulator.journal.total
    desk.simulator.at_call(calls + 2, lambda: desk.simulator.life.delete(member["Id"]))
    assert desk.deliver(ref, remove=[Member("a", person)]).removed == {"a"}


def test_somebody_who_is_no_more_is_refused_and_may_come_again(desk):
    gone, here = add_contacts(desk, 2)
    desk.simulator.life.delete(gone)
    ref = desk.ensure()
    done = desk.deliver(ref, add=[Member("gone", gone), Member("here", here), Member("odd", "001000000000001AAA")])
    assert done.added == {"here"}
    assert done.codes == {"gone": "record_missing", "odd": "record_missing"}
    assert done.retryable == {"gone", "odd"}


def test_one_who_is_removed_and_added_under_another_key_stays(desk):
    (person,) = add_contacts(desk, 1)
    ref = desk.ensure()
    desk.deliver(ref, add=[Member("old", person)])
    done = desk.deliver(ref, add=[Member("new", person)], remove=[Member("old", person)])
    assert (done.added, done.removed) == ({"new"}, {"old"})
    assert desk.held(ref) == {person}


def test_a_campaign_never_has_two_calls_in_flight(open_desk):
    """Every change of a member locks the campaign: the simulator refuses rows that another request holds."""
    desk = open_desk(concurrency=8)
    ids = add_contacts(desk, 2_500)
    ref = desk.ensure()
    desk.simulator.latency = 0.02
    done = desk.deliver(ref, add=[Member(each, each) for each in ids])
    assert len(done.added) == 2_500
    assert not desk.waits


def test_a_members_without_an_id_and_without_a_row_is_told(desk):
    done = desk.deliver(desk.ensure(), add=[Member("a")], remove=[Member("b")])
    assert done.codes == {"a": "no_record", "b": "no_record"}


def test_the_read_back_goes_on_from_any_page(desk):
    desk.simulator.queries.page = 10
    ids = add_contacts(desk, 25)
    ref = desk.ensure()
    desk.deliver(ref, add=[Member(each, each) for each in ids])
    pages = list(desk.sink.members(ref, None))
    assert len(pages) == 3
    rest = [row["remote_id"] for page in desk.sink.members(ref, pages[0].cursor) for row in page.records]
    assert sorted([row["remote_id"] for row in pages[0].records] + rest) == sorted(ids)


# Calls

_EDGES = [1, 199, 200, 201, 999, 1_000, 1_001]


@pytest.mark.parametrize("count", _EDGES)
def test_upserts_by_external_id_take_one_call_for_a_thousand(desk, count):
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    calls = desk.calls(lambda: desk.deliver(ref, upsert=by_external_id(count)))
    assert len(calls) == ceil(count / 1_000)


@pytest.mark.parametrize("count", [*_EDGES, pytest.param(5_001, marks=pytest.mark.slow)])
def test_delivering_takes_the_calls_that_are_reckoned(desk, people, count):
    """Adding ⌈N/1000⌉, removing ⌈N/5000⌉ look-ups and ⌈N/1000⌉ deletions, reading back ⌈N/2000⌉."""
    members = people(count)
    ref = desk.ensure()
    done = []
    calls = desk.calls(lambda: done.append(desk.deliver(ref, upsert=members, add=members)))
    calls += desk.calls(lambda: desk.held(ref))
    assert len(calls) == desk.sink.calls(count, count, 0, count)
    leaving = [Member(key, person) for key, person in done[0].upserted.items()]
    calls = desk.calls(lambda: desk.deliver(ref, remove=leaving))
    assert len(calls) == ceil(count / 5_000) + ceil(count / 1_000)
    assert len(calls) + 1 == desk.sink.calls(0, 0, count, 0)


def test_no_change_is_no_call(desk):
    ref = desk.ensure()
    assert desk.calls(lambda: desk.deliver(ref)) == []


@pytest.mark.slow
def test_fifty_thousand_take_as_many_calls_as_reckoned(desk):
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    desk.config = desk.config.model_copy(update={"bulk_ingest_above": 10**9})
    desk.restart()
    ref = desk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    members = by_external_id(50_000)
    calls = desk.calls(lambda: desk.deliver(ref, upsert=members, add=members))
    assert len(calls) == 100
    assert len(desk.calls(lambda: desk.held(ref))) == 25


# Jobs


@pytest.fixture
def bulk(open_desk):
    return open_desk(bulk_ingest_above=0)


def rows_sent(desk) -> list[list[dict[str, str]]]:
    bodies = [(call.body or b"").decode() for call in desk.simulator.calls("PUT", "batches")]
    return [list(csv.DictReader(io.StringIO(body, newline=""))) for body in bodies]


def test_a_job_takes_five_calls_and_its_looks(bulk):
    """Create, put, release, successes, failures; the members come after."""
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    members = by_external_id(1_001)
    started: list[Delivery] = []
    calls = bulk.calls(lambda: started.append(bulk.deliver(ref, upsert=members, add=members)))
    assert len(calls) == 3
    (ticket,) = started[0].tickets
    receipts = []
    calls = bulk.calls(lambda: receipts.extend(bulk.polled(ref, ticket)))
    assert len(calls) == 1 + 2 + 2
    done = Delivery.of(receipts)
    assert len(done.upserted) == len(done.added) == 1_001
    assert bulk.held(ref) == set(done.upserted.values())


def test_a_job_that_is_complete_may_have_failed_rows(bulk):
    """JobComplete says nothing of rows; results come in another order than the rows."""
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    refuse(bulk, "FIELD_CUSTOM_VALIDATION_EXCEPTION", 10**6, Ext__c="e3")
    members = by_external_id(50)
    (ticket,) = bulk.deliver(ref, upsert=members, add=members).tickets
    done = Delivery.of(bulk.polled(ref, ticket))
    assert done.codes == {"p3": "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
    records = {row["Ext__c"]: row["Id"] for row in bulk.simulator.store["Contact"].rows.values()}
    assert done.upserted == {f"p{each}": records[f"e{each}"] for each in range(50) if each != 3}


def test_rows_that_no_result_names_are_told_and_tried_again(bulk):
    from switchyard.testing.simulator_jobs import JobFault

    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    bulk.simulator.jobs.script("ingest", [JobFault("InternalServerError", rows=20)])
    (ticket,) = bulk.deliver(ref, upsert=by_external_id(50)).tickets
    done = Delivery.of(bulk.polled(ref, ticket))
    assert len(done.upserted) == 20
    assert set(done.codes.values()) == {"UNPROCESSED"}
    assert len(done.retryable) == 30


def test_a_job_that_failed_says_why(bulk):
    from switchyard.testing.simulator_jobs import JobFault

    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    bulk.simulator.jobs.script("ingest", [JobFault("InvalidBatch : Field name not found : Nope__c")])
    (ticket,) = bulk.deliver(ref, upsert=by_external_id(1)).tickets
    (why,) = [why for receipt in bulk.polled(ref, ticket) for why in receipt.rejected.values()]
    assert (why.code, why.retryable) == ("UNPROCESSED", True)
    assert why.reason.endswith("InvalidBatch : Field name not found : Nope__c")


def test_locked_and_incomplete_rows_of_a_job_are_mended(bulk):
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "Title"))
    refuse(bulk, "UNABLE_TO_LOCK_ROW", 1, Ext__c="e1")
    members = [Member(f"p{each}", fields={"Ext__c": f"e{each}", "Title": None}) for each in range(5)]
    (ticket,) = bulk.deliver(ref, upsert=members, add=members).tickets
    done = Delivery.of(bulk.polled(ref, ticket))
    assert not done.codes
    assert len(done.added) == 5


def test_a_file_has_rows_of_the_same_fields_and_says_what_to_clear(bulk):
    """An empty cell leaves a field alone, #N/A clears it; a column that a row does not have would do either."""
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName", "Title"))
    members = [*by_external_id(1, 0), *by_external_id(1, 1, Title=None), *by_external_id(1, 2, Title='a "b"\nc')]
    bulk.deliver(ref, upsert=members)
    without, having = sorted(rows_sent(bulk), key=len)
    assert [sorted(row) for row in without] == [["Ext__c", "LastName"]]
    assert [row["Title"] for row in having] == ["#N/A", 'a "b"\nc']
    bodies = [call.body or b"" for call in bulk.simulator.calls("PUT", "batches")]
    assert not any(b"\r" in body for body in bodies)


def test_a_job_is_asked_for_again_after_a_restart(bulk):
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    members = by_external_id(5)
    bulk.simulator.jobs.takes = 60
    (ticket,) = bulk.deliver(ref, upsert=members, add=members).tickets
    assert list(bulk.sink.poll(ref, ticket))[-1].ticket == ticket
    bulk.restart()
    bulk.clock.advance(60)
    done = Delivery.of(bulk.polled(ref, ticket))
    assert len(done.added) == 5


def test_a_job_that_was_never_released_begins_when_it_is_asked_for(bulk):
    """The hub has the ticket before the job begins: a kill in between loses nothing."""
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    from switchyard.api import ListChanges

    receipts = bulk.sink.apply(ref, ListChanges("1", upsert=by_external_id(5)))
    ticket = next(receipts).ticket
    receipts.close()
    bulk.restart()
    assert len(Delivery.of(bulk.polled(ref, ticket)).upserted) == 5


def test_a_job_whose_file_is_refused_is_aborted(bulk):
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    bulk.simulator.script("PUT", "batches", [Answer(400, [{"errorCode": "INVALIDJOB", "message": "x"}])])
    with pytest.raises(PermanentError, match="INVALIDJOB"):
        bulk.deliver(ref, upsert=by_external_id(5))
    assert [job.state for job in bulk.simulator.jobs.all("ingest")] == ["Aborted"]


def test_a_ticket_of_another_machine_is_left_to_the_read_back(bulk):
    ref = bulk.ensure(key_field="Ext__c", fields=("Ext__c", "LastName"))
    for ticket in ("7505g0000000001AAA", "../../etc/passwd"):
        with pytest.raises(PermanentError, match="bulk job"):
            list(bulk.sink.poll(ref, ticket))


def test_people_known_by_their_address_never_go_through_jobs(bulk, people):
    """A job finds people by an external id alone."""
    done = bulk.deliver(bulk.ensure(), upsert=people(5))
    assert not done.tickets
    assert len(done.upserted) == 5
