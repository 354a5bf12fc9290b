"""What a sink is given and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from switchyard.api.records import JSON


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the vendor refused one row: its own code and its own words, and whether a later try could succeed."""

    code: str
    reason: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One row for `Sink.write`: what became of one member of an audience.

    Args:
        id: the same whenever this change is written again; no two changes share one.
        kind: the member "entered" the segment, "left" it, or "changed" one of its fields within it.
        key: the value by which the outside system recognises the person (the audience's `key`).
        fields: values by the outside system's names (None clears); those last written where the member left.
        profile: the profile's id.
        at: when the hub decided so, UTC without a zone.
    """

    id: str
    kind: Literal["entered", "left", "changed"]
    key: str
    fields: Mapping[str, JSON]
    profile: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows for `Sink.write`: at most as many as its spec takes at once, of one audience.

    Args:
        id: the same whenever the same batch is sent again.
        audience, segment: their names in the configuration.
        list: the audience's `list`: what the outside system is told the audience is called.
        key_field: the outside system's name for `Change.key`.
    """

    id: str
    audience: str
    segment: str
    list: str
    key_field: str
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The sink's answer to a batch, by index of the row. A row in neither map was accepted without a remote id."""

    rejected: Mapping[int, Rejection] = field(default_factory=dict)
    remote_ids: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteList:
    """The list an audience wants to exist. `fields` are the names of the vendor's properties that members carry;
    `key_field` is the one by which the vendor recognises a person.
    """

    name: str
    key_field: str
    fields: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ListRef:
    """A list that exists: the vendor's id, its name there, and whether this call created it."""

    id: str
    name: str
    created: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One row of a change. `key` is the hub's name for the row and comes back in receipts; `remote_id` is the
    vendor's id where it is known; `fields` are values by the vendor's property names (None clears a property).
    """

    key: str
    remote_id: str | None = None
    fields: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListChanges:
    """Everything one delivery wants of one list, at once, so that a connector can combine calls.

    Args:
        id: the same whenever the same changes are sent again.
        upsert: records to create or bring up to date.
        add: members to put on the list. One that is also in `upsert` (same key) may have no remote id yet: the
            connector takes it from the upsert's answer, and leaves the member out where the upsert was refused.
        remove: members to take off the list, always with a remote id. Their records stay.
    """

    id: str
    upsert: Sequence[Member] = ()
    add: Sequence[Member] = ()
    remove: Sequence[Member] = ()


@dataclass(frozen=True, slots=True)
class ListReceipt:
    """What one call of the vendor confirmed, by key. Yielded as soon as that call is answered.

    Args:
        upserted: key → remote id of records written.
        added, removed: keys whose membership the vendor confirmed, also where it was so before.
        rejected: keys refused, with the vendor's reason.
        ticket: set while the vendor is still working; the hub asks `Pollable.poll` for the verdicts later.
    """

    upserted: Mapping[str, str] = field(default_factory=dict)
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    rejected: Mapping[str, Rejection] = field(default_factory=dict)
    ticket: str | None = None
