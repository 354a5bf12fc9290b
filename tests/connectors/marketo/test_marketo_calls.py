"""How many calls it takes, against the fewest that the vendor's limits allow."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest

from switchyard.api import Member, RemoteList
from switchyard_connectors.marketo.simulator import Account

SIZES = [1, 299, 300, 301]
MANY = pytest.param(50_000, marks=pytest.mark.slow)
UNLIMITED = Account(limited=False)

UPSERT = "POST /rest/v1/leads.json"
ADD = "POST /rest/v1/lists/{list_id}/leads.json"
REMOVE = "DELETE /rest/v1/lists/{list_id}/leads.json"
MEMBERS = "GET /rest/v1/lists/{list_id}/leads.json"
READ = "GET /rest/v1/leads.json"


@pytest.fixture
def counted(open_desk):
    """A desk whose sink holds nobody back, and how to count what it calls."""
    desk = open_desk(UNLIMITED, import_above=1_000_000)
    sink = desk.sink
    return desk, sink, desk.ensure(sink), lambda act: Counter(desk.calls(act))


@pytest.mark.parametrize("size", [*SIZES, MANY])
def test_upsert_and_list_add_and_remove_and_read_back(counted, people, size):
    desk, sink, ref, calls = counted
    crowd = people(size)
    done = []
    made = calls(lambda: done.append(desk.deliver(sink, ref, upsert=crowd, add=crowd)))
    assert made == {UPSERT: ceil(size / 300), ADD: ceil(size / 300)}
    assert calls(lambda: desk.held(sink, ref)) == {MEMBERS: ceil(size / 300)}
    leaving = [Member(key, lead) for key, lead in done[0].upserted.items()]
    assert calls(lambda: desk.deliver(sink, ref, remove=leaving)) == {REMOVE: ceil(size / 300)}


@pytest.mark.parametrize("size", [*SIZES, MANY])
def test_what_is_spent_is_what_was_foretold(counted, people, size):
    desk, sink, ref, calls = counted
    crowd = people(size)
    spent = calls(lambda: (desk.deliver(sink, ref, upsert=crowd, add=crowd), desk.held(sink, ref)))
    assert spent.total() == sink.calls(upsert=size, add=size, remove=0, held=size)


@pytest.mark.parametrize("size", [301, MANY])
def test_an_import_takes_one_job_and_the_ids(open_desk, people, size):
    desk = open_desk(UNLIMITED, import_above=300)
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(size)

    def deliver():
        (ticket,) = desk.deliver(sink, ref, upsert=crowd, add=crowd).tickets
        assert len(desk.polled(sink, ref, ticket).added) == size
        desk.held(sink, ref)

    made = Counter(desk.calls(deliver))
    reads = made[READ] + made.pop(UPSERT, 0)
    assert reads == ceil(size / 300)
    assert made["POST /bulk/v1/leads.json"] == made["GET /bulk/v1/leads/batch/{batch_id}.json"] == 1
    assert made.total() - made[READ] + reads == sink.calls(upsert=size, add=size, remove=0, held=size)


def test_a_list_is_made_by_three_calls_and_found_by_one(desk):
    sink, wanted = desk.sink, RemoteList("vip", "email")
    assert len(desk.calls(lambda: sink.ensure(wanted, None))) == 3
    assert len(desk.calls(lambda: sink.ensure(wanted, None))) == 1
    other = RemoteList("other", "email")
    assert len(desk.calls(lambda: sink.ensure(other, None))) == 2


def test_no_change_takes_no_call(desk):
    sink = desk.sink
    ref = desk.ensure(sink)
    assert desk.calls(lambda: desk.deliver(sink, ref)) == []


@pytest.mark.parametrize("size", [*SIZES, MANY])
def test_changed_leads_are_read_by_300(open_desk, size):
    desk = open_desk(UNLIMITED, extract="none")
    _, cursor = desk.read("leads")
    for each in range(size):
        desk.simulator.people.create({"email": f"p{each}@x.example"})
    desk.clock.advance(60)
    made = Counter(desk.calls(lambda: desk.read("leads", cursor)))
    assert made[READ] + made[UPSERT] == ceil(size / 300)
    assert made["GET /rest/v1/leads/describe2.json"] == 1
    assert made["GET /rest/v1/activities/pagingtoken.json"] == 0


@pytest.mark.parametrize("size", [*SIZES, MANY])
def test_deletions_take_one_page_for_300(open_desk, size):
    desk = open_desk(UNLIMITED)
    desk.simulator.seed(size)
    _, cursor = desk.read("leads")
    desk.clock.advance(60)
    for lead in list(desk.simulator.people.ids()):
        desk.simulator.people.delete(lead)
    made = Counter(desk.calls(lambda: desk.read("leads", cursor)))
    assert made["GET /rest/v1/activities/deletedleads.json"] == ceil(size / 300)


@pytest.mark.parametrize("size", [*SIZES, MANY])
def test_activities_take_one_page_for_300(open_desk, size):
    desk = open_desk(UNLIMITED, since="2026-09-21")
    desk.simulator.log.scan = 1_000_000
    lead = desk.simulator.people.create({"email": "a@x.example"}).id
    for _ in range(size):
        desk.simulator.activities.record(10, lead)
    desk.clock.advance(60)
    made = Counter(desk.calls(lambda: desk.read("activities")))
    assert made == {
        "GET /rest/v1/activities/pagingtoken.json": 1,
        "GET /rest/v1/activities.json": ceil(size / 300),
    }


@pytest.mark.parametrize("size", [1, 301, MANY])
def test_a_window_takes_three_calls_and_the_questions_between(open_desk, size):
    desk = open_desk(UNLIMITED, since="2026-09-20")
    desk.simulator.seed(size, over=3_600)
    made = Counter(desk.calls(lambda: desk.read("leads")))
    bulk = {route.rpartition("/")[2]: count for route, count in made.items() if "/bulk/" in route}
    assert bulk.pop("status.json") >= 1
    assert bulk == {"create.json": 1, "enqueue.json": 1, "file.json": 1}


@pytest.mark.slow
def test_the_limits_are_used_up_and_never_crossed(open_desk, people):
    desk = open_desk(calls_per_window=100, concurrency=10, import_above=1_000_000)
    sink = desk.sink
    ref = desk.ensure(sink)
    crowd = people(60_000)
    begun = desk.clock()
    calls = len(desk.calls(lambda: desk.deliver(sink, ref, upsert=crowd, add=crowd)))
    assert calls == 400
    # 95 of the 100 calls that each 20 seconds allow; the first of them take no time.
    assert desk.clock() - begun <= (ceil(calls / 95) - 1) * 20 * 1.01
    assert desk.simulator.limits.dump()["errors"] == {}
