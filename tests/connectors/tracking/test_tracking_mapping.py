"""From a call to a person: the default mapping, through the whole spine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.projects import Spine

from switchyard.config.models import Identity
from switchyard.store.tables import Identifier, Quarantine, Subject
from switchyard_connectors.tracking import EVENTS

from .conftest import Read

Site = Callable[..., Spine]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A spine with the default mapping, over which one may be laid."""
    opened: list[Spine] = []

    def make(mapping: Mapping[str, Any] | None = None, identity: Identity | None = None) -> Spine:
        opened.append(Spine(tmp_path, EVENTS, mapping or {}, identity=identity))
        return opened[-1]

    yield make
    for spine in opened:
        spine.close()


def feed(spine: Spine, read: Read, *calls: tuple[str, Any]) -> Any:
    page = read(*calls)
    return spine.feed(page.records, rejected=page.rejected)


def people(spine: Spine) -> dict[str, int | None]:
    """Subject → profile."""
    return {subject.key: subject.profile_id for subject in spine.rows(Subject)}


def owners(spine: Spine, event_type: str) -> list[int | None]:
    """The profile of each event of a type, in order."""
    profiles = {subject.id: subject.profile_id for subject in spine.rows(Subject)}
    return [profiles[event["_subject"]] for event in spine.events(event_type)]


def test_what_somebody_did_unknown_is_theirs_once_they_say_who_they_are(site: Site, read: Read) -> None:
    spine = site()
    feed(spine, read, ("page", {"anonymousId": "a1", "name": "Home"}), ("page", {"anonymousId": "a2", "name": "Home"}))
    assert owners(spine, "page_viewed") == [people(spine)["a1"], people(spine)["a2"]]
    assert people(spine)["a1"] != people(spine)["a2"]
    feed(spine, read, ("identify", {"anonymousId": "a1", "userId": "u1", "traits": {"email": "Ann@X.org"}}))
    feed(spine, read, ("track", {"userId": "u1", "event": "Order Completed", "properties": {"total": "9.90"}}))
    found = people(spine)
    assert found["a1"] == found["u1"] != found["a2"]
    assert owners(spine, "page_viewed") == [found["u1"], found["a2"]]
    assert owners(spine, "order_completed") == [found["u1"]]
    assert {each.value for each in spine.rows(Identifier)} >= {"ann@x.org"}


def test_the_same_before_and_after_in_one_batch(site: Site, read: Read) -> None:
    spine = site()
    feed(spine, read, ("batch", {"batch": [
        {"type": "identify", "anonymousId": "a1", "userId": "u1"}, {"type": "page", "anonymousId": "a1"},
    ]}))  # fmt: skip
    assert owners(spine, "page_viewed") == [people(spine)["u1"]]


@pytest.mark.parametrize("kind", ["anonymousId", "userId"])
def test_an_alias_joins_who_somebody_was_with_who_they_are(site: Site, read: Read, kind: str) -> None:
    spine = site()
    feed(spine, read, ("page", {kind: "before"}), ("page", {"userId": "after"}))
    assert people(spine)["before"] != people(spine)["after"]
    feed(spine, read, ("alias", {"previousId": "before", "userId": "after"}))
    assert people(spine)["before"] == people(spine)["after"]
    assert len(set(owners(spine, "page_viewed"))) == 1


def test_a_group_is_an_attribute_and_joins_nobody(site: Site, read: Read) -> None:
    spine = site()
    group = {"groupId": "g1", "traits": {"name": "Initech", "email": "office@initech.example"}}
    feed(spine, read, ("group", {"userId": "u1", **group}), ("group", {"userId": "u2", **group}))
    assert people(spine)["u1"] != people(spine)["u2"]
    for subject in spine.rows(Subject):
        assert '"group_id":["g1"' in subject.attributes
        assert '"group_name":["Initech"' in subject.attributes


def test_who_shares_a_computer_stays_two_people_where_the_configuration_says_so(site: Site, read: Read) -> None:
    spine = site(identity=Identity.model_validate({"kinds": {"anonymous_id": {"limit": 2}}}))
    feed(spine, read, ("identify", {"anonymousId": "kiosk", "userId": "u1"}), ("page", {"anonymousId": "kiosk"}))
    assert people(spine)["u1"] == people(spine)["kiosk"]
    feed(spine, read, ("identify", {"anonymousId": "kiosk", "userId": "u2"}))
    assert people(spine)["u1"] != people(spine)["u2"]


def test_an_event_counts_once_however_often_it_is_sent(site: Site, read: Read) -> None:
    spine = site()
    event = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Song Played"}
    once = feed(spine, read, ("batch", {"batch": [event, event], "sentAt": "2024-05-01T12:00:00Z"}))
    again = feed(spine, read, ("batch", {"batch": [event], "sentAt": "2024-05-01T12:00:30Z"}), ("track", event))
    assert [(each.mapped, each.duplicate) for each in (once, again)] == [(1, 1), (0, 2)]
    assert len(spine.events("tracked")) == 1


def test_events_of_a_shop_have_our_names_and_types(site: Site, read: Read) -> None:
    spine = site()
    order = {"order_id": 7, "total": 27.5, "revenue": "25.00", "currency": "EUR", "products": [{"sku": "s"}]}
    counts = feed(
        spine, read,
        ("track", {"userId": "u", "event": "Product Viewed", "properties": {"sku": "s", "price": 19, "quantity": 1}}),
        ("track", {"userId": "u", "event": "orderCompleted", "properties": order, "timestamp": "2024-05-01T11:00:00Z"}),
        ("track", {"userId": "u", "event": "Loan Offered", "properties": {"total": "a lot"}}),
    )  # fmt: skip
    assert counts.mapped == 3
    (viewed,), (completed,) = spine.events("product_viewed"), spine.events("order_completed")
    assert (viewed["sku"], viewed["price"]) == ("s", Decimal("19.0000"))
    assert (completed["order_id"], completed["total"], completed["revenue"]) == ("7", Decimal("27.5"), Decimal(25))
    assert completed["products"] == '[{"sku":"s"}]'
    assert completed["_at"].hour == 11
    assert {event["name"] for event in spine.events("tracked")} == {"Product Viewed", "orderCompleted", "Loan Offered"}
    assert spine.events("order_refunded") == []


def test_an_order_whose_total_is_no_number_waits_and_its_neighbours_do_not(site: Site, read: Read) -> None:
    spine = site()
    bad = {"userId": "u", "event": "Order Completed", "properties": {"total": "ten"}}
    counts = feed(spine, read, ("track", bad), ("page", {"userId": "u"}), ("page", {}))
    assert (counts.mapped, counts.quarantined) == (1, 2)
    assert sorted(row.code for row in spine.rows(Quarantine)) == ["bad_value", "no_user_anon_id"]


def test_pages_and_screens_say_where(site: Site, read: Read) -> None:
    spine = site()
    own = {"title": "Own", "url": "https://x"}
    context = {"page": {"path": "/x", "title": "X"}, "campaign": {"source": "news", "name": "may"}}
    feed(
        spine, read,
        ("page", {"userId": "u", "name": "Docs", "properties": own, "context": context}),
        ("screen", {"userId": "u", "name": "Start", "category": "app", "properties": {"n": 1}}),
    )  # fmt: skip
    (page,), (screen,) = spine.events("page_viewed"), spine.events("screen_viewed")
    assert [page[name] for name in ("name", "path", "title", "url", "utm_source", "utm_campaign")] == [
        "Docs", "/x", "Own", "https://x", "news", "may",
    ]  # fmt: skip
    assert json.loads(page["extra"]) == context
    assert (screen["name"], screen["category"], screen["properties"]) == ("Start", "app", '{"n":1}')


def test_ones_own_events_are_mapped_by_their_names(site: Site, read: Read) -> None:
    played = {"when": "event_type = 'song_played'", "properties": {"song": "properties->>'name'"}}
    spine = site({"events": {"song_played": played, "tracked": None}, "attributes": {"plan": "traits->>'plan'"}})
    feed(
        spine, read,
        ("track", {"userId": "u", "event": "Song Played", "properties": {"name": "Fallin"}}),
        ("identify", {"userId": "u", "traits": {"plan": "pro"}}),
    )  # fmt: skip
    assert [event["song"] for event in spine.events("song_played")] == ["Fallin"]
    assert spine.events("tracked") == []
    assert '"plan":["pro"' in spine.rows(Subject)[0].attributes
