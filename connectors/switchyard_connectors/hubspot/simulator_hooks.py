"""Webhooks that the HubSpot simulator sends: up to 100 events in a call, signed as HubSpot signs, ten times again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from switchyard.api.signatures import hubspot_signed
from switchyard.testing.simulator_webhooks import Outgoing, Sender
from switchyard_connectors.hubspot.simulator_portal import Kind, Portal

BATCH = 100
# Ten times within 24 hours (vendor documentation, webhooks, error handling); the steps are not documented.
WAITS = (60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 14_400.0, 21_600.0, 21_600.0)
Signature = Literal["v1", "v2", "v3"]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who wants webhooks.

    Args:
        url: where they are posted.
        secret: the app's.
        signature: v1 and v2 go alone; with v3 HubSpot sends the header of v1 as well.
        types: such as contact.creation; a name without a dot means all of that type; empty for all.
        generic: whether types are `object.*` with an `objectTypeId`, as newer apps get them.
    """

    url: str
    secret: str = field(repr=False)
    signature: Signature = "v3"
    types: tuple[str, ...] = ()
    generic: bool = False

    def wants(self, kind: Kind, event: str) -> bool:
        named = f"{kind.single}.{event}"
        return not self.types or any(each in (named, kind.single, f"object.{event}") for each in self.types)


class Hooks:
    """Collects what happens and sends it to the subscriber."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._subscriber: Subscriber | None = None
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._said = 0
        self.sender = Sender(portal.clock, waits=WAITS)

    def subscribe(self, subscriber: Subscriber | None) -> None:
        """Send there from now on; None for nowhere."""
        self._subscriber = subscriber

    def tell(self, kind: Kind, event: str, record_id: str, **said: Any) -> None:
        """Something happened."""
        subscriber = self._subscriber
        if subscriber is None or not subscriber.wants(kind, event):
            return
        self._said += 1
        body: dict[str, Any] = {
            # Not unique in HubSpot either.
            "eventId": self._said % 97,
            "subscriptionId": 1_000 + len(event),
            "portalId": 1,
            "appId": 1,
            "occurredAt": int(self._portal.clock() * 1000),
            "subscriptionType": f"{'object' if subscriber.generic else kind.single}.{event}",
            "attemptNumber": 0,
            "objectId": int(record_id),
            "changeSource": "CRM_UI",
        }
        if subscriber.generic:
            body["objectTypeId"] = kind.id
        with self._lock:
            self._waiting.append(body | said)
        self.sender.send(self._batch(subscriber))

    def close(self) -> None:
        """Send nothing more."""
        self.sender.close()

    def _batch(self, subscriber: Subscriber) -> Outgoing:
        """A call with what waits when it is made: events of one moment go together."""
        taken: list[dict[str, Any]] = []

        def body(attempt: int) -> bytes:
            if not attempt:
                with self._lock:
                    taken.extend(self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting))))
            events = [event | {"attemptNumber": attempt} for event in taken]
            return json.dumps(events, separators=(",", ":")).encode() if events else b""

        def headers(url: str, sent: bytes) -> Mapping[str, str]:
            return {"content-type": "application/json"} | signed(subscriber, url, sent, self._portal.clock())

        return Outgoing(subscriber.url, body, headers)


def signed(subscriber: Subscriber, url: str, body: bytes, now: float) -> dict[str, str]:
    """The headers by which a receiver knows HubSpot (vendor documentation, validating requests)."""
    secret = subscriber.secret.encode()
    if subscriber.signature == "v2":
        digest = hashlib.sha256(secret + f"POST{url}".encode() + body).hexdigest()
        return {"x-hubspot-signature": digest, "x-hubspot-signature-version": "v2"}
    first = {
        "x-hubspot-signature": hashlib.sha256(secret + body).hexdigest(),
        "x-hubspot-signature-version": "v1",
    }
    if subscriber.signature == "v1":
        return first
    stamp = str(int(now * 1000))
    digest = base64.b64encode(hmac.digest(secret, hubspot_signed("POST", url, body, stamp), "sha256")).decode()
    return first | {"x-hubspot-signature-v3": digest, "x-hubspot-request-timestamp": stamp}
