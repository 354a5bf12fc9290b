from __future__ import annotations

import math

import pytest

from switchyard.api import ListSink, Member, PermanentError, RemoteList, TransientError
from switchyard.api.connectors import Checkable, Costed
from switchyard.api.errors import ListGone
from switchyard.api.http import UnknownOutcome
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.hubspot.simulator import Account

UPSERT = "POST /crm/objects/2026-03/contacts/batch/upsert"
CHANGE = "PUT /crm/lists/2026-03/{list_id}/memberships/add-and-remove"
PROPERTIES = "GET /crm/properties/2026-03/{object_type}"
READ = "GET /crm/lists/2026-03/{list_id}/memberships"


def test_it_is_a_checkable_list_sink(desk):
    assert isinstance(desk.sink, ListSink)
    assert isinstance(desk.sink, Checkable)
    assert desk.calls(desk.sink.check) == ["GET /crm/properties/2026-03/{object_type}/{name}"]


@pytest.mark.parametrize("api", ["v3", "2026-03", "2026-09"])
def test_every_version_delivers_and_reads_back(open_desk, people, api):
    desk = open_desk(api=api)
    ref = desk.ensure(fields=("email", "city"))
    done = desk.deliver(ref, upsert=people(3, city="Graz"), add=people(3))
    assert done.added == {"p0", "p1", "p2"}
    assert desk.held(ref) == set(done.upserted.values())
    assert all(api in call.path for call in desk.simulator.calls())


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1_000, 1_001])
def test_new_members_take_the_fewest_calls(desk, people, count):
    ref = desk.ensure()
    members = people(count)
    calls = desk.calls(lambda: desk.deliver(ref, upsert=members, add=members))
    assert calls.count(UPSERT) == math.ceil(count / 100)
    assert calls.count(CHANGE) == math.ceil(count / 1_000)
    assert len(calls) == calls.count(UPSERT) + calls.count(CHANGE)
    assert len(desk.held(ref)) == count


def test_adding_and_removing_share_their_calls(open_desk, people):
    desk = open_desk(membership_batch=10)
    ref = desk.ensure()
    first = desk.deliver(ref, upsert=people(15), add=people(15))
    leaving = [Member(key, remote_id) for key, remote_id in first.upserted.items()]
    coming = [Member(f"n{each}", desk.simulator.contacts.add({"email": f"n{each}@x.example"}).id) for each in range(6)]
    calls = desk.calls(lambda: desk.deliver(ref, add=coming, remove=leaving))
    assert calls == [CHANGE] * 3
    assert desk.held(ref) == {member.remote_id for member in coming}


def test_members_are_read_back_250_at_a_time_and_from_any_page_on(desk):
    ref = desk.ensure()
    ids = [desk.simulator.contacts.add({"email": f"m{each}@x.example"}).id for each in range(501)]
    desk.simulator.lists.put_on(ref.id, ids)
    assert desk.calls(lambda: desk.held(ref)) == [READ] * 3
    pages = list(desk.sink.members(ref, None))
    assert [row["remote_id"] for page in pages for row in page.records] == ids
    for done, page in enumerate(pages, start=1):
        rest = [row["remote_id"] for later in desk.sink.members(ref, page.cursor) for row in later.records]
        assert rest == ids[done * 250 :]


def test_nobody_on_the_list_is_one_empty_page(desk):
    (page,) = desk.sink.members(desk.ensure(), None)
    assert page.records == []


def test_the_list_is_found_by_name_or_created_once(desk):
    assert desk.ensure("a/b, ü").created
    again = desk.ensure("a/b, ü")
    assert not again.created
    assert [entry.name for entry in desk.simulator.lists.lists.values()] == ["a/b, ü"]
    renamed = desk.simulator.lists.add("old name")
    desk.simulator.lists.rename(renamed.id, "new name")
    assert desk.sink.ensure(RemoteList("old name", "email"), renamed.id).name == "new name"


def test_a_known_list_costs_one_call_and_its_properties_another_when_rows_are_written(desk, people):
    wanted = RemoteList("vip", "email", ("email", "rfm_cell"))
    known = desk.ensure().id
    calls = desk.calls(lambda: desk.sink.ensure(wanted, known))
    assert calls == ["GET /crm/lists/2026-03/{list_id}"]
    ref = desk.sink.ensure(wanted, known)
    assert desk.calls(lambda: desk.deliver(ref, remove=[Member("p", "101")])) == [CHANGE]
    rows = people(2, rfm_cell="55")
    first, second = (desk.calls(lambda: desk.deliver(ref, upsert=rows)) for _ in range(2))
    assert (first[0], first[1].rpartition("/")[2], first[2:]) == (PROPERTIES, "create", [UPSERT])
    assert second == [UPSERT]


def test_a_property_of_a_known_list_that_hubspot_sets_itself_stops_before_the_first_write(desk, people):
    wanted = RemoteList("vip", "email", ("email", "createdate"))
    ref = desk.sink.ensure(wanted, desk.ensure().id)
    for _ in range(2):
        with pytest.raises(PermanentError, match="createdate"):
            desk.deliver(ref, upsert=people(1))
    assert not desk.simulator.contacts.records


@pytest.mark.parametrize("batch", [1_000, 7])
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 249, 250, 251, 500])
def test_a_run_makes_the_calls_that_it_is_said_to_take(open_desk, people, count, batch):
    desk = open_desk(membership_batch=batch)
    assert isinstance(desk.sink, Costed)
    stays = [desk.simulator.contacts.add({"email": f"s{each}@x.example"}).id for each in range(3)]
    known = desk.ensure().id
    desk.simulator.lists.put_on(known, stays)
    gone = [Member(f"g{each}", record_id) for each, record_id in enumerate(stays[:2])]
    members = people(count, city="Graz")

    def run():
        ref = desk.sink.ensure(RemoteList("vip", "email", ("email", "city")), known)
        desk.deliver(ref, upsert=members, add=members, remove=gone)
        assert len(desk.held(ref)) == count + 1

    fixed = 2 if count else 1
    assert len(desk.calls(run)) == fixed + desk.sink.calls(count, count, len(gone), count + 1)


def test_a_run_without_changes_takes_the_list_and_its_pages(desk):
    known = desk.ensure().id
    calls = desk.calls(lambda: desk.held(desk.sink.ensure(RemoteList("vip", "email", ("email", "city")), known)))
    assert len(calls) == 1 + desk.sink.calls(0, 0, 0, 0) == 2


def test_a_name_taken_at_the_last_moment_is_the_list(desk):
    desk.simulator.script("POST", "/crm/lists", [Fault(call=lambda: desk.simulator.lists.add("vip"))])
    assert not desk.ensure("vip").created


def test_missing_properties_are_made_in_one_call_with_the_first_rows_and_of_their_values_type(desk, people):
    ref = desk.ensure(fields=("email", "city", "rfm_cell", "lifetime_value", "is_vip", "born", "seen", "nothing"))
    given = {"lifetime_value": 12.5, "is_vip": True, "born": "1990-05-01", "seen": "2026-05-01T10:00:00Z"}
    members = [*people(1, city=None, rfm_cell=["a", "b"], **given), *people(1, start=1, rfm_cell="c", lifetime_value=3)]
    calls = desk.calls(lambda: desk.deliver(ref, upsert=members))
    assert [call.partition("}")[2] for call in calls if "properties" in call] == ["/batch/create"]
    known = desk.simulator.properties.known
    types = {name: known[name]["type"] for name in (*given, "rfm_cell", "nothing")}
    assert types == {
        "lifetime_value": "number",
        "is_vip": "bool",
        "born": "date",
        "seen": "datetime",
        "rfm_cell": "string",
        "nothing": "string",
    }
    again = desk.calls(lambda: desk.deliver(desk.ensure(fields=("email", "rfm_cell")), upsert=members))
    assert not [call for call in again if "batch/create" in call]
    stored = desk.simulator.contacts.find("email", "p0@x.example").properties
    assert (stored["lifetime_value"], stored["rfm_cell"], stored["is_vip"]) == ("12.5", "a;b", "true")


def test_a_whole_number_that_hubspots_numbers_cannot_hold_becomes_a_text(desk, people):
    desk.deliver(desk.ensure(fields=("email", "card", "points")), upsert=people(1, card=2**53 + 1, points=2**53))
    known = desk.simulator.properties.known
    assert (known["card"]["type"], known["points"]["type"]) == ("string", "number")
    assert desk.simulator.contacts.find("email", "p0@x.example").properties["card"] == "9007199254740993"


def test_an_instant_names_its_zone_where_hubspot_holds_one(desk, people):
    """The hub's instants are in UTC and do not say so. A text that looks like one stays as it is."""
    desk.simulator.properties.define({"name": "seen", "type": "datetime"})
    desk.simulator.properties.define({"name": "note", "type": "string"})
    given = {"seen": "2026-05-01T10:00:00", "first_seen": "2026-05-01T10:00:00.25", "note": "2026-05-01T10:00:00"}
    ref = desk.ensure(fields=("email", *given))
    desk.deliver(ref, upsert=[*people(1, **given), *people(1, start=1, seen="2026-05-01T12:00:00+02:00")])
    stored = desk.simulator.contacts.find("email", "p0@x.example").properties
    assert [stored[name] for name in given] == ["2026-05-01T10:00:00.000Z", "2026-05-01T10:00:00.250Z", given["note"]]
    other = desk.simulator.contacts.find("email", "p1@x.example").properties
    assert other["seen"] == "2026-05-01T12:00:00+02:00"


def test_the_configuration_says_what_type_a_property_gets(open_desk, people):
    desk = open_desk(property_types={"score": "string"})
    desk.deliver(desk.ensure(fields=("email", "score")), upsert=people(1, score=7))
    assert desk.simulator.properties.known["score"]["type"] == "string"


def test_what_exists_stays_as_it_is(desk, people):
    desk.simulator.properties.define({"name": "score", "type": "string", "label": "Ours"})
    desk.deliver(desk.ensure(fields=("email", "score")), upsert=people(1, score=7))
    assert (desk.simulator.properties.known["score"]["type"], desk.simulator.properties.known["score"]["label"]) == (
        "string",
        "Ours",
    )


def test_properties_are_not_made_where_that_is_not_wanted(open_desk):
    desk = open_desk(create_properties=False)
    with pytest.raises(PermanentError, match=r"rfm_cell.*create_properties"):
        desk.ensure(fields=("email", "rfm_cell"))


def test_a_property_made_meanwhile_is_welcome(desk, people):
    body = {"status": "error", "category": "CONFLICT", "message": "exists"}
    desk.simulator.script("POST", "/batch/create", [Answer(409, body), Fault(drop="after")])
    with pytest.raises(TransientError, match="rfm_cell"):
        desk.deliver(desk.ensure(fields=("email", "rfm_cell")), upsert=people(1, rfm_cell="a"))
    done = desk.deliver(desk.ensure(fields=("email", "rfm_cell")), upsert=people(1, rfm_cell="a"))
    assert done.upserted
    assert "rfm_cell" in desk.simulator.properties.known


def test_a_property_that_hubspot_refuses_to_make_stops_with_its_name(desk, people):
    with pytest.raises(PermanentError, match=r"Rfm-Cell.*VALIDATION_ERROR"):
        desk.deliver(desk.ensure(fields=("email", "Rfm-Cell")), upsert=people(1))


def test_a_property_that_hubspot_sets_itself_stops_before_the_first_write(desk):
    with pytest.raises(PermanentError, match="createdate"):
        desk.ensure(fields=("email", "createdate"))


def test_another_key_must_be_a_unique_property(desk):
    with pytest.raises(PermanentError, match="unique"):
        desk.ensure(fields=("email", "loyalty"), key_field="loyalty")
    desk.simulator.properties.define({"name": "loyalty", "hasUniqueValue": True})
    ref = desk.ensure(fields=("email", "loyalty"), key_field="loyalty")
    member = Member("p", fields={"email": "a@x.example", "loyalty": "C-17"})
    first = desk.deliver(ref, upsert=[member], add=[member])
    moved = Member("p", fields={"email": "b@x.example", "loyalty": "C-17"})
    assert desk.deliver(ref, upsert=[moved]).upserted == first.upserted
    assert desk.simulator.contacts.records[first.upserted["p"]].properties["email"] == "b@x.example"


def test_a_deleted_list_stops_and_is_not_made_again(desk, people):
    ref = desk.ensure()
    desk.simulator.lists.remove(ref.id)
    for action in (
        lambda: desk.sink.ensure(RemoteList("vip", "email"), ref.id),
        lambda: desk.deliver(ref, add=[Member("p", "101")]),
        lambda: desk.held(ref),
    ):
        with pytest.raises(ListGone, match="deleted in HubSpot; restore"):
            action()
    assert len(desk.simulator.lists.lists) == 1


def test_a_list_with_filters_of_its_own_is_refused(desk):
    desk.simulator.lists.add("vip", "DYNAMIC")
    with pytest.raises(PermanentError, match="DYNAMIC"):
        desk.ensure("vip")


def test_two_members_with_one_address_leave_the_later(desk):
    ref = desk.ensure()
    members = [Member("a", fields={"email": "Ann@X.example "}), Member("b", fields={"email": "ann@x.example"})]
    done = desk.deliver(ref, upsert=members, add=members)
    assert done.codes == {"a": "duplicate_key"}
    assert done.added == {"b"}


def test_members_without_address_or_record_are_refused_without_a_call(desk):
    ref = desk.ensure()
    before = desk.simulator.journal.total
    done = desk.deliver(ref, upsert=[Member("a")], add=[Member("a"), Member("b")], remove=[Member("c")])
    assert done.codes == {"a": "missing_key", "b": "no_record", "c": "no_record"}
    assert desk.simulator.journal.total == before


def test_a_member_already_there_or_already_gone_is_confirmed(desk, people):
    ref = desk.ensure()
    ids = desk.deliver(ref, upsert=people(2), add=people(1)).upserted
    done = desk.deliver(ref, add=[Member("p0", ids["p0"])], remove=[Member("p1", ids["p1"])])
    assert (done.added, done.removed, done.codes) == ({"p0"}, {"p1"}, {})


@pytest.mark.parametrize("spelling", ["recordsIdsAdded", "recordIdsAdded"])
def test_both_spellings_and_absent_parts_are_understood(desk, spelling):
    ref = desk.ensure()
    body = {spelling: ["1"], "recordIdsMissing": ["1", "2"]}
    desk.simulator.script("PUT", "add-and-remove", [Answer(200, body)])
    done = desk.deliver(ref, add=[Member("a", "1"), Member("b", "2"), Member("c", "3")])
    assert (done.added, done.codes, done.retryable) == ({"a", "c"}, {"b": "record_missing"}, {"b"})


def test_a_record_gone_from_hubspot_is_missing_when_added_and_off_the_list_when_removed(desk, people):
    ref = desk.ensure()
    ids = desk.deliver(ref, upsert=people(2), add=people(2)).upserted
    for record_id in ids.values():
        desk.simulator.contacts.archive(record_id)
    done = desk.deliver(ref, add=[Member("p0", ids["p0"])], remove=[Member("p1", ids["p1"])])
    assert done.codes == {"p0": "record_missing"}
    assert done.removed == {"p1"}


def test_a_record_merged_away_comes_back_with_the_winners_id(desk):
    ref = desk.ensure()
    contacts = desk.simulator.contacts
    winner, loser = (contacts.add({"email": f"{name}@x.example"}).id for name in ("winner", "loser"))
    winner = contacts.merge(winner, loser)
    member = Member("p", loser, {"email": "loser@x.example", "city": "Graz"})
    done = desk.deliver(ref, upsert=[member], add=[member])
    assert done.upserted == {"p": winner}
    assert desk.held(ref) == {winner}
    assert contacts.records[winner].properties["email"] == "winner@x.example"


def test_an_erased_contact_is_neither_made_again_nor_tried_again(desk):
    """A delivery that comes behind a privacy deletion: by either of its addresses, and by its id."""
    ref = desk.ensure()
    contacts = desk.simulator.contacts
    one = contacts.merge(*(contacts.add({"email": f"{name}@x.example"}).id for name in ("main", "alias")))
    contacts.erase(one)
    again = [Member(name, one, {"email": f"{name}@x.example", "city": "Graz"}) for name in ("main", "alias")]
    done = desk.deliver(ref, upsert=again, add=[*again, Member("by_id", one)])
    assert done.codes == {"main": "VALIDATION_ERROR", "alias": "VALIDATION_ERROR", "by_id": "record_missing"}
    assert done.retryable == {"by_id"}
    assert not contacts.records
    assert desk.held(ref) == set()
    assert desk.simulator.count("POST", "gdpr-delete") == 0


def test_two_members_that_hubspot_holds_as_one_record_do_not_undo_each_other(desk):
    ref = desk.ensure()
    record_id = desk.simulator.contacts.add({"email": "both@x.example"}).id
    done = desk.deliver(ref, add=[Member("new", record_id)], remove=[Member("old", record_id)])
    assert (done.added, done.removed) == ({"new"}, {"old"})
    assert desk.held(ref) == {record_id}


def test_a_lost_answer_of_a_repeatable_call_is_asked_for_again(desk, people):
    ref = desk.ensure()
    desk.simulator.script("POST", "upsert", [Fault(drop="after"), Fault(truncate=20), Fault(drop="before")])
    desk.simulator.script("PUT", "add-and-remove", [Fault(drop="after"), Answer(503)])
    done = desk.deliver(ref, upsert=people(3), add=people(3))
    assert len(done.added) == 3
    assert len(desk.simulator.contacts.records) == 3


def test_a_lost_answer_to_creating_a_list_is_not_asked_for_again(desk):
    desk.simulator.script("POST", "/crm/lists", [Fault(drop="after")])
    with pytest.raises(UnknownOutcome):
        desk.ensure()
    assert not desk.ensure().created
    assert len(desk.simulator.lists.lists) == 1


@pytest.mark.parametrize("answer", [Answer(200, "<html>sign in</html>"), Answer(200, b'{"results":['), Answer(200, [])])
def test_an_answer_that_is_no_answer_ends_the_delivery_and_claims_nothing(desk, answer):
    ref = desk.ensure()
    desk.simulator.script("PUT", "add-and-remove", [answer])
    with pytest.raises(TransientError):
        desk.deliver(ref, add=[Member("p", "101")])


def test_an_account_without_the_scope_says_which(open_desk):
    desk = open_desk(Account(tier=None, scopes=("crm.lists.read",)))
    with pytest.raises(PermanentError, match=r"lacks scopes: crm\.lists\.write"):
        desk.ensure()
