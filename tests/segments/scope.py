"""A scope over people in memory: what the hub gives a profile transform, as small as it gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ibis
import pyarrow as pa

from switchyard.api.transforms import DataType, Schema

from .naive import Person

ARROW: dict[DataType, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(18, 4),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "list": pa.list_(pa.string()),
}


class MemoryScope:
    """Implements `switchyard.api.transforms.Scope` on an in-memory DuckDB."""

    def __init__(self, people: Sequence[Person], schema: Schema) -> None:
        self._connection = ibis.duckdb.connect()
        # A plan that leaned on the session's zone would be wrong on every other machine.
        self._connection.raw_sql("set timezone = 'America/St_Johns'")
        self._create("profiles", _profiles(people, schema))
        for name in schema.events:
            self._create(f"event_{name}", _events(people, name, schema))
        self.remember([])

    def remember(self, rows: Iterable[dict[str, Any]]) -> None:
        """Sets the memberships that `in segment` reads."""
        types = {
            "profile_id": pa.int64(),
            "segment": pa.string(),
            "value": pa.bool_(),
            "next_change": pa.timestamp("us"),
        }
        self._create("memberships", pa.Table.from_pylist(list(rows), schema=pa.schema(types)))

    def _create(self, name: str, table: pa.Table) -> None:
        self._connection.create_table(name, table, overwrite=True)

    @property
    def profiles(self) -> Any:
        return self._connection.table("profiles")

    def events(self, event_type: str) -> Any:
        return self._connection.table(f"event_{event_type}")

    def memberships(self) -> Any:
        return self._connection.table("memberships")


def _profiles(people: Sequence[Person], schema: Schema) -> pa.Table:
    columns = {"profile_id": pa.array([p.id for p in people], pa.int64())}
    columns["at"] = pa.array([p.at for p in people], pa.timestamp("us"))
    for name, kind in schema.attributes.items():
        columns[name] = pa.array([p.attributes.get(name) for p in people], ARROW[kind])
    return pa.table(columns)


def _events(people: Sequence[Person], event_type: str, schema: Schema) -> pa.Table:
    found = [(p.id, e) for p in people for e in p.events if e.type == event_type]
    columns = {"profile_id": pa.array([owner for owner, _ in found], pa.int64())}
    columns["at"] = pa.array([e.at for _, e in found], pa.timestamp("us"))
    columns["event_id"] = pa.array([e.id for _, e in found], pa.binary())
    for name, kind in schema.events[event_type].items():
        columns[name] = pa.array([e.properties.get(name) for _, e in found], ARROW[kind])
    return pa.table(columns)
