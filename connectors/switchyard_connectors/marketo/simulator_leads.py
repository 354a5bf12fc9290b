"""The lead database API of the Marketo simulator: reading, syncing, deleting and merging leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_fields import Fields
from switchyard_connectors.marketo.simulator_instance import PAGE, Arguments, Instance, asks_to_read, skipped
from switchyard_connectors.marketo.simulator_people import Lead, People

DEFAULT = ("id", "email", "updatedAt", "createdAt", "lastName", "firstName")
ACTIONS = ("createOnly", "updateOnly", "createOrUpdate", "createDuplicate")
FOUND = 1_000
"""Leads that one filter may find, other than by id or e-mail (vendor documentation, error-codes, 1003)."""
LOSERS = 25
_FILTERS = ("string", "email", "integer")


class Leads:
    """`leads.json` and its neighbours. `partitions`: id by name."""

    def __init__(self, instance: Instance, fields: Fields, people: People) -> None:
        self.partitions = {"Default": 1}
        self._instance = instance
        self._fields = fields
        self._people = people
        self._arrived: dict[int, int] = {}

    def arrive(self, request: Request) -> None:
        """Note what a call can see: nobody who is made while it is under way."""
        self._arrived[id(request)] = self._people.births

    def depart(self, request: Request) -> None:
        self._arrived.pop(id(request), None)

    def get(self, request: Request) -> Answer:
        """Find leads by one field's values (vendor documentation, leads)."""
        arguments = Arguments(request)
        name, values = arguments.text("filterType"), arguments.texts("filterValues")
        known = self._fields.known.get(name)
        if known is None or (known.type not in _FILTERS and not known.searchable):
            raise self._instance.failure("1003", f"Invalid value for field 'filterType' and value '{name}'")
        if not values:
            raise self._instance.failure("1002", "Missing value for required parameter 'filterValues'")
        if len(values) > PAGE:
            raise self._instance.failure("1003", f"Too many values for parameter 'filterValues': at most {PAGE}")
        names = self.names(arguments)
        found = sorted({each for value in values for each in self._people.matches(name, value)})
        if len(found) > FOUND and name not in ("id", "email"):
            raise self._instance.failure("1003", "Too many results match the filter")
        rows, more = self._instance.page(request, found)
        return self._instance.answer(self.rows(rows, names), **more)

    def get_one(self, request: Request) -> Answer:
        """`lead/{id}.json`."""
        lead = self._people.get(_number(request.params["lead_id"]))
        if lead is None:
            raise self._instance.failure("1004", f"Lead '{request.params['lead_id']}' not found")
        return self._instance.answer([shown(lead, self.names(Arguments(request)))])

    def post(self, request: Request) -> Answer:
        """Sync leads, or find them where the query was too long for a URL."""
        return self.get(request) if asks_to_read(request) else self.sync(request)

    def sync(self, request: Request) -> Answer:
        """Create and update leads, one verdict per row in their order (vendor documentation, leads)."""
        rows, body = self._instance.inputs(request), request.json()
        action, lookup = body.get("action") or "createOrUpdate", body.get("lookupField") or "email"
        if action not in ACTIONS:
            raise self._instance.failure("1003", f"Invalid value for field 'action' and value '{action}'")
        if lookup == "id" and action != "updateOnly":
            raise self._instance.failure("1003", "Lookup field 'id' is only supported with action 'updateOnly'")
        partition = self.partitions.get(body.get("partitionName") or "Default")
        if partition is None:
            verdict = skipped("1008", f"Access to partition '{body['partitionName']}' denied")
            return self._instance.answer([verdict for _ in rows])
        born = self._arrived.get(id(request), self._people.births)
        return self._instance.answer([self.write(row, action, lookup, born, partition) for row in rows])

    def write(
        self, row: Mapping[str, Any], action: str, lookup: str, born: int | None = None, partition: int = 1
    ) -> dict[str, Any]:
        """Carry one row out: its verdict. Rows of the same call see each other."""
        known = self._fields.known.get(lookup)
        if known is None or not known.searchable:
            return skipped("1011", f"Lookup field '{lookup}' is not supported")
        values = {name: value for name, value in row.items() if name != "id"} if lookup == "id" else dict(row)
        if problem := self._fields.problem(values):
            return skipped(*problem)
        if action == "createDuplicate":
            return {"id": self._people.create(values, partition=partition).id, "status": "created"}
        key = row.get(lookup)
        if key is None or str(key).strip() == "":
            return skipped("1003", f"Value for lookup field '{lookup}' not found")
        found = self._people.matches(lookup, key, born)
        if len(found) > 1:
            return skipped("1007", "Multiple lead match lookup criteria")
        if not found and action == "updateOnly":
            return skipped("1004", "Lead not found")
        if not found:
            return {"id": self._people.create(values, partition=partition).id, "status": "created"}
        if action == "createOnly":
            return skipped("1005", "Lead already exists", id=found[0])
        self._people.update(found[0], values)
        return {"id": found[0], "status": "updated"}

    def delete(self, request: Request) -> Answer:
        """Delete leads, named in the body or in the query."""
        return self._instance.answer([self._deleted(lead_id) for lead_id in named_ids(self._instance, request)])

    def merge(self, request: Request) -> Answer:
        """Merge losers into a winner (vendor documentation, leads)."""
        arguments = Arguments(request)
        winner = _number(request.params["lead_id"])
        losers = list(dict.fromkeys(arguments.integers("leadIds") or arguments.integers("leadId")))
        if not losers:
            raise self._instance.failure("1002", "Missing value for required parameter 'leadIds'")
        if len(losers) > LOSERS:
            raise self._instance.failure("1080", f"Too many leads to merge: at most {LOSERS}")
        for lead_id in (winner, *losers):
            if self._people.get(lead_id) is None:
                raise self._instance.failure("1004", f"Lead '{lead_id}' not found")
        if winner in losers:
            raise self._instance.failure("1003", "A lead cannot be merged with itself")
        self._people.merge(winner, losers)
        return self._instance.answer()

    def list_partitions(self, _: Request) -> Answer:
        return self._instance.answer([{"id": number, "name": name} for name, number in self.partitions.items()])

    def names(self, arguments: Arguments) -> Sequence[str]:
        """The fields that a call asks for. Raises the failure 1006."""
        names = list(dict.fromkeys(["id", *arguments.texts("fields")])) if "fields" in arguments else list(DEFAULT)
        for name in names:
            if name not in self._fields.known:
                raise self._instance.failure("1006", f"Field '{name}' not found")
        return names

    def rows(self, lead_ids: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
        """Leads as the API shows them."""
        return [shown(lead, names) for each in lead_ids if (lead := self._people.get(each)) is not None]

    def _deleted(self, lead_id: int) -> dict[str, Any]:
        if self._people.get(lead_id) is None:
            return skipped("1004", "Lead not found", id=lead_id)
        self._people.delete(lead_id)
        return {"id": lead_id, "status": "deleted"}


def shown(lead: Lead, names: Sequence[str]) -> dict[str, Any]:
    """A lead with these fields."""
    return {name: lead.value(name) for name in names}


def named_ids(instance: Instance, request: Request) -> list[int]:
    """The lead ids of a call, of its query or of its body's `input`; at most 300."""
    found = Arguments(request).integers("id")
    if not found and request.body:
        try:
            found = [int(row["id"]) for row in instance.inputs(request)]
        except (KeyError, TypeError, ValueError):
            raise instance.failure("1003", "Invalid value for field 'id'") from None
    if not found:
        raise instance.failure("1002", "Missing value for required parameter 'id'")
    if len(found) > PAGE:
        raise instance.failure("1003", f"Too many ids: at most {PAGE}")
    return found


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
