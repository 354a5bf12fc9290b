"""Lists and who is on them: all of them, and only those lists whose members changed."""

from __future__ import annotations

from math import ceil

import pytest

from switchyard.api import PermanentError
from switchyard.testing.simulator import Answer


@pytest.fixture
def library(open_library):
    return open_library(read=("lists", "list_memberships"), properties={})


def fill(library, name, count, start=0):
    """A list with people on it."""
    contacts = library.simulator.contacts
    ids = [contacts.add({"email": f"{name}{each}@x.example"}).id for each in range(start, start + count)]
    made = library.simulator.lists.named(name) or library.simulator.lists.add(name)
    library.simulator.lists.put_on(made.id, ids)
    library.clock.advance(1)
    return made.id, ids


def members(library, cursor=None):
    records, after = library.sync(cursor, "list_memberships")
    return {(record["list_name"], record["record_id"]) for record in records}, after


@pytest.mark.parametrize("count", [1, 249, 250, 251])
def test_members_are_read_by_250(library, count):
    _, ids = fill(library, "vip", count)
    found, _ = members(library)
    assert found == {("vip", each) for each in ids}
    assert library.simulator.count("GET", "/memberships") == ceil(count / 250)


def test_only_lists_whose_members_changed_are_read_again(library):
    fill(library, "vip", 3)
    gold, ids = fill(library, "gold", 300)
    _, cursor = members(library)
    assert library.calls("/memberships", lambda: members(library, cursor)) == 0
    library.simulator.lists.take_off(gold, ids[:1])
    library.clock.advance(1)
    found, cursor = members(library, cursor)
    assert found == {("gold", each) for each in ids[1:]}
    # As many as before, but others.
    library.simulator.lists.put_on(gold, ids[:1])
    library.clock.advance(1)
    library.simulator.lists.take_off(gold, ids[1:2])
    assert ("gold", ids[0]) in members(library, cursor)[0]


def test_a_list_of_which_hubspot_does_not_say_when_it_changed_is_read_each_time(library):
    vip, ids = fill(library, "vip", 3)
    rows = {"lists": [{"listId": vip, "name": "vip", "objectTypeId": "0-1"}], "hasMore": False, "total": 1}
    library.simulator.script("POST", "/lists", [Answer(200, rows)] * 2)
    _, cursor = members(library)
    assert members(library, cursor)[0] == {("vip", each) for each in ids}


def test_reading_members_goes_on_where_it_ended(library):
    fill(library, "vip", 600)
    fill(library, "gold", 300)
    pages = library.read(stream="list_memberships")
    whole = {(record["list_name"], record["record_id"]) for page in pages for record in page.records}
    assert len(whole) == 900
    for number, page in enumerate(pages):
        done = {(record["list_name"], record["record_id"]) for each in pages[: number + 1] for record in each.records}
        assert done | members(library, page.cursor)[0] == whole


def test_a_list_that_is_deleted_meanwhile_ends_nothing(library):
    vip, _ = fill(library, "vip", 3)
    _, ids = fill(library, "gold", 3)
    library.simulator.at_call(1, lambda: library.simulator.lists.remove(vip), "answered")
    assert members(library)[0] == {("gold", each) for each in ids}


@pytest.mark.parametrize(("api", "calls"), [("2026-03", 3), ("2026-09", 3)])
def test_lists_are_read_by_500(open_library, api, calls):
    library = open_library(read=("lists",), properties={}, api=api)
    for number in range(1_001):
        library.simulator.lists.add(f"list {number}")
    records, _ = library.sync(stream="lists")
    assert len({record["list_id"] for record in records}) == len(records) == 1_001
    assert library.simulator.count() == calls


def test_lists_beyond_the_last_offset_are_read_from_the_other_end(library):
    for number in range(10_750):
        library.simulator.lists.add(f"list {number}")
    records, _ = library.sync(stream="lists")
    assert len({record["list_id"] for record in records}) == len(records) == 10_750
    assert library.simulator.count() == 20 + 2


def test_more_lists_than_can_be_seen_need_the_newest_version_and_say_so(library):
    answer = {"lists": [], "hasMore": False, "offset": 0, "total": 20_001}
    library.simulator.script("POST", "/lists", [Answer(200, answer)] * 2)
    with pytest.raises(PermanentError, match="2026-09"):
        library.sync(stream="lists")
