"""Properties of the HubSpot simulator: the definitions of one type of records, and what values they take."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.hubspot.simulator_portal import CONTACT, Kind, Portal, Problem

_FIELD_TYPES = {
    "string": "text",
    "number": "number",
    "date": "date",
    "datetime": "date",
    "bool": "booleancheckbox",
    "enumeration": "select",
    "phone_number": "phonenumber",
}
_LIFECYCLE = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "other")
_TYPES = {"amount": "number", "closedate": "datetime"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_EMAIL = re.compile(r"[^@\s,;<>()\"]+@[^@\s,;<>()\"]+\.[^@\s,;<>()\".]{2,}")


class Properties:
    """The definitions, by name; `unique` are the names of those that identify a record."""

    def __init__(self, portal: Portal, kind: Kind = CONTACT) -> None:
        self._portal = portal
        self._kind = kind
        self.known: dict[str, dict[str, Any]] = {}
        self.unique: set[str] = set()
        self._checks: dict[str, Callable[[str], str | None]] = {}
        if kind is CONTACT:
            self._define_contacts()
        for name in kind.shown:
            if name not in self.known:
                self.define({"name": name, "type": _TYPES.get(name, "string")}, custom=False)
        for name in ("createdate", kind.changed):
            self.define({"name": name, "type": "datetime"}, custom=False, read_only=True)
        self.define({"name": "hs_object_id", "type": "number"}, custom=False, read_only=True)
        self.define({"name": "hs_merged_object_ids", "type": "string"}, custom=False, read_only=True)

    def _define_contacts(self) -> None:
        for name in (*CONTACT.shown, "phone", "city", "country", "zip", "company", "website", "address", "jobtitle"):
            self.define({"name": name}, custom=False)
        self.define({"name": "email", "hasUniqueValue": True}, custom=False)
        self.define({"name": "hs_additional_emails", "type": "enumeration"}, custom=False)
        options = [{"label": name, "value": name} for name in _LIFECYCLE]
        self.define({"name": "lifecyclestage", "type": "enumeration", "options": options}, custom=False)

    def define(self, wanted: Mapping[str, Any], *, custom: bool = True, read_only: bool = False) -> dict[str, Any]:
        """Add a definition: `name`, and whatever else differs from a plain text property."""
        kind = wanted.get("type", "string")
        definition = {
            "name": wanted["name"],
            "label": wanted.get("label", wanted["name"]),
            "type": kind,
            "fieldType": wanted.get("fieldType", _FIELD_TYPES[kind]),
            "groupName": wanted.get("groupName", "contactinformation"),
            "description": wanted.get("description", ""),
            "options": list(wanted.get("options", ())),
            "hasUniqueValue": bool(wanted.get("hasUniqueValue", False)),
            "calculated": False,
            "hidden": False,
            "hubspotDefined": not custom,
            "archived": False,
            "createdAt": self._portal.now(),
            "modificationMetadata": {"archivable": custom, "readOnlyDefinition": False, "readOnlyValue": read_only},
        }
        self._know(definition)
        return definition

    def _know(self, definition: dict[str, Any]) -> None:
        name = definition["name"]
        self.known[name] = definition
        self._checks[name] = _check_of(definition)
        if definition["hasUniqueValue"]:
            self.unique.add(name)

    def dump(self) -> list[dict[str, Any]]:
        """All definitions, as JSON."""
        return list(self.known.values())

    def load(self, state: Sequence[dict[str, Any]]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.known, self._checks, self.unique = {}, {}, set()
        for each in state:
            self._know(each)

    def problem(self, values: Mapping[str, str]) -> Problem | None:
        """Why these values are refused, every one of them named, or None."""
        checks = self._checks
        errors = []
        for name, value in values.items():
            if name not in checks:
                errors.append((name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
            elif code := checks[name](value):
                errors.append((name, code, f"{value} was not valid for property {name}"))
        if not errors:
            return None
        listed = [
            {"isValid": False, "message": text, "error": code, "name": name, "propertyValue": values[name]}
            for name, code, text in errors
        ]
        return Problem(
            "VALIDATION_ERROR",
            f"Property values were not valid: {json.dumps(listed)}",
            [{"message": text, "code": code, "context": {"propertyName": [name]}} for name, code, text in errors],
        )

    def list_all(self, _: Request) -> Answer:
        return Answer(body={"results": list(self.known.values())})

    def get(self, request: Request) -> Answer:
        name = request.params["name"]
        if name not in self.known:
            raise self._portal.absent(f"Property {name} does not exist on object type {self._kind.single.upper()}")
        return Answer(body=self.known[name])

    def create(self, request: Request) -> Answer:
        wanted = request.json()
        if problem := self._refusal(wanted):
            return self._portal.error(problem.status, problem)
        return Answer(201, self.define(wanted))

    def batch_create(self, request: Request) -> Answer:
        results: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for wanted in request.json()["inputs"]:
            if problem := self._refusal(wanted):
                context = {"name": [str(wanted.get("name"))]}
                error: dict[str, Any] = {"status": "error", "category": problem.category, "message": problem.message}
                errors.append(error | {"context": context, "errors": list(problem.errors)})
            else:
                results.append(self.define(wanted))
        now = self._portal.now()
        body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if errors and not results and all(error["category"] == "CONFLICT" for error in errors):
            return self._portal.error(409, Problem("CONFLICT", errors[0]["message"]))
        if errors:
            return Answer(207, body | {"numErrors": len(errors), "errors": errors})
        return Answer(201, body)

    def _refusal(self, wanted: Mapping[str, Any]) -> Problem | None:
        missing = [field for field in ("name", "label", "type", "fieldType", "groupName") if not wanted.get(field)]
        if missing:
            return Problem("VALIDATION_ERROR", f"Some required fields were not set: {missing}")
        if not _NAME.fullmatch(wanted["name"]):
            return Problem("VALIDATION_ERROR", f"{wanted['name']} is not a valid property name")
        if wanted["type"] not in _FIELD_TYPES:
            return Problem("VALIDATION_ERROR", f"{wanted['type']} is not a property type")
        if wanted["name"] in self.known:
            return Problem("CONFLICT", f'A property named "{wanted["name"]}" already exists.')
        return None


class Schemas:
    """The properties of every type, by whatever paths call it."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._by_name: dict[str, Properties] = {}

    def add(self, kind: Kind, properties: Properties) -> None:
        self._by_name |= dict.fromkeys(kind.names, properties)

    def of(self, request: Request) -> Properties:
        """Those of the type that the path names. Raises Refusal."""
        wanted = request.params["object_type"]
        if wanted not in self._by_name:
            problem = Problem("VALIDATION_ERROR", f"Unable to infer object type from: {wanted}")
            raise Refusal(self._portal.error(400, problem))
        return self._by_name[wanted]


def _check_of(definition: Mapping[str, Any]) -> Callable[[str], str | None]:
    """A function from a value to the code of what is wrong with it. An empty value clears and is always right."""
    if definition["modificationMetadata"]["readOnlyValue"]:
        return lambda _: "READ_ONLY_VALUE"
    if definition["name"] == "email":
        return lambda value: None if not value or _EMAIL.fullmatch(value) else "INVALID_EMAIL"
    options = frozenset(str(option["value"]) for option in definition["options"])
    kind = definition["type"]
    if kind == "enumeration" and options:
        return lambda value: None if not value or options.issuperset(value.split(";")) else "INVALID_OPTION"
    if kind == "bool":
        return lambda value: None if value in ("", "true", "false") else "INVALID_OPTION"
    if kind == "number":
        return lambda value: None if not value or _parses(value, float) else "INVALID_INTEGER"
    if kind == "date":
        return lambda value: None if not value or _parses(value, _midnight) else "INVALID_DATE"
    if kind == "datetime":
        return lambda value: None if not value or _parses(value, int, datetime.fromisoformat) else "INVALID_DATE"
    return lambda _: None


def _parses(value: str, *parsers: Callable[[str], object]) -> bool:
    return any(_accepts(parser, value) for parser in parsers)


def _accepts(parser: Callable[[str], object], value: str) -> bool:
    try:
        parser(value)
    except ValueError:
        return False
    return True


def _midnight(value: str) -> object:
    if not value.lstrip("-").isdigit():
        return date.fromisoformat(value)
    if int(value) % 86_400_000:
        raise ValueError(value)
    return value


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as HubSpot keeps them: text, with "" for nothing."""
    return {name: value if isinstance(value, str) else _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence):
        return ";".join(str(part) for part in value)
    return str(value)
