"""What the simulated org makes of the values it is given, and which it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from switchyard_connectors.salesforce.simulator_org import RowError, instant, long_id, stamp
from switchyard_connectors.salesforce.simulator_records import Row, Store, Table
from switchyard_connectors.salesforce.simulator_schema import Field

_EMAIL = re.compile(r"[^@\s,;<>()]+@[^@\s,;<>()]+\.[^@\s,;<>().]+")
_NUMBERS = ("int", "double", "currency")


class Values:
    """Turns what a client sends for one row into what the row holds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def taken(self, table: Table, given: Mapping[str, Any], *, creating: bool, by_hand: bool) -> Row:
        """The values by field. `by_hand`: also what only Salesforce itself may write. Raises RowError."""
        found: Row = {}
        for name, value in given.items():
            if name in ("attributes", "Id", "id"):
                continue
            known = table.kind.field(name)
            if known is None:
                link, record_id = self._linked(table, name, value)
                found[link] = record_id
                continue
            if not by_hand and not (known.createable if creating else known.updateable):
                raise RowError(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {known.name}. Please check the security settings of this field "
                    "and verify that it is read/write for your profile or permission set.",
                    [known.name],
                )
            found[known.name] = self._value(known, value)
        return found

    def _linked(self, table: Table, name: str, value: Any) -> tuple[str, str | None]:
        """A reference by an external id of the other record: nested in JSON, a name with a dot in CSV."""
        name, _, key = name.partition(".")
        link = table.kind.relationships.get(name.lower())
        if link is None:
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {table.kind.name}")
        if not key and isinstance(value, Mapping):
            pairs = [(each, text) for each, text in value.items() if each != "attributes"]
            key, value = pairs[0] if len(pairs) == 1 else ("", None)
        other = self._store[link.refers[0]]
        known = other.kind.field(key)
        if known is None or not known.external:
            raise RowError("INVALID_FIELD", f"{key or name} is not an external id of {other.kind.name}", [name])
        if value is None:
            return link.name, None
        rows = other.find(known.name, str(value))
        if len(rows) != 1:
            message = f"Foreign key external ID: {value} not found for field {key} in entity {other.kind.name}"
            raise RowError("INVALID_FIELD", message)
        return link.name, str(rows[0]["Id"])

    def _value(self, known: Field, value: Any) -> Any:
        if value is None or value == "":
            if known.required:
                raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{known.name}]", [known.name])
            return known.default if known.kind == "boolean" else None
        if known.kind == "boolean":
            return _boolean(known, value)
        if known.kind in _NUMBERS:
            return _number(known, value)
        if known.kind == "reference":
            return self._reference(known, value)
        if known.kind in ("date", "datetime"):
            return _time(known, value)
        if isinstance(value, (bool, dict, list)):
            raise _unreadable(known, value)
        text = str(value).strip()
        if len(text) > known.length:
            message = f"{known.name}: data value too large: {text} (max length={known.length})"
            raise RowError("STRING_TOO_LONG", message, [known.name])
        if known.kind == "email":
            if not _EMAIL.fullmatch(text):
                raise RowError("INVALID_EMAIL_ADDRESS", f"{known.name}: invalid email address: {text}", [known.name])
            return text.lower()
        return text

    def _reference(self, known: Field, value: Any) -> str:
        record_id = long_id(value)
        if record_id is None:
            raise RowError("MALFORMED_ID", f"{known.name}: id value of incorrect type: {value}", [known.name])
        table = self._store.of_id(record_id)
        if table is None or (known.refers and table.kind.name not in known.refers):
            raise RowError("FIELD_INTEGRITY_EXCEPTION", f"{known.name}: id value of incorrect type", [known.name])
        row = table.get(record_id)
        if row is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [])
        if row["IsDeleted"]:
            raise RowError("ENTITY_IS_DELETED", "entity is deleted", [])
        return record_id


def _boolean(known: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise _unreadable(known, value)


def _number(known: Field, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise _unreadable(known, value) from error
    if isinstance(value, bool) or number != number:
        raise _unreadable(known, value)
    return int(number) if known.kind == "int" else number


def _time(known: Field, value: Any) -> str:
    text = str(value)
    try:
        if known.kind == "date":
            return date.fromisoformat(text[:10]).isoformat()
        return stamp(instant(text))
    except ValueError as error:
        raise _unreadable(known, value) from error


def _unreadable(known: Field, value: Any) -> RowError:
    message = f"Cannot deserialize instance of {known.kind} from {type(value).__name__} value of field {known.name}"
    return RowError("JSON_PARSER_ERROR", message, [known.name])
