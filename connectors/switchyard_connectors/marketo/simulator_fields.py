"""Lead fields of the Marketo simulator: their definitions, and what values they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, TypeAlias

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_instance import Instance, instant, skipped

Problem: TypeAlias = tuple[str, str]
"""Why a value is refused: code and message."""
_EMAIL = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no", ""}
_LENGTHS = {"string": 255, "email": 255, "phone": 255, "url": 255, "text": 2_000}
_LOOKUP_TYPES = ("string", "email", "integer")
_CREATE = 100
"""Fields that one call may create."""


@dataclass(slots=True)
class Field:
    """A lead field under its REST name. `managed`: by a synchronised CRM. `company`: it belongs to the lead's company
    and is not written through leads.
    """

    id: int
    name: str
    display: str
    type: str = "string"
    length: int | None = None
    updateable: bool = True
    searchable: bool = False
    managed: bool = False
    company: bool = False
    custom: bool = False
    made: bool = False


_STANDARD: Sequence[tuple[str, str, str, Mapping[str, Any]]] = (
    ("id", "Id", "integer", {"updateable": False, "searchable": True}),
    ("email", "Email Address", "email", {"searchable": True}),
    ("firstName", "First Name", "string", {}),
    ("middleName", "Middle Name", "string", {}),
    ("lastName", "Last Name", "string", {}),
    ("salutation", "Salutation", "string", {}),
    ("title", "Job Title", "string", {}),
    ("phone", "Phone Number", "phone", {}),
    ("mobilePhone", "Mobile Phone Number", "phone", {}),
    ("address", "Address", "text", {}),
    ("city", "City", "string", {}),
    ("state", "State", "string", {}),
    ("country", "Country", "string", {}),
    ("postalCode", "Postal Code", "string", {}),
    ("dateOfBirth", "Date of Birth", "date", {}),
    ("leadScore", "Lead Score", "score", {}),
    ("leadSource", "Lead Source", "string", {}),
    ("unsubscribed", "Unsubscribed", "boolean", {}),
    ("company", "Company Name", "string", {"company": True}),
    ("website", "Website", "url", {"company": True}),
    ("annualRevenue", "Annual Revenue", "currency", {"company": True}),
    ("sfdcLeadId", "SFDC Lead Id", "string", {"searchable": True, "managed": True}),
    ("sfdcContactId", "SFDC Contact Id", "string", {"searchable": True, "managed": True}),
    ("cookies", "Cookies", "string", {"searchable": True, "updateable": False}),
    ("leadPartitionId", "Lead Partition Id", "integer", {"searchable": True, "updateable": False}),
    ("createdAt", "Created At", "datetime", {"updateable": False}),
    ("updatedAt", "Updated At", "datetime", {"updateable": False}),
)


class Fields:
    """The definitions, by REST name."""

    def __init__(self, instance: Instance) -> None:
        self.known: dict[str, Field] = {}
        self._instance = instance
        for name, display, kind, more in _STANDARD:
            self.known[name] = Field(len(self.known) + 1, name, display, kind, **{"length": _LENGTHS.get(kind), **more})

    def add(self, name: str, kind: str = "string", display: str = "", *, made: bool = False) -> Field:
        """Define a custom field, as a person inside Marketo would. Text and whole numbers can be looked up by."""
        number = max(each.id for each in self.known.values()) + 1
        found = Field(number, name, display or name, kind, _LENGTHS.get(kind), custom=True, made=made)
        found.searchable = kind in _LOOKUP_TYPES
        self.known[name] = found
        return found

    def remove(self, name: str) -> None:
        """Hide a field: it is no longer there for the API."""
        del self.known[name]

    def problem(self, values: Mapping[str, Any]) -> Problem | None:
        """Why a row is refused, or None."""
        for name, value in values.items():
            found = self.known.get(name)
            if found is None:
                return "1006", f"Field '{name}' not found"
            if found.company:
                return "1021", f"Company field '{name}' is not supported"
            if found.managed:
                return "1018", f"Field '{name}' is managed by the CRM"
            if not found.updateable and name != "id":
                return "1003", f"Field '{name}' is not updateable"
            if value is not None and not _fits(found, value):
                return "1003", f"Invalid value for field '{name}' and value '{value}'"
        return None

    def parsed(self, name: str, text: str) -> Any:
        """A value of a file as the field holds it. Raises ValueError."""
        kind = self.known[name].type
        if kind in ("integer", "score"):
            return int(text)
        if kind in ("float", "currency", "percent"):
            return float(text)
        if kind == "boolean":
            return _truth(text)
        if not _fits(self.known[name], text):
            raise ValueError(text)
        return text

    def describe(self, _: Request) -> Answer:
        """`leads/describe.json`, which newer integrations no longer use."""
        rows = [
            {
                "id": each.id,
                "displayName": each.display,
                "dataType": each.type,
                **({"length": each.length} if each.length else {}),
                "rest": {"name": each.name, "readOnly": not each.updateable},
                "soap": {"name": each.display.replace(" ", ""), "readOnly": not each.updateable},
            }
            for each in self.known.values()
        ]
        # One that only the old protocol knows: records without a REST name are not usable.
        old = {"name": "SFDCAccountType", "readOnly": False}
        rows.append({"id": len(rows) + 1, "displayName": "SFDC Account Type", "dataType": "string", "soap": old})
        return self._instance.answer(rows)

    def describe2(self, _: Request) -> Answer:
        """`leads/describe2.json`."""
        searchable = [[each.name] for each in self.known.values() if each.searchable]
        fields = [_described(each) for each in self.known.values()]
        return self._instance.answer([{"name": "API Lead", "searchableFields": searchable, "fields": fields}])

    def schema(self, request: Request) -> Answer:
        """A page of `leads/schema/fields.json`."""
        rows, more = self._instance.page(request, list(self.known.values()))
        return self._instance.answer([_schema(each) for each in rows], **more)

    def schema_one(self, request: Request) -> Answer:
        found = self.known.get(request.params["name"])
        if found is None:
            raise self._instance.failure("1006", f"Field '{request.params['name']}' not found")
        return self._instance.answer([_schema(found)])

    def create(self, request: Request) -> Answer:
        """Create custom fields; they cannot be deleted through the API."""
        rows = self._instance.inputs(request)
        if len(rows) > _CREATE:
            raise self._instance.failure("1003", f"Too many fields: at most {_CREATE}")
        return self._instance.answer([self._created(row) for row in rows])

    def _created(self, row: Mapping[str, Any]) -> dict[str, Any]:
        name, kind = str(row.get("name", "")), row.get("dataType")
        if not _NAME.fullmatch(name) or not kind or not row.get("displayName"):
            return skipped("1003", "Invalid value for field 'name', 'displayName' or 'dataType'", name=name)
        if name in self.known:
            return skipped("1005", "Field already exists", name=name)
        self.add(name, kind, row["displayName"], made=True)
        return {"name": name, "status": "created"}

    def dump(self) -> list[dict[str, Any]]:
        """All definitions, as JSON."""
        return [asdict(each) for each in self.known.values()]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.known = {each["name"]: Field(**each) for each in state}


def _described(field: Field) -> dict[str, Any]:
    length = {"length": field.length} if field.length else {}
    return {
        "name": field.name,
        "displayName": field.display,
        "dataType": field.type,
        **length,
        "updateable": field.updateable,
        "crmManaged": field.managed,
    }


def _schema(field: Field) -> dict[str, Any]:
    length = {"length": field.length} if field.length else {}
    return {
        "name": field.name,
        "displayName": field.display,
        "description": field.display,
        "dataType": field.type,
        **length,
        "isHidden": False,
        "isHtmlEncodingInEmail": True,
        "isSensitive": False,
        "isCustom": field.custom,
        "isApiCreated": field.made,
    }


def _fits(field: Field, value: Any) -> bool:
    if field.type == "email":
        return value == "" or (isinstance(value, str) and _EMAIL.fullmatch(value) is not None)
    if field.length is not None and len(str(value)) > field.length:
        return False
    check = _CHECKS.get(field.type)
    return check is None or value == "" or _accepts(check, str(value))


def _accepts(check: Callable[[str], object], value: str) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True


def _truth(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "integer": int,
    "score": int,
    "float": float,
    "currency": float,
    "percent": float,
    "boolean": _truth,
    "date": date.fromisoformat,
    "datetime": instant,
}
