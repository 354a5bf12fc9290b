"""The Measurement Protocol's endpoints, which say nothing, and user deletion, of which nobody sees anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.google_analytics.simulator_events import Events
from switchyard_connectors.google_analytics.simulator_plan import invalid

SECRET = "mp-simulator-secret"  # noqa: S105  # of a simulator
MEASUREMENT_ID = "G-SIMULATED1"
FIREBASE_APP_ID = "1:1234567890:android:321abc456def7890"
_NAME = re.compile(r"[A-Za-z]\w{0,39}", re.ASCII)
_RESERVED = frozenset({"session_start", "first_visit", "first_open", "user_engagement", "app_remove", "error"})
_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
_MAX_BODY = 130_000
_BACKDATED = 72 * 3_600
_FIELDS = {"userId": "user_id", "clientId": "client_id", "appInstanceId": "client_id"}


class Collector:
    """What was sent to the property's data streams, and whom it was told to delete.

    Args:
        events: where events that count end up, and deleted people vanish from.
    """

    def __init__(self, events: Events) -> None:
        self.counted: list[dict[str, Any]] = []
        self.users: dict[str, dict[str, Any]] = {}
        self.deleted: list[dict[str, str]] = []
        self.dropped = 0
        self.refused: dict[str, str] = {}
        self._events = events

    def collect(self, request: Request, now: float) -> Answer:
        """`/mp/collect`: 204 whatever it is; only what is valid counts."""
        arguments = request.arguments()
        known = arguments.get("measurement_id") == MEASUREMENT_ID or arguments.get("firebase_app_id") == FIREBASE_APP_ID
        body = _object(request)
        if not known or arguments.get("api_secret") != SECRET or self._faults(request, body, now):
            self.dropped += 1
            return Answer(204)
        person = str(body.get("client_id") or body.get("app_instance_id"))
        properties = self.users.setdefault(person, {})
        properties |= {name: each.get("value") for name, each in (body.get("user_properties") or {}).items()}
        for event in body["events"]:
            self.counted.append({"person": person, "user_id": body.get("user_id"), **event})
            at = int(event.get("timestamp_micros") or body.get("timestamp_micros") or now * 1_000_000)
            value = event.get("params", {}).get("value", 0)
            self._events.add(name=event["name"], client_id=person, user_id=body.get("user_id"), us=at, value=value)
        return Answer(204)

    def debug(self, request: Request, now: float) -> Answer:
        """`/debug/mp/collect`: says what is wrong, and never that the secret is."""
        return Answer(body={"validationMessages": self._faults(request, _object(request), now)})

    def delete(self, request: Request, now: str) -> Answer:
        """`properties.submitUserDeletion`."""
        wanted = request.json()
        named = {name: str(value) for name, value in wanted.items() if value}
        if len(named) != 1 or not named.keys() <= {*_FIELDS, "userProvidedData"}:
            raise invalid("Exactly one user identifier has to be given.")
        ((name, value),) = named.items()
        if reason := self.refused.get(value):
            raise Refusal(Answer(404, {"error": {"code": 404, "message": reason, "status": "NOT_FOUND"}}))
        if name in _FIELDS:
            self._events.forget(_FIELDS[name], value)
        self.deleted.append(named)
        return Answer(body={"deletionRequestTime": now})

    def delete_legacy(self, request: Request, now: str) -> Answer:
        """`userDeletionRequest.upsert` of the old API."""
        wanted = request.json()
        kind = {"CLIENT_ID": "clientId", "USER_ID": "userId", "APP_INSTANCE_ID": "appInstanceId"}
        identity = wanted.get("id") or {}
        if identity.get("type") not in kind or not identity.get("userId"):
            raise invalid("The id needs a type and a userId.")
        name = kind[identity["type"]]
        self._events.forget(_FIELDS[name], identity["userId"])
        self.deleted.append({name: identity["userId"]})
        return Answer(body={**wanted, "kind": "analytics#userDeletionRequest", "deletionRequestTime": now})

    def dump(self) -> dict[str, Any]:
        """What was told, as JSON."""
        return {"counted": self.counted, "users": self.users, "deleted": self.deleted}

    def load(self, state: Mapping[str, Any]) -> None:
        """Know what `dump` gave."""
        self.counted, self.users, self.deleted = state["counted"], state["users"], state["deleted"]

    def _faults(self, request: Request, body: dict[str, Any], now: float) -> list[dict[str, str]]:
        if len(request.body) > _MAX_BODY:
            return [_fault("", "The request is larger than 130 kB.", "EXCEEDED_MAX_ENTITIES")]
        key = "app_instance_id" if "firebase_app_id" in request.arguments() else "client_id"
        if not body.get(key) or not isinstance(body[key], str):
            return [_fault(key, f"Measurement requires an {key}.", "VALUE_REQUIRED")]
        if reason := self.refused.get(body[key]):
            return [_fault(key, reason, "VALUE_INVALID")]
        events = body.get("events")
        if not isinstance(events, list) or not events:
            return [_fault("events", "Measurement requires at least one event.", "VALUE_REQUIRED")]
        if len(events) > 25:
            return [_fault("events", "At most 25 events are allowed.", "EXCEEDED_MAX_ENTITIES")]
        faults = [fault for at, event in enumerate(events) for fault in _event_faults(at, event, now)]
        properties = body.get("user_properties") or {}
        if len(properties) > 25:
            faults.append(_fault("user_properties", "At most 25 user properties are allowed.", "EXCEEDED_MAX_ENTITIES"))
        for name, each in properties.items():
            path = f"user_properties.{name}"
            if len(name) > 24 or not _NAME.fullmatch(name) or name.startswith(_PREFIXES):
                faults.append(_fault(path, "Invalid user property name.", "NAME_INVALID"))
            if not isinstance(each.get("value"), str | int | float) or len(str(each["value"])) > 36:
                faults.append(_fault(path, "Invalid user property value.", "VALUE_INVALID"))
        return faults


def _event_faults(at: int, event: Any, now: float) -> list[dict[str, str]]:
    path = f"events[{at}]"
    name, params = str(event.get("name", "")), event.get("params") or {}
    if not _NAME.fullmatch(name):
        return [_fault(f"{path}.name", f"Event at index: [{at}] has invalid name [{name}].", "NAME_INVALID")]
    if name in _RESERVED or name.startswith(_PREFIXES):
        return [_fault(f"{path}.name", f"Event at index: [{at}] has reserved name [{name}].", "NAME_RESERVED")]
    if len(params) > 25:
        return [_fault(f"{path}.params", "At most 25 parameters are allowed.", "EXCEEDED_MAX_ENTITIES")]
    faults = []
    for key, value in params.items():
        if not _NAME.fullmatch(key) or key.startswith(_PREFIXES):
            faults.append(_fault(f"{path}.params.{key}", "Invalid parameter name.", "NAME_INVALID"))
        if key != "items" and (isinstance(value, list | dict) or value is None or len(str(value)) > 100):
            faults.append(_fault(f"{path}.params.{key}", "Invalid parameter value.", "VALUE_INVALID"))
    micros = event.get("timestamp_micros")
    if micros is not None and now - int(micros) / 1_000_000 > _BACKDATED:
        faults.append(_fault(f"{path}.timestamp_micros", "The event is older than 72 hours.", "VALUE_OUT_OF_BOUNDS"))
    return faults


def _fault(path: str, description: str, code: str) -> dict[str, str]:
    return {"fieldPath": path, "description": description, "validationCode": code}


def _object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
