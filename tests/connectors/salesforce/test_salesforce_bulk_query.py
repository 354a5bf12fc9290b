"""Reading by jobs: everything at once, as text, from wherever it was cut short."""

from __future__ import annotations

import json
import resource
from math import ceil

import pytest

from switchyard.api import PermanentError, TransientError
from switchyard.testing.simulator import Answer
from switchyard.testing.simulator_jobs import JobFault
from switchyard_connectors.salesforce import SOURCE

from .conftest import add_contacts

_JOBS = "jobs/query"


@pytest.fixture
def bulk(open_desk):
    return open_desk(bulk_query_above=0, bulk_page=10)


def test_a_first_load_is_counted_and_goes_by_a_job_above_the_threshold(open_desk):
    desk = open_desk(bulk_query_above=3)
    add_contacts(desk, 3)
    assert "POST jobs/query" not in desk.calls(desk.ids)
    add_contacts(desk, 1, start=3)
    desk.restart()
    assert "POST jobs/query" in desk.calls(desk.ids)


def test_what_changed_goes_by_queries(bulk, clock):
    add_contacts(bulk, 3)
    clock.advance(3_600)
    _, cursor = bulk.read()
    add_contacts(bulk, 3, start=3)
    assert bulk.calls(lambda: bulk.ids(cursor=cursor)) == ["GET queryAll"]


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25])
def test_a_job_takes_as_few_calls_as_there_can_be(bulk, count):
    """1 + one look + ⌈N/maxRecords⌉ + 1 to delete it, and a count before the first."""
    ids = add_contacts(bulk, count)
    bulk.read("Lead")
    calls = bulk.calls(lambda: ids.remove(bulk.ids()[0]))
    assert len([call for call in calls if "jobs" in call]) == 3 + ceil(count / 10)
    assert calls[0] == "GET queryAll"


@pytest.mark.parametrize("bulk_above", [0, 1_000])
def test_both_ways_give_the_same_records(open_desk, bulk_above):
    desk = open_desk(bulk_query_above=bulk_above)
    desk.simulator.add("Contact", LastName="NA", FirstName="Null", Title="nan", Score__c=5, Email="a@x.example")
    desk.simulator.add("Contact", LastName='O\'Hara, "Ann"\nline', Description="a\x00b", Score__c=1e7)
    desk.simulator.add("Contact", LastName="Zoë 🧑🏽‍🚀", Description="x" * 30_000, HasOptedOutOfEmail=True)
    first, second, third = desk.read()[0]
    assert (first["LastName"], first["FirstName"], first["Title"]) == ("NA", "Null", "nan")
    assert (first["Score__c"], second["Score__c"], third["Score__c"]) == ("5", "10000000", None)
    assert second["LastName"] == 'O\'Hara, "Ann"\nline'
    assert second["Description"] == "ab"
    assert third["LastName"] == "Zoë 🧑🏽‍🚀"
    assert len(third["Description"]) == 30_000
    assert third["HasOptedOutOfEmail"] == "true"
    assert first["Phone"] is None
    assert first["CreatedDate"].endswith(".000Z")


def test_a_killed_run_goes_on_with_its_job_and_its_locator(bulk, clock):
    ids = add_contacts(bulk, 35)
    clock.advance(3_600)
    whole = len(list(bulk.pages()))
    for stop in range(1, whole):
        bulk.restart()
        read, cursor = [], None
        for _, page in zip(range(stop), bulk.pages(), strict=False):
            read += page.records["Id"].to_pylist()
            cursor = json.loads(json.dumps(page.cursor))
        bulk.restart()
        jobs = bulk.simulator.count("POST", _JOBS)
        read += bulk.ids(cursor=cursor)
        assert sorted(read) == sorted(ids)
        assert bulk.simulator.count("POST", _JOBS) == jobs


def test_a_run_killed_within_a_page_of_results_repeats_no_row(bulk, monkeypatch):
    monkeypatch.setattr("switchyard_connectors.salesforce.rows._BLOCK", 1_000)
    ids = add_contacts(bulk, 35)
    pages = bulk.pages()
    read, cursor = [], None
    while len(read) < 13:
        page = next(pages)
        read += page.records["Id"].to_pylist()
        cursor = page.cursor
    assert cursor["load"]["skip"] > 0
    pages.close()
    bulk.restart()
    read += bulk.ids(cursor=cursor)
    assert sorted(read) == sorted(ids)


def test_a_job_that_salesforce_forgot_begins_anew(bulk):
    ids = add_contacts(bulk, 25)
    pages = bulk.pages()
    cursor = [next(pages) for _ in range(2)][-1].cursor
    pages.close()
    bulk.simulator.jobs.forget(bulk.simulator.jobs.all()[0])
    bulk.restart()
    assert set(bulk.ids(cursor=cursor)) == set(ids)


def test_a_job_is_looked_at_less_and_less_often(bulk):
    """Every look is a metered call."""
    add_contacts(bulk, 3)
    bulk.simulator.jobs.takes = 60
    assert len(bulk.ids()) == 3
    assert bulk.waits == [2, 5, 10, 30, 30]


def test_a_job_that_takes_longer_than_a_run_is_found_by_the_next(bulk):
    ids = add_contacts(bulk, 3)
    bulk.simulator.jobs.script("query", [JobFault(takes=3_600)])
    pages = bulk.pages()
    cursor = next(pages).cursor
    with pytest.raises(TransientError, match="still reading Contact"):
        list(pages)
    bulk.clock.advance(3_600)
    bulk.restart()
    assert sorted(bulk.ids(cursor=cursor)) == sorted(ids)
    assert bulk.simulator.count("POST", _JOBS) == 1


def test_who_is_deleted_for_good_while_a_long_load_goes_on_is_missed_by_nobody(bulk, clock):
    ids = add_contacts(bulk, 25)
    clock.advance(3_600)
    pages = bulk.pages()
    read = []
    while not read:
        read = next(pages).records["Id"].to_pylist()
    bulk.simulator.life.hard_delete(read[0])
    clock.advance(3_600)
    cursor = list(pages)[-1].cursor
    clock.advance(3_600)
    assert read[0] in ids
    assert bulk.ids(cursor=cursor) == [read[0]]


def test_a_job_that_takes_too_long_is_halved(bulk, clock):
    ids = []
    for each in range(8):
        ids += add_contacts(bulk, 1, start=each)
        clock.advance(3_600)
    bulk.simulator.jobs.script("query", [JobFault("QUERY_TIMEOUT: Retried more than 15 times"), None, None])
    pages = list(bulk.pages())
    assert sorted(each for page in pages for each in page.records["Id"].to_pylist()) == sorted(ids)
    assert bulk.simulator.count("POST", _JOBS) == 3


def test_a_job_that_fails_for_good_says_so_without_quoting(bulk):
    add_contacts(bulk, 1)
    bulk.simulator.jobs.script("query", [JobFault("InvalidBatch : ann@x.example")])
    with pytest.raises(PermanentError, match=r"failed \(InvalidBatch\)$"):
        bulk.ids()


@pytest.mark.parametrize("how", ["failed", "aborted"])
def test_the_run_after_a_job_that_failed_makes_another(bulk, how):
    """The cursor holds the job: asked for again it fails again, for seven days."""
    ids = add_contacts(bulk, 3)
    bulk.simulator.jobs.script("query", [JobFault("InvalidBatch") if how == "failed" else JobFault(takes=3_600)])
    pages, cursor = bulk.pages(), None
    with pytest.raises(PermanentError):
        for page in pages:
            cursor = page.cursor
            if how == "aborted":
                bulk.simulator.jobs.cancel(bulk.simulator.jobs.all()[0])
    assert sorted(bulk.ids(cursor=cursor)) == sorted(ids)


def test_a_field_that_a_job_finds_taken_away_ends_nothing(bulk):
    ids = add_contacts(bulk, 3)
    bulk.simulator.jobs.script("query", [JobFault("InvalidBatch : INVALID_FIELD: No such column 'Title'")])
    assert sorted(bulk.ids()) == sorted(ids)


def test_a_job_that_is_unknown_as_soon_as_it_is_made_is_not_made_for_ever(bulk):
    """A user who may not see its own jobs would use up the day's 10,000."""
    add_contacts(bulk, 3)
    unknown = Answer(404, [{"errorCode": "NOT_FOUND", "message": "x"}])
    bulk.simulator.script("GET", "results", [unknown] * 50)
    with pytest.raises(PermanentError, match="does not know the bulk job"):
        bulk.ids()
    assert bulk.simulator.count("POST", _JOBS) == 1


def test_what_a_killed_run_left_in_the_workspace_is_overwritten(bulk):
    add_contacts(bulk, 25)
    pages = bulk.pages()
    while not next(pages).records.num_rows:
        pass
    (left,) = bulk.folder.rglob("*.csv")
    left.rename(left.with_suffix(".kept"))
    pages.close()
    left.with_suffix(".kept").rename(left)
    bulk.restart()
    bulk.ids()
    assert not list(bulk.folder.rglob("*.csv*"))


def test_an_object_that_the_bulk_api_refuses_is_read_by_queries(open_desk):
    desk = open_desk(bulk_query_above=0, objects=[{"name": "TaskStatus"}])
    made = desk.simulator.add("TaskStatus", MasterLabel="Open")
    assert desk.ids(SOURCE.objects(desk.config)[-1]) == [made]


def test_an_object_that_a_job_finds_unfit_is_read_by_queries(bulk):
    ids = add_contacts(bulk, 3)
    bulk.simulator.jobs.script("query", [JobFault("Contact is not supported by the Bulk API")])
    assert sorted(bulk.ids()) == sorted(ids)


def test_results_that_break_off_are_fetched_again_whole(bulk):
    """Rows of a broken stream must not come twice."""
    ids = add_contacts(bulk, 25)
    from switchyard.testing.simulator import Fault

    bulk.simulator.script("GET", "results", [Fault(truncate=300), Fault(truncate=900)])
    assert sorted(bulk.ids()) == sorted(ids)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>\nWe are setting things up\n</html>", {"sforce-locator": "null"}),
        (b"Id,LastName\n", {"sforce-locator": "null"}),
        (None, {}),
        (None, {"sforce-locator": "null", "sforce-numberofrecords": "4"}),
    ],
    ids=["a page of the edge", "without the fields", "no locator", "fewer rows than announced"],
)
def test_results_that_are_not_all_there_are_not_the_end(bulk, body, headers):
    """Taken for the end, they would lose every row that was not in them."""
    ids = add_contacts(bulk, 3)
    if body is None:
        body = f"{','.join(bulk.source._descriptions.shape('Contact').fields)}\n".encode()
    bulk.simulator.script("GET", "results", [Answer(200, body, {"content-type": "text/csv", **headers})])
    pages = bulk.pages()
    cursor = next(pages).cursor
    with pytest.raises(TransientError, match="Bulk API"):
        list(pages)
    assert sorted(bulk.ids(cursor=cursor)) == sorted(ids)


def test_a_row_that_is_no_csv_ends_the_run_without_quoting(bulk):
    add_contacts(bulk, 3)
    names = bulk.source._descriptions.shape("Contact").fields
    body = f"{','.join(names)}\n003,ann@x.example\n".encode()
    bulk.simulator.script("GET", "results", [Answer(200, body, {"sforce-locator": "null"})])
    with pytest.raises(PermanentError, match="cannot be read as CSV") as raised:
        bulk.ids()
    assert "ann@" not in str(raised.value)


def test_nothing_is_left_in_the_workspace(bulk):
    add_contacts(bulk, 25)
    bulk.ids()
    assert not list(bulk.folder.rglob("*.csv*"))


@pytest.mark.slow
@pytest.mark.parametrize("above", [0, 10**9], ids=["bulk", "queries"])
def test_a_million_rows_take_no_more_memory_than_two_hundred_thousand(open_desk, above):
    desk = open_desk(bulk_query_above=above)
    desk.simulator.seed("Contact", 1_000_000, Email="p{n}@x.example", LastName="L{n}")
    rows, early = 0, 0
    for page in desk.pages():
        rows += page.records.num_rows
        if rows <= 200_000:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert rows == 1_000_000
    # Kilobytes; the simulator is in this process too, and keeps a line for each call.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early < 48 * 2**10
