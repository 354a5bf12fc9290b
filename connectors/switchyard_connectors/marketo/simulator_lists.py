"""Static lists of the Marketo simulator and who is on them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard.testing.simulator_delays import Delayed
from switchyard_connectors.marketo.simulator_instance import (
    Arguments,
    Instance,
    asks_to_read,
    iso,
    skipped,
    token,
)
from switchyard_connectors.marketo.simulator_leads import Leads, named_ids
from switchyard_connectors.marketo.simulator_log import ADD_TO_LIST, REMOVE_FROM_LIST, Log
from switchyard_connectors.marketo.simulator_people import People

_FIRST = 1_101


@dataclass(slots=True)
class StaticList:
    """A list; times in epoch seconds. `members` maps lead id to when it joined. Who reads it may see less."""

    id: int
    name: str
    folder: int
    folder_type: str
    created: float
    updated: float
    description: str = ""
    program: str | None = None
    in_use: bool = False
    members: dict[int, float] = field(default_factory=dict)
    _seen: Delayed[int, float] = field(init=False, repr=False)
    _sorted: tuple[int, list[int]] = (-1, [])

    def __post_init__(self) -> None:
        self._seen = Delayed(dict(self.members))

    def join(self, lead_id: int, at: float) -> bool:
        """Put a lead on. Whether it was not there."""
        if lead_id in self.members:
            return False
        self.members[lead_id] = at
        self._seen.note(at, lead_id, at)
        return True

    def leave(self, lead_id: int, at: float) -> bool:
        """Take a lead off. Whether it was there."""
        if self.members.pop(lead_id, None) is None:
            return False
        self._seen.note(at, lead_id, None)
        return True

    def seen(self, until: float) -> Mapping[int, float]:
        """The members as they were then."""
        return self._seen.until(until)

    def ordered(self, until: float) -> list[int]:
        """The ids of `seen`, rising."""
        seen = self.seen(until)
        if self._sorted[0] != self._seen.version:
            self._sorted = self._seen.version, sorted(seen)
        return self._sorted[1]

    def dump(self) -> dict[str, Any]:
        """As JSON, in which keys are texts."""
        names = [each.name for each in fields(self) if not each.name.startswith("_") and each.name != "members"]
        members = {str(lead_id): joined for lead_id, joined in self.members.items()}
        return {name: getattr(self, name) for name in names} | {"members": members}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> StaticList:
        return cls(**{**state, "members": {int(each): at for each, at in state["members"].items()}})


class Lists:
    """The lists, by id. `lag` is how many seconds after a change those who read members see it; Marketo names no such
    time. `importing` are ids of lists that an import is running on.
    """

    def __init__(self, instance: Instance, people: People, leads: Leads, log: Log) -> None:
        self.lists: dict[int, StaticList] = {}
        self.lag = 0.0
        self.importing: set[int] = set()
        self._instance = instance
        self._people = people
        self._leads = leads
        self._log = log
        self._next = _FIRST

    def add(self, name: str, folder: int = 13, folder_type: str = "Folder", description: str = "") -> StaticList:
        """Create a list, as a person inside Marketo would."""
        now = self._instance.clock()
        made = StaticList(self._next, name, folder, folder_type, now, now, description)
        self._next += 1
        self.lists[made.id] = made
        return made

    def named(self, name: str) -> StaticList | None:
        return next((each for each in self.lists.values() if each.name == name), None)

    def put_on(self, list_id: int, lead_ids: Iterable[int]) -> None:
        """Put leads on a list; the log says so of those who were not there."""
        entry, now = self.lists[list_id], self._instance.clock()
        for lead_id in lead_ids:
            if entry.join(lead_id, now):
                self._log.add(ADD_TO_LIST, lead_id, primary=entry.name, primary_id=entry.id)

    def take_off(self, list_id: int, lead_ids: Iterable[int]) -> None:
        """Take leads off a list; the log says so of those who were there."""
        entry, now = self.lists[list_id], self._instance.clock()
        for lead_id in lead_ids:
            if entry.leave(lead_id, now):
                self._log.add(REMOVE_FROM_LIST, lead_id, primary=entry.name, primary_id=entry.id)

    def forget(self, lead_id: int, heir: int | None) -> None:
        """A lead ceases to be; `heir` takes its place."""
        now = self._instance.clock()
        for entry in self.lists.values():
            if entry.leave(lead_id, now) and heir is not None:
                entry.join(heir, now)

    def dump(self) -> dict[str, Any]:
        """All lists with their members, as JSON."""
        return {"lists": [entry.dump() for entry in self.lists.values()], "next": self._next}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.lists = {each["id"]: StaticList.load(each) for each in state["lists"]}
        self._next = state["next"]

    def browse(self, request: Request) -> Answer:
        """A page of `lists.json`, all lists or those with these ids, names or programs."""
        arguments = Arguments(request)
        ids, names, programs = arguments.integers("id"), arguments.texts("name"), arguments.texts("programName")
        found = [
            each
            for each in self.lists.values()
            if (not ids or each.id in ids)
            and (not names or each.name in names)
            and (not programs or each.program in programs)
        ]
        rows, more = self._instance.page(request, found)
        return self._instance.answer([_row(each) for each in rows], **more)

    def get(self, request: Request) -> Answer:
        return self._instance.answer([_row(self.addressed(request))])

    def add_members(self, request: Request) -> Answer:
        """Put leads on; who is on it already is "added" as well (vendor documentation, static-lists)."""
        if asks_to_read(request):
            return self.members(request)
        entry = self._writable(request)
        ids = named_ids(self._instance, request)
        verdicts = [{"id": each, "status": "added"} if self._people.get(each) else _absent(each) for each in ids]
        self.put_on(entry.id, [each for each, row in zip(ids, verdicts, strict=True) if row["status"] == "added"])
        return self._instance.answer(verdicts)

    def remove_members(self, request: Request) -> Answer:
        """Take leads off, named in the query or in the body."""
        entry = self._writable(request)
        verdicts = [self._removed(entry, each) for each in named_ids(self._instance, request)]
        self.take_off(entry.id, [row["id"] for row in verdicts if row["status"] == "removed"])
        return self._instance.answer(verdicts)

    def members(self, request: Request) -> Answer:
        """A page of who is on the list, by rising lead id."""
        entry, arguments = self.addressed(request), Arguments(request)
        names, size = self._leads.names(arguments), arguments.size()
        ordered = entry.ordered(self._instance.clock() - self.lag)
        start = bisect_right(ordered, self._instance.place(arguments, "member") or 0)
        rows = ordered[start : start + size]
        more = {"nextPageToken": token("member", rows[-1])} if start + size < len(ordered) else {}
        return self._instance.answer(self._leads.rows(rows, names), **more)

    def are_members(self, request: Request) -> Answer:
        entry = self.addressed(request)
        seen = entry.seen(self._instance.clock() - self.lag)
        verdicts = [
            {"id": each, "status": "memberof" if each in seen else "notmemberof"}
            if self._people.get(each)
            else _absent(each)
            for each in named_ids(self._instance, request)
        ]
        return self._instance.answer(verdicts)

    def of_lead(self, request: Request) -> Answer:
        """`leads/{id}/listMembership.json`."""
        lead_id = int(request.params["lead_id"])
        if self._people.get(lead_id) is None:
            raise self._instance.failure("1004", f"Lead '{lead_id}' not found")
        until = self._instance.clock() - self.lag
        found = [each for each in self.lists.values() if lead_id in each.seen(until)]
        rows, more = self._instance.page(request, found)
        shown = [
            {"listId": each.id, "createdAt": iso(each.created), "updatedAt": iso(each.seen(until)[lead_id])}
            for each in rows
        ]
        return self._instance.answer(shown, **more)

    def addressed(self, request: Request) -> StaticList:
        """The list that the path names. Raises the failure 1013."""
        text = request.params["list_id"]
        entry = self.lists.get(int(text)) if text.isdigit() else None
        if entry is None:
            raise self._instance.failure("1013", f"List '{text}' not found")
        return entry

    def _writable(self, request: Request) -> StaticList:
        entry = self.addressed(request)
        if entry.id in self.importing:
            raise self._instance.failure("1019", "Import in progress")
        return entry

    def _removed(self, entry: StaticList, lead_id: int) -> dict[str, Any]:
        if self._people.get(lead_id) is None:
            return _absent(lead_id)
        if lead_id not in entry.members:
            return skipped("1015", f"Lead '{lead_id}' not in list", id=lead_id)
        return {"id": lead_id, "status": "removed"}


def _absent(lead_id: int) -> dict[str, Any]:
    return skipped("1004", f"Lead '{lead_id}' not found", id=lead_id)


def _row(entry: StaticList) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": entry.id,
        "name": entry.name,
        "description": entry.description,
        "workspaceName": "Default",
        "createdAt": iso(entry.created),
        "updatedAt": iso(entry.updated),
    }
    return row | ({"programName": entry.program} if entry.program else {})
