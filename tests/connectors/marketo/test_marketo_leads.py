"""The stream of leads: by change, by creation, by the feed of changes; deletions and merges."""

from __future__ import annotations

import pytest

from switchyard.api.records import DELETED
from switchyard_connectors.marketo.simulator import Account

from .conftest import DAY


def alive(records):
    return {record["id"]: record for record in records if not record.get(DELETED)}


def gone(records):
    return {record["id"]: record.get("merged_into") for record in records if record.get(DELETED)}


@pytest.fixture(params=["updated_at", "created_at", "changes"])
def any_desk(request, open_desk):
    """The connector for each kind of subscription."""
    extract = {"updated_at": "auto", "created_at": "created_at", "changes": "none"}[request.param]
    return open_desk(extract=extract)


def test_all_leads_are_read_once_and_then_those_that_changed(any_desk):
    desk = any_desk
    people = desk.simulator.people
    ids = [people.create({"email": f"p{each}@x.example", "firstName": f"P{each}"}).id for each in range(5)]
    desk.clock.advance(3_600)
    records, cursor = desk.read("leads")
    assert {each["email"] for each in alive(records).values()} == {f"p{each}@x.example" for each in range(5)}
    desk.clock.advance(3_600)
    people.update(ids[2], {"firstName": "New"})
    added = people.create({"email": "late@x.example"}).id
    desk.clock.advance(60)
    records, cursor = desk.read("leads", cursor)
    assert {each: record["firstName"] for each, record in alive(records).items()} == {
        str(ids[2]): "New",
        str(added): None,
    }
    # Windows overlap a little; after that nothing comes again.
    desk.clock.advance(3_600)
    _, cursor = desk.read("leads", cursor)
    desk.clock.advance(3_600)
    assert alive(desk.read("leads", cursor)[0]) == {}


def test_an_old_lead_that_is_updated_is_not_missed(any_desk):
    desk = any_desk
    old = desk.simulator.people.create({"email": "old@x.example"}).id
    desk.clock.advance(40 * DAY)
    _, cursor = desk.read("leads")
    desk.clock.advance(DAY)
    desk.simulator.people.update(old, {"firstName": "Ann"})
    desk.clock.advance(60)
    assert alive(desk.read("leads", cursor)[0])[str(old)]["firstName"] == "Ann"


def test_both_ways_of_reading_give_the_same_record(open_desk):
    read = []
    for extract in ("auto", "none"):
        desk = open_desk(extract=extract)
        desk.simulator.people.create({"email": "a@x.example", "unsubscribed": True, "lastName": 'O"H,\r\nara\u2028!'})
        desk.clock.advance(60)
        read += [{name: value for name, value in each.items() if "At" not in name} for each in desk.read("leads")[0]]
    assert read[0] == read[1]
    assert read[0]["lastName"] == 'O"H,\nara\u2028!'
    assert read[0]["unsubscribed"] == "true"
    assert read[0]["phone"] is None


def test_deleted_leads_come_as_deleted(any_desk):
    desk = any_desk
    ids = [desk.simulator.people.create({"email": f"p{each}@x.example"}).id for each in range(3)]
    desk.clock.advance(60)
    _, cursor = desk.read("leads")
    desk.clock.advance(60)
    desk.simulator.people.delete(ids[1])
    desk.clock.advance(60)
    records, cursor = desk.read("leads", cursor)
    assert gone(records) == {str(ids[1]): None}
    desk.clock.advance(60)
    assert gone(desk.read("leads", cursor)[0]) == {}


def test_merged_leads_keep_both_ids(any_desk):
    desk = any_desk
    winner, *losers = [desk.simulator.people.create({"email": f"p{each}@x.example"}).id for each in range(3)]
    desk.clock.advance(60)
    _, cursor = desk.read("leads")
    desk.clock.advance(60)
    desk.simulator.people.merge(winner, losers)
    desk.clock.advance(60)
    assert gone(desk.read("leads", cursor)[0]) == {str(loser): str(winner) for loser in losers}


def test_a_subscription_without_the_filter_for_changes_is_read_by_creation(open_desk):
    desk = open_desk(Account(corona=False))
    lead = desk.simulator.people.create({"email": "a@x.example"}).id
    desk.clock.advance(3_600)
    records, cursor = desk.read("leads")
    assert alive(records).keys() == {str(lead)}
    desk.clock.advance(3_600)
    desk.simulator.people.update(lead, {"firstName": "Ann"})
    desk.clock.advance(60)
    made = desk.calls(lambda: desk.read("leads", cursor))
    assert not [each for each in made if "/bulk/" in each]
    assert alive(desk.read("leads", cursor)[0])[str(lead)]["firstName"] == "Ann"


def test_a_killed_run_goes_on_from_any_page(any_desk):
    desk = any_desk
    people = desk.simulator.people
    ids = [people.create({"email": f"p{each}@x.example"}).id for each in range(700)]
    desk.clock.advance(40 * DAY)
    people.update(ids[0], {"firstName": "Ann"})
    people.delete(ids[1])
    desk.clock.advance(3_600)
    pages = desk.pages("leads")
    whole = {str(each) for each in ids if each != ids[1]}
    for number in range(1, len(pages)):
        before = [
            record
            for page in pages[:number]
            for record in getattr(page.records, "to_pylist", lambda p=page: p.records)()
        ]
        rest, _ = desk.read("leads", pages[number - 1].cursor)
        assert alive([*before, *rest]).keys() == whole


def test_a_token_that_is_refused_is_replaced_by_its_instant(open_desk):
    desk = open_desk(extract="none")
    desk.clock.advance(60)
    _, cursor = desk.read("leads")
    desk.clock.advance(60)
    lead = desk.simulator.people.create({"email": "a@x.example"}).id
    desk.clock.advance(60)
    cursor["changes"]["token"] = "OUTDATED"
    assert alive(desk.read("leads", cursor)[0]).keys() == {str(lead)}


def test_a_field_that_is_not_there_is_told_and_ends_no_reading(open_desk, caplog):
    desk = open_desk(fields=["shoeSize", "firstName"])
    lead = desk.simulator.people.create({"email": "a@x.example", "firstName": "Ann"}).id
    desk.clock.advance(60)
    assert alive(desk.read("leads")[0])[str(lead)]["firstName"] == "Ann"
    assert "shoeSize" in caplog.text


@pytest.mark.parametrize("extract", ["created_at", "none"])
def test_another_way_of_reading_goes_on_where_the_last_ended(open_desk, extract):
    desk = open_desk()
    first = desk.simulator.people.create({"email": "a@x.example"}).id
    desk.clock.advance(60)
    records, cursor = desk.read("leads")
    assert alive(records).keys() == {str(first)}
    desk.clock.advance(60)
    second = desk.simulator.people.create({"email": "b@x.example"}).id
    desk.clock.advance(60)
    assert alive(desk.configured(extract=extract).read("leads", cursor)[0]).keys() == {str(second)}


def bulk(calls):
    return [each for each in calls if "/bulk/" in each]


@pytest.fixture
def settled(open_desk):
    """A desk whose leads are read, and who they are."""
    desk = open_desk(fields=("firstName", "leadScore"))
    ids = [desk.simulator.people.create({"email": f"p{each}@x.example"}).id for each in range(5)]
    desk.clock.advance(3_600)
    _, cursor = desk.read("leads")
    desk.clock.advance(3_600)
    return desk, ids, cursor


def test_few_changes_are_read_by_their_feed_and_not_by_a_job(settled):
    desk, ids, cursor = settled
    desk.simulator.people.update(ids[0], {"firstName": "Ann"})
    desk.clock.advance(60)
    begun, read = desk.clock(), []
    made = desk.calls(lambda: read.extend(desk.read("leads", cursor)))
    assert {each: record["firstName"] for each, record in alive(read[0]).items()} == {str(ids[0]): "Ann"}
    assert not bulk(made)
    assert desk.clock() - begun < 1
    # What is asked for when nothing changed: the fields, and a page of each feed.
    desk.clock.advance(60)
    assert len(desk.calls(lambda: desk.read("leads", read[1]))) == 5


def test_a_changed_score_is_seen_although_the_feed_of_changes_has_no_scores(settled):
    desk, ids, cursor = settled
    desk.simulator.people.update(ids[0], {"leadScore": 80})
    desk.clock.advance(60)
    assert alive(desk.read("leads", cursor)[0])[str(ids[0])]["leadScore"] == "80"


def test_what_no_feed_tells_is_read_once_a_day(settled):
    desk, ids, cursor = settled
    lead = desk.simulator.people.leads[ids[0]]
    lead.values["firstName"], lead.changed = "Ann", desk.clock()
    desk.clock.advance(3_600)
    records, cursor = desk.read("leads", cursor)
    assert alive(records) == {}
    desk.clock.advance(DAY)
    records, cursor = desk.read("leads", cursor)
    assert alive(records)[str(ids[0])]["firstName"] == "Ann"
    assert not bulk(desk.calls(lambda: desk.read("leads", cursor)))


def test_many_changes_are_read_by_a_job(settled):
    desk, _, cursor = settled
    ids = [desk.simulator.people.create({"email": f"q{each}@x.example"}).id for each in range(3_500)]
    desk.clock.advance(600)
    read = []
    made = desk.calls(lambda: read.extend(desk.read("leads", cursor)))
    assert alive(read[0]).keys() >= {str(each) for each in ids}
    assert "POST /bulk/v1/leads/export/create.json" in made
    desk.clock.advance(600)
    assert not bulk(desk.calls(lambda: read.extend(desk.read("leads", read[1]))))


def test_a_lead_that_is_made_between_a_job_and_the_feed_is_not_missed(open_desk):
    desk = open_desk()
    reading = desk.source.read(desk.stream("leads"), None)
    next(reading)
    late = desk.simulator.people.create({"email": "late@x.example"}).id
    *_, last = reading
    desk.clock.advance(60)
    assert str(late) in alive(desk.read("leads", last.cursor)[0])


def test_a_winner_of_a_merge_is_read_with_what_it_got(settled):
    desk, ids, cursor = settled
    winner, loser = ids[:2]
    # Nothing of it is in the feed of changes.
    desk.simulator.people.leads[winner].values["firstName"] = "Ann"
    desk.simulator.people.merge(winner, [loser])
    desk.clock.advance(60)
    records, _ = desk.read("leads", cursor)
    assert gone(records) == {str(loser): str(winner)}
    assert alive(records)[str(winner)]["firstName"] == "Ann"


def test_a_field_that_is_newly_asked_for_is_read_of_everybody(any_desk):
    desk = any_desk
    lead = desk.simulator.people.create({"email": "a@x.example", "mobilePhone": "+1 555"}).id
    desk.clock.advance(3_600)
    _, cursor = desk.read("leads")
    desk.clock.advance(3_600)
    wider = desk.configured(fields=("firstName", "mobilePhone"))
    records, cursor = wider.read("leads", cursor)
    assert alive(records)[str(lead)]["mobilePhone"] == "+1 555"
    desk.clock.advance(3_600)
    assert alive(wider.read("leads", cursor)[0]) == {}


def test_a_long_silence_of_the_feed_is_not_looked_through_again(open_desk):
    desk = open_desk(extract="none")
    lead = desk.simulator.people.create({"email": "a@x.example"}).id
    desk.clock.advance(60)
    _, cursor = desk.read("leads")
    desk.simulator.log.scan = 10
    for _ in range(1_000):
        desk.simulator.activities.record(10, lead)
    desk.simulator.people.update(lead, {"firstName": "Ann"})
    desk.clock.advance(60)
    reading = desk.source.read(desk.stream("leads"), cursor)
    before = desk.simulator.count("GET", "/leadchanges.json")
    cursor = next(reading).cursor
    reading.close()
    looked = desk.simulator.count("GET", "/leadchanges.json") - before
    assert looked < 30
    made = desk.calls(lambda: desk.read("leads", cursor))
    assert made.count("GET /rest/v1/activities/leadchanges.json") + looked == 101


def test_more_fields_than_a_question_after_changes_holds_are_read_by_jobs(open_desk):
    names = [f"{each:0>25}_c".replace("0", "o") for each in range(1, 300)]
    desk = open_desk(fields=("firstName", *names))
    for name in names:
        desk.simulator.fields.add(name)
    lead = desk.simulator.people.create({"email": "a@x.example"}).id
    desk.clock.advance(3_600)
    _, cursor = desk.read("leads")
    desk.simulator.people.update(lead, {names[7]: "x"})
    desk.clock.advance(3_600)
    assert alive(desk.read("leads", cursor)[0])[str(lead)][names[7]] == "x"
