"""Every row has a verdict of its own, whatever HubSpot does with a call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.api import ListReceipt, Member
from switchyard.testing.simulator import Answer
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC
from switchyard_connectors.hubspot.upserts import Upserts, rows_of

BAD_CALL = {"status": "error", "category": "VALIDATION_ERROR", "message": "no", "correlationId": "c"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def post(simulator: HubSpotSimulator) -> Iterator[Callable[[str, Any], httpx.Response]]:
    with httpx.Client(base_url=simulator.url, headers={"authorization": f"Bearer {STATIC}"}) as client:
        yield lambda operation, body: client.post(f"/crm/v3/objects/contacts/{operation}", json=body)


def joined(receipts: Sequence[ListReceipt]) -> tuple[dict[str, str], dict[str, str]]:
    upserted = {key: value for receipt in receipts for key, value in receipt.upserted.items()}
    rejected = {key: why.code for receipt in receipts for key, why in receipt.rejected.items()}
    assert len(upserted) + len(rejected) == sum(len(r.upserted) + len(r.rejected) for r in receipts)
    return upserted, rejected


@settings(max_examples=40, deadline=None)
@given(bad=st.sets(st.integers(0, 319)), count=st.integers(1, 320), lanes=st.integers(1, 4))
def test_any_subset_of_failing_rows_leaves_its_neighbours_alone(simulator, post, bad, count, lanes):
    members = [
        Member(f"p{each}", fields={"email": f"p{each}{' at ' if each in bad else '@'}x.example", "city": str(each)})
        for each in range(count)
    ]
    rows, _ = rows_of(members, "email")
    before = simulator.journal.total
    upserted, rejected = joined(list(Upserts("email", post, concurrency=lanes).run(rows)))
    assert rejected == {f"p{each}": "INVALID_EMAIL" for each in bad if each < count}
    assert upserted.keys() == {f"p{each}" for each in range(count) if each not in bad}
    for key, record_id in upserted.items():
        assert simulator.contacts.records[record_id].properties["city"] == key[1:]
    assert simulator.journal.total - before == -(-count // 100)


@settings(max_examples=40, deadline=None)
@given(bad=st.sets(st.integers(0, 15), max_size=4), count=st.integers(1, 16), naming=st.booleans())
def test_a_call_refused_as_a_whole_is_taken_apart_until_only_the_bad_are_left(bad, count, naming):
    """HubSpot refuses the call if any row is bad, naming it or not."""

    def post(_: str, body: Any) -> httpx.Response:
        wrong = [item["id"] for item in body["inputs"] if int(item["id"][1:].split("@")[0]) in bad]
        if wrong:
            return httpx.Response(400, json=BAD_CALL | ({"context": {"ids": wrong[:1]}} if naming else {}))
        results = [{"id": item["id"][1:], "properties": {"email": item["id"]}} for item in body["inputs"]]
        return httpx.Response(200, json={"results": results[::-1]})

    rows, _ = rows_of([Member(f"p{n}", fields={"email": f"p{n}@x.example"}) for n in range(count)], "email")
    upserted, rejected = joined(list(Upserts("email", post, spare=100).run(rows)))
    assert rejected.keys() == {f"p{each}" for each in bad if each < count}
    assert upserted == {f"p{each}": f"{each}@x.example" for each in range(count) if each not in bad}


def test_taking_apart_ends_when_it_leads_nowhere():
    calls = itertools.count(1)

    def post(*_: Any) -> httpx.Response:
        next(calls)
        return httpx.Response(400, json=BAD_CALL)

    rows, _ = rows_of([Member(f"p{n}", fields={"email": f"p{n}@x.example"}) for n in range(1_000)], "email")
    receipts = list(Upserts("email", post, spare=20).run(rows))
    _, rejected = joined(receipts)
    assert len(rejected) == 1_000
    assert next(calls) - 1 <= 10 + 20 + 7
    assert any(why.retryable for receipt in receipts for why in receipt.rejected.values())


def test_a_property_that_no_row_can_have_is_not_searched_for(desk, people):
    ref = desk.ensure()
    detail = {"message": "gone", "code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": ["city"]}}
    desk.simulator.script("POST", "upsert", itertools.repeat(Answer(400, BAD_CALL | {"errors": [detail]})))
    before = desk.simulator.journal.total
    done = desk.deliver(ref, upsert=people(100, city="x"))
    assert set(done.codes.values()) == {"PROPERTY_DOESNT_EXIST"}
    assert desk.simulator.journal.total - before == 1


def test_a_conflict_is_retried_and_ends_well_when_it_was_a_race(desk, people):
    ref = desk.ensure()
    body = {"status": "error", "category": "CONFLICT", "message": "Contact already exists. Existing ID: 7"}
    desk.simulator.script("POST", "upsert", [Answer(409, body)])
    assert len(desk.deliver(ref, upsert=people(2)).upserted) == 2
    desk.simulator.script("POST", "upsert", [Answer(409, body)])
    done = desk.deliver(ref, upsert=people(1))
    assert (done.codes, done.retryable) == ({"p0": "CONFLICT"}, {"p0"})


def test_rows_that_the_answer_does_not_mention_are_tried_again_later(desk, people):
    ref = desk.ensure()
    body = {"status": "COMPLETE", "results": [{"id": "7", "properties": {"email": "p1@x.example"}, "new": True}]}
    desk.simulator.script("POST", "upsert", [Answer(200, body)])
    done = desk.deliver(ref, upsert=people(2), add=people(1))
    assert (done.upserted, done.codes, done.retryable) == ({"p1": "7"}, {"p0": "no_answer"}, {"p0"})
    assert not done.added


def test_a_row_refused_with_the_id_it_was_known_by_does_not_get_another_rows_answer(desk):
    ref = desk.ensure()
    contacts = desk.simulator.contacts
    main, other = (contacts.add({"email": f"{name}@x.example"}).id for name in ("main", "alias"))
    main = contacts.merge(main, other)
    members = [
        Member("bad", main, {"email": "no address"}),
        Member("alias", None, {"email": "alias@x.example"}),
    ]
    done = desk.deliver(ref, upsert=members, add=members)
    assert (done.upserted, done.codes) == ({"alias": main}, {"bad": "INVALID_EMAIL"})


def test_one_who_was_known_as_the_record_of_another_address_does_not_get_that_ones_answer(desk):
    """Ann had the record, which Bob's address leads to by now; Ann's new address becomes a record of its own."""
    ref, contacts = desk.ensure(), desk.simulator.contacts
    ids = set()
    for number in range(8):
        main, alias = f"main{number}@x.example", f"bob{number}@x.example"
        bob = contacts.merge(*(contacts.add({"email": address}).id for address in (main, alias)))
        members = [Member("ann", bob, {"email": f"ann{number}@x.example"}), Member("bob", None, {"email": alias})]
        done = desk.deliver(ref, upsert=members, add=members)
        ann = contacts.find("email", f"ann{number}@x.example").id
        assert done.upserted == {"ann": ann, "bob": bob}
        ids |= {ann, bob}
    assert desk.held(ref) == ids


def test_results_that_carry_trace_ids_are_matched_by_them():
    rows, _ = rows_of([Member(f"p{n}", fields={"email": f"p{n}@x.example"}) for n in range(3)], "email")

    def traced(operation: str, body: Any) -> httpx.Response:
        results = [
            {"id": f"r{item['objectWriteTraceId']}", "objectWriteTraceId": item["objectWriteTraceId"]}
            for item in reversed(body["inputs"])
        ]
        return httpx.Response(200, content=json.dumps({"results": results}))

    upserted, _ = joined(list(Upserts("email", traced).run(rows)))
    assert upserted == {"p0": "r0", "p1": "r1", "p2": "r2"}
