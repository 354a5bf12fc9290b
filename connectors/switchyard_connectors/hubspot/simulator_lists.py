"""Lists of the HubSpot simulator and who is on them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot.simulator_members import ContactList
from switchyard_connectors.hubspot.simulator_portal import CONTACT_TYPE, Portal, iso

PAGE = 250
SEARCH_PAGE = 500
SEARCH_CAP = 10_000
CLEARABLE = 100_000
RESTORABLE = 90 * 86_400
"""Seconds for which a deleted list can be restored (vendor documentation, crm/lists)."""
_KINDS = ("MANUAL", "DYNAMIC", "SNAPSHOT")


class Lists:
    """The lists, by id. `exists` says whether a contact with this record id lives.

    `lag` is how many seconds after a change those who read members see it. HubSpot names no such time.
    """

    def __init__(self, portal: Portal, exists: Callable[[str], bool], per_call: int) -> None:
        self.lists: dict[str, ContactList] = {}
        self.lag = 0.0
        self._portal = portal
        self._exists = exists
        self._per_call = per_call
        self._next_id = 1

    def add(self, name: str, kind: str = "MANUAL") -> ContactList:
        """Create a list, as a person inside HubSpot would."""
        now = self._portal.clock()
        made = ContactList(str(self._next_id), name, kind, now, now)
        self._next_id += 1
        self.lists[made.id] = made
        return made

    def live(self, list_id: str) -> ContactList | None:
        found = self.lists.get(list_id)
        return found if found is not None and found.deleted is None else None

    def named(self, name: str) -> ContactList | None:
        return next((entry for entry in self.lists.values() if entry.name == name and entry.deleted is None), None)

    def put_on(self, list_id: str, record_ids: Iterable[str]) -> None:
        """Put records on a list by hand."""
        entry, now = self.lists[list_id], self._portal.clock()
        for record_id in record_ids:
            entry.join(int(record_id), now)
        entry.changed(now)

    def take_off(self, list_id: str, record_ids: Iterable[str]) -> None:
        """Take records off a list by hand."""
        entry, now = self.lists[list_id], self._portal.clock()
        for record_id in record_ids:
            entry.leave(int(record_id), now)
        entry.changed(now)

    def rename(self, list_id: str, name: str) -> None:
        """Rename a list by hand."""
        self.lists[list_id].name = name

    def remove(self, list_id: str) -> None:
        """Delete a list; it can be restored for 90 days."""
        self.lists[list_id].deleted = self._portal.clock()

    def bring_back(self, list_id: str) -> None:
        """Restore a deleted list, with its members."""
        self.lists[list_id].deleted = None

    def forget(self, record_id: str, heir: str | None) -> None:
        """A record ceases to be; `heir` takes its place."""
        now = self._portal.clock()
        for entry in self.lists.values():
            if (joined := entry.leave(int(record_id), now)) is not None:
                if heir is not None:
                    entry.join(int(heir), now, joined)
                entry.changed(now)

    def dump(self) -> dict[str, Any]:
        """All lists with their members, as JSON."""
        return {"lists": [entry.dump() for entry in self.lists.values()], "next_id": self._next_id}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.lists = {each["id"]: ContactList.load(each) for each in state["lists"]}
        self._next_id = state["next_id"]

    def create(self, request: Request) -> Answer:
        wanted = request.json()
        name, kind = wanted.get("name"), wanted.get("processingType")
        if not name or kind not in _KINDS:
            raise self._portal.invalid("name and processingType (MANUAL, DYNAMIC, SNAPSHOT) are required")
        self._check_type(str(wanted.get("objectTypeId")))
        if self.named(name):
            raise self._portal.invalid(f"A list named {name} already exists")
        return Answer(body={"list": self._json(self.add(name, kind))})

    def get(self, request: Request) -> Answer:
        return Answer(body={"list": self._json(self._addressed(request))})

    def get_by_name(self, request: Request) -> Answer:
        self._check_type(request.params["object_type"])
        found = self.named(request.params["name"])
        if found is None:
            raise self._portal.absent(f"List does not exist with name {request.params['name']}")
        return Answer(body={"list": self._json(found)})

    def get_many(self, request: Request) -> Answer:
        found = (self.live(list_id) for list_id in request.arguments().getlist("listIds"))
        return Answer(body={"lists": [self._json(entry) for entry in found if entry]})

    def search(self, request: Request) -> Answer:
        """Page through lists by name (vendor documentation, crm/lists): at most 500 at a time, 10,000 in all."""
        wanted = request.json()
        count, offset = int(wanted.get("count", 20)), int(wanted.get("offset", 0))
        if not 1 <= count <= SEARCH_PAGE or offset >= SEARCH_CAP:
            raise self._portal.invalid(f"count must be at most {SEARCH_PAGE}, offset below {SEARCH_CAP}")
        found = self._chosen(wanted)
        if wanted.get("sort") in ("HS_UPDATED_AT", "-HS_UPDATED_AT"):
            found.sort(key=lambda entry: (entry.updated, int(entry.id)), reverse=wanted["sort"].startswith("-"))
        rows = [self._with_sizes(entry) for entry in found[offset : offset + count]]
        end = offset + len(rows)
        return Answer(body={"lists": rows, "hasMore": end < len(found), "offset": end, "total": len(found)})

    def every(self, request: Request) -> Answer:
        """Page through lists without an end (vendor documentation, crm/lists of 2026-09)."""
        wanted = request.json()
        count = int(wanted.get("count", 20))
        if not 1 <= count <= SEARCH_PAGE:
            raise self._portal.invalid(f"count must be at most {SEARCH_PAGE}")
        after = int(wanted.get("after") or 0)
        found = [entry for entry in self._chosen(wanted) if int(entry.id) > after]
        body: dict[str, Any] = {"lists": [self._with_sizes(entry) for entry in found[:count]]}
        if len(found) > count:
            body["paging"] = {"next": {"after": found[count - 1].id}}
        return Answer(body=body)

    def _chosen(self, wanted: Mapping[str, Any]) -> list[ContactList]:
        text, kinds = str(wanted.get("query") or "").lower(), wanted.get("processingTypes") or _KINDS
        return [
            entry
            for entry in self.lists.values()
            if entry.deleted is None and text in entry.name.lower() and entry.kind in kinds
        ]

    def _with_sizes(self, entry: ContactList) -> dict[str, Any]:
        sizes = {
            "hs_list_size": str(len(entry.members)),
            "hs_last_record_added_at": str(int(entry.added * 1000)) if entry.added else "",
            "hs_last_record_removed_at": str(int(entry.removed * 1000)) if entry.removed else "",
        }
        return self._json(entry) | {"additionalProperties": sizes}

    def rename_call(self, request: Request) -> Answer:
        entry, name = self._addressed(request), request.arguments().get("listName", "")
        if not name or self.named(name) not in (None, entry):
            raise self._portal.invalid("listName is missing or taken")
        self.rename(entry.id, name)
        return Answer(body={"updatedList": self._json(entry)})

    def delete(self, request: Request) -> Answer:
        self.remove(self._addressed(request).id)
        return Answer(204)

    def restore(self, request: Request) -> Answer:
        entry = self.lists.get(request.params["list_id"])
        if entry is None or (entry.deleted and self._portal.clock() - entry.deleted > RESTORABLE):
            raise self._portal.absent("List does not exist")
        if self.named(entry.name) not in (None, entry):
            raise self._portal.invalid(f"A list named {entry.name} already exists")
        self.bring_back(entry.id)
        return Answer(204)

    def add_members(self, request: Request) -> Answer:
        return self._change(request, self._ids(request.json()), [])

    def remove_members(self, request: Request) -> Answer:
        return self._change(request, [], self._ids(request.json()))

    def add_and_remove(self, request: Request) -> Answer:
        body = request.json()
        if not isinstance(body, dict) or not {"recordIdsToAdd", "recordIdsToRemove"} <= body.keys():
            raise self._portal.invalid("recordIdsToAdd and recordIdsToRemove are both required")
        return self._change(request, self._ids(body["recordIdsToAdd"]), self._ids(body["recordIdsToRemove"]))

    def clear(self, request: Request) -> Answer:
        entry = self._editable(request)
        if len(entry.members) >= CLEARABLE:
            raise self._portal.invalid(f"only lists of fewer than {CLEARABLE} members can be cleared")
        now = self._portal.clock()
        for record_id in list(entry.members):
            entry.leave(record_id, now)
        entry.changed(now)
        return Answer(204)

    def members(self, request: Request) -> Answer:
        """Who is on the list, by rising record id."""
        entry, limit = self._addressed(request), self._limit(request)
        ordered = entry.ordered(self._shown_until())
        start = bisect_right(ordered, int(request.arguments().get("after", 0)))
        return self._page(request, entry, ordered[start : start + limit], len(ordered) > start + limit)

    def members_by_joining(self, request: Request) -> Answer:
        """Who is on the list, in order of joining; with `before`, even an empty one, the newest first."""
        entry, limit = self._addressed(request), self._limit(request)
        seen = entry.seen(self._shown_until())
        newest_first = "before" in request.arguments()
        place = int(request.arguments().get("before" if newest_first else "after") or 0)
        ordered = sorted(seen, key=lambda record_id: (seen[record_id], record_id), reverse=newest_first)
        start = ordered.index(place) + 1 if place in seen else 0
        return self._page(request, entry, ordered[start : start + limit], len(ordered) > start + limit)

    def of_record(self, request: Request) -> Answer:
        self._check_type(request.params["object_type"])
        record_id = int(request.params["record_id"])
        until = self._shown_until()
        live = [(entry, entry.seen(until)) for entry in self.lists.values() if entry.deleted is None]
        found = [
            {
                "listId": entry.id,
                "listVersion": entry.version,
                "firstAddedTimestamp": iso(seen[record_id]),
                "lastAddedTimestamp": iso(seen[record_id]),
            }
            for entry, seen in live
            if record_id in seen
        ]
        return Answer(body={"results": found, "total": len(found)})

    def _change(self, request: Request, adds: list[str], removes: list[str]) -> Answer:
        """Records that are on the list already, or off it, are in none of the answer's lists."""
        entry = self._editable(request)
        if len(adds) + len(removes) > self._per_call:
            raise self._portal.invalid(f"at most {self._per_call} records in a call")
        now = self._portal.clock()
        added, removed, missing = [], [], []
        for record_id in adds:
            if not self._exists(record_id):
                missing.append(record_id)
            elif entry.join(int(record_id), now):
                added.append(record_id)
        for record_id in removes:
            if not self._exists(record_id):
                missing.append(record_id)
            elif entry.leave(int(record_id), now) is not None:
                removed.append(record_id)
        if added or removed:
            entry.changed(now)
        return Answer(body={"recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing})

    def _ids(self, listed: Any) -> list[str]:
        if not isinstance(listed, list):
            raise self._portal.invalid("a list of record ids is required")
        return list(dict.fromkeys(str(record_id) for record_id in listed))

    def _limit(self, request: Request) -> int:
        limit = int(request.arguments().get("limit", 100))
        if not 1 <= limit <= PAGE:
            raise self._portal.invalid(f"limit must be between 1 and {PAGE}")
        return limit

    def _page(self, request: Request, entry: ContactList, ids: list[int], more: bool) -> Answer:
        seen = entry.seen(self._shown_until())
        rows = [{"recordId": str(each), "membershipTimestamp": iso(seen[each])} for each in ids]
        body: dict[str, Any] = {"results": rows, "total": len(seen)}
        if more:
            body["paging"] = {"next": {"after": str(ids[-1]), "link": f"{request.path}?after={quote(str(ids[-1]))}"}}
        return Answer(body=body)

    def _shown_until(self) -> float:
        return self._portal.clock() - self.lag

    def _addressed(self, request: Request) -> ContactList:
        entry = self.live(request.params["list_id"])
        if entry is None:
            raise self._portal.absent(f"List does not exist with ID {request.params['list_id']}.")
        return entry

    def _editable(self, request: Request) -> ContactList:
        entry = self._addressed(request)
        if entry.kind == "DYNAMIC":
            raise self._portal.invalid(f"List {entry.id} has processing type DYNAMIC; its members follow its filters")
        return entry

    def _check_type(self, object_type: str) -> None:
        if object_type != CONTACT_TYPE:
            raise self._portal.invalid(f"Object type {object_type} has no lists here")

    def _json(self, entry: ContactList) -> dict[str, Any]:
        return {
            "listId": entry.id,
            "listVersion": entry.version,
            "name": entry.name,
            "objectTypeId": CONTACT_TYPE,
            "processingType": entry.kind,
            "processingStatus": "COMPLETE",
            "createdAt": iso(entry.created),
            "updatedAt": iso(entry.updated),
            "size": len(entry.members),
        }
