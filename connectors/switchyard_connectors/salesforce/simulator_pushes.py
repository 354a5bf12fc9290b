"""What the simulated org tells others of its changes: outbound messages as SOAP, and change events as a relay posts
them (vendor documentation, Outbound Messaging and Change Data Capture).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

import httpx

from switchyard.testing.simulator_webhooks import Outgoing, Sender
from switchyard_connectors.salesforce.simulator_org import ORGANIZATION, USER, Org, id_of
from switchyard_connectors.salesforce.simulator_records import Change, Store

MOST = 100
_HOURS = 24 * 3_600
_LONGEST = 7_200.0
_ACTION = id_of("04k", 1)
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">{inside}</notifications>'
    "</soapenv:Body></soapenv:Envelope>"
)
_SILENT = frozenset({"SystemModstamp", "LastModifiedDate"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told of one object's changes.

    Args:
        kind: "messages" (SOAP: created and changed records, with these fields as they are when it is sent) or
            "events" (JSON: what changed, deletions too).
        session: whether messages carry a session id, which is a live credential.
    """

    url: str
    object: str
    kind: Literal["messages", "events"] = "messages"
    fields: Sequence[str] = ()
    session: bool = False


class Pushes:
    """Collects the changes of a request and posts them to those who subscribed."""

    def __init__(self, org: Org, store: Store) -> None:
        self.sender = Sender(org.clock, waits=_waits(), accepted=_taken)
        self.subscriptions: list[Subscription] = []
        self._org = org
        self._store = store
        self._events = 0

    def subscribe(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)

    def flush(self) -> None:
        """Post what changed since the last time."""
        changes, self._store.changes = self._store.changes, []
        for each in self.subscriptions:
            mine = [change for change in changes if change.kind == each.object]
            if each.kind == "messages":
                ids = list(
                    dict.fromkeys(change.id for change in mine if change.after and not change.after["IsDeleted"])
                )
                for start in range(0, len(ids), MOST):
                    self._message(each, ids[start : start + MOST])
            elif mine:
                self._post_events(each, [self._event(change) for change in mine])

    def gap(self, name: str, ids: Iterable[str], kind: str = "GAP_UPDATE") -> None:
        """Tell of changes without saying which: GAP_CREATE, GAP_UPDATE, GAP_DELETE, or GAP_OVERFLOW."""
        header = self._header(name, list(ids), kind, [], "")
        for each in self.subscriptions:
            if each.kind == "events" and each.object == name:
                self._post_events(each, [self._wrapped(header, {})])

    def _message(self, subscription: Subscription, ids: Sequence[str]) -> None:
        names = [(self._org.new_id("04l"), each) for each in ids]
        self.sender.send(
            Outgoing(
                subscription.url,
                lambda _: self._envelope(subscription, names),
                lambda _url, _body: {"content-type": "text/xml; charset=utf-8", "soapaction": '""'},
            )
        )

    def _envelope(self, subscription: Subscription, names: Sequence[tuple[str, str]]) -> bytes:
        session = f"<SessionId>{ORGANIZATION[:15]}!live-session</SessionId>" if subscription.session else "<SessionId/>"
        inside = [f"<OrganizationId>{ORGANIZATION}</OrganizationId><ActionId>{_ACTION}</ActionId>{session}"]
        inside.append("<EnterpriseUrl>https://example.my.salesforce.com/services/Soap/c/62.0</EnterpriseUrl>")
        inside.append("<PartnerUrl>https://example.my.salesforce.com/services/Soap/u/62.0</PartnerUrl>")
        table = self._store[subscription.object]
        for name, record_id in names:
            row = table.get(record_id) or {}
            values = "".join(
                f"<sf:{field}>{escape(_xml(row.get(field)))}</sf:{field}>"
                for field in subscription.fields
                if row.get(field) is not None
            )
            inside.append(
                f'<Notification><Id>{name}</Id><sObject xsi:type="sf:{subscription.object}" '
                f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>{record_id}</sf:Id>{values}</sObject>'
                "</Notification>"
            )
        return _ENVELOPE.format(inside="".join(inside)).encode()

    def _event(self, change: Change) -> dict[str, Any]:
        kind = _kind(change)
        before, after = change.before or {}, change.after or {}
        changed = sorted(
            name for name, value in after.items() if before.get(name) != value and name not in _SILENT and name != "Id"
        )
        if kind == "DELETE":
            changed = []
        named = changed if kind == "UPDATE" else []
        header = self._header(change.kind, [change.id], kind, named, change.origin)
        return self._wrapped(header, {name: after[name] for name in changed if after[name] is not None or named})

    def _header(self, name: str, ids: Sequence[str], kind: str, changed: Sequence[str], origin: str) -> dict[str, Any]:
        self._events += 1
        return {
            "entityName": name,
            "recordIds": list(ids),
            "changeType": kind,
            "changedFields": list(changed),
            "changeOrigin": origin,
            "transactionKey": f"0000-{self._events:08x}",
            "sequenceNumber": 1,
            "commitTimestamp": int(self._org.clock() * 1000),
            "commitNumber": self._events,
            "commitUser": USER,
        }

    def _wrapped(self, header: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        payload = {"ChangeEventHeader": header, **values}
        return {"schema": "simulated", "payload": payload, "event": {"replayId": header["commitNumber"]}}

    def _post_events(self, subscription: Subscription, events: Sequence[Mapping[str, Any]]) -> None:
        body = json.dumps(events).encode()
        headers = {"content-type": "application/json"}
        self.sender.send(Outgoing(subscription.url, lambda _: body, lambda _url, _body: headers))


def _kind(change: Change) -> str:
    if change.before is None:
        return "CREATE"
    if change.after is None or (change.after["IsDeleted"] and not change.before["IsDeleted"]):
        return "DELETE"
    return "UNDELETE" if change.before["IsDeleted"] and not change.after["IsDeleted"] else "UPDATE"


def _waits() -> list[float]:
    """Twice as long each time, two hours at most, until a day is over."""
    waits: list[float] = []
    while sum(waits) < _HOURS:
        waits.append(min(_LONGEST, 15.0 * 2 ** len(waits)))
    return waits


def _taken(answer: httpx.Response) -> bool:
    """A message is taken by its acknowledgement alone, events by any success."""
    if answer.request.headers["content-type"].startswith("text/xml"):
        return answer.status_code == 200 and b"<Ack>true</Ack>" in answer.content
    return answer.is_success


def _xml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
