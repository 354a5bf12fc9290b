"""Bulk import: tickets, verdicts joined on our own key, what an import cannot do."""

from __future__ import annotations

import csv
import io

import pytest

from switchyard.api import Member, PermanentError
from switchyard.testing.simulator_jobs import JobFault


@pytest.fixture
def desk(open_desk):
    return open_desk(import_above=100)


def imported(desk, sink, ref, crowd, **parts):
    """Hand a crowd over, and wait for its verdicts."""
    sent = desk.deliver(sink, ref, upsert=crowd, add=crowd, **parts)
    assert len(sent.tickets) == 1
    return desk.polled(sink, ref, sent.tickets[0])


def test_many_are_imported_and_put_on_the_list_by_one_job(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(350)
    done = imported(desk, sink, ref, crowd)
    assert done.added == done.upserted.keys() == {each.key for each in crowd}
    assert desk.held(sink, ref) == set(done.upserted.values())
    assert desk.simulator.count("POST", "/rest/v1/leads.json") == 0


def test_a_job_at_work_gives_its_ticket_again(desk, people):
    desk.simulator.imports.jobs.takes = 120
    sink = desk.sink
    ref = desk.ensure(sink)
    (ticket,) = desk.deliver(sink, ref, upsert=people(101), add=people(101)).tickets
    assert desk.polled(sink, ref, ticket).tickets == [ticket]
    desk.clock.advance(300)
    assert len(desk.polled(sink, ref, ticket).added) == 101


def test_another_process_gets_the_verdicts(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    (ticket,) = desk.deliver(sink, ref, upsert=people(101), add=people(101)).tickets
    assert len(desk.polled(desk.sink, ref, ticket).added) == 101


def test_failures_are_joined_back_by_our_key(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    for _ in range(2):
        desk.simulator.people.create({"email": "p7@x.example"})
    crowd = people(150)
    crowd[3] = Member("bad", fields={"email": 'no "address" at\nall'})
    done = imported(desk, sink, ref, crowd)
    assert done.codes.keys() == {"bad", "p7"}
    assert done.retryable == set()
    assert done.added == done.upserted.keys() == {each.key for each in crowd} - {"bad", "p7"}


def test_hostile_values_arrive_as_they_are(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink, fields=("email", "firstName"))
    name = 'O"Hara,\nZoë 🧑🏽‍🚀; DROP'
    imported(desk, sink, ref, people(101, firstName=name))
    assert {lead.values["firstName"] for lead in desk.simulator.people.leads.values()} == {name}


def test_a_value_that_is_to_be_cleared_is_written_by_a_call(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink, fields=("email", "firstName"))
    desk.simulator.people.create({"email": "p0@x.example", "firstName": "Ann"})
    crowd = [*people(1, firstName=None), *people(150, start=1, firstName="Bob")]
    sent = desk.deliver(sink, ref, upsert=crowd, add=crowd)
    assert sent.added == {"p0"}
    done = desk.polled(sink, ref, sent.tickets[0])
    assert len(done.added) == 150
    (lead,) = desk.simulator.people.matches("email", "p0@x.example")
    assert "firstName" not in desk.simulator.people.get(lead).values


def test_whoever_is_only_to_be_written_stays_off_the_list(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(200)
    sent = desk.deliver(sink, ref, upsert=crowd, add=crowd[:120])
    done = [desk.polled(sink, ref, ticket) for ticket in sent.tickets]
    assert {key for each in done for key in each.upserted} == {each.key for each in crowd}
    assert {key for each in done for key in each.added} == {each.key for each in crowd[:120]}
    assert len(desk.held(sink, ref)) == 120


def test_removals_come_before_the_import_that_would_lock_the_list(desk, people):
    desk.simulator.imports.jobs.takes = 600
    sink = desk.sink
    ref = desk.ensure(sink)
    ids = desk.deliver(sink, ref, upsert=people(2), add=people(2)).upserted
    crowd = people(150, start=10)
    done = desk.deliver(sink, ref, upsert=crowd, add=crowd, remove=[Member("p0", ids["p0"])])
    assert done.removed == {"p0"}
    assert len(done.tickets) == 1


def test_files_stay_below_ten_megabytes(desk, people):
    for name in ("notes", "more"):
        desk.simulator.fields.add(name, "text")
    sink = desk.sink
    ref = desk.ensure(sink, fields=("email", "notes", "more"))
    crowd = people(3_000, notes="x" * 2_000, more="x" * 2_000)
    sent = desk.deliver(sink, ref, upsert=crowd, add=crowd)
    assert len(sent.tickets) == 2
    assert sum(len(desk.polled(sink, ref, ticket).added) for ticket in sent.tickets) == 3_000


def test_a_row_that_was_taken_in_part_is_told_by_its_member(desk, people, caplog):
    sink = desk.sink
    ref = desk.ensure(sink, fields=("email", "leadScore"))
    crowd = [*people(100, leadScore="5"), *people(1, start=100, leadScore="not a number")]
    assert len(imported(desk, sink, ref, crowd).added) == 101
    assert "p100" in caplog.text
    assert "p99" not in caplog.text
    assert "not a number" not in caplog.text


def test_a_full_queue_of_imports_is_waited_for(desk, people):
    desk.simulator.script("POST", "/bulk/v1/leads.json", [desk.simulator.failed("1016", "Too many imports")] * 2)
    sink = desk.sink
    ref = desk.ensure(sink)
    assert len(imported(desk, sink, ref, people(101)).added) == 101


def test_a_job_that_failed_leaves_everybody_to_be_tried_again(desk, people):
    desk.simulator.imports.jobs.script("leads", [JobFault("Internal error")])
    sink = desk.sink
    ref = desk.ensure(sink)
    done = imported(desk, sink, ref, people(101))
    assert done.retryable == done.codes.keys() == {each.key for each in people(101)}


def test_a_job_that_nobody_knows_any_more_is_settled_by_reading_back(desk, people, tmp_path):
    sink = desk.sink
    ref = desk.ensure(sink)
    (ticket,) = desk.deliver(sink, ref, upsert=people(101), add=people(101)).tickets
    for kept in (tmp_path / "imports").iterdir():
        kept.unlink()
    with pytest.raises(PermanentError):
        desk.polled(sink, ref, ticket)


def test_personal_values_are_kept_until_the_next_delivery(desk, people, tmp_path):
    sink = desk.sink
    ref = desk.ensure(sink)
    (ticket,) = desk.deliver(sink, ref, upsert=people(101), add=people(101)).tickets
    assert [each.stat().st_mode & 0o077 for each in (tmp_path / "imports").iterdir()] == [0]
    assert desk.polled(sink, ref, ticket) == desk.polled(sink, ref, ticket)
    desk.deliver(sink, ref, upsert=people(1), add=people(1))
    assert list((tmp_path / "imports").iterdir()) == []


def test_a_key_by_which_nobody_can_be_asked_for_is_written_by_a_call(desk):
    desk.simulator.fields.add("customerKey")
    sink = desk.sink
    ref = desk.ensure(sink, fields=("customerKey",), key_field="customerKey")
    crowd = [Member(f"p{each}", fields={"customerKey": f"K{each}"}) for each in range(150)]
    crowd.append(Member("odd", fields={"customerKey": "K1,K2"}))
    sent = desk.deliver(sink, ref, upsert=crowd, add=crowd)
    assert sent.added == {"odd"}
    assert len(desk.polled(sink, ref, sent.tickets[0]).added) == 150


def test_the_file_is_what_marketo_reads(desk, people):
    sink = desk.sink
    ref = desk.ensure(sink)
    imported(desk, sink, ref, people(101))
    (call,) = desk.simulator.calls("POST", "/bulk/v1/leads.json")
    content = call.body.partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert rows[0] == {"email": "p0@x.example"}
    assert len(rows) == 101
