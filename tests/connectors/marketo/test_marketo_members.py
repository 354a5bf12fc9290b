"""The streams of members, programs, lists and custom objects."""

from __future__ import annotations

import pytest

from switchyard.api import PermanentError
from switchyard.api.records import DELETED


def leads(desk, count):
    return [desk.simulator.people.create({"email": f"p{each}@x.example"}).id for each in range(count)]


def test_a_list_is_read_once_and_then_who_came_and_went(open_desk):
    desk = open_desk(lists=[1101, 1102])
    for name in ("one", "two"):
        desk.simulator.lists.add(name)
    people = leads(desk, 650)
    desk.simulator.lists.put_on(1101, people)
    desk.clock.advance(60)
    records, cursor = desk.read("list_members")
    assert {(each["listId"], each["leadId"]) for each in records} == {("1101", str(each)) for each in people}
    desk.clock.advance(60)
    desk.simulator.lists.take_off(1101, people[:1])
    desk.simulator.lists.put_on(1102, people[:1])
    desk.clock.advance(60)
    records, cursor = desk.read("list_members", cursor)
    assert {(each["listId"], each["leadId"], each.get(DELETED, False)) for each in records} == {
        ("1101", str(people[0]), True),
        ("1102", str(people[0]), False),
    }
    assert desk.read("list_members", cursor)[0] == []


def test_a_reading_of_lists_goes_on_from_any_page(open_desk):
    desk = open_desk(lists=[1101])
    desk.simulator.lists.add("one")
    desk.simulator.lists.put_on(1101, leads(desk, 650))
    desk.clock.advance(60)
    pages = desk.pages("list_members")
    counts = [len(page.records) for page in pages]
    for number in range(1, len(pages)):
        rest, _ = desk.read("list_members", pages[number - 1].cursor)
        assert sum(counts[:number]) + len(rest) == 650


@pytest.mark.parametrize("extract", ["auto", "none"])
def test_program_members_are_read_whole_and_then_by_change(open_desk, extract):
    desk = open_desk(extract=extract)
    program = desk.simulator.programs.add("Webinar")
    desk = desk.configured(programs=(program.id,))
    people = leads(desk, 5)
    desk.simulator.programs.put(program.id, people, "Invited")
    desk.clock.advance(3_600)
    records, cursor = desk.read("program_members")
    assert {(each["programId"], each["leadId"], each["statusName"]) for each in records} == {
        (str(program.id), str(each), "Invited") for each in people
    }
    desk.clock.advance(3_600)
    desk.simulator.programs.put(program.id, people[:1], "Registered")
    desk.clock.advance(60)
    records, cursor = desk.read("program_members", cursor)
    assert {(each["leadId"], each["statusName"]) for each in records} == {(str(people[0]), "Registered")}


def test_lists_and_programs_are_records_where_asked_for(open_desk):
    desk = open_desk(catalogue=True)
    for each in range(301):
        desk.simulator.lists.add(f"list {each}")
    for each in range(201):
        desk.simulator.programs.add(f"program {each}")
    for name, count in (("lists", 301), ("programs", 201)):
        records, cursor = desk.read(name)
        assert len({each["id"] for each in records}) == count
        assert len(desk.read(name, cursor)[0]) == count


def test_custom_objects_are_read_by_change(open_desk):
    desk = open_desk(custom_objects=[{"name": "order_c", "lead": "email", "lead_is": "email"}])
    fields = {"orderId": "string", "email": "string", "total": "string"}
    desk.simulator.objects.add_type("order_c", fields, ["orderId"], ("email", "email"))
    desk.simulator.objects.put("order_c", {"orderId": "1", "email": "a@x.example", "total": "9.50"})
    desk.clock.advance(3_600)
    records, cursor = desk.read("order_c")
    assert [(each["orderId"], each["email"], each["total"]) for each in records] == [("1", "a@x.example", "9.50")]
    assert records[0]["marketoGUID"]
    desk.clock.advance(60)
    desk.simulator.objects.put("order_c", {"orderId": "2", "email": "a@x.example"})
    desk.clock.advance(60)
    assert [each["orderId"] for each in desk.read("order_c", cursor)[0]] == ["2"]


def test_a_field_that_a_custom_object_lacks_is_named(open_desk):
    desk = open_desk(custom_objects=[{"name": "order_c", "lead": "nobody"}])
    desk.simulator.objects.add_type("order_c", {"orderId": "string"}, ["orderId"])
    with pytest.raises(PermanentError, match="nobody"):
        desk.read("order_c")


def test_a_list_that_was_not_read_for_a_while_is_read_anew(open_desk):
    desk = open_desk(lists=[1101, 1102])
    for name in ("one", "two"):
        desk.simulator.lists.add(name)
    (lead,) = leads(desk, 1)
    desk.clock.advance(60)
    _, cursor = desk.read("list_members")
    desk.simulator.lists.put_on(1102, [lead])
    desk.clock.advance(60)
    _, cursor = desk.configured(lists=(1101,)).read("list_members", cursor)
    assert [each["leadId"] for each in desk.read("list_members", cursor)[0]] == [str(lead)]


@pytest.mark.parametrize("stream", ["list_members", "lists"])
def test_a_page_that_was_kept_too_long_ends_no_reading(open_desk, stream):
    desk = open_desk(lists=[1101], catalogue=True)
    for each in range(301):
        desk.simulator.lists.add(f"list {each}")
    desk.simulator.lists.put_on(1101, leads(desk, 301))
    desk.clock.advance(60)
    cursor = {**desk.pages(stream)[0].cursor, "page": "OUTDATED"}
    assert len({tuple(each.items()) for each in desk.read(stream, cursor)[0]}) == 301


@pytest.mark.parametrize("stream", ["order_c", "program_members"])
def test_what_shows_late_is_read_by_the_next_run(open_desk, stream):
    desk = open_desk(custom_objects=[{"name": "order_c", "lead": "email", "lead_is": "email"}])
    desk.simulator.objects.add_type("order_c", {"orderId": "string", "email": "string"}, ["orderId"])
    program = desk.simulator.programs.add("Webinar")
    desk = desk.configured(programs=(program.id,))
    (lead,) = leads(desk, 1)
    desk.clock.advance(3_600)
    _, cursor = desk.read(stream)
    desk.clock.now -= 240
    desk.simulator.objects.put("order_c", {"orderId": "2", "email": "a@x.example"})
    desk.simulator.programs.put(program.id, [lead], "Invited")
    desk.clock.now += 300
    assert len(desk.read(stream, cursor)[0]) == 1


def test_a_program_with_too_many_members_is_read_in_bulk(open_desk):
    desk = open_desk()
    program = desk.simulator.programs.add("Webinar")
    desk = desk.configured(programs=(program.id,))
    people = leads(desk, 5)
    desk.clock.advance(3_600)
    _, cursor = desk.read("program_members")
    desk.simulator.programs.put(program.id, people, "Invited")
    desk.clock.advance(60)
    many = desk.simulator.failed("1003", "Too many results match the filter")
    desk.simulator.script("GET", "/members.json", [many])
    assert len(desk.read("program_members", cursor)[0]) == 5
