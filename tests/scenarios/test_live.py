"""Live, end to end: `switchyard serve`, senders, time and HubSpot; on both stores."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.projects import Folder, events_of, shop
from tests.scenarios.serving import Serving, serving, wait_until

from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

SECRET = b"a key of thirty-two bytes or so."
WRITE_KEY = "a-write-key"
WINDOW = timedelta(seconds=10)
LATE = timedelta(seconds=20)
"""The promise is a second, on a machine that has one to spare; benchmarks/live.py measures it."""
LISTS = {"buyers": "Buyers", "recent": "Just bought", "readers": "Readers"}
MAPPING = {
    "subject": "email",
    "observed_at": 'CAST("at" AS TIMESTAMPTZ)',
    "identifiers": {"email": "email"},
    "events": {"order_completed": {"id": "order_id", "properties": {"order_id": "order_id"}}},
}


@dataclass
class Live:
    """A shop to which everything is pushed, and its HubSpot."""

    folder: Folder
    crm: HubSpotSimulator

    def on_list(self, segment: str) -> set[str]:
        """Who is on the segment's list; nobody where there is none yet."""
        found = self.crm.lists.named(LISTS[segment])
        # The simulator's thread may be putting somebody on it.
        members = list(found.members) if found else []
        return {self.crm.contacts.records[str(member)].properties["email"] for member in members}

    def wait_for_list(self, segment: str, people: set[str]) -> None:
        wait_until(lambda: self.on_list(segment) == people, lambda: f"{segment}: {sorted(self.on_list(segment))}")

    def events(self, event_type: str) -> list[dict[str, Any]]:
        with self.folder.hub() as hub:
            return events_of(hub.log, event_type)

    def members(self, segment: str) -> int:
        with self.folder.hub() as hub:
            hub.evaluation.refresh()
            query = "SELECT count(*) FROM membership WHERE segment = ?"
            (count,) = hub.working.connection.execute(query, [segment]).fetchone()
        return count


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def live(tmp_path: Path, database_url: str, crm: HubSpotSimulator) -> Live:
    folder = shop(tmp_path / "shop", database_url, crm.url)
    del folder.config["connections"]["tills"]
    hooks = {"scheme": "standard_webhooks", "secrets": "whsec_" + base64.b64encode(SECRET).decode()}
    folder.config["connections"] |= {
        "orders": {"connector": "webhook", "config": hooks, "streams": {"deliveries": {"mapping": MAPPING}}},
        "website": {"connector": "tracking", "config": {"write_keys": WRITE_KEY}},
    }
    folder.segments = {
        "buyers": "count(order_completed) >= 1",
        "recent": f"did(order_completed, last {WINDOW.seconds} seconds)",
        "readers": "count(page_viewed) >= 2",
    }
    like = folder.config["audiences"]["buyers"] | {"guard": {"max_removal": "100%"}}
    folder.config["audiences"] = {name: like | {"segment": name, "list": title} for name, title in LISTS.items()}
    return Live(folder.write(), crm)


def now() -> datetime:
    return datetime.now(UTC)


def order(number: int, email: str, at: datetime) -> dict[str, str]:
    return {"order_id": f"o{number}", "email": email, "at": at.isoformat()}


def post_order(client: httpx.Client, sent: dict[str, Any], connection: str = "orders") -> httpx.Response:
    """Post an order as its shop does, signed."""
    body, sent_at = json.dumps(sent), str(int(time.time()))
    signed = f"{sent['order_id']}.{sent_at}.{body}".encode()
    signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": sent["order_id"], "webhook-timestamp": sent_at, "webhook-signature": f"v1,{signature}"}
    return client.post(f"/hooks/{connection}", content=body, headers=headers | {"content-type": "application/json"})


def track(client: httpx.Client, call: str, **said: Any) -> None:
    client.post(f"/v1/{call}", json=said, auth=(WRITE_KEY, "")).raise_for_status()


def client_of(hub: Serving) -> httpx.Client:
    return httpx.Client(base_url=hub.url, timeout=30)


def test_what_is_pushed_is_on_the_list_and_time_takes_it_off(live: Live) -> None:
    with serving(live.folder.path) as hub, client_of(hub) as client:
        bought = now()
        post_order(client, order(1, "ann@x.org", bought)).raise_for_status()
        live.wait_for_list("buyers", {"ann@x.org"})
        live.wait_for_list("recent", {"ann@x.org"})

        # Somebody reads, somebody unknown as well; she buys, and only then says who she is.
        track(client, "page", anonymousId="a1", name="Lamps")
        track(client, "page", anonymousId="a2", name="Chairs")
        track(client, "page", anonymousId="a1", name="Cups")
        track(client, "track", anonymousId="a1", event="Order Completed", properties={"order_id": "o2"})
        track(client, "identify", anonymousId="a1", userId="u1", traits={"email": "bea@x.org"})
        live.wait_for_list("readers", {"bea@x.org"})
        live.wait_for_list("buyers", {"ann@x.org", "bea@x.org"})

        wait_until(lambda: "ann@x.org" not in live.on_list("recent"))
        assert post_order(client, order(1, "ann@x.org", bought)).status_code == 200
        assert client.post("/hooks/orders", json={"order_id": "o3"}).status_code == 401
        assert hub.stop() == 0
    left = left_at(live, "Just bought")
    assert timedelta() <= left - (bought + WINDOW) < LATE
    assert {event["order_id"] for event in live.events("order_completed")} == {"o1", "o2"}
    assert len(live.events("order_completed")) == 2
    assert (live.members("buyers"), live.members("readers")) == (2, 1)


def left_at(live: Live, title: str) -> datetime:
    """When the first call came that took somebody off the list."""
    entry = live.crm.lists.named(title)
    assert entry is not None
    calls = live.crm.calls("PUT", f"/{entry.id}/memberships/")
    first = next(call for call in calls if call.path.endswith("/remove") or call.json().get("recordIdsToRemove"))
    return datetime.fromtimestamp(first.at, UTC)


def test_a_kill_loses_nothing_and_doubles_nothing(live: Live) -> None:
    orders = [order(number, f"p{number % 40}@x.org", now() - timedelta(days=1)) for number in range(400)]
    people = {each["email"] for each in orders}
    waiting = list(orders)
    for moment in ("applied", "before"):
        with serving(live.folder.path) as hub, client_of(hub) as client:
            # Its fourth call: a list is there, and people are on their way to it.
            live.crm.kill_at(live.crm.journal.total + 4, hub.process.kill, moment)
            with pytest.raises(httpx.TransportError):
                send_on(client, waiting)
            hub.process.wait()
    with serving(live.folder.path) as hub, client_of(hub) as client:
        # A sender that saw no answer sends again, and one that saw it may.
        for each in (*waiting, *orders[:100]):
            post_order(client, each).raise_for_status()
        live.wait_for_list("buyers", people)
        assert hub.stop() == 0
    found = [event["order_id"] for event in live.events("order_completed")]
    assert sorted(found) == sorted(each["order_id"] for each in orders)
    assert live.members("buyers") == len(people)
    emails = [contact.properties["email"] for contact in live.crm.contacts.records.values()]
    assert sorted(emails) == sorted(people)


def send_on(client: httpx.Client, waiting: list[dict[str, str]]) -> None:
    """Send what waits, one after the other, for as long as somebody answers; what was answered waits no more."""
    while True:
        # The last is sent again and again, to the same effect.
        post_order(client, waiting[0]).raise_for_status()
        if len(waiting) > 1:
            waiting.pop(0)
        time.sleep(0.01)
