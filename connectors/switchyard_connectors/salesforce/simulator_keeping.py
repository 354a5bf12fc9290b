"""The rows of the simulated org as JSON, and back, so that an org outlives its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from switchyard_connectors.salesforce.simulator_records import Store
from switchyard_connectors.salesforce.simulator_schema import STANDARD, Field, ObjectType, object_type
from switchyard_connectors.salesforce.simulator_seeds import Seed


def dumped(store: Store) -> dict[str, Any]:
    """All objects with the fields and rows that they have, seeds as what they are made from."""
    return {name: _dumped(table.kind, table) for name, table in store.tables.items()}


def loaded(store: Store, state: Mapping[str, Any]) -> None:
    """Let an org without rows hold what `dumped` gave."""
    for name, kept in state.items():
        fields = [
            Field(**{**each, "values": tuple(each["values"]), "refers": tuple(each["refers"])})
            for each in kept["fields"]
        ]
        table = store.find(name) or store.add(object_type(name, kept["prefix"], fields))
        for each in fields:
            table.add_field(each)
        if seed := kept["seed"]:
            table.seed = Seed(table.kind, seed["first"], seed["count"], seed["start"], seed["per_second"])
            table.seed.fill(seed["values"])
            table.taken = set(seed["taken"])
        for row in kept["rows"]:
            table.put(row)
        table.removed = dict(kept["removed"])
    store.changes.clear()


def _dumped(kind: ObjectType, table: Any) -> dict[str, Any]:
    standard = STANDARD[kind.name].fields if kind.name in STANDARD else {}
    seed: Seed | None = table.seed
    return {
        "prefix": kind.prefix,
        "fields": [asdict(each) for name, each in kind.fields.items() if standard.get(name) != each],
        "rows": list(table.rows.values()),
        "removed": table.removed,
        "seed": seed
        and {
            "first": seed.first,
            "count": seed.count,
            "start": seed.start,
            "per_second": seed.per_second,
            "values": seed.values,
            "taken": sorted(table.taken),
        },
    }
