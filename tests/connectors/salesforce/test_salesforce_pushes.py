"""Pushed and pulled at once: what is pushed is read by its id, and pulls go on in between."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from tests.received import NOON, inbox

from switchyard.api.receiving import Accepted, Incoming
from switchyard.api.records import DELETED
from switchyard.testing.simulator import Answer, Request, Simulator
from switchyard_connectors.salesforce import SOURCE
from switchyard_connectors.salesforce.simulator_auth import ORGANIZATION
from switchyard_connectors.salesforce.simulator_pushes import Subscription

from .conftest import add_contacts

_TOKEN = "a-long-random-push-token"
_PUSH = {"token": _TOKEN, "organization_id": ORGANIZATION}


def push(desk, *changes: tuple[str, str, Sequence[str]]) -> None:
    """Something pushed; a change is (object, type, ids)."""
    body = {"changes": [{"object": name, "type": kind, "ids": list(ids)} for name, kind, ids in changes]}
    desk.inbox.extend(inbox([("d", {}, body)]))


@pytest.fixture
def live(open_desk, clock):
    """A desk whose first load is done."""
    desk = open_desk(push=_PUSH)
    add_contacts(desk, 3)
    clock.advance(3_600)
    desk.cursor = desk.read()[1]
    return desk


def test_what_is_pushed_is_read_by_its_id_in_one_call(live):
    (new,) = add_contacts(live, 1, start=10)
    push(live, ("Contact", "CREATE", [new]))
    calls = live.calls(lambda: live.read(cursor=live.cursor))
    assert calls == ["POST composite"]
    records, cursor = live.read(cursor=live.cursor)
    assert [record["Id"] for record in records] == [new]
    assert cursor["sequence"] == 7
    assert cursor["until"] == live.cursor["until"]


def test_between_pushes_it_pulls_once_a_minute(live, clock):
    (new,) = add_contacts(live, 1, start=10)
    push(live, ("Contact", "UPDATE", [new]))
    _, cursor = live.read(cursor=live.cursor)
    clock.advance(61)
    live.inbox.clear()
    live.inbox.extend(itertools.islice(inbox([("d", {}, {"changes": []})] * 2), 1))
    assert "GET queryAll" in live.calls(lambda: live.read(cursor=cursor))


def test_without_pushes_it_pulls(live):
    assert live.calls(lambda: live.read(cursor=live.cursor)) == ["GET queryAll"]


def test_pushes_about_others_cost_nothing(live):
    push(live, ("Lead", "UPDATE", ["00Q5g0000000001AAA"]))
    calls = live.calls(lambda: live.read(cursor=live.cursor))
    assert calls == []


def test_an_overflow_is_made_up_for_by_a_pull(live):
    (new,) = add_contacts(live, 1, start=10)
    push(live, ("Contact", "GAP_OVERFLOW", []))
    assert live.ids(cursor=live.cursor) == [new]


def test_an_overflow_is_not_forgotten_where_the_run_ends_before_the_pull(live):
    (new,) = add_contacts(live, 1, start=10)
    push(live, ("Contact", "GAP_OVERFLOW", []))
    pages = live.pages("Contact", live.cursor)
    cursor = next(pages).cursor
    pages.close()
    push(live, ("Contact", "UPDATE", []))
    assert live.ids(cursor=cursor) == [new]


def test_gaps_with_ids_and_repetitions_are_fetched_once(live):
    ids = add_contacts(live, 2, start=10)
    push(live, ("Contact", "GAP_UPDATE", ids), ("Contact", "UPDATE", ids[:1]))
    assert sorted(live.ids(cursor=live.cursor)) == sorted(ids)


def test_a_pushed_deletion_is_one(live, clock):
    first, second, _ = live.ids("Contact", None)
    live.simulator.life.delete(first)
    live.simulator.life.hard_delete(second)
    push(live, ("Contact", "DELETE", [first, second]))
    records, _ = live.read(cursor=live.cursor)
    assert {(record["Id"], record[DELETED]) for record in records} == {(first, True), (second, True)}


def test_many_ids_go_five_thousand_to_a_call(open_desk, clock):
    desk = open_desk(push=_PUSH)
    seed = desk.simulator.seed("Contact", 6_000, LastName="L{n}")
    desk.simulator.store["Contact"].seed.start = int(clock()) - 86_400
    ids = [seed.value(n, "Id") for n in range(6_000)]
    _, cursor = desk.read()
    push(desk, ("Contact", "UPDATE", ids))
    found = []
    calls = desk.calls(lambda: found.extend(desk.ids(cursor=cursor)))
    assert calls == ["POST composite"] * 2
    assert sorted(found) == sorted(ids)


class Hub(Simulator):
    """A hub's receiver, over HTTP; what it accepts goes to the desk's inbox."""

    def __init__(self, desk) -> None:
        super().__init__()
        self.desk = desk
        self.taken: list[Accepted] = []
        self.route("POST", "/hooks/crm", self._hook)

    def _hook(self, request: Request) -> Answer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = f"https://hub.example.com{request.path}?{request.query}"
        verdict = SOURCE.receiver(self.desk.config).check(Incoming("POST", url, headers, request.body, NOON))
        if not isinstance(verdict, Accepted):
            return Answer(verdict.status, {"message": verdict.reason})
        self.taken.append(verdict)
        return Answer(200, verdict.answer or b"{}", {"content-type": verdict.answer_type})


@pytest.mark.parametrize("kind", ["messages", "events"])
def test_what_the_org_pushes_comes_in(open_desk, kind):
    desk = open_desk(push=_PUSH)
    _, cursor = desk.read()
    with Hub(desk) as hub:
        url = f"{hub.url}/hooks/crm?token={_TOKEN}"
        desk.simulator.pushes.subscribe(Subscription(url, "Contact", kind, fields=("Email",), session=True))
        (new,) = add_contacts(desk, 1)
        desk.simulator.pushes.flush()
        desk.simulator.pushes.sender.settle()
        assert hub.count("POST", "/hooks") == 1
    desk.inbox.extend(inbox([("d", {}, taken.body) for taken in hub.taken]))
    assert desk.ids(cursor=cursor) == [new]


def test_one_that_is_no_id_stops_nothing(live):
    """A relay's mistake must not stand at the head of the inbox for ever."""
    ids = add_contacts(live, 4, start=10)
    # The last three letters of an id are a checksum.
    push(live, ("Contact", "UPDATE", [ids[0], "0035g00000wrongZZZ", *ids[1:]]))
    refused = Answer(
        200,
        {
            "compositeResponse": [
                {
                    "httpStatusCode": 400,
                    "body": [{"errorCode": "INVALID_QUERY_FILTER_OPERATOR", "message": "invalid ID field"}],
                }
            ]
        },
    )
    live.simulator.script("POST", "composite$", [refused])
    records, cursor = live.read(cursor=live.cursor)
    assert {record["Id"] for record in records if not record[DELETED]} == set(ids)
    assert cursor["sequence"] == 7


def test_what_was_pushed_about_many_is_held_a_page_at_a_time(live):
    ids = add_contacts(live, 2_500, start=10)
    push(live, ("Contact", "UPDATE", ids))
    pages = [page for page in live.pages("Contact", live.cursor) if page.records.num_rows]
    assert [page.records.num_rows for page in pages] == [1_000, 1_000, 500]
    # Killed in between, all are fetched again.
    assert [(page.cursor or {}).get("sequence") for page in pages] == [None, None, 7]
