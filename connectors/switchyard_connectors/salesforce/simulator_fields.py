"""The fields of the simulated org's objects as queries name them, relationships included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from switchyard.testing.simulator import Refusal
from switchyard_connectors.salesforce.simulator_org import refusal
from switchyard_connectors.salesforce.simulator_records import Store, Table
from switchyard_connectors.salesforce.simulator_schema import Field

Read: TypeAlias = Callable[[Any], Any]
IDS = ("id", "reference")


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a query. `name`: as the object has it, after that of the relationship that is followed, if any."""

    name: str
    field: Field
    read: Read
    plain: bool


class Fields:
    """The fields of one object as a query may name them."""

    def __init__(self, store: Store, table: Table) -> None:
        self._store = store
        self._table = table

    def column(self, name: str) -> Column:
        """Raises the 400 INVALID_FIELD of a name that is none."""
        kind = self._table.kind
        before, dot, rest = name.partition(".")
        if dot and before.lower() == kind.name.lower():
            before, dot, rest = rest, "", ""
        if not dot:
            found = kind.field(before)
            if found is None:
                raise self._unknown(before, kind.name)
            if found.name in self._table.derived:
                return Column(found.name, found, self._table.derived[found.name], plain=False)
            return Column(found.name, found, _reader(found.name), plain=True)
        link = kind.relationships.get(before.lower())
        if link is None or "." in rest:
            raise refusal(400, "INVALID_FIELD", f"Didn't understand relationship '{before}' in field path.")
        other = self._store[link.refers[0]].kind
        found = other.field(rest)
        if found is None:
            raise self._unknown(rest, other.name)
        return Column(f"{link.relationship}.{found.name}", found, self._follow(link.name, found.name), plain=False)

    def _follow(self, link: str, name: str) -> Read:
        def read(row: Any) -> Any:
            record_id = row.get(link)
            table = self._store.of_id(record_id) if record_id else None
            other = table.live(record_id) if table else None
            return other.get(name) if other else None

        return read

    def _unknown(self, name: str, kind: str) -> Refusal:
        return refusal(
            400,
            "INVALID_FIELD",
            f"No such column '{name}' on entity '{kind}'. If you are attempting to use a custom field, be sure to "
            "append the '__c' after the custom field name.",
        )


def comparable(column: Column) -> Read:
    """What compares as Salesforce does: text without regard to case, ids with."""
    read = column.read
    if column.field.kind in (*IDS, "datetime", "date", "boolean", "int", "double", "currency"):
        return read

    def lowered(row: Any) -> Any:
        value = read(row)
        return value.lower() if isinstance(value, str) else value

    return lowered


def _reader(name: str) -> Read:
    return lambda row: row.get(name)
