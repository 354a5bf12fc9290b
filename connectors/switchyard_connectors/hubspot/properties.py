"""Contact properties that an audience writes: that they exist, can be written, and are made where they are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import httpx

from switchyard.api import Member, PermanentError, RemoteList, TransientError
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.account import Account, object_of
from switchyard_connectors.hubspot.config import HubSpotConfig, PropertyType

_FIELD_TYPES: Mapping[PropertyType, str] = {
    "string": "text",
    "number": "number",
    "bool": "booleancheckbox",
    "date": "date",
    "datetime": "date",
}
_BATCH = 100
_SAMPLE = 1_000
"""Members whose values say what type a new property gets."""
_EXACT = 2**53
"""HubSpot's numbers are doubles: beyond, an id would come back as another one."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YES_AND_NO: list[JSON] = [
    {"label": "Yes", "value": "true", "displayOrder": 0},
    {"label": "No", "value": "false", "displayOrder": 1},
]


class Properties:
    """The contact properties of an account, as audiences need them.

    Attributes:
        instants: names of those, among what was checked or created, that hold a date with time.
    """

    def __init__(self, account: Account, config: HubSpotConfig) -> None:
        self._account = account
        self._creates = config.create_properties
        self._types = config.property_types
        self._path = f"{account.paths.properties}/contacts"
        self.instants: set[str] = set()

    def check(self, wanted: RemoteList) -> Sequence[str]:
        """Make sure that what exists can be written: the names of those that do not exist.

        Raises:
            PermanentError: the key is no unique property, a property is HubSpot's own, or one is missing and is not to
                be created.
        """
        names = set(wanted.fields) | {wanted.key_field}
        if names == {"email"}:
            return ()
        found, key = self._found(), wanted.key_field
        self.instants |= {name for name in names if found.get(name, {}).get("type") == "datetime"}
        if key != "email" and not found.get(key, {}).get("hasUniqueValue"):
            raise PermanentError(
                f"HubSpot has no contact property {key!r} with unique values, so it cannot be the key; "
                "create it in HubSpot as a unique property"
            )
        fixed = sorted(name for name in names - {key} if name in found and _is_read_only(found[name]))
        if fixed:
            raise PermanentError(
                f"HubSpot sets the contact properties {', '.join(fixed)} itself; take them out of the audience's fields"
            )
        missing = sorted(names - found.keys())
        if missing and not self._creates:
            raise PermanentError(
                f"HubSpot has no contact properties {', '.join(missing)}; create them there, or set create_properties"
            )
        return missing

    def create(self, missing: Sequence[str], members: Sequence[Member]) -> None:
        """Create properties, of the type that the configuration or else the members' values say.

        Raises:
            PermanentError: HubSpot refuses one.
            TransientError: somebody else is creating them.
        """
        for start in range(0, len(missing), _BATCH):
            self._create(missing[start : start + _BATCH], members[:_SAMPLE])

    def _found(self) -> Mapping[str, Mapping[str, Any]]:
        return {row["name"]: row for row in self._account.found(self._path).get("results") or ()}

    def _create(self, names: Sequence[str], members: Sequence[Member]) -> None:
        types = {
            name: self._types.get(name) or type_of(member.fields.get(name) for member in members) for name in names
        }
        self.instants |= {name for name, kind in types.items() if kind == "datetime"}
        inputs: list[JSON] = [_definition(name, kind) for name, kind in types.items()]
        answer = self._account.post(
            f"{self._path}/batch/create", json={"inputs": inputs}, repeatable=True, accept=(409,)
        )
        if answer.status_code == httpx.codes.CONFLICT:
            # Some were made meanwhile, or by an earlier try whose answer was lost; the others may be missing still.
            if missing := sorted(set(names) - self._found().keys()):
                raise TransientError(f"HubSpot has not created the contact properties {', '.join(missing)} yet")
            return
        errors = object_of(answer).get("errors") or []
        categories = sorted({str(error.get("category")) for error in errors if error.get("category") != "CONFLICT"})
        if categories:
            raise PermanentError(
                f"HubSpot refuses to create some of the contact properties {', '.join(names)} "
                f"({', '.join(categories)}); create them in HubSpot or rename them in the audience"
            )


def type_of(values: Iterable[JSON]) -> PropertyType:
    """The narrowest type that holds all these values; a text where there is none, for a text holds everything."""
    types = {_type(value) for value in values if value is not None}
    return types.pop() if len(types) == 1 else "string"


def _type(value: JSON) -> PropertyType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and abs(value) > _EXACT:
        return "string"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str) and _DAY.match(value):
        return _instant(value)
    return "string"


def _instant(value: str) -> PropertyType:
    try:
        if _DAY.fullmatch(value):
            date.fromisoformat(value)
            return "date"
        datetime.fromisoformat(value)
    except ValueError:
        return "string"
    return "datetime"


def _definition(name: str, kind: PropertyType) -> JSON:
    definition: dict[str, JSON] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "type": kind,
        "fieldType": _FIELD_TYPES[kind],
        "groupName": "contactinformation",
    }
    return definition | ({"options": _YES_AND_NO} if kind == "bool" else {})


def _is_read_only(found: Mapping[str, Any]) -> bool:
    return bool(found.get("calculated") or (found.get("modificationMetadata") or {}).get("readOnlyValue"))
