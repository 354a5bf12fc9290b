"""Associations of the HubSpot simulator: which records belong to which (vendor documentation, crm/associations)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot.simulator_portal import Kind, Portal

CREATED = 2_000
READ = 1_000
PAGE = 500
"""Associations of one record that one answer holds."""
_TYPES: Mapping[tuple[str, str], int] = {
    ("0-1", "0-2"): 279,
    ("0-2", "0-1"): 280,
    ("0-3", "0-1"): 3,
    ("0-1", "0-3"): 4,
    ("0-3", "0-2"): 341,
    ("0-2", "0-3"): 342,
}
_OTHER = 100

_Side: TypeAlias = "tuple[str, str]"


class Associations:
    """Type of record and of what belongs to it → id → ids of those, in order of joining.

    Args:
        kind: from what a path calls a type to the type. Raises Refusal.
        tell: of every change: the type, the id, the other's type and id, and whether it was taken away.
    """

    def __init__(
        self, portal: Portal, kind: Callable[[str], Kind], tell: Callable[[Kind, str, Kind, str, bool], None]
    ) -> None:
        self._portal = portal
        self._kind = kind
        self._tell = tell
        self._of: dict[_Side, dict[str, list[str]]] = {}

    def join(self, one: str, one_id: str, other: str, other_id: str) -> None:
        """Associate two records, as a person inside HubSpot would."""
        first, second = self._kind(one), self._kind(other)
        for this, this_id, that, that_id in ((first, one_id, second, other_id), (second, other_id, first, one_id)):
            held = self._of.setdefault((this.id, that.id), {}).setdefault(this_id, [])
            if that_id not in held:
                held.append(that_id)
                self._tell(this, this_id, that, that_id, False)

    def part(self, one: str, one_id: str, other: str, other_id: str) -> None:
        """Take an association away."""
        first, second = self._kind(one), self._kind(other)
        for this, this_id, that, that_id in ((first, one_id, second, other_id), (second, other_id, first, one_id)):
            held = self._of.get((this.id, that.id), {}).get(this_id, [])
            if that_id in held:
                held.remove(that_id)
                self._tell(this, this_id, that, that_id, True)

    def forget(self, kind: Kind, record_id: str, heir: str | None) -> None:
        """A record ceases to be; `heir` takes its place."""
        for (this, that), held in list(self._of.items()):
            if this == kind.id and (others := held.pop(record_id, None)) is not None:
                for other in others:
                    if heir is not None:
                        self.join(this, heir, that, other)
            if that == kind.id:
                for others in held.values():
                    if record_id in others:
                        others.remove(record_id)

    def dump(self) -> list[Any]:
        """All of them, as JSON."""
        return [[*side, held] for side, held in self._of.items()]

    def load(self, state: list[Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self._of = {(this, that): held for this, that, held in state}

    def batch_read(self, request: Request) -> Answer:
        """A record without any is in none of the results; of one with many comes the first page."""
        this, that = self._sides(request)
        held = self._of.get((this.id, that.id), {})
        results = []
        for item in self._inputs(request, READ):
            others, start = held.get(str(item["id"]), []), int(item.get("after") or 0)
            if not others:
                continue
            entry: dict[str, Any] = {
                "from": {"id": str(item["id"])},
                "to": [self._to(this, that, other) for other in others[start : start + PAGE]],
            }
            if len(others) > start + PAGE:
                entry["paging"] = {"next": {"after": str(start + PAGE)}}
            results.append(entry)
        return self._answer(200, results)

    def batch_create(self, request: Request) -> Answer:
        this, that = self._sides(request)
        inputs = self._inputs(request, CREATED)
        for item in inputs:
            self.join(this.id, _end(item, "from"), that.id, _end(item, "to"))
        return self._answer(201, [{"from": item.get("from"), "to": item.get("to")} for item in inputs])

    def batch_archive(self, request: Request) -> Answer:
        this, that = self._sides(request)
        for item in self._inputs(request, 100):
            to = item["to"]
            for other in to if isinstance(to, list) else [to]:
                self.part(this.id, str(item["from"]["id"]), that.id, str(other["id"]))
        return Answer(204)

    def _sides(self, request: Request) -> tuple[Kind, Kind]:
        return self._kind(request.params["from"]), self._kind(request.params["to"])

    def _inputs(self, request: Request, most: int) -> list[Mapping[str, Any]]:
        inputs = request.json().get("inputs")
        if not isinstance(inputs, list) or len(inputs) > most:
            raise self._portal.invalid(f"inputs must be a list of at most {most}")
        return inputs

    def _to(self, this: Kind, that: Kind, other: str) -> dict[str, Any]:
        known = {"category": "HUBSPOT_DEFINED", "typeId": _TYPES.get((this.id, that.id), _OTHER), "label": None}
        return {"toObjectId": int(other), "associationTypes": [known]}

    def _answer(self, status: int, results: list[Any]) -> Answer:
        now = self._portal.now()
        return Answer(status, {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now})


def _end(item: Mapping[str, Any], name: str) -> str:
    return str(item[name]["id"])
