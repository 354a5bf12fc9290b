"""What bulk extracts of the Marketo simulator contain: the rows of leads, activities, members and custom objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard_connectors.marketo.simulator_database import Database
from switchyard_connectors.marketo.simulator_instance import Instance, instant, iso
from switchyard_connectors.marketo.simulator_log import DELETE, guid
from switchyard_connectors.marketo.simulator_objects import ObjectType
from switchyard_connectors.marketo.simulator_people import Lead

SPAN = 31 * 86_400
"""Seconds that a range of a filter may span (vendor documentation, bulk-extract)."""
_CORONA = ("updatedAt", "smartListId", "smartListName")
_LEADS = ("createdAt", "staticListId", "staticListName", *_CORONA)
_ACTIVITY = (
    "marketoGUID",
    "leadId",
    "activityDate",
    "activityTypeId",
    "campaignId",
    "primaryAttributeValueId",
    "primaryAttributeValue",
    "attributes",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job is asked for: the columns in their order, and the filter. `api_name`: of the custom object."""

    fields: Sequence[str]
    filter: Mapping[str, Any]
    api_name: str = ""

    def range(self, name: str) -> tuple[float, float]:
        """The instants [start, end) of a checked range; a whole second that it ends with is in it."""
        given = self.filter[name]
        return instant(given["startAt"]), instant(given["endAt"]) + 1


Rows = Iterator[Sequence[Any]]


class Contents:
    """Checks what a job may ask for, and gives its rows.

    `corona`: whether the subscription has the filters that look at when any field changed. `smart_lists` are the
    members of smart lists, by id and name.
    """

    def __init__(self, instance: Instance, database: Database) -> None:
        self.corona = True
        self.smart_lists: dict[tuple[int, str], Callable[[], Iterable[int]]] = {}
        self._instance = instance
        self._data = database
        self._rows: Mapping[str, Callable[[Wish], Rows]] = {
            "leads": self._lead_rows,
            "activities": self._activity_rows,
            "members": self._member_rows,
            "objects": self._object_rows,
        }

    def check(self, kind: str, wish: Wish) -> Wish:
        """The wish with its default fields. Raises the failure that it deserves."""
        known, fields = self._columns(kind, wish), wish.fields
        if not fields and kind == "activities":
            fields = _ACTIVITY
        if not fields:
            raise self._instance.failure("1002", "Missing value for required parameter 'fields'")
        if unknown := [name for name in fields if name not in known]:
            raise self._instance.failure("1006", f"Field '{unknown[0]}' not found")
        allowed, needed = _filters(kind)
        if unknown := sorted(wish.filter.keys() - set(allowed)):
            raise self._instance.failure("1003", f"Invalid filter type '{unknown[0]}'")
        if needed and needed not in wish.filter:
            raise self._instance.failure("1002", f"Missing value for required parameter '{needed}'")
        if kind in ("leads", "objects"):
            self._check_one(kind, wish)
        for name in ("createdAt", "updatedAt"):
            if name in wish.filter:
                self._check_range(wish.filter[name], name)
        return Wish(fields, wish.filter, wish.api_name)

    def rows(self, kind: str, wish: Wish) -> Rows:
        """The rows of a checked wish, as they are now."""
        return self._rows[kind](wish)

    def _columns(self, kind: str, wish: Wish) -> Iterable[str]:
        if kind == "leads":
            return self._data.fields.known
        if kind == "activities":
            return _ACTIVITY
        if kind == "members":
            return self._data.programs.columns()
        return ("marketoGUID", "createdAt", "updatedAt", *self._type(wish).fields)

    def _check_one(self, kind: str, wish: Wish) -> None:
        if len(wish.filter) != 1:
            raise self._instance.failure("1003", "Give exactly one filter")
        name = next(iter(wish.filter))
        if kind == "leads" and name in _CORONA and not self.corona:
            raise self._instance.failure("1035", f"Unsupported filter type for target subscription: {name}")
        if name.startswith(("staticList", "smartList")):
            self._members_of(name, wish.filter[name])

    def _check_range(self, given: Any, name: str) -> None:
        try:
            start, end = (instant(given[each], whole=True) for each in ("startAt", "endAt"))
        except (ValueError, KeyError, TypeError):
            message = f"Invalid date range of '{name}': give startAt and endAt without milliseconds"
            raise self._instance.failure("1003", message) from None
        if not 0 <= end - start <= SPAN:
            raise self._instance.failure("1003", f"The date range of '{name}' must be at most 31 days")

    def _members_of(self, name: str, wanted: Any) -> Iterable[int]:
        if name.startswith("smartList"):
            place = 0 if name == "smartListId" else 1
            found = next((give for key, give in self.smart_lists.items() if key[place] == wanted), None)
            if found is not None:
                return found()
        else:
            entry = (
                self._data.lists.lists.get(wanted) if name == "staticListId" else self._data.lists.named(str(wanted))
            )
            if entry is not None:
                return entry.members
        raise self._instance.failure("1013", f"List '{wanted}' not found")

    def _lead_rows(self, wish: Wish) -> Rows:
        for lead in self._leads(wish):
            yield [lead.value(name) for name in wish.fields]

    def _leads(self, wish: Wish) -> Iterator[Lead]:
        name = next(iter(wish.filter))
        if name in ("createdAt", "updatedAt"):
            find = self._data.people.made if name == "createdAt" else self._data.people.altered
            yield from find(*wish.range(name))
        else:
            found = (self._data.people.get(each) for each in sorted(self._members_of(name, wish.filter[name])))
            yield from (lead for lead in found if lead is not None)

    def _activity_rows(self, wish: Wish) -> Rows:
        types = set(wish.filter.get("activityTypeIds") or ())
        for place, entry in self._data.log.between(*wish.range("createdAt")):
            # Deletions are in no extract (vendor documentation, bulk-activity-extract).
            if entry.type == DELETE or (types and entry.type not in types):
                continue
            values = {
                "marketoGUID": guid(place),
                "leadId": self._data.people.resolved(entry.lead),
                "activityDate": iso(entry.at),
                "activityTypeId": entry.type,
                "primaryAttributeValueId": entry.primary_id,
                "primaryAttributeValue": entry.primary,
                "attributes": json.dumps({name: each for name, each in entry.attributes.items() if each is not None}),
            }
            yield [values.get(name) for name in wish.fields]

    def _member_rows(self, wish: Wish) -> Rows:
        ids = wish.filter.get("programIds") or [wish.filter.get("programId")]
        statuses = set(wish.filter.get("statusNames") or ())
        start, end = wish.range("updatedAt") if "updatedAt" in wish.filter else (0.0, float("inf"))
        for program in (self._data.programs.programs[each] for each in ids if each in self._data.programs.programs):
            for member in program.members.values():
                if start <= member.updated < end and (not statuses or member.status in statuses):
                    values = self._data.programs.values(program, member)
                    yield [values.get(name) for name in wish.fields]

    def _object_rows(self, wish: Wish) -> Rows:
        found = self._type(wish)
        name = next(iter(wish.filter))
        start, end = wish.range(name) if name == "updatedAt" else (0.0, float("inf"))
        links = None if name == "updatedAt" else self._links(found, self._members_of(name, wish.filter[name]))
        for record in found.records.values():
            shown = record.shown()
            linked = links is None or (found.link is not None and str(shown.get(found.link[0])) in links)
            if start <= record.updated < end and linked:
                yield [shown.get(each) for each in wish.fields]

    def _links(self, found: ObjectType, lead_ids: Iterable[int]) -> set[str]:
        if found.link is None:
            return set()
        leads = (self._data.people.get(each) for each in lead_ids)
        return {str(lead.value(found.link[1])) for lead in leads if lead is not None}

    def _type(self, wish: Wish) -> ObjectType:
        found = self._data.objects.types.get(wish.api_name)
        if found is None:
            raise self._instance.failure("1013", f"Object '{wish.api_name}' not found")
        return found


def _filters(kind: str) -> tuple[Sequence[str], str | None]:
    """What a kind may filter by, and what it must."""
    if kind == "leads":
        return _LEADS, None
    if kind == "activities":
        return ("createdAt", "activityTypeIds", "primaryAttributeValueIds", "primaryAttributeValues"), "createdAt"
    if kind == "members":
        return ("programId", "programIds", "statusNames", "updatedAt", "isExhausted", "nurtureCadence"), None
    return ("updatedAt", "staticListId", "staticListName", "smartListId", "smartListName"), None
