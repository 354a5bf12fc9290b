"""Decides what is taken of pushes: ids of changed records and no more, so that no session and no value is kept."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from pydantic_core import from_json

from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict
from switchyard_connectors.salesforce.config import Push
from switchyard_connectors.salesforce.org import CLIENT

_OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_ACK = (
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)
"""Whatever else is answered, Salesforce sends the message again for 24 hours (vendor documentation, outbound
messaging)."""
_MOST_EVENTS = 10_000
_OF_ONE_CHANGE = frozenset({"commitNumber", "commitTimestamp", "transactionKey"})
"""Fields of a change event's header that no other change has."""


class Changed(TypedDict):
    """Changed records of one object. `ids` may be empty where `type` is an overflow: anything may have changed."""

    object: str
    type: str
    ids: list[str]


class SalesforceReceiver:
    """A `Receiver` of outbound messages (SOAP) and of change events that a relay posts as JSON."""

    def __init__(self, push: Push) -> None:
        self._token = push.token.get_secret_value().encode()
        self._organization = push.organization_id[:15]
        self.max_bytes = push.max_bytes

    def check(self, incoming: Incoming) -> Verdict:
        """See `Receiver.check`: 401 without the token or of another org, 400 unreadable, 413 too large, 415 neither
        XML nor JSON.
        """
        if not self._knows(incoming):
            return Refused(401, "the token is missing or wrong")
        if len(incoming.body) > self.max_bytes:
            return Refused(413, f"the body is larger than {self.max_bytes:,} bytes")
        media = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media in ("text/xml", "application/xml", "application/soap+xml"):
            return self._message(incoming.body)
        if media in ("application/json", "") or media.endswith("+json"):
            return self._events(incoming)
        return Refused(415, "send an outbound message as text/xml, or change events as application/json")

    def _knows(self, incoming: Incoming) -> bool:
        try:
            given = parse_qs(urlsplit(incoming.url).query).get("token", [""])[0]
        except ValueError:
            return False
        given = given or incoming.headers.get("x-switchyard-token", "")
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    def _message(self, body: bytes) -> Verdict:
        try:
            root = ElementTree.fromstring(body, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError, LookupError):
            return Refused(400, "the body is no XML, or declares types or entities")
        message = root.find(f".//{_OUTBOUND}notifications")
        if message is None:
            return Refused(400, "the body holds no notifications of an outbound message")
        if (message.findtext(f"{_OUTBOUND}OrganizationId") or "").strip()[:15] != self._organization:
            return Refused(401, "the message is of another org")
        found = list(_notified(message))
        if not found:
            return Refused(400, "the message names no record")
        named = hashlib.sha256("".join(sorted(notification for notification, _ in found)).encode()).hexdigest()
        changes = [change for _, change in found]
        return Accepted(f"om-{named[:32]}", _kept(changes), {}, answer=_ACK, answer_type="text/xml; charset=utf-8")

    def _events(self, incoming: Incoming) -> Verdict:
        body = incoming.body
        try:
            given = from_json(body)
        except ValueError:
            return Refused(400, "the body is no JSON")
        events = given if isinstance(given, list) else [given]
        if len(events) > _MOST_EVENTS:
            return Refused(413, f"at most {_MOST_EVENTS:,} events at once")
        changes: list[Changed] = []
        headers: list[Mapping[str, Any]] = []
        for event in events:
            header = _header(event)
            if header is None:
                return Refused(400, "an event has no ChangeEventHeader with entityName, changeType and recordIds")
            headers.append(header)
            # What the hub wrote itself it knows.
            if f"client={CLIENT}" not in str(header.get("changeOrigin") or "").split(";"):
                changes.append(_change(header))
        # What is kept is the same for two changes of one record; what was sent is not, where it says when they were.
        told = all(_OF_ONE_CHANGE & header.keys() for header in headers)
        named = hashlib.sha256(body if told else body + incoming.at.isoformat().encode()).hexdigest()
        return Accepted(f"ce-{named[:32]}", _kept(changes), {})


def _notified(message: Element) -> Iterator[tuple[str, Changed]]:
    for notification in message.iter(f"{_OUTBOUND}Notification"):
        record = notification.find(f"{_OUTBOUND}sObject")
        if record is None:
            continue
        kind = str(record.get(_TYPE, "")).rpartition(":")[2]
        # The record's own fields are in the namespace of objects, whatever its prefix.
        record_id = next((each.text for each in record if each.tag.endswith("}Id")), None)
        if kind and record_id:
            name = notification.findtext(f"{_OUTBOUND}Id") or record_id
            yield name, {"object": kind, "type": "UPDATE", "ids": [record_id.strip()]}


def _header(event: Any) -> Mapping[str, Any] | None:
    """The header of a change event, wherever the relay leaves it: bare, in `payload`, or in `data.payload`."""
    for path in ((), ("payload",), ("data", "payload"), ("detail", "payload")):
        at = event
        for name in path:
            at = at.get(name) if isinstance(at, dict) else None
        header = at.get("ChangeEventHeader") if isinstance(at, dict) else None
        if (
            isinstance(header, dict)
            and isinstance(header.get("entityName"), str)
            and isinstance(header.get("changeType"), str)
            and isinstance(header.get("recordIds", []), list)
        ):
            return header
    return None


def _change(header: Mapping[str, Any]) -> Changed:
    ids = [str(each) for each in header.get("recordIds") or ()]
    # `001*` stands for any record: too many to be named.
    named = [each for each in ids if each.isascii() and each.isalnum() and len(each) in (15, 18)]
    kind = str(header["changeType"])
    return {
        "object": str(header["entityName"]),
        "type": "GAP_OVERFLOW" if len(named) < len(ids) or not ids else kind,
        "ids": named,
    }


def _kept(changes: list[Changed]) -> bytes:
    return json.dumps({"changes": changes}, separators=(",", ":")).encode()
