"""What HubSpot pushes: who is let in, and what becomes of events in any order, doubled, late or wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from typing import Any

import pytest
from pydantic import ValidationError
from tests.received import inbox, incoming, status

from switchyard.api import TransientError
from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict
from switchyard.api.records import DELETED
from switchyard.testing.simulator import Answer
from switchyard_connectors.hubspot import SOURCE
from switchyard_connectors.hubspot.config import HubSpotConfig, WebhooksConfig
from switchyard_connectors.hubspot.receiver import HubSpotReceiver
from switchyard_connectors.hubspot.simulator import Account
from switchyard_connectors.hubspot.simulator_hooks import Subscriber, signed
from switchyard_connectors.hubspot.streams import streams_of

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
OTHER = "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"
WEBHOOKS = {"secrets": SECRET}
URI = "https://www.example.com/webhook_uri"
NOW = 1_700_000_000.0


class Door:
    """A receiver behind a real server; what it accepted can be read from an inbox."""

    def __init__(self, receiver: HubSpotReceiver, now: Callable[[], float]) -> None:
        self.accepted: list[Accepted] = []
        self.refusals: list[Verdict] = []
        self.status = 204
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                at = datetime.fromtimestamp(now(), UTC).replace(tzinfo=None)
                verdict = receiver.check(Incoming("POST", door.url, headers, body, at))
                (door.accepted if isinstance(verdict, Accepted) else door.refusals).append(verdict)  # type: ignore[arg-type]
                self.send_response(verdict.status if isinstance(verdict, Refused) else door.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks/crm?x=%40"

    def events(self) -> list[dict[str, Any]]:
        return [event for each in self.accepted for event in json.loads(each.body)]

    def inbox(self) -> Any:
        return list(inbox([(f"d{number}", {}, each.body) for number, each in enumerate(self.accepted)]))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def open_door(clock) -> Iterator[Callable[..., Door]]:
    doors = []

    def opened(**config: Any) -> Door:
        doors.append(Door(HubSpotReceiver(WebhooksConfig(**{"secrets": SECRET, **config})), clock))
        return doors[-1]

    yield opened
    for door in doors:
        door.close()


@pytest.fixture
def pushed(open_library):
    return open_library(webhooks=WEBHOOKS, read=("contacts", "deals"), properties={"contacts": ("firstname",)})


def receive(library, *batches):
    """Put batches of events into the inbox."""
    library.context.pushed = list(inbox([(f"d{number}", {}, events) for number, events in enumerate(batches)]))


def event(kind: str, record_id: str, **said: Any) -> dict[str, Any]:
    known = {"subscriptionId": 1, "occurredAt": 1, "attemptNumber": 0, "eventId": 7}
    return {**known, "subscriptionType": kind, "objectId": int(record_id), **said}


def check(signature: str, url: str = URI, body: bytes = b"[]", late: float = 0, **config: Any) -> int:
    receiver = HubSpotReceiver(WebhooksConfig(**{"secrets": SECRET, "signatures": ("v1", "v2", "v3"), **config}))
    headers = signed(Subscriber(url, SECRET, signature), url, body, NOW)  # type: ignore[arg-type]
    at = datetime.fromtimestamp(NOW + late, UTC).replace(tzinfo=None)
    return status(receiver.check(incoming(body, headers, at=at, url=url)))


@pytest.mark.parametrize("signature", ["v1", "v2", "v3"])
def test_each_version_of_signatures_is_taken_where_it_is_wanted(signature):
    assert check(signature) == 200
    assert check(signature, signatures=signature) == 200
    assert check(signature, secrets=(OTHER, SECRET)) == 200
    assert check(signature, secrets=OTHER) == 401
    others = tuple({"v1", "v2", "v3"} - {signature} - ({"v1"} if signature == "v3" else set()))
    assert check(signature, signatures=others) == 401


def test_the_third_version_signs_the_address_as_hubspot_writes_it_and_is_good_for_five_minutes():
    assert check("v3", f"{URI}?at=%3A%2F%40%20&b=%2c") == 200
    assert check("v3", late=299) == 200
    assert check("v3", late=301) == 401


def test_a_third_signature_that_is_wrong_is_not_made_good_by_a_first_one():
    receiver = HubSpotReceiver(WebhooksConfig(secrets=SECRET, signatures=("v1", "v3")))
    headers = signed(Subscriber(URI, SECRET), URI, b"[]", NOW) | {"x-hubspot-signature-v3": "AAAA"}
    at = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
    assert status(receiver.check(incoming(b"[]", headers, at=at, url=URI))) == 401


def test_what_is_too_large_or_compressed_is_refused():
    receiver = HubSpotReceiver(WebhooksConfig(secrets=SECRET))
    assert status(receiver.check(incoming(b"x" * 1_000_001))) == 413
    assert status(receiver.check(incoming(b"[]", {"content-encoding": "gzip"}))) == 415


@pytest.mark.parametrize(
    "config",
    [
        {"webhooks": {"secrets": ()}},
        {"webhooks": {"secrets": " "}},
        {"webhooks": WEBHOOKS, "read": ()},
        {"webhooks": WEBHOOKS, "read": "lists"},
        {"webhooks": {**WEBHOOKS, "signatures": "v4"}},
        {"webhooks": WEBHOOKS, "custom_objects": "cars"},
    ],
)
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        HubSpotConfig(**{"token": "t", "read": "contacts", **config})


def test_only_streams_of_records_are_pushed_to_and_only_with_webhooks():
    read = ("contacts", "lists", "email_events")
    assert [each.pushed for each in streams_of(HubSpotConfig(token="t", read=read))] == [False] * 3
    config = HubSpotConfig(token="t", read=read, webhooks=WEBHOOKS)
    assert [each.pushed for each in streams_of(config)] == [True, False, False]
    assert SOURCE.receiver(config) is not None
    assert SOURCE.receiver(HubSpotConfig(token="t")) is None
    assert SOURCE.pulled


@pytest.mark.parametrize("count", [1, 99, 100, 101])
def test_pushed_ids_are_read_by_the_hundred(pushed, count):
    ids = [pushed.simulator.contacts.add({"email": f"p{each}@x.example"}).id for each in range(count)]
    _, cursor = pushed.sync()
    # Each came several times, in two batches.
    events = [event("contact.propertyChange", each, propertyName=name) for each in ids for name in ("a", "b")]
    receive(pushed, events, events[:1])
    before = pushed.simulator.journal.total
    records, after = pushed.sync(cursor)
    assert {record["id"] for record in records} == set(ids)
    assert len(records) == count
    assert pushed.simulator.count(None, "/batch/read", since=before) == ceil(count / 100)
    assert pushed.simulator.count(since=before) == ceil(count / 100)
    assert after["sequence"] == 10


def test_a_pull_follows_pushes_only_once_a_while_and_always_where_nothing_was_pushed(pushed):
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    _, cursor = pushed.sync()
    receive(pushed, [event("contact.creation", one)])
    assert pushed.calls("/search", lambda: pushed.sync(cursor)) == 0
    _, cursor = pushed.sync(cursor)
    assert pushed.calls("/search", lambda: pushed.sync(cursor)) == 1
    pushed.clock.advance(61)
    receive(pushed, [event("contact.creation", one)], [event("contact.creation", one)])
    assert pushed.calls("/search", lambda: pushed.sync(cursor)) == 1


def test_events_of_other_types_move_the_cursor_and_make_no_call(pushed):
    _, cursor = pushed.sync()
    receive(pushed, [event("deal.creation", "5"), event("object.creation", "6", objectTypeId="0-2")])
    records, after = pushed.sync(cursor)
    assert (records, after["sequence"]) == ([], 7)


def test_deals_see_what_contacts_have_read(pushed):
    deal = pushed.simulator.deals.add({"dealname": "Big"}).id
    receive(pushed, [event("contact.creation", "5"), event("deal.creation", deal)])
    records, _ = pushed.sync({"pulled": int(pushed.clock() * 1000)}, "deals")
    assert [(record["id"], record["dealname"]) for record in records] == [(deal, "Big")]


@pytest.mark.parametrize("spelling", ["subscriptionType", "eventType"])
@pytest.mark.parametrize("kind", ["contact.propertyChange", "object.propertyChange"])
def test_newer_and_older_names_of_events_are_one(pushed, spelling, kind):
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    said = event(kind, one, objectTypeId="0-1")
    said[spelling] = said.pop("subscriptionType")
    receive(pushed, [said])
    assert {record["id"] for record in pushed.sync({"pulled": int(pushed.clock() * 1000)})[0]} == {one}


@pytest.mark.parametrize("how", ["archive", "erase"])
def test_a_deletion_is_a_deleted_record_whatever_order_events_come_in(pushed, how):
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    _, cursor = pushed.sync()
    getattr(pushed.simulator.contacts, how)(one)
    kind = "contact.deletion" if how == "archive" else "contact.privacyDeletion"
    receive(pushed, [event(kind, one)], [event("contact.propertyChange", one), event("contact.creation", one)])
    assert pushed.sync(cursor)[0] == [{"id": one, "alias": "", DELETED: True}]


def test_a_deletion_takes_back_further_addresses_too(pushed):
    contacts = pushed.simulator.contacts
    one = contacts.add({"email": "a@x.example", "hs_additional_emails": "b@x.example"}).id
    _, cursor = pushed.sync()
    contacts.archive(one)
    receive(pushed, [event("contact.deletion", one)])
    assert pushed.sync(cursor)[0] == [{"id": one, "alias": alias, DELETED: True} for alias in ("", "b@x.example")]


def test_one_that_hubspot_could_not_read_is_no_deletion(pushed):
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    receive(pushed, [event("contact.deletion", one)])
    body = {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [{"category": "INTERNAL_ERROR"}]}
    pushed.simulator.script("POST", "batch/read", [Answer(207, body)])
    with pytest.raises(TransientError, match="INTERNAL_ERROR"):
        pushed.sync()


def test_one_that_was_restored_is_there_though_its_deletion_comes_later(pushed):
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    _, cursor = pushed.sync()
    pushed.simulator.contacts.archive(one)
    pushed.simulator.contacts.restore(one)
    receive(pushed, [event("contact.restore", one)], [event("contact.deletion", one)])
    (record,), _ = pushed.sync(cursor)
    assert (record["id"], DELETED in record) == (one, False)


def test_one_that_is_missing_without_a_word_is_no_deletion(pushed):
    receive(pushed, [event("contact.propertyChange", "999")])
    records, after = pushed.sync({"pulled": int(pushed.clock() * 1000)})
    assert (records, after["sequence"]) == ([], 7)


@pytest.mark.parametrize("keeps_id", [True, False])
def test_a_merge_leads_to_the_one_they_became(pushed, open_door, keeps_id):
    door, contacts = open_door(), pushed.simulator.contacts
    one, two = (contacts.add({"email": f"{name}@x.example"}).id for name in "ab")
    _, cursor = pushed.sync()
    pushed.simulator.subscribe(Subscriber(door.url, SECRET, types=("contact.merge",)))
    contacts.merges_keep_id = keeps_id
    both = contacts.merge(one, two)
    pushed.simulator.hooks.sender.settle()
    pushed.context.pushed = door.inbox()
    records, _ = pushed.sync(cursor)
    assert {record["id"]: record["merged_into"] for record in records if DELETED in record} == {
        each: both for each in (one, two) if each != both
    }
    assert both in {record["id"] for record in records if DELETED not in record}


def test_what_is_no_json_is_refused_by_one_stream_alone(pushed):
    pushed.context.pushed = list(inbox([("d0", {}, b"{'a'"), ("d1", {}, [1, None, "x"])]))
    now = {"pulled": int(pushed.clock() * 1000)}
    assert [
        [each.code for page in pushed.read(now, name) for each in page.rejected] for name in ("contacts", "deals")
    ] == [
        ["no_json"],
        [],
    ]


def test_odd_events_do_not_keep_the_others_from_being_read(pushed):
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    odd = [
        event("contact.merge", one, primaryObjectId={"a": 1}, mergedObjectIds="none", newObjectId=[]),
        event("contact.merge", one, mergedObjectIds=[{"a": 1}, None, "x", -1, 10**30, 1.5]),
        {"subscriptionType": "contact.creation", "objectId": "12 OR 1=1"},
        {"subscriptionType": "contact.creation", "objectId": None},
        {"subscriptionType": 7, "objectId": 8},
        {"subscriptionType": "contact", "objectId": {}},
        [],
    ]
    receive(pushed, odd, {"subscriptionType": "contact.creation", "objectId": int(one)}, "text", [])
    records, after = pushed.sync({"pulled": int(pushed.clock() * 1000)})
    assert ({record["id"] for record in records}, after["sequence"]) == ({one}, 16)


def test_a_cursor_moves_past_the_inbox_only_once_all_ids_are_read(pushed):
    ids = [pushed.simulator.contacts.add({"email": f"p{each}@x.example"}).id for each in range(1_050)]
    now = {"pulled": int(pushed.clock() * 1000)}
    receive(
        pushed,
        *[[event("contact.creation", each) for each in ids[start : start + 100]] for start in range(0, 1_050, 100)],
    )
    pages = pushed.read(now)
    assert [page.cursor.get("sequence") for page in pages] == [None, 7 + 3 * 10]
    again, _ = pushed.sync(pages[0].cursor)
    assert {record["id"] for record in again} == set(ids)


@pytest.mark.parametrize("signature", ["v1", "v2", "v3"])
@pytest.mark.parametrize("generic", [True, False])
def test_what_the_simulator_sends_is_let_in_and_read(pushed, open_door, signature, generic):
    door = open_door(signatures=signature)
    pushed.simulator.subscribe(Subscriber(door.url, SECRET, signature, generic=generic))
    _, cursor = pushed.sync()
    ann = pushed.simulator.contacts.add({"email": "ann@x.example"}).id
    pushed.simulator.contacts.update(ann, {"firstname": "Ann"})
    deal = pushed.simulator.deals.add({"dealname": "Big"}).id
    pushed.simulator.associations.join("deals", deal, "contacts", ann)
    pushed.simulator.hooks.sender.settle()
    assert door.refusals == []
    pushed.context.pushed = door.inbox()
    (record,), _ = pushed.sync(cursor)
    assert (record["id"], record["firstname"]) == (ann, "Ann")
    (record,), _ = pushed.sync({"pulled": int(pushed.clock() * 1000)}, "deals")
    assert record["contacts"] == [ann]


def test_a_door_that_was_shut_is_called_again_until_it_opens(pushed, open_door):
    door, hooks = open_door(), pushed.simulator.hooks
    door.status = 503
    pushed.simulator.subscribe(Subscriber(door.url, SECRET))
    one = pushed.simulator.contacts.add({"email": "a@x.example"}).id
    hooks.sender.settle()
    assert [attempt.status for attempt in hooks.sender.attempts] == [503]
    door.status = 204
    pushed.clock.advance(60)
    hooks.sender.settle()
    assert [(each["objectId"], each["attemptNumber"]) for each in door.events()] == [(int(one), 0), (int(one), 1)]
    assert hooks.sender.waiting == 0


def test_a_door_that_stays_shut_is_called_eleven_times(pushed, open_door):
    door, hooks = open_door(secrets=OTHER), pushed.simulator.hooks
    pushed.simulator.subscribe(Subscriber(door.url, SECRET))
    pushed.simulator.contacts.add({"email": "a@x.example"})
    for _ in range(12):
        hooks.sender.settle()
        pushed.clock.advance(21_600)
    assert [attempt.status for attempt in hooks.sender.attempts] == [401] * 11
    assert hooks.sender.waiting == 0


def test_a_moments_events_go_together_and_a_hundred_at_most(pushed, open_door):
    door = open_door()
    pushed.simulator.subscribe(Subscriber(door.url, SECRET))
    for each in range(450):
        pushed.simulator.contacts.add({"email": f"p{each}@x.example"})
    pushed.simulator.hooks.sender.settle()
    sizes = [len(json.loads(each.body)) for each in door.accepted]
    assert (sum(sizes), max(sizes) <= 100) == (450, True)
    assert len(sizes) < 450


def test_custom_objects_are_told_by_their_id(open_library):
    library = open_library(
        Account(tier=None, custom=("cars",)), webhooks=WEBHOOKS, read=(), custom_objects=("2-1",), properties={}
    )
    car = library.simulator.custom["cars"].add({"plate": "W-1"}).id
    receive(
        library, [event("object.creation", car, objectTypeId="2-1"), event("object.creation", "7", objectTypeId="2-2")]
    )
    records, _ = library.sync({"pulled": int(library.clock() * 1000)}, "2-1")
    assert {record["id"] for record in records} == {car}
