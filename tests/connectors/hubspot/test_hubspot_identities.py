"""Which records are one person, and which are gone: further addresses, merges, deletions."""

from __future__ import annotations

from math import ceil

import pytest

from switchyard.api.records import DELETED

MINUTES = 60.0


def test_further_addresses_are_records_of_the_same_contact(library):
    library.add(1, hs_additional_emails="ann@home.example;ann@work.example")
    records, _ = library.sync()
    assert {(record["alias"], record["email"]) for record in records} == {
        ("", "p0@x.example"),
        ("ann@home.example", "ann@home.example"),
        ("ann@work.example", "ann@work.example"),
    }
    assert len({record["id"] for record in records}) == 1


@pytest.mark.parametrize("keeps_id", [True, False])
def test_contacts_that_were_merged_away_lead_to_the_one_they_became(library, keeps_id):
    one, two, three = library.add(3)
    _, cursor = library.sync()
    library.simulator.contacts.merges_keep_id = keeps_id
    both = library.simulator.contacts.merge(one, two)
    library.clock.advance(10 * MINUTES)
    records, cursor = library.sync(cursor)
    merged = {record["id"]: record["merged_into"] for record in records if record.get(DELETED)}
    assert merged == ({two: one} if keeps_id else {one: both, two: both})
    assert both in {record["id"] for record in records if DELETED not in record}
    final = library.simulator.contacts.merge(both, three)
    library.clock.advance(10 * MINUTES)
    records, _ = library.sync(cursor)
    merged = {record["id"]: record["merged_into"] for record in records if record.get(DELETED)}
    assert merged == dict.fromkeys({one, two, three, both} - {final}, final)


def test_archived_records_are_told_once_a_day(library):
    ids = library.add(3)
    _, cursor = library.sync()
    library.simulator.contacts.archive(ids[0])
    library.clock.advance(3_600)
    assert library.calls("contacts$", lambda: library.sync(cursor)) == 0
    library.clock.advance(86_400)
    records, after = library.sync(cursor)
    assert [record for record in records if record.get(DELETED)] == [{"id": ids[0], "alias": "", DELETED: True}]
    library.clock.advance(86_400)
    records, _ = library.sync(after)
    assert records == []


def test_further_addresses_are_taken_back_with_their_contact(library):
    one, _ = library.add(2)
    library.simulator.contacts.update(one, {"hs_additional_emails": "ann@home.example"})
    library.clock.advance(10 * MINUTES)
    _, cursor = library.sync()
    library.simulator.contacts.archive(one)
    library.clock.advance(86_400)
    records, _ = library.sync(cursor)
    assert records == [{"id": one, "alias": alias, DELETED: True} for alias in ("", "ann@home.example")]


@pytest.mark.parametrize("count", [1, 99, 100, 101])
def test_looking_for_archived_records_takes_a_call_for_100(open_library, count):
    library = open_library(archived_every=600)
    ids = library.add(count + 1)
    _, cursor = library.sync()
    for record_id in ids[:count]:
        library.simulator.contacts.archive(record_id)
    library.clock.advance(660)
    before = library.simulator.journal.total
    records, _ = library.sync(cursor)
    assert {record["id"] for record in records if record.get(DELETED)} == set(ids[:count])
    assert library.simulator.count("GET", "contacts$", since=before) == ceil(count / 100)


def test_a_look_for_archived_records_goes_on_where_it_ended(open_library):
    library = open_library(archived_every=600)
    ids = library.add(250)
    _, cursor = library.sync()
    for record_id in ids:
        library.simulator.contacts.archive(record_id)
    library.clock.advance(660)
    pages = library.read(cursor)
    scanned = [page for page in pages if page.cursor.get("scan")]
    assert len(scanned) == 2
    rest, _ = library.sync(scanned[0].cursor)
    assert {record["id"] for record in (*scanned[0].records, *rest)} == set(ids)
