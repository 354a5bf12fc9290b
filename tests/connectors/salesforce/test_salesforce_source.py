"""Reading by queries: the keyset, the look-back, deletions, merges, and what an answer may do to a run."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import httpx
import pytest

from switchyard.api import PermanentError, QuotaExhausted, TransientError
from switchyard.api.records import DELETED
from switchyard.testing.simulator import Answer
from switchyard_connectors.salesforce import SOURCE
from switchyard_connectors.salesforce.refusals import usage
from switchyard_connectors.salesforce.streams import OWN

from .conftest import add_contacts

_SECOND = "2026-01-02T03:04:05.000+0000"


def soql(desk, since=0):
    """The queries that were sent."""
    calls = desk.simulator.calls("GET", "/query(All)?$", since=since)
    return [parse_qs(call.query)["q"][0] for call in calls]


def test_a_first_read_takes_everything_however_old(desk):
    """Connectors that begin two years back leave out older leads without a word."""
    old = desk.simulator.add("Contact", LastName="Old", SystemModstamp="1999-12-31T23:59:59.000+0000")
    assert desk.ids() == [old]


def test_pages_that_end_within_one_second_lose_and_repeat_nothing(desk):
    """`>` loses rows that share a stamp with the last one, `>=` turns in a circle."""
    desk.simulator.queries.page = 10
    ids = add_contacts(desk, 35, SystemModstamp=_SECOND)
    pages = list(desk.pages())
    for at in range(len(pages)):
        desk.restart()
        rest = [each for page in desk.pages("Contact", pages[at].cursor) for each in page.records["Id"].to_pylist()]
        before = [each for page in pages[: at + 1] for each in page.records["Id"].to_pylist()]
        assert set(before + rest) == set(ids)
        if at < 3:
            assert sorted(before + rest) == sorted(ids)


def test_a_query_locator_that_salesforce_forgot_is_made_up_for_by_the_keyset(desk):
    desk.simulator.queries.page = 10
    ids = add_contacts(desk, 35, SystemModstamp=_SECOND)
    pages = desk.pages()
    read = next(pages).records["Id"].to_pylist()
    desk.simulator.queries.expire()
    read += [each for page in pages for each in page.records["Id"].to_pylist()]
    assert sorted(read) == sorted(ids)


def test_a_row_that_shows_after_its_stamp_is_read(desk, clock):
    """A transaction of five minutes ends: its rows are stamped before those that were read meanwhile."""
    desk.simulator.store.lag = 300
    late = add_contacts(desk, 1, start=50)
    desk.simulator.store.lag = 0
    clock.advance(240)
    early = add_contacts(desk, 1)
    clock.advance(10)
    read, cursor = desk.read()
    assert [record["Id"] for record in read] == early
    clock.advance(120)
    assert set(desk.ids(cursor=cursor)) == {*early, *late}


def test_who_did_not_change_is_not_read_again(desk, clock):
    add_contacts(desk, 20)
    _, cursor = desk.read()
    clock.advance(3_600)
    _, cursor = desk.read(cursor=cursor)
    changed = desk.ids(cursor=cursor)
    assert changed == []
    desk.simulator.writes.update("Contact", desk.simulator.add("Contact", LastName="New"), {"Title": "x"})
    assert len(desk.ids(cursor=cursor)) == 1


def test_a_quiet_pull_is_one_call(desk, clock):
    add_contacts(desk, 3)
    _, cursor = desk.read()
    clock.advance(120)
    assert desk.calls(lambda: desk.read(cursor=cursor)) == ["GET queryAll"]


def test_a_contact_in_the_recycle_bin_is_gone_and_comes_back(desk, clock):
    first, second = add_contacts(desk, 2)
    clock.advance(3_600)
    _, cursor = desk.read()
    clock.advance(3_600)
    desk.simulator.life.delete(first)
    clock.advance(120)
    records, cursor = desk.read(cursor=cursor)
    assert {record["Id"] for record in records} == {first}
    assert all(record[DELETED] for record in records)
    desk.simulator.life.undelete(first)
    clock.advance(3_600)
    records, _ = desk.read(cursor=cursor)
    assert [(record["Id"], record[DELETED]) for record in records] == [(first, False)]
    assert second not in {record["Id"] for record in records}


def test_a_contact_that_is_deleted_for_good_is_told_by_its_id(desk, clock):
    first, _ = add_contacts(desk, 2)
    clock.advance(3_600)
    _, cursor = desk.read()
    clock.advance(3_600)
    desk.simulator.life.hard_delete(first)
    clock.advance(3_600)
    records, cursor = desk.read(cursor=cursor)
    assert [(record["Id"], record[DELETED]) for record in records] == [(first, True)]
    clock.advance(3_600)
    assert desk.ids(cursor=cursor) == []


def test_the_next_question_begins_where_deletions_were_covered(desk, clock):
    """Salesforce says how far it looked: what it does not know yet is asked for again."""
    first, _ = add_contacts(desk, 2)
    clock.advance(3_600)
    _, cursor = desk.read()
    clock.advance(3_600)
    desk.simulator.replication.lag = 1_800
    desk.simulator.life.hard_delete(first)
    clock.advance(1_000)
    records, cursor = desk.read(cursor=cursor)
    assert records == []
    clock.advance(3_600)
    assert desk.ids(cursor=cursor) == [first]


def test_too_many_deletions_for_one_answer_are_asked_for_in_halves(desk, clock):
    ids = add_contacts(desk, 12)
    clock.advance(3_600)
    _, cursor = desk.read()
    for each in ids:
        clock.advance(600)
        desk.simulator.life.hard_delete(each)
    clock.advance(600)
    desk.simulator.replication.most = 4
    gone = [record["Id"] for record in desk.read(cursor=cursor)[0] if record[DELETED]]
    assert sorted(gone) == sorted(ids)


def test_deletions_that_salesforce_forgot_are_found_by_comparing(desk, clock):
    kept, lost = add_contacts(desk, 2)
    clock.advance(3_600)
    _, cursor = desk.read()
    desk.simulator.life.hard_delete(lost)
    clock.advance(20 * 86_400)
    records, cursor = desk.read(cursor=cursor)
    assert [(record["Id"], record[DELETED]) for record in records] == [(lost, True)]
    clock.advance(60)
    assert desk.calls(lambda: desk.read(cursor=cursor)) == ["GET queryAll"]
    assert kept


@pytest.mark.parametrize("told", ["earliestDateAvailable", "INVALID_REPLICATION_DATE"])
def test_a_deletion_log_that_was_purged_is_made_up_for_by_comparing(desk, clock, told):
    kept, lost = add_contacts(desk, 2)
    clock.advance(3_600)
    _, cursor = desk.read()
    clock.advance(3_600)
    desk.simulator.life.hard_delete(lost)
    clock.advance(3_600)
    if told == "earliestDateAvailable":
        desk.simulator.replication.purged = clock()
    else:
        desk.simulator.script("GET", "deleted", [Answer(400, [{"errorCode": told, "message": "x"}])])
    records, _ = desk.read(cursor=cursor)
    assert {record["Id"] for record in records if record[DELETED]} == {lost}
    assert kept


def test_the_loser_of_a_merge_shows_the_winner(desk, clock):
    """Also when Salesforce is asked what is gone: it then names the loser by its id alone."""
    winner, loser = add_contacts(desk, 2)
    clock.advance(3_600)
    _, cursor = desk.read()
    clock.advance(3_600)
    desk.simulator.life.merge(winner, [loser])
    clock.advance(120)
    records = desk.read(cursor=cursor)[0]
    assert {(record["Id"], record["MasterRecordId"], record[DELETED]) for record in records} == {
        (winner, None, False),
        (loser, winner, True),
    }


def test_who_was_deleted_and_brought_back_is_not_gone(desk, clock):
    """The log of deletions may still name a record that was restored since."""
    (person,) = add_contacts(desk, 1)
    clock.advance(3_600)
    _, cursor = desk.read()
    clock.advance(3_600)
    body = {
        "deletedRecords": [{"deletedDate": "2026-01-01T00:00:00.000+0000", "id": person}],
        "latestDateCovered": "2100-01-01T00:00:00.000+0000",
    }
    desk.simulator.script("GET", "deleted", [Answer(200, body)])
    assert desk.read(cursor=cursor)[0] == []


def test_reading_everything_again_finds_whom_a_deletion_took_meanwhile(desk, clock):
    """`sync --full` begins without a cursor, so without the place up to which deletions were asked for."""
    kept, lost = add_contacts(desk, 2)
    desk.read()
    desk.simulator.life.hard_delete(lost)
    clock.advance(3_600)
    desk.restart()
    records, cursor = desk.read()
    assert [(record["Id"], record[DELETED]) for record in records] == [(kept, False), (lost, True)]
    assert desk.ids(cursor=cursor) == []


def test_a_first_load_compares_nothing(desk):
    add_contacts(desk, 2)
    assert desk.calls(desk.read) == ["POST composite/batch", "GET queryAll", "GET queryAll"]


def test_a_converted_lead_shows_its_contact(desk, clock):
    lead = desk.simulator.add("Lead", LastName="A", Company="B", Email="a@x.example")
    _, cursor = desk.read("Lead")
    clock.advance(3_600)
    desk.simulator.life.convert_lead(lead)
    clock.advance(120)
    (record,) = desk.read("Lead", cursor)[0]
    assert record["IsConverted"] == "true"
    assert record["ConvertedContactId"] in desk.ids("Contact")


def test_every_field_is_text_and_numbers_keep_their_digits(desk):
    desk.simulator.add("Contact", LastName="NA", FirstName="Null", Score__c=12345678.5, Description='a\x00b\n"c"')
    (record,) = desk.read()[0]
    assert record["LastName"] == "NA"
    assert record["FirstName"] == "Null"
    assert record["Score__c"] == "12345678.5"
    assert record["Description"] == 'ab\n"c"'
    assert record["HasOptedOutOfEmail"] == "false"
    assert record["SystemModstamp"].endswith("Z")
    assert record["Phone"] is None


def test_compound_fields_are_left_out_and_their_parts_are_read(desk):
    desk.simulator.add("Contact", LastName="A", MailingCity="Wien")
    (record,) = desk.read()[0]
    assert "MailingAddress" not in record
    assert record["MailingCity"] == "Wien"


def test_a_query_longer_than_a_url_goes_into_a_body(desk):
    for number in range(400):
        desk.simulator.add_field("Contact", f"A_very_long_field_name_of_number_{number:03}__c")
    ids = add_contacts(desk, 3)
    calls = []
    calls += desk.calls(lambda: calls.extend(desk.ids()))
    assert calls[:3] == ids
    assert "POST composite" in calls


def test_a_long_query_pages_like_any_other(desk):
    desk.simulator.queries.page = 10
    for number in range(400):
        desk.simulator.add_field("Contact", f"A_very_long_field_name_of_number_{number:03}__c")
    ids = add_contacts(desk, 25)
    assert sorted(desk.ids()) == sorted(ids)


def test_an_object_whose_stamp_is_not_to_filter_by_uses_the_next_field(open_desk):
    """ActivityFieldHistory has SystemModstamp, and refuses it in conditions."""
    desk = open_desk(objects=[{"name": "ActivityFieldHistory"}])
    stream = SOURCE.objects(desk.config)[-1]
    first = desk.simulator.add("ActivityFieldHistory", ActivityId=desk.simulator.add("Task", Subject="call"))
    assert desk.ids(stream) == [first]
    assert any("LastModifiedDate" in each and "ORDER BY LastModifiedDate" in each for each in soql(desk))


def test_custom_objects_are_read_with_the_fields_asked_for(open_desk):
    desk = open_desk(objects=[{"name": "Visit__c", "fields": ["Shop__c"], "where": "Shop__c != 'closed'"}])
    desk.simulator.add_object("Visit__c", "a01", {"Shop__c": "string", "Rating__c": "double"})
    wanted = desk.simulator.add("Visit__c", Shop__c="Wien", Rating__c=5)
    desk.simulator.add("Visit__c", Shop__c="closed")
    (record,) = desk.read(SOURCE.objects(desk.config)[-1])[0]
    assert record["Id"] == wanted
    assert record["Shop__c"] == "Wien"
    assert "Rating__c" not in record


def test_a_field_that_was_taken_away_ends_nothing(desk, clock):
    """What was described an hour ago need not be so any more."""
    from switchyard_connectors.salesforce.simulator_schema import object_type

    ids = add_contacts(desk, 3)
    _, cursor = desk.read()
    table = desk.simulator.store["Contact"]
    fields = [field for name, field in table.kind.fields.items() if name != "Title"]
    table.kind = object_type("Contact", "003", fields)
    desk.simulator.objects.altered("Contact")
    records, _ = desk.read(cursor=cursor)
    assert sorted(record["Id"] for record in records) == sorted(ids)
    assert "Title" not in records[0]


def test_descriptions_of_all_objects_are_one_call_an_hour(desk):
    desk.ids()
    desk.restart()
    calls = desk.calls(lambda: [desk.ids(name) for name in ("Contact", "Lead", "Task", "Campaign")])
    assert desk.simulator.count("POST", "composite/batch") == 1
    assert "POST composite/batch" not in calls


def test_an_object_that_the_user_does_not_see_is_named(open_desk):
    desk = open_desk(objects=[{"name": "Hidden__c"}])
    with pytest.raises(PermanentError, match="no object Hidden__c"):
        desk.read(SOURCE.objects(desk.config)[-1])
    add_contacts(desk, 1)
    assert len(desk.ids()) == 1


def test_a_stream_that_does_not_show_whom_it_is_about_says_so(desk):
    from switchyard_connectors.salesforce.simulator_schema import object_type

    table = desk.simulator.store["Opportunity"]
    fields = [field for name, field in table.kind.fields.items() if name != "ContactId"]
    table.kind = object_type("Opportunity", "006", fields)
    with pytest.raises(PermanentError, match="no ContactId"):
        desk.read("Opportunity")


@pytest.mark.parametrize(
    "link", ["https://evil.example/next", "//evil.example/next", "https://evil.example/.salesforce.com"]
)
def test_a_hostile_link_is_refused(desk, link):
    add_contacts(desk, 1)
    desk.ids()
    body = {"totalSize": 2, "done": False, "nextRecordsUrl": link, "records": []}
    desk.simulator.script("GET", "queryAll", [Answer(200, body)] * 2)
    with pytest.raises(PermanentError, match="refused; nothing was sent"):
        desk.read()


def test_a_query_that_takes_too_long_is_asked_in_halves(desk, clock):
    ids = []
    for each in range(8):
        ids += add_contacts(desk, 1, start=each)
        clock.advance(3_600)
    timeout = Answer(400, [{"errorCode": "QUERY_TIMEOUT", "message": "Your query request was running for too long."}])
    desk.simulator.script("GET", "queryAll", [None, timeout, None, timeout])
    pages = list(desk.pages())
    read = [each for page in pages for each in page.records["Id"].to_pylist()]
    assert sorted(read) == sorted(ids)
    assert pages[-1].cursor["until"]
    assert "load" not in pages[-1].cursor


def test_the_days_calls_are_told_from_long_calls_at_once(desk):
    """One code for both; the header tells them apart, also where it counts the app beside the org."""
    add_contacts(desk, 1)
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "x"}]
    used_up = {"sforce-limit-info": "api-usage=5000/5000; per-app-api-usage=17/250(appName=hub)"}
    desk.simulator.script("GET", "queryAll", [Answer(403, body, {"sforce-limit-info": "api-usage=18/5000"})])
    assert len(desk.ids()) == 1
    desk.simulator.script("GET", "queryAll", [Answer(403, body, used_up)])
    with pytest.raises(QuotaExhausted):
        desk.read()


@pytest.mark.parametrize(
    ("header", "counted"),
    [
        ("api-usage=18/5000", (18, 5_000)),
        ("api-usage=18/5000; per-app-api-usage=17/250(appName=hub)", (18, 5_000)),
        ("per-app-api-usage=17/250(appName=hub); api-usage=18/5000", (18, 5_000)),
        ("per-app-api-usage=17/250(appName=hub)", None),
        ("", None),
    ],
)
def test_the_orgs_calls_are_read_and_not_the_apps(header, counted):
    """An expression for the whole header stops counting where the app's own number stands beside it."""
    assert usage(httpx.Headers({"sforce-limit-info": header})) == counted


@pytest.mark.parametrize("status", [406, 420, 503])
def test_an_org_that_is_being_moved_is_waited_for(desk, status):
    add_contacts(desk, 1)
    desk.simulator.script("GET", "queryAll", [Answer(status, "<html>We are setting things up</html>")])
    assert len(desk.ids()) == 1


def test_an_answer_that_is_no_query_is_a_passing_fault(desk):
    desk.simulator.script("GET", "queryAll", [None, Answer(200, "<html>maintenance</html>")])
    with pytest.raises(TransientError):
        desk.read()


@pytest.mark.parametrize(
    "body",
    [
        {"totalSize": 1, "records": []},
        {"totalSize": 1, "done": False, "records": []},
        {"totalSize": 1, "done": "no", "records": [], "nextRecordsUrl": "/x"},
    ],
)
def test_an_answer_that_does_not_say_how_it_goes_on_is_not_the_end(desk, body):
    add_contacts(desk, 3)
    desk.simulator.script("GET", "queryAll", [None, Answer(200, body)])
    with pytest.raises(TransientError, match="where a query goes on"):
        desk.read()


def test_an_object_that_is_described_without_fields_is_not_read(desk):
    """Read by its id alone, everything else would be taken back."""
    add_contacts(desk, 3)
    empty = {"hasErrors": False, "results": [{"statusCode": 200, "result": {"name": "x"}}] * 7}
    desk.simulator.script("POST", "composite/batch", [Answer(200, empty)])
    with pytest.raises(TransientError, match="without its fields"):
        desk.read()
    assert len(desk.ids()) == 3


def test_whom_a_record_is_about_is_read_whatever_fields_are_asked_for(open_desk):
    desk = open_desk(objects=[{"name": "Lead", "fields": ["Email"]}, {"name": "CampaignMember", "fields": ["Status"]}])
    campaign, lead = desk.simulator.add("Campaign", Name="c"), desk.simulator.add("Lead", LastName="A", Company="B")
    desk.simulator.add("CampaignMember", CampaignId=campaign, LeadId=lead)
    contact = desk.simulator.life.convert_lead(lead)
    assert desk.read("Lead")[0][0]["ConvertedContactId"] == contact
    assert desk.read("CampaignMember")[0][0][OWN] == "false"


def test_slices_grow_again_where_little_is(desk, clock):
    """Where one day was too much, years of such days would be a call each."""
    for each in range(5):
        add_contacts(desk, 1, start=each)
        clock.advance(4 * 365 * 86_400)
    timeout = Answer(400, [{"errorCode": "QUERY_TIMEOUT", "message": "x"}])
    desk.simulator.script("GET", "queryAll", [None, *[timeout, None] * 12])
    assert len(desk.ids()) == 5
    assert desk.simulator.count("GET", "queryAll") < 50


def test_errors_say_nothing_of_people(desk):
    body = [{"errorCode": "MALFORMED_QUERY", "message": "near ann@x.example", "fields": ["Email", "a b"]}]
    desk.simulator.script("GET", "queryAll", [Answer(400, body)])
    with pytest.raises(PermanentError, match=r"MALFORMED_QUERY about Email\)") as raised:
        desk.read()
    assert "ann" not in str(raised.value)


def test_what_the_hub_wrote_itself_is_told(desk):
    campaign = desk.simulator.add("Campaign", Name="spring")
    (person,) = add_contacts(desk, 1)
    desk.simulator.add("CampaignMember", CampaignId=campaign, ContactId=person)
    ref = desk.ensure("vip")
    from switchyard.api import Member

    desk.deliver(ref, add=[Member("p", person)])
    own = {record["CampaignId"]: record[OWN] for record in desk.read("CampaignMember")[0]}
    assert own == {campaign: "false", ref.id: "true"}


def test_cursors_are_small_and_json(desk):
    desk.simulator.queries.page = 10
    add_contacts(desk, 25)
    for page in desk.pages():
        assert len(json.dumps(page.cursor)) < 500
