"""All six systems at once: what they know of the same people becomes one profile per person, and three lists are kept
from it, in HubSpot, Marketo and Salesforce; on both stores.
"""

from __future__ import annotations

import base64
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.projects import Folder, full_pass, rows_of
from tests.scenarios.test_live import SECRET, order, post_order

from switchyard.app import audiences
from switchyard.app.receiving import inbox
from switchyard.server.routes import routes_of
from switchyard.server.service import ReceiverServer
from switchyard.store.tables import Quarantine, Subject
from switchyard.testing.simulator import Simulator
from switchyard_connectors.google_analytics.simulator import GoogleAnalyticsSimulator, Property
from switchyard_connectors.google_analytics.simulator_export import export_day
from switchyard_connectors.hubspot.simulator import Account as Portal
from switchyard_connectors.hubspot.simulator import HubSpotSimulator
from switchyard_connectors.marketo.simulator import MarketoSimulator
from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET
from switchyard_connectors.salesforce.simulator import SalesforceSimulator
from switchyard_connectors.salesforce.simulator_auth import App

DAY = 86_400.0
PEOPLE = range(60)
SHOPPERS, READERS, OPENERS = range(0, 60, 2), range(0, 60, 3), range(20, 50, 4)
"""Who bought at the tills, who read the website, who opened an e-mail."""
IN_SALESFORCE, LEADS, IN_MARKETO, IN_HUBSPOT = range(25), range(25, 30), range(20, 50), range(10, 40)
ONLINE = range(1, 9)
"""Whose orders came by webhook, with the id they have at the website."""


def email(person: int) -> str:
    return f"p{person}@shop.example"


class Clock:
    """The vendors' clock: real time, moved."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class World:
    """A shop with all six systems, and what is known of its people."""

    folder: Folder
    clock: Clock
    salesforce: SalesforceSimulator
    marketo: MarketoSimulator
    hubspot: HubSpotSimulator
    google: GoogleAnalyticsSimulator
    _seen: dict[Simulator, int] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        with self.folder.hub() as hub:
            return full_pass(hub)

    def verify(self) -> list[dict[str, Any]]:
        with self.folder.hub() as hub:
            return audiences.verify(hub)

    def rows(self, table: type) -> list[Any]:
        with self.folder.hub() as hub:
            return rows_of(hub.database, table)

    def changes(self) -> list[str]:
        """The calls since the last look that changed something at a vendor."""
        found = []
        for vendor in (self.salesforce, self.marketo, self.hubspot):
            calls = vendor.calls(since=self._seen.get(vendor, 0))
            self._seen[vendor] = vendor.journal.total
            found += [f"{type(vendor).__name__}: {call.method} {call.path}" for call in calls if _changes(call)]
        return found

    def on_campaign(self, name: str) -> set[str]:
        (campaign,) = [row["Id"] for row in self.salesforce.store["Campaign"].rows.values() if row["Name"] == name]
        return {self.salesforce.row(each)["Email"] for each in self.salesforce.member_ids(campaign)}


def _changes(call: Any) -> bool:
    """Reading by POST is reading: searches, batch reads, queries, tokens."""
    reads = ("/search", "/batch/read", "/oauth", "/query", "/export/", "/associations/")
    return call.method != "GET" and not any(part in call.path for part in reads)


SEGMENTS = {
    "buyers": "count(order_completed) >= 2",
    "readers": "count(page_viewed) >= 3",
    "openers": "did(email_opened, last 60 days)",
}
CONNECTION = {"buyers": "hubspot", "readers": "salesforce", "openers": "marketo"}


def _config(store: str, world: dict[str, Simulator]) -> dict[str, Any]:
    tills = {"folder": "drop", "ready": "rename", "formats": "%d/%m/%Y %H:%M", "timezone": "Europe/Paris"}
    app = App()
    days_ago = {days: datetime.fromtimestamp(time.time() - days * DAY, UTC).date().isoformat() for days in (3, 25)}
    return {
        "hub": {"store": store, "timezone": "Europe/Paris", "default_region": "FR"},
        "connections": {
            "tills": {"connector": "pos_csv", "config": tills | {"columns": {"line_id": "line_no"}}},
            "salesforce": {
                "connector": "salesforce",
                "config": {
                    "base_url": world["salesforce"].url,
                    "client_credentials": {"client_id": app.client_id, "client_secret": app.client_secret},
                },
            },
            "marketo": {
                "connector": "marketo",
                "config": {
                    "base_url": world["marketo"].url,
                    "client_id": CLIENT_ID,
                    "client_secret": CLIENT_SECRET,
                    "since": days_ago[25],
                    # Bulk jobs are asked for no sooner than a minute after one another.
                    "activities_since": days_ago[3],
                    "bulk_history_days": 5,
                    "extract": "none",
                },
            },
            "hubspot": {
                "connector": "hubspot",
                "config": {"base_url": world["hubspot"].url, "token": "pat-na1-simulator", "tier": "none"}
                | {"read": ["contacts"], "settle": 0},
            },
            "google": {"connector": "google_analytics", "config": {"events": {"folder": "exports"}}},
            "orders": {
                "connector": "webhook",
                "config": {
                    "scheme": "standard_webhooks",
                    "secrets": "whsec_" + base64.b64encode(SECRET).decode(),
                },
                "streams": {
                    "deliveries": {
                        "mapping": {
                            "subject": "email",
                            "observed_at": 'CAST("at" AS TIMESTAMPTZ)',
                            "identifiers": {"email": "email", "user_id": "user_id"},
                            "events": {"order_completed": {"id": "order_id", "properties": {"order_id": "order_id"}}},
                        }
                    }
                },
            },
        },
        "audiences": {
            "buyers": {
                "segment": "buyers",
                "connection": "hubspot",
                "list": "Buyers",
                "fields": {"email": "email", "firstname": "first_name"},
            },
            "readers": {
                "segment": "readers",
                "connection": "salesforce",
                "list": "Readers",
                "key": "Email",
                "fields": {"Email": "email", "FirstName": "first_name"},
            },
            "openers": {
                "segment": "openers",
                "connection": "marketo",
                "list": "Openers",
                "fields": {"email": "email", "firstName": "first_name"},
            },
        },
    }


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    clock = Clock()
    with ExitStack() as running:
        vendors: dict[str, Any] = {
            "salesforce": running.enter_context(SalesforceSimulator(clock=clock)),
            "marketo": running.enter_context(MarketoSimulator(clock=clock)),
            "hubspot": running.enter_context(HubSpotSimulator(Portal(tier=None), clock=clock)),
            "google": running.enter_context(GoogleAnalyticsSimulator(Property(events=0), clock=clock)),
        }
        folder = Folder(tmp_path / "shop", _config(database_url, vendors), SEGMENTS).write()
        world = World(folder, clock, **vendors)
        clock.ahead = -2 * DAY
        _fill(world)
        clock.ahead = 0.0
        yield world


def _fill(world: World) -> None:
    for person in IN_SALESFORCE:
        world.salesforce.add("Contact", LastName=f"L{person}", FirstName=f"Sf{person}", Email=email(person))
    for person in LEADS:
        world.salesforce.add("Lead", LastName=f"L{person}", Company="X", Email=email(person).upper())
    for setting, value in (("status_refresh", 0), ("extract_wait", 0), ("extract_takes", 0)):
        world.marketo.settings()[setting](value)
    for person in IN_MARKETO:
        lead = world.marketo.people.create({"email": email(person), "firstName": f"Mk{person}"})
        if person in OPENERS:
            world.marketo.activities.record(10, lead.id)
    for person in IN_HUBSPOT:
        world.hubspot.contacts.add({"email": email(person), "firstname": f"Hs{person}"})
    lines = ["order_id,line_no,sold_at,sku,quantity,price,email"]
    lines += [
        f"T{person}-{order},1,01/06/2026 10:00,A,1,9.90,{email(person)}" for person in SHOPPERS for order in (1, 2)
    ]
    world.folder.put("tickets.csv", "\n".join(lines) + "\n")
    _browse(world)


def _browse(world: World) -> None:
    day = datetime.fromtimestamp(world.clock(), UTC).date().isoformat()
    # The website knows people by its own id; who that is, their orders say.
    for person in ONLINE:
        for page in range(3):
            world.google.events.add(name="page_view", user_id=f"u{person}", client_id=f"c{person}", page=f"/{page}")
    exports = world.folder.path / "exports"
    exports.mkdir()
    export_day(world.google.events, exports, day)
    # Complete since yesterday.
    for file in exports.iterdir():
        past = time.time() - DAY
        os.utime(file, (past, past))


def _push_orders(world: World) -> None:
    """Post the website's orders to a receiver; the engine reads them later."""
    project = world.folder.project()
    with world.folder.hub(), inbox(project) as kept:
        server = ReceiverServer(routes_of(project), kept)
        server.start()
        try:
            host, port = server.address
            with httpx.Client(base_url=f"http://{host}:{port}", timeout=30) as client:
                for person, number in itertools.product(ONLINE, (1, 2)):
                    sent = order(2 * person + number, email(person), datetime.now(UTC)) | {"user_id": f"u{person}"}
                    post_order(client, sent).raise_for_status()
        finally:
            server.stop()


def test_six_systems_are_one_profile_per_person_and_three_exact_lists(world: World) -> None:
    _push_orders(world)
    first = world.run()
    assert [sync for sync in first["syncs"] if "error" in sync] == []
    assert [row.reason for row in world.rows(Quarantine)] == []
    people = {*SHOPPERS, *IN_SALESFORCE, *LEADS, *IN_MARKETO, *IN_HUBSPOT, *ONLINE}
    assert "error" not in first, first["error"]
    assert first["profiles"] == len(people)
    assert {d["audience"]: (d["exact"], d["wanted"]) for d in first["deliveries"]} == {
        "buyers": (True, len({*SHOPPERS, *ONLINE})),
        "readers": (True, len(ONLINE)),
        "openers": (True, len(OPENERS)),
    }
    assert world.hubspot.member_emails("Buyers") == {email(each) for each in {*SHOPPERS, *ONLINE}}
    assert world.marketo.member_emails("Openers") == {email(each) for each in OPENERS}
    assert {each.lower() for each in world.on_campaign("Readers")} == {email(each) for each in ONLINE}
    assert all(proof["exact"] for proof in world.verify())

    assert world.changes() != []
    subjects = len(world.rows(Subject))
    again = world.run()
    assert world.changes() == [], "a second run writes nothing"
    assert [each["entered"] + each["left"] for each in again["segments"]] == [0, 0, 0]

    # Long enough that the vendors give out what the hub itself has written.
    world.clock.ahead = 3_600.0
    echoed = world.run()
    assert sum(sync["read"] for sync in echoed["syncs"]) > 0
    assert len(world.rows(Subject)) > subjects, "people whom the hub has made over there are read"
    assert echoed["profiles"] == first["profiles"]
    assert [each["entered"] + each["left"] for each in echoed["segments"]] == [0, 0, 0]
    assert world.changes() == [], "what the hub wrote itself comes back and changes nothing"
    assert all(delivered["exact"] for delivered in echoed["deliveries"])
