"""The leads that the Marketo simulator holds: found, made, changed, deleted and merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from switchyard_connectors.marketo.simulator_fields import Fields
from switchyard_connectors.marketo.simulator_instance import Instance, iso
from switchyard_connectors.marketo.simulator_log import CHANGE_SCORE, CHANGE_VALUE, DELETE, MERGE, NEW_LEAD, Log

_FIRST = 1_001
_SEED_DOMAIN = "@seeded.example"


@dataclass(slots=True)
class Lead:
    """A lead; times in epoch seconds.

    Args:
        updated: when a standard field changed, which is what the API shows.
        changed: when any field changed, which is what the filter of a bulk extract looks at.
        born: the simulator's count of leads made until then; see `People.matches`.
    """

    id: int
    created: float
    updated: float
    changed: float
    born: int = 0
    partition: int = 1
    values: dict[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """A field as the API shows it."""
        if name == "id":
            return self.id
        if name in ("createdAt", "updatedAt"):
            return iso(self.created if name == "createdAt" else self.updated)
        return self.partition if name == "leadPartitionId" else self.values.get(name)


@dataclass(frozen=True, slots=True)
class Seeded:
    """Leads that are computed when they are looked at, so that a million take no memory.

    They have the ids from `first` on, were made at even distances from `start` on, and have e-mails that lead back to
    their ids.
    """

    first: int
    count: int
    start: float
    step: float
    more: Callable[[int], Mapping[str, Any]]

    def __contains__(self, lead_id: int) -> bool:
        return self.first <= lead_id < self.first + self.count

    def lead(self, lead_id: int) -> Lead:
        number = lead_id - self.first
        at = self.start + number * self.step
        name = {"email": f"lead{lead_id}{_SEED_DOMAIN}", "firstName": f"First{lead_id}", "lastName": f"Last{lead_id}"}
        return Lead(lead_id, at, at, at, values={**name, **self.more(number)})

    def within(self, start: float, end: float) -> range:
        """The ids of those made in [start, end)."""
        low, high = (max(0, min(self.count, -int(-(at - self.start) // self.step))) for at in (start, end))
        return range(self.first + low, self.first + high)


class People:
    """The leads, with an index over every field that they were ever looked up by.

    `forget(id, heir)` is told of leads that cease to be, and which one takes their place.
    """

    def __init__(self, instance: Instance, fields: Fields, log: Log) -> None:
        self.leads: dict[int, Lead] = {}
        self.merged: dict[int, int] = {}
        self.forget: list[Callable[[int, int | None], None]] = []
        self.births = 0
        self._instance = instance
        self._fields = fields
        self._log = log
        self._seeded: list[Seeded] = []
        self._gone: set[int] = set()
        self._next = _FIRST
        self._index: dict[str, dict[str, list[int]]] = {"email": {}}

    def __len__(self) -> int:
        touched = sum(1 for each in (*self.leads, *self._gone) if any(each in ids for ids in self._seeded))
        return len(self.leads) + sum(each.count for each in self._seeded) - touched

    def seed(
        self, count: int, over: float = 31 * 86_400, more: Callable[[int], Mapping[str, Any]] = lambda _: {}
    ) -> range:
        """Have this many leads more, made within the last `over` seconds; their ids.

        Nothing of it is in the activity log. They are found by id and by `lead<id>@seeded.example`.

        Args:
            more: further fields of the lead with this number, from 0. Called anew whenever one is looked at.
        """
        now = self._instance.clock()
        made = Seeded(self._next, count, now - over, over / max(count, 1), more)
        self._seeded.append(made)
        self._next += count
        return range(made.first, made.first + count)

    def ids(self) -> Iterator[int]:
        """The ids of all leads, rising."""
        yield from sorted([*self.leads, *(each for ids in self._seeded for each in self._unread(ids))])

    def get(self, lead_id: int) -> Lead | None:
        """The lead; what is changed of a seeded one is not kept, unless through `update`."""
        if (found := self.leads.get(lead_id)) is not None or lead_id in self._gone:
            return found
        seeded = next((each for each in self._seeded if lead_id in each), None)
        return seeded.lead(lead_id) if seeded is not None else None

    def resolved(self, lead_id: int) -> int:
        """The id of the lead that this one was merged into, in the end; its own where it was not."""
        while lead_id in self.merged:
            lead_id = self.merged[lead_id]
        return lead_id

    def matches(self, name: str, value: Any, born: int | None = None) -> list[int]:
        """The ids of the leads with this value, in any case of letters.

        Args:
            born: what `births` was when the caller's request arrived: leads made since are not seen by it. That is how
                two calls at one time make one person twice.
        """
        if name == "id":
            text = str(value)
            found = [int(text)] if text.isdigit() and self.get(int(text)) is not None else []
        else:
            found = [*self._indexed(name).get(str(value).strip().lower(), ()), *self._by_seed(name, value)]
        if born is None:
            return found
        return [each for each in found if each not in self.leads or self.leads[each].born <= born]

    def made(self, start: float, end: float) -> Iterator[Lead]:
        """The leads made in [start, end)."""
        for seeded in self._seeded:
            yield from (seeded.lead(each) for each in seeded.within(start, end) if self._untouched(each))
        yield from [each for each in self.leads.values() if start <= each.created < end]

    def altered(self, start: float, end: float) -> Iterator[Lead]:
        """The leads of which any field changed last in [start, end)."""
        for seeded in self._seeded:
            yield from (seeded.lead(each) for each in seeded.within(start, end) if self._untouched(each))
        yield from [each for each in self.leads.values() if start <= each.changed < end]

    def create(self, values: Mapping[str, Any], source: str = "Web service API", partition: int = 1) -> Lead:
        """Make a lead, whether or not there is one like it."""
        now = self._instance.clock()
        self.births += 1
        made = Lead(self._next, now, now, now, self.births, partition)
        self._next += 1
        self.leads[made.id] = made
        made.values = {name: value for name, value in values.items() if value is not None and value != ""}
        self._enter(made)
        self._log.add(NEW_LEAD, made.id, primary=_name(made), primary_id=made.id, attributes={"Source Type": source})
        return made

    def update(self, lead_id: int, values: Mapping[str, Any], source: str = "Web service API") -> None:
        """Change a lead. Values that it has already change nothing."""
        found = self.get(lead_id)
        if found is None:
            raise LookupError(f"no lead {lead_id}")
        held = found.values
        changes = {name: value for name, value in values.items() if held.get(name) != (None if value == "" else value)}
        if not changes:
            return
        if found.id not in self.leads:
            self.leads[found.id] = found
        else:
            self._leave(found)
        now = self._instance.clock()
        for name, value in changes.items():
            known = self._fields.known[name]
            old, new = held.get(name), None if value == "" else value
            if new is None:
                held.pop(name)
            else:
                held[name] = new
            attributes = {"New Value": new, "Old Value": old, "Reason": source, "Source": source}
            # Scores have a type of their own, which the feed of changes lacks (vendor documentation, activities).
            kind = CHANGE_SCORE if known.type == "score" else CHANGE_VALUE
            self._log.add(kind, lead_id, primary=known.display, primary_id=known.id, attributes=attributes)
            found.changed = now
            found.updated = found.updated if known.custom else now
        self._enter(found)

    def delete(self, lead_id: int) -> None:
        """Delete a lead for good. It leaves every list; the log says so."""
        found = self._removed(lead_id)
        self._log.add(DELETE, lead_id, primary=_name(found), primary_id=lead_id)
        for each in self.forget:
            each(lead_id, None)

    def merge(self, winner_id: int, loser_ids: Sequence[int]) -> None:
        """Merge leads: the winner keeps its id and values, and gets what it has none of. The log names the losers in
        the winner's entry, and nowhere else: they are in no feed of deletions.
        """
        winner = self.get(winner_id)
        if winner is None:
            raise LookupError(f"no lead {winner_id}")
        values: dict[str, Any] = {}
        for loser_id in loser_ids:
            loser = self._removed(loser_id)
            values = {**loser.values, **values}
            self.merged[loser_id] = winner_id
        self.update(winner_id, {name: value for name, value in values.items() if name not in winner.values}, "Merge")
        losers = ",".join(map(str, loser_ids))
        attributes = {"Merge IDs": losers, "Master Updated": True, "Merge Source": "API"}
        self._log.add(MERGE, winner_id, primary=_name(winner), primary_id=winner_id, attributes=attributes)
        for loser_id in loser_ids:
            for each in self.forget:
                each(loser_id, winner_id)

    def dump(self) -> dict[str, Any]:
        """All leads, as JSON; seeded ones only where they were changed."""
        return {
            "leads": [asdict(each) for each in self.leads.values()],
            "merged": list(self.merged.items()),
            "next": self._next,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, beside the seeded leads that there are."""
        self.leads = {each["id"]: Lead(**each) for each in state["leads"]}
        self.merged, self._next = dict(state["merged"]), state["next"]
        self._gone.update(self.merged)
        self.births = len(self.leads)
        self._index = {"email": {}}
        for each in self.leads.values():
            self._enter(each)

    def _removed(self, lead_id: int) -> Lead:
        found = self.get(lead_id)
        if found is None:
            raise LookupError(f"no lead {lead_id}")
        if self.leads.pop(lead_id, None) is not None:
            self._leave(found)
        self._gone.add(lead_id)
        return found

    def _untouched(self, lead_id: int) -> bool:
        return lead_id not in self.leads and lead_id not in self._gone

    def _unread(self, seeded: Seeded) -> Iterable[int]:
        return filter(self._untouched, range(seeded.first, seeded.first + seeded.count))

    def _by_seed(self, name: str, value: Any) -> list[int]:
        text = str(value).strip().lower()
        if name != "email" or not text.endswith(_SEED_DOMAIN):
            return []
        digits = text.removesuffix(_SEED_DOMAIN).removeprefix("lead")
        lead_id = int(digits) if digits.isdigit() else 0
        return [lead_id] if self._untouched(lead_id) and any(lead_id in each for each in self._seeded) else []

    def _indexed(self, name: str) -> dict[str, list[int]]:
        if name not in self._index:
            self._index[name] = {}
            for each in self.leads.values():
                self._enter(each, (name,))
        return self._index[name]

    def _enter(self, lead: Lead, names: Iterable[str] | None = None) -> None:
        for name in self._index if names is None else names:
            if (value := lead.values.get(name)) is not None:
                self._index[name].setdefault(str(value).strip().lower(), []).append(lead.id)

    def _leave(self, lead: Lead) -> None:
        for name, index in self._index.items():
            key = str(lead.values.get(name)).strip().lower()
            if lead.id in index.get(key, ()):
                index[key].remove(lead.id)
                if not index[key]:
                    del index[key]


def _name(lead: Lead) -> str:
    parts = (lead.values.get("firstName"), lead.values.get("lastName"))
    return " ".join(str(part) for part in parts if part) or str(lead.values.get("email", lead.id))
