"""The source reads every change once it is true, whatever HubSpot's search does, in the fewest calls."""

from __future__ import annotations

import resource
from math import ceil
from pathlib import Path

import pytest

from switchyard.api import PermanentError, QuotaExhausted, TransientError
from switchyard.testing.builders import SimpleContext
from switchyard.testing.simulator import Answer, Fault
from switchyard_connectors.hubspot.simulator import Account
from switchyard_connectors.hubspot.simulator_auth import OAuthApp

APP = OAuthApp()
SIGN_IN = {"client_id": APP.client_id, "client_secret": APP.client_secret, "refresh_token": APP.refresh_token}
MINUTES = 60.0
MANY = [f"a_property_with_a_long_name_{number:03}" for number in range(100)]
TOO_MANY = [f"a_property_with_a_long_name_{number:03}" for number in range(300)]


@pytest.mark.parametrize("count", [1, 199, 200, 201, 1_000])
def test_a_first_load_takes_a_search_for_200_contacts(library, count):
    ids = library.add(count)
    assert library.calls("/search", lambda: library.assert_read(ids)) == ceil(count / 200)
    assert library.simulator.count() == ceil(count / 200)


@pytest.mark.slow
def test_a_million_contacts_are_read_in_the_memory_of_a_few(library):
    library.simulator.contacts.seed(1_000_000)
    library.clock.advance(10 * MINUTES)
    seen, early, late = 0, 0, 0
    for number, page in enumerate(library.pages()):
        seen += len(page.records)
        if number < 1_000:
            early = max(early, resident())
        late = max(late, resident()) if number % 50 == 0 else late
    assert seen == 1_000_000
    assert library.simulator.count() == 5_000
    assert late - early < 20 * 2**20, f"{(late - early) / 2**20:.0f} MB more for the last 800,000 than for the first"


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
def test_a_first_load_and_a_change_of_50_000_take_250_searches_each(library):
    library.simulator.contacts.seed(50_000, spread=86_400)
    library.clock.advance(10 * MINUTES)
    found, cursor = library.ids()
    assert (len(found), library.simulator.count()) == (50_000, 250)
    library.simulator.contacts.stamp(found, {"city": "Graz"})
    library.clock.advance(10 * MINUTES)
    assert library.ids(cursor)[0] == found
    assert library.simulator.count() == 500


def test_an_empty_account_takes_one_search(library):
    assert library.calls("", lambda: library.assert_read([])) == 1


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201])
def test_an_incremental_read_takes_a_search_for_200_changes(library, count):
    ids = library.add(300)
    cursor = library.assert_read(ids)
    for record_id in ids[:count]:
        library.simulator.contacts.update(record_id, {"firstname": "Ann"})
    library.clock.advance(10 * MINUTES)
    calls = library.calls("", lambda: library.assert_read(ids[:count], cursor))
    assert calls == max(1, ceil(count / 200))


def test_more_than_10_000_changed_in_one_millisecond_are_read_once(library):
    library.simulator.contacts.seed(10_401)
    library.clock.advance(10 * MINUTES)
    records, cursor = library.sync()
    assert (len(records), len({record["id"] for record in records})) == (10_401, 10_401)
    assert library.simulator.count(None, "/search") == ceil(10_401 / 200)
    # And again as changes: a workflow stamps them all.
    library.simulator.contacts.stamp(list(library.simulator.contacts.records), {"city": "Graz"})
    library.clock.advance(10 * MINUTES)
    records, _ = library.sync(cursor)
    assert (len(records), len({record["id"] for record in records})) == (10_401, 10_401)


def test_no_search_asks_for_a_second_page(library):
    """A record that leaves the window while it is read would move the others to pages that are read already."""
    ids = library.add(450)
    changed = ids[:10]
    library.simulator.at_call(
        2, lambda: [library.simulator.contacts.update(each, {"city": "Graz"}) for each in changed]
    )
    found, cursor = library.ids()
    assert found == set(ids)
    assert not any("after" in call.json() for call in library.simulator.calls("POST", "/search"))
    library.clock.advance(10 * MINUTES)
    library.assert_read(changed, cursor)


def test_one_that_changed_behind_the_windows_end_comes_at_once_and_with_the_next(open_library):
    library = open_library(properties={"contacts": tuple(TOO_MANY)})
    ids = library.add(5)
    # Searching finds it as it was; read by id it is newer than the window.
    library.simulator.at_call(1, lambda: library.simulator.contacts.update(ids[2], {"firstname": "New"}), "answered")
    found, cursor = library.ids()
    assert found == set(ids)
    library.clock.advance(10 * MINUTES)
    records, _ = library.sync(cursor)
    assert ids[2] in {record["id"] for record in records}


def test_a_record_that_says_to_be_newer_than_searching_knows_is_not_lost(library):
    (one,) = library.add(1)
    stored = library.simulator.contacts.records[one]
    stored.updated = library.clock() + 365 * 86_400
    found, cursor = library.ids()
    assert found == {one}
    assert cursor["bookmark"] < library.clock() * 1000


def test_a_change_that_searching_finds_late_is_not_lost(library):
    library.simulator.contacts.lag = 45
    ids = library.add(3)
    cursor = library.assert_read(ids)
    late = library.simulator.contacts.add({"email": "late@x.example"}).id
    library.clock.advance(20)
    cursor = library.assert_read([], cursor)
    library.clock.advance(50)
    library.assert_read([late], cursor)


def test_a_change_that_searching_finds_very_late_is_read_by_looking_back(open_library):
    library = open_library(look_back=300)
    cursor = library.assert_read(library.add(3))
    library.simulator.contacts.lag = 200
    late = library.simulator.contacts.add({"email": "late@x.example"}).id
    library.clock.advance(100)
    cursor = library.assert_read([], cursor)
    library.clock.advance(150)
    library.assert_read([late], cursor)


def test_a_change_at_the_very_bound_is_read(open_library):
    library = open_library(settle=0, look_back=0)
    first = library.simulator.contacts.add({"email": "a@x.example"}).id
    cursor = library.assert_read([first])
    second = library.simulator.contacts.add({"email": "b@x.example"}).id
    library.assert_read([first, second], cursor)


def test_the_bookmark_is_never_behind_the_beginning_of_the_sync(library):
    ids = library.add(250)
    began = int(library.clock() * 1000)
    library.simulator.at_call(1, lambda: library.clock.advance(3_600), "answered")
    cursor = library.assert_read(ids)
    assert cursor["bookmark"] == began - 60_000


def test_reading_goes_on_behind_every_page(library):
    ids = library.add(650)
    pages = library.read()
    for number, page in enumerate(pages):
        before = {record["id"] for done in pages[: number + 1] for record in done.records}
        assert before | library.ids(page.cursor)[0] == set(ids)
    window = pages[0].cursor["window"]
    assert window[2] == int(ids[199])


def test_too_many_properties_for_a_search_are_read_from_pages_of_all_records(open_library):
    library = open_library(properties={"contacts": tuple(MANY)})
    library.simulator.properties.define({"name": MANY[0]})
    ids = library.add(250, **{MANY[0]: "here"})
    records, cursor = library.sync()
    assert {record[MANY[0]] for record in records} == {"here"}
    assert {record["id"] for record in records} == set(ids)
    assert (library.simulator.count("GET"), library.simulator.count("POST")) == (3, 0)
    assert cursor["bookmark"] == int(library.clock() * 1000) - 60_000


def test_too_many_properties_for_an_address_are_read_by_id(open_library):
    library = open_library(properties={"contacts": tuple(TOO_MANY)})
    ids = library.add(401)
    library.assert_read(ids)
    assert (library.simulator.count(None, "/search"), library.simulator.count(None, "/batch/read")) == (3, 5)


def test_an_address_that_hubspot_finds_too_long_is_not_the_end(open_library):
    library = open_library(properties={"contacts": tuple(MANY)})
    ids = library.add(250)
    library.simulator.script("GET", "/contacts", [None, Answer(414, "<html>Request-URI Too Large</html>")])
    library.assert_read(ids)


def test_without_a_choice_all_properties_are_read(open_library):
    library = open_library(properties={})
    library.simulator.properties.define({"name": "loyalty_card"})
    library.add(1, loyalty_card="777")
    (record,), cursor = library.sync()
    assert record["loyalty_card"] == "777"
    # A source lives for one sync, and what it learnt for as long as each looks back.
    assert library.calls("/properties/.*contacts$", lambda: library.sync(cursor)) == 0
    library.clock.advance(5 * MINUTES)
    assert library.calls("/properties/.*contacts$", lambda: library.sync(cursor)) == 1


def test_values_of_a_property_that_is_new_are_read_though_its_name_comes_later(open_library):
    library = open_library(properties={})
    (one,) = library.add(1)
    _, cursor = library.sync()
    library.simulator.properties.define({"name": "loyalty_card"})
    library.simulator.contacts.update(one, {"loyalty_card": "777"})
    seen = []
    for _ in range(10):
        library.clock.advance(MINUTES)
        records, cursor = library.sync(cursor)
        seen += [record.get("loyalty_card") for record in records]
    assert seen[-1] == "777"


def test_records_that_hubspot_could_not_read_are_not_left_out(open_library):
    library = open_library(properties={"contacts": tuple(TOO_MANY)})
    ids = library.add(5)
    body = {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [{"category": "INTERNAL_ERROR"}]}
    library.simulator.script("POST", "batch/read", [Answer(207, body)])
    with pytest.raises(TransientError, match="INTERNAL_ERROR"):
        library.sync()
    library.assert_read(ids)


def test_companies_and_custom_objects_have_another_property_for_their_last_change(open_library):
    account = Account(tier=None, custom=("cars",))
    library = open_library(account, read=("companies",), custom_objects=("cars",), properties={})
    company = library.simulator.companies.add({"name": "Acme", "domain": "acme.example"}).id
    car = library.simulator.custom["cars"].add({"plate": "W-1"}).id
    library.clock.advance(10 * MINUTES)
    for stream, record_id, changed in (("companies", company, {"name": "Acme AG"}), ("cars", car, {"plate": "W-2"})):
        found, cursor = library.ids(stream=stream)
        assert found == {record_id}
        library.clock.advance(10 * MINUTES)
        held = library.simulator.companies if stream == "companies" else library.simulator.custom["cars"]
        held.update(record_id, changed)
        library.clock.advance(10 * MINUTES)
        assert library.ids(cursor, stream)[0] == {record_id}
        library.clock.advance(10 * MINUTES)


@pytest.mark.parametrize("count", [1, 999, 1_000, 1_001])
def test_what_belongs_to_records_takes_a_call_for_1_000(open_library, count):
    library = open_library(associations={"contacts": ("companies",)})
    ids = library.add(count)
    company = library.simulator.companies.add({"name": "Acme"}).id
    library.simulator.associations.join("contacts", ids[-1], "companies", company)
    records, _ = library.sync()
    assert {record["id"]: record["companies"] for record in records} == {
        record_id: [company] if record_id == ids[-1] else [] for record_id in ids
    }
    assert library.simulator.count(None, "/associations/") == ceil(count / 1_000)
    assert library.simulator.count(None, "/search") == ceil(count / 200)


def test_a_record_with_many_belonging_to_it_has_pages_of_its_own(open_library):
    library = open_library(read=("companies",), associations={"companies": ("contacts",)}, properties={})
    company = library.simulator.companies.add({"name": "Acme"}).id
    ids = library.add(1_201)
    for record_id in ids:
        library.simulator.associations.join("companies", company, "contacts", record_id)
    (record,), _ = library.sync(stream="companies")
    assert record["contacts"] == ids
    assert library.simulator.count(None, "/associations/") == 3


def test_a_deal_carries_the_ids_of_its_contacts(open_library):
    library = open_library(read=("deals",), properties={})
    (ann,) = library.add(1)
    deal = library.simulator.deals.add({"dealname": "Big", "amount": "12.5"}).id
    library.simulator.associations.join("deals", deal, "contacts", ann)
    library.clock.advance(10 * MINUTES)
    (record,), _ = library.sync(stream="deals")
    assert (record["id"], record["dealname"], record["contacts"]) == (deal, "Big", [ann])


def test_a_token_that_ends_among_sub_requests_is_renewed(open_library):
    library = open_library(
        oauth=SIGN_IN, properties={"contacts": tuple(TOO_MANY)}, associations={"contacts": ("companies",)}
    )
    ids = library.add(450)
    for path in ("/batch/read", "/associations/"):
        library.simulator.script("POST", path, [Fault(call=library.simulator.auth.expire)])
    library.assert_read(ids)
    refused = {
        call.route.rpartition("/batch")[0].rpartition("/")[2]
        for call in library.simulator.calls()
        if call.status == 401
    }
    assert refused == {"contacts", "{to}"}
    assert library.simulator.count("POST", "/oauth/") == 3


def test_a_property_that_is_called_like_a_field_of_the_record_keeps_its_value(open_library):
    library = open_library(properties={"contacts": ("alias",)})
    library.simulator.properties.define({"name": "alias"})
    (record_id,) = library.add(1, alias="Annie")
    (record,), _ = library.sync()
    assert (record["id"], record["alias"], record["property_alias"]) == (record_id, "", "Annie")


def test_missing_scopes_are_named_and_end_the_stream_alone(open_library):
    library = open_library(Account(tier=None, scopes=("crm.objects.contacts.read",)), read=("contacts", "deals"))
    library.add(1)
    library.sync()
    with pytest.raises(PermanentError, match=r"crm\.objects\.deals\.read|crm\.objects\.contacts\.read"):
        library.sync(stream="deals")


def test_a_used_up_day_ends_the_sync_and_keeps_what_was_read(open_library, tmp_path):
    library = open_library(Account(daily=2))
    ids = library.add(500)
    pages = []
    with pytest.raises(QuotaExhausted):
        for page in library.pages():
            pages.append(page)
    assert len(pages) == 2
    library.clock.advance(86_400)
    library.context = SimpleContext(tmp_path)
    done = {record["id"] for page in pages for record in page.records}
    assert done | library.ids(pages[-1].cursor)[0] == set(ids)
    library.context.close()


@pytest.mark.parametrize("tier", ["starter", "enterprise"])
def test_reading_keeps_to_both_limits_and_is_never_refused(open_library, tier):
    library = open_library(Account(tier=tier), tier=tier, associations={"contacts": ("companies",)})
    library.simulator.contacts.seed(20_000)
    library.clock.advance(10 * MINUTES)
    began = library.clock()
    assert len(library.ids()[0]) == 20_000
    assert {call.status for call in library.simulator.calls()} == {200}
    # 100 searches at 4 a second, and 20 other calls beside them.
    assert library.clock() - began < 100 / 4 + 1
