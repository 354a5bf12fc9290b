"""A list of the HubSpot simulator: who is on it since when, and who sees that when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.testing.simulator_delays import Delayed

_KEPT = ("id", "name", "kind", "created", "updated", "version", "deleted", "added", "removed")


@dataclass(slots=True)
class ContactList:
    """A list; `members` maps record id to the instant of joining, in epoch seconds. Who reads it may see less."""

    id: str
    name: str
    kind: str
    created: float
    updated: float
    version: int = 1
    deleted: float | None = None
    added: float | None = None
    removed: float | None = None
    members: dict[int, float] = field(default_factory=dict)
    _seen: Delayed[int, float] = field(init=False, repr=False)
    _sorted: tuple[int, list[int]] = (-1, [])

    def __post_init__(self) -> None:
        self._seen = Delayed(dict(self.members))

    def join(self, record_id: int, at: float, since: float | None = None) -> bool:
        """Put a record on; `since` where it joined earlier than `at`. Whether it was not there."""
        if record_id in self.members:
            return False
        self.members[record_id] = at if since is None else since
        self.added = at
        self._seen.note(at, record_id, self.members[record_id])
        return True

    def leave(self, record_id: int, at: float) -> float | None:
        """Take a record off. When it had joined, None where it was not there."""
        joined = self.members.pop(record_id, None)
        if joined is not None:
            self.removed = at
            self._seen.note(at, record_id, None)
        return joined

    def seen(self, until: float) -> Mapping[int, float]:
        """The members as they were then, or later where that was read already."""
        return self._seen.until(until)

    def ordered(self, until: float) -> list[int]:
        """The record ids of `seen`, rising."""
        seen = self.seen(until)
        if self._sorted[0] != self._seen.version:
            self._sorted = self._seen.version, sorted(seen)
        return self._sorted[1]

    def dump(self) -> dict[str, Any]:
        """As JSON, in which keys are texts."""
        return {name: getattr(self, name) for name in _KEPT} | {
            "members": {str(record_id): joined for record_id, joined in self.members.items()}
        }

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> ContactList:
        members = {int(record_id): joined for record_id, joined in state["members"].items()}
        return cls(**{**state, "members": members})

    def changed(self, at: float) -> None:
        self.updated = at
        self.version += 1
