"""Records of one type in the HubSpot simulator: what they hold, and what a person inside HubSpot does to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from switchyard.testing.simulator_delays import Delayed
from switchyard_connectors.hubspot.simulator_portal import CONTACT, Kind, Portal, iso
from switchyard_connectors.hubspot.simulator_properties import Properties, texts
from switchyard_connectors.hubspot.simulator_shelf import Record, Shelf, numbered_people

_KEPT = tuple(each.name for each in fields(Record))


class Neighbours(Protocol):
    """What else in the account has to do with records."""

    def forget(self, kind: Kind, record_id: str, heir: str | None) -> None:
        """A record ceases to be; `heir` takes its place on lists and in associations."""

    def tell(self, kind: Kind, event: str, record_id: str, **said: Any) -> None:
        """Something happened to a record: `event` is the end of a webhook's type."""


class Records:
    """The records, with an index over every unique property; additional e-mails are in that of `email`.

    `merges_keep_id`: whether the record that two become keeps the id of the primary one, as in accounts in a beta, or
    gets a new one (vendor changelog, updated merge functionality for contacts and companies).
    """

    def __init__(self, portal: Portal, kind: Kind, properties: Properties, neighbours: Neighbours) -> None:
        self.kind = kind
        self.records = Shelf()
        self.merged: dict[str, str] = {}
        self.merges_keep_id = False
        self.changes = 0
        self._index: Delayed[str, Record] | None = None
        self._lag = 0.0
        self._portal = portal
        self._properties = properties
        self._neighbours = neighbours
        self._unique: dict[str, dict[str, str]] = {"email": {}}
        self._blocked: set[str] = set()

    @property
    def lag(self) -> float:
        """Seconds after which a change of a record is found by searching. Seeds are found at once."""
        return self._lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        self.changes += 1
        if not seconds:
            self._index = None
        elif self._index is None:
            self._index = Delayed({each.id: each.copy() for each in self.records.own.values()})
        self._lag = seconds

    def searchable(self) -> tuple[Iterable[Record], int]:
        """The records that are no seeds as a search sees them, archived ones included, and the number of this state."""
        if self._index is None:
            return self.records.own.values(), self.changes
        seen = self._index.until(self._portal.clock() - self._lag)
        return seen.values(), -1 - self._index.version

    def resolved(self, record_id: str) -> str:
        """The id of the record that this one was merged into, in the end; its own where it was not."""
        while record_id in self.merged:
            record_id = self.merged[record_id]
        return record_id

    def live(self, record_id: str) -> Record | None:
        """The record, unless it is archived, merged away or was never there."""
        record = self.records.get(record_id)
        return record if record is not None and record.archived is None else None

    def find(self, name: str, value: str) -> Record | None:
        """The live record with this value of a unique property."""
        value = value.strip().lower()
        found = self._unique.get(name, {}).get(value)
        if found is None and name == "email" and self.records.seeds is not None:
            found = self.records.seeds.with_email(value)
        return self.live(found or "")

    def add(self, values: Mapping[str, Any]) -> Record:
        """Create a record, as a person inside HubSpot would."""
        record, _ = self.create(texts(values))
        return record

    def seed(self, count: int, spread: float = 0.0) -> None:
        """Hold so many people from the beginning, in little memory, changed last at even distances within the last
        `spread` seconds. Only contacts, and before any other.
        """
        now = int(self._portal.clock() * 1000)
        self.records.seed(numbered_people(now - np.linspace(spread * 1000, 0, count).astype(np.int64)))
        self.changes += 1

    def update(self, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record, as a person inside HubSpot would."""
        self.store(self.records[record_id], texts(values))

    def stamp(self, record_ids: Iterable[str], values: Mapping[str, Any], at: float | None = None) -> None:
        """Change many records in one instant, as a workflow or an import does. No webhooks are sent of it."""
        instant = self._portal.clock() if at is None else at
        for record_id in record_ids:
            record = self.records[record_id]
            record.properties |= texts(values)
            self._touch(record, instant)

    def archive(self, record_id: str) -> None:
        """Archive a record. It leaves every list, and its unique values are free again."""
        if record := self.live(record_id):
            record.archived = self._portal.clock()
            self._release(record)
            self._neighbours.forget(self.kind, record_id, None)
            self._keep(record)
            self._neighbours.tell(self.kind, "deletion", record_id, changeFlag="DELETED")

    def restore(self, record_id: str) -> None:
        """Bring an archived record back, as a person inside HubSpot can for 90 days. It is on no list any more."""
        record = self.records[record_id]
        record.archived = None
        self._index_values(record)
        self._touch(record, self._portal.clock())
        self._neighbours.tell(self.kind, "restore", record_id)

    def merge(self, primary_id: str, other_id: str) -> str:
        """Merge two records: the id of the one they become. Both ids lead to it from then on; it has the values and the
        main address of the primary one, all other addresses as additional ones, and is on the lists of both.
        """
        primary, other = self.records[primary_id], self.records[other_id]
        emails = [address for each in (primary, other) for address in addresses(each)]
        ids = [value for value in primary.properties.get("hs_merged_object_ids", "").split(";") if value]
        gone = [other] if self.merges_keep_id else [primary, other]
        heir = primary
        if not self.merges_keep_id:
            heir = self._blank()
            heir.properties |= {**primary.properties, "hs_object_id": heir.id}
            ids.append(primary_id)
        for each in gone:
            del self.records[each.id]
            self._release(each)
        heir.properties = {**other.properties, **heir.properties}
        if emails:
            heir.properties["hs_additional_emails"] = ";".join(dict.fromkeys(emails[1:]))
        heir.properties["hs_merged_object_ids"] = ";".join([*ids, other_id])
        self._index_values(heir)
        for each in gone:
            self.merged[each.id] = heir.id
            self._neighbours.forget(self.kind, each.id, heir.id)
            self._reindex(each, gone=True)
        self._touch(heir, self._portal.clock())
        told = {"primaryObjectId": int(primary_id), "mergedObjectIds": [int(other_id)], "newObjectId": int(heir.id)}
        self._neighbours.tell(self.kind, "merge", heir.id, **told, numberOfPropertiesMoved=len(other.properties))
        return heir.id

    def erase(self, record_id: str) -> None:
        """Delete a record for good (GDPR). Its addresses cannot be used again."""
        record = self.records.pop(record_id)
        self._blocked.update(addresses(record))
        self._release(record)
        self._neighbours.forget(self.kind, record_id, None)
        self._reindex(record, gone=True)
        self._neighbours.tell(self.kind, "privacyDeletion", record_id, changeFlag="DELETED")

    def block(self, address: str) -> None:
        """Refuse this address from now on, as after a GDPR delete."""
        self._blocked.add(address.strip().lower())

    def is_blocked(self, address: str) -> bool:
        return address.strip().lower() in self._blocked

    def dump(self) -> dict[str, Any]:
        """All records and what was ever said of others, as JSON. What searches do not see yet they see then; seeds
        become records like any other.
        """
        given = [*map(int, self.records)] if self.records.seeds is not None else []
        return {
            "records": [{name: getattr(each, name) for name in _KEPT} for each in self.records.values()],
            "merged": self.merged,
            "unique": self._unique,
            "blocked": sorted(self._blocked),
            "ids": sorted({*given, *self.records.given}),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.records.load({each["id"]: Record(**each) for each in state["records"]}, state["ids"])
        self.merged, self._unique = state["merged"], state["unique"]
        self._blocked = set(state["blocked"])
        lag, self.lag = self._lag, 0.0
        self.lag = lag

    def create(self, values: Mapping[str, str]) -> tuple[Record, bool]:
        """Make a record of checked values: it, and that it is new."""
        record = self._blank()
        self._write(record, values)
        self._neighbours.tell(self.kind, "creation", record.id, changeFlag="NEW")
        return record, True

    def store(self, record: Record, values: Mapping[str, str]) -> tuple[Record, bool]:
        """Write checked values: the record, and that it is not new."""
        before = dict(record.properties)
        self._write(record, values)
        for name, value in values.items():
            if before.get(name, "") != record.properties.get(name, ""):
                self._neighbours.tell(self.kind, "propertyChange", record.id, propertyName=name, propertyValue=value)
        return record, False

    def _write(self, record: Record, values: Mapping[str, str]) -> None:
        properties = record.properties
        for name, value in values.items():
            if name == "email":
                value = value.strip().lower()
            if name in self._properties.unique:
                index = self._unique.setdefault(name, {})
                index.pop(properties.get(name, "").lower(), None)
                if value:
                    index[value.lower()] = record.id
            if value:
                properties[name] = value
            else:
                properties.pop(name, None)
        self._touch(record, self._portal.clock())

    def _touch(self, record: Record, at: float) -> None:
        record.updated = at
        record.properties[self.kind.changed] = iso(at)
        self._keep(record)

    def _keep(self, record: Record) -> None:
        # A seed that was changed is a record of its own from now on.
        self.records[record.id] = record
        self._reindex(record)

    def _blank(self) -> Record:
        now = self._portal.clock()
        record = Record(self.records.next_id(), now, now)
        record.properties = {"hs_object_id": record.id, "createdate": iso(now)}
        self.records[record.id] = record
        return record

    def _reindex(self, record: Record, *, gone: bool = False) -> None:
        self.changes += 1
        if self._index is not None:
            self._index.note(self._portal.clock(), record.id, None if gone else record.copy())

    def _index_values(self, record: Record) -> None:
        for name, index in self._unique.items():
            index.update((value, record.id) for value in _values(record, name) if value)

    def _release(self, record: Record) -> None:
        for name, index in self._unique.items():
            for value in _values(record, name):
                index.pop(value, None)


def _values(record: Record, name: str) -> list[str]:
    return addresses(record) if name == "email" else [record.properties.get(name, "").lower()]


def addresses(record: Record) -> list[str]:
    """Every address of a contact, the main one first."""
    listed = record.properties.get("hs_additional_emails", "").split(";")
    return [address for address in (record.properties.get("email"), *listed) if address]


def is_contact(kind: Kind) -> bool:
    return kind is CONTACT
