from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from switchyard.api import ListChanges, Member, PermanentError, RemoteList
from switchyard.api.errors import ListGone
from switchyard.api.http import UnknownOutcome
from switchyard.testing.simulator import Answer, Fault


def test_a_list_is_created_in_the_folder_and_found_again(desk):
    sink, wanted = desk.sink, RemoteList("vip", "email")
    made = sink.ensure(wanted, None)
    assert made.created
    assert desk.simulator.lists.named("vip").folder == 13
    assert not sink.ensure(wanted, None).created
    assert sink.ensure(wanted, made.id).id == made.id


def test_people_are_written_and_put_on_the_list(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(301)
    done = desk.deliver(sink, ref, upsert=crowd, add=crowd)
    assert done.added == done.upserted.keys() == {each.key for each in crowd}
    assert desk.held(sink, ref) == set(done.upserted.values())
    assert desk.simulator.member_emails("vip") == {each.fields["email"] for each in crowd}


def test_people_are_taken_off_and_stay_leads(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(3)
    ids = desk.deliver(sink, ref, upsert=crowd, add=crowd).upserted
    leaving = [Member("p1", ids["p1"])]
    assert desk.deliver(sink, ref, remove=leaving).removed == {"p1"}
    assert desk.held(sink, ref) == {ids["p0"], ids["p2"]}
    assert desk.simulator.people.get(int(ids["p1"])) is not None


def test_a_removal_of_whom_the_list_does_not_hold_is_done_already(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    ids = desk.deliver(sink, ref, upsert=people(1)).upserted
    assert desk.deliver(sink, ref, remove=[Member("off", ids["p0"]), Member("gone", "999999")]).removed == {
        "off",
        "gone",
    }


def test_an_addition_of_a_lead_that_is_no_more_may_be_tried_again(desk):
    sink = desk.sink
    ref = desk.ensure(sink)
    done = desk.deliver(sink, ref, add=[Member("gone", "999999")])
    assert done.codes == {"gone": "1004"}
    assert done.retryable == {"gone"}


@pytest.mark.parametrize(("part", "code"), [("add", "1004"), ("remove", "1015")])
def test_a_skipped_lead_of_a_list_without_an_id_is_known_by_its_place(desk, people, part, code):
    sink = desk.sink
    ref = desk.ensure(sink)
    ids = desk.deliver(sink, ref, upsert=people(3)).upserted
    done = "added" if part == "add" else "removed"
    rows = [{"id": int(lead), "status": done} for lead in ids.values()]
    rows[1] = {"status": "skipped", "reasons": [{"code": code, "message": "no"}]}
    method = "POST" if part == "add" else "DELETE"
    answer = Answer(200, {"requestId": "1", "success": True, "result": rows})
    desk.simulator.script(method, f"/lists/{ref.id}/leads.json", [answer])
    said = desk.deliver(sink, ref, **{part: [Member(key, lead) for key, lead in ids.items()]})
    assert said.codes == ({"p1": "1004"} if part == "add" else {})
    assert said.added | said.removed == ({"p0", "p2"} if part == "add" else {"p0", "p1", "p2"})


def test_an_answer_that_speaks_of_other_leads_is_not_taken_for_success(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    ids = desk.deliver(sink, ref, upsert=people(3)).upserted
    rows = [{"id": 7, "status": "added"}, {"id": int(ids["p1"]), "status": "failed"}, {}]
    answer = Answer(200, {"requestId": "1", "success": True, "result": rows})
    desk.simulator.script("POST", f"/lists/{ref.id}/leads.json", [answer])
    said = desk.deliver(sink, ref, add=[Member(key, lead) for key, lead in ids.items()])
    assert said.added == set()
    assert said.retryable == {"p0", "p1", "p2"}


def test_a_deleted_list_is_gone(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    desk.simulator.lists.lists.clear()
    with pytest.raises(ListGone):
        sink.ensure(RemoteList("vip", "email"), ref.id)
    with pytest.raises(ListGone):
        list(sink.members(ref, None))
    with pytest.raises(ListGone):
        list(sink.apply(ref, ListChanges("1", add=[Member("p0", "1")])))


def test_fields_that_cannot_be_written_are_named_before_any_row_is_sent(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink, fields=("email", "shoeSize"))
    with pytest.raises(PermanentError, match="shoeSize"):
        desk.deliver(sink, ref, upsert=people(1, shoeSize=42))


def test_a_custom_key_finds_people(desk):
    desk.simulator.fields.add("customerKey")
    sink = desk.sink
    ref = desk.ensure(sink, fields=("customerKey", "firstName"), key_field="customerKey")
    row = Member("a", fields={"customerKey": "K-1", "firstName": "Ann"})
    first = desk.deliver(sink, ref, upsert=[row], add=[row]).upserted
    assert desk.deliver(sink, ref, upsert=[row], add=[row]).upserted == first


def test_a_body_stays_below_one_megabyte(desk, people):
    for name in ("notes", "more"):
        desk.simulator.fields.add(name, "text")
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(300, notes="x" * 2_000, more="x" * 2_000)
    made = desk.calls(lambda: desk.deliver(sink, ref, upsert=crowd, add=crowd))
    assert made.count("POST /rest/v1/leads.json") == 2
    assert len(desk.simulator.people) == 300


def test_skipped_rows_without_an_id_are_known_by_their_place(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(5)
    crowd[1] = Member("bad", fields={"email": "no address"})
    crowd[3] = Member("none", fields={"email": None})
    done = desk.deliver(sink, ref, upsert=crowd, add=crowd)
    assert done.codes == {"bad": "1003", "none": "missing_key"}
    assert done.retryable == set()
    found = {key: desk.simulator.people.get(int(lead)).values["email"] for key, lead in done.upserted.items()}
    assert found == {key: f"{key}@x.example" for key in ("p0", "p2", "p4")}


def test_one_address_in_two_spellings_is_written_once(desk):
    sink = desk.sink
    ref = desk.ensure(sink)
    rows = [Member("a", fields={"email": "Ann@x.example"}), Member("b", fields={"email": " ann@X.example"})]
    done = desk.deliver(sink, ref, upsert=rows, add=rows)
    assert done.codes == {"a": "duplicate_key"}
    assert len(desk.simulator.people) == 1


def test_several_leads_of_one_address_are_the_vendors_reason(desk):
    for _ in range(2):
        desk.simulator.people.create({"email": "twice@x.example"})
    sink = desk.sink
    ref = desk.ensure(sink)
    row = Member("twice", fields={"email": "twice@x.example"})
    assert desk.deliver(sink, ref, upsert=[row], add=[row]).codes == {"twice": "1007"}


def test_two_deliveries_at_once_make_nobody_twice(open_desk, people):
    desk = open_desk()
    desk.simulator.latency = 0.05
    sinks = [desk.sink, desk.sink]
    refs = [desk.ensure(sink, name) for sink, name in zip(sinks, ("one", "two"), strict=True)]
    crowd = people(20)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda at: desk.deliver(sinks[at], refs[at], upsert=crowd, add=crowd), (0, 1)))
    assert len(desk.simulator.people) == 20


def test_a_lost_answer_is_not_asked_for_again_at_once(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    desk.simulator.script("POST", "/rest/v1/leads.json", [Fault(drop="after")])
    before = desk.simulator.count("POST", "/rest/v1/leads.json")
    with pytest.raises(UnknownOutcome):
        desk.deliver(sink, ref, upsert=people(1))
    assert desk.simulator.count("POST", "/rest/v1/leads.json") == before + 1


def test_a_passing_fault_of_an_upsert_is_tried_again(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    desk.simulator.script("POST", "/rest/v1/leads.json", [desk.simulator.failed("719", "Lock wait timeout exceeded")])
    assert desk.deliver(sink, ref, upsert=people(1)).upserted.keys() == {"p0"}


@pytest.mark.parametrize("code", ["502", "604"])
def test_an_upsert_that_marketo_may_still_be_at_work_on_is_not_sent_again(desk, people, code):
    sink = desk.sink
    ref = desk.ensure(sink)
    desk.simulator.script("POST", "/rest/v1/leads.json", [desk.simulator.failed(code, "Request timed out")])
    with pytest.raises(UnknownOutcome):
        desk.deliver(sink, ref, upsert=people(1))
    assert desk.simulator.count("POST", "/rest/v1/leads.json") == 1


def test_a_folder_is_found_by_its_name_or_named_by_its_id(open_desk):
    for folder in ({"id": 13}, {"name": "Group Lists"}):
        desk = open_desk(folder=folder)
        assert desk.sink.ensure(RemoteList("vip", "email"), None).created
        assert desk.simulator.lists.named("vip").folder == 13


def test_a_folder_that_is_not_there_is_named(open_desk):
    desk = open_desk(folder={"name": "Nowhere"})
    with pytest.raises(PermanentError, match="Nowhere"):
        desk.sink.ensure(RemoteList("vip", "email"), None)


def test_whoever_became_the_same_lead_as_another_stays_on_the_list(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    ids = desk.deliver(sink, ref, upsert=people(1), add=people(1)).upserted
    done = desk.deliver(sink, ref, add=[Member("new", ids["p0"])], remove=[Member("old", ids["p0"])])
    assert (done.added, done.removed) == ({"new"}, {"old"})
    assert desk.held(sink, ref) == {ids["p0"]}
