"""From a record to a person: the default mappings, through the whole spine."""

from __future__ import annotations

import json

import pytest
from tests.projects import Spine

from switchyard.pipeline.mapping import declared
from switchyard.store.tables import Quarantine, Subject
from switchyard_connectors.marketo import SOURCE, MarketoConfig
from switchyard_connectors.marketo.streams import asked_for

EVERYTHING = MarketoConfig(
    base_url="123-ABC-456",
    client_id="i",
    client_secret="s",
    lists=[1],
    programs=[1],
    changes=["email"],
    catalogue=True,
    custom_objects=[{"name": "order_c"}, {"name": "visit_c", "lead": "mail", "lead_is": "email"}],
)
STREAMS = {each.name: each for each in (*SOURCE.streams, *asked_for(EVERYTHING))}


@pytest.fixture
def feed(tmp_path):
    """Commit the pages of a stream; gives what a look at the store finds afterwards."""

    def commit(stream, pages, look, **attributes):
        spine = Spine(tmp_path, STREAMS[stream], {"attributes": attributes} if attributes else {})
        try:
            for page in pages:
                spine.feed(page.records)
            assert spine.rows(Quarantine) == []
            return look(spine)
        finally:
            spine.close()

    return commit


def profiles(spine):
    """Subject → profile."""
    return {subject.key: subject.profile_id for subject in spine.rows(Subject)}


@pytest.mark.parametrize("name", STREAMS)
def test_the_default_mapping_fits_the_stream(name, tmp_path):
    spine = Spine(tmp_path, STREAMS[name], {})
    try:
        attributes, events = declared(spine.mapper.plan)
    finally:
        spine.close()
    assert set(STREAMS[name].mapping.get("attributes", ())) == set(attributes)
    assert set(STREAMS[name].mapping.get("events", ())) == set(events)


def test_a_lead_and_what_it_did_are_one_person(open_desk, feed):
    desk = open_desk(since="2026-09-20")
    lead = desk.simulator.people.create({"email": "ann@x.example", "firstName": "Ann", "unsubscribed": True}).id
    for kind, attributes in ((10, {"Device": "iPhone"}), (11, {"Link": "https://x.example"}), (2, {}), (1, {})):
        desk.simulator.activities.record(kind, lead, primary="Mail 1", primary_id=7, attributes=attributes)
    desk.clock.advance(60)
    (attributes,) = feed("leads", desk.pages("leads"), lambda spine: [row.attributes for row in spine.rows(Subject)])
    said = {name: value for name, (value, _) in json.loads(attributes).items()} if attributes else {}
    assert said == {"first_name": "Ann", "email_opt_out": True}

    def look(spine):
        names = ("email_opened", "email_clicked", "form_submitted", "page_viewed")
        return set(profiles(spine).values()), {name: spine.events(name) for name in names}

    people, events = feed("activities", desk.pages("activities"), look)
    assert len(people) == 1
    assert {name: len(found) for name, found in events.items()} == dict.fromkeys(events, 1)
    assert events["email_opened"][0]["device"] == "iPhone"
    assert events["email_clicked"][0]["url"] == "https://x.example"
    assert events["email_clicked"][0]["email_name"] == "Mail 1"


def test_a_merge_joins_the_people_of_both_leads(open_desk, feed):
    desk = open_desk(since="2026-09-20")
    ids = [desk.simulator.people.create({"email": f"p{each}@x.example"}).id for each in range(3)]
    desk.clock.advance(60)
    pages = desk.pages("leads")
    assert len(set(feed("leads", pages, profiles).values())) == 3
    desk.simulator.people.merge(ids[0], [ids[1]])
    desk.clock.advance(60)
    found = feed("leads", desk.pages("leads", pages[-1].cursor), profiles)
    assert found[str(ids[0])] == found[str(ids[1])] != found[str(ids[2])]


@pytest.mark.parametrize("name", STREAMS)
def test_what_a_record_no_longer_says_is_taken_back_where_it_is_complete(name):
    assert STREAMS[name].whole is (STREAMS[name].mode == "upsert")


@pytest.mark.parametrize("extract", ["auto", "none"])
def test_a_field_that_is_emptied_in_marketo_is_taken_back(open_desk, feed, extract):
    desk = open_desk(since="2026-09-20", extract=extract)
    lead = desk.simulator.people.create({"email": "ann@x.example", "firstName": "Ann", "company": "Acme"}).id
    desk.clock.advance(3_600)
    pages = desk.pages("leads")
    desk.clock.advance(3_600)
    desk.simulator.people.update(lead, {"company": None})
    desk.clock.advance(60)

    def said(spine):
        (found,) = [row.attributes for row in spine.rows(Subject)]
        return {name: value for name, (value, _) in json.loads(found).items() if value is not None}

    assert feed("leads", pages, said)["company"] == "Acme"
    assert feed("leads", desk.pages("leads", pages[-1].cursor), said) == {"first_name": "Ann"}


def test_a_field_of_ones_own_does_not_need_the_date_that_marketo_shows(open_desk, feed):
    # What the API shows as updatedAt is moved by standard fields alone.
    desk = open_desk(since="2026-09-20", fields=("firstName", "tier"))
    desk.simulator.fields.add("tier")
    lead = desk.simulator.people.create({"email": "ann@x.example", "tier": "gold"}).id

    def said(spine):
        (found,) = [row.attributes for row in spine.rows(Subject)]
        return json.loads(found).get("tier", [None])[0] if found else None

    cursor, seen = None, []
    for tier in ("gold", "silver", None):
        desk.simulator.people.update(lead, {"tier": tier})
        desk.clock.advance(3_600)
        pages = desk.pages("leads", cursor)
        cursor = pages[-1].cursor
        seen.append(feed("leads", pages, said, tier="tier"))
    assert seen == ["gold", "silver", None]
