"""Lists, and who is on them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import httpx

from switchyard.api import Cursor, Page, PermanentError
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.account import Account, next_after, object_of
from switchyard_connectors.hubspot.paths import Version

_COUNT = 500
_OFFSETS = 10_000
"""Lists of one search, and how far searches page (vendor documentation, crm/lists)."""
_MEMBERS = 250
_SIZES: list[JSON] = ["hs_list_size", "hs_last_record_added_at", "hs_last_record_removed_at"]
_CONTACTS = "0-1"
Found = Mapping[str, Any]


def list_pages(account: Account, version: Version) -> Iterator[Page]:
    """Every list, each time: HubSpot cannot be asked for those that changed."""
    for lists in _lists(account, version):
        records: list[dict[str, JSON]] = [
            {
                "list_id": str(found["listId"]),
                "name": found.get("name"),
                "object_type_id": found.get("objectTypeId"),
                "processing_type": found.get("processingType"),
                "size": _added(found).get("hs_list_size"),
                "created_at": found.get("createdAt"),
                "updated_at": found.get("updatedAt"),
            }
            for found in lists
        ]
        yield Page(records, None, origin=account.paths.lists)


def membership_pages(account: Account, version: Version, cursor: Cursor) -> Iterator[Page]:
    """The members of every list of contacts whose size, or whose last joining or leaving, is another than when it was
    read. The cursor holds these marks, and the list that is being read with the token of its next page.

    HubSpot does not say who left a list: a record says that and when somebody joined.
    """
    said: dict[str, Any] = dict(cursor or {})
    marks: dict[str, JSON] = dict(said.get("marks") or {})
    under_way, token = said.get("list"), said.get("after")
    there = [found for lists in _lists(account, version) for found in lists if found.get("objectTypeId") == _CONTACTS]
    # A list that is gone needs no mark any more.
    marks = {name: mark for name, mark in marks.items() if name in {str(found["listId"]) for found in there}}
    for found in there:
        list_id, mark = str(found["listId"]), _mark(found)
        if mark and marks.get(list_id) == mark:
            continue
        for records, after in _members(account, found, token if list_id == under_way else None):
            if after is None:
                marks[list_id] = mark
            place: dict[str, JSON] = {} if after is None else {"list": list_id, "after": after}
            yield Page(records, {"marks": dict(marks), **place}, origin=account.paths.lists)


def _members(account: Account, found: Found, after: str | None) -> Iterator[tuple[list[dict[str, JSON]], str | None]]:
    list_id = str(found["listId"])
    path = f"{account.paths.lists}/{list_id}/memberships"
    while True:
        answer = account.get(path, params={"limit": _MEMBERS, "after": after}, accept=(404,))
        if answer.status_code == httpx.codes.NOT_FOUND:
            # It was deleted a moment ago.
            yield [], None
            return
        body = object_of(answer)
        following = next_after(body)
        if following is not None and following == after:
            raise PermanentError(f"the members of HubSpot list {list_id} lead from page to page in a circle")
        after = following
        records: list[dict[str, JSON]] = [
            {
                "list_id": list_id,
                "list_name": found.get("name"),
                "record_id": str(row["recordId"]),
                "joined_at": row.get("membershipTimestamp"),
            }
            for row in body.get("results") or ()
        ]
        yield records, after
        if after is None:
            return


def _lists(account: Account, version: Version) -> Iterator[list[Found]]:
    if version == "2026-09":
        yield from _every(account)
        return
    seen: set[str] = set()
    total = yield from _searched(account, "HS_UPDATED_AT", seen)
    if total > _OFFSETS:
        # What lies behind the last offset comes first in the other direction.
        yield from _searched(account, "-HS_UPDATED_AT", seen)
        if len(seen) < total:
            raise PermanentError(
                f"HubSpot shows {len(seen):,} of {total:,} lists to this version of its API; set api: 2026-09"
            )


def _searched(account: Account, sort: str, seen: set[str]) -> Generator[list[Found], None, int]:
    """Pages of lists that were not seen, up to the last offset that HubSpot takes; returns how many there are."""
    offset, more, total = 0, True, 0
    while more and offset < _OFFSETS and (not seen or not total or len(seen) < total):
        query: JSON = {"query": "", "count": _COUNT, "offset": offset, "additionalProperties": _SIZES, "sort": sort}
        body = account.asked(f"{account.paths.lists}/search", json=query)
        lists = body.get("lists") or []
        fresh = [found for found in lists if str(found["listId"]) not in seen]
        seen.update(str(found["listId"]) for found in fresh)
        offset, more, total = offset + len(lists), bool(body.get("hasMore")) and bool(lists), int(body.get("total", 0))
        yield fresh
    return total


def _every(account: Account) -> Iterator[list[Found]]:
    after: str | None = None
    while True:
        query: dict[str, JSON] = {"query": "", "count": _COUNT, "additionalProperties": _SIZES}
        body = account.asked(f"{account.paths.lists}/all", json=query | ({"after": after} if after else {}))
        yield body.get("lists") or []
        following = next_after(body)
        if following is None or following == after:
            return
        after = following


def _added(found: Found) -> Mapping[str, Any]:
    return found.get("additionalProperties") or {}


def _mark(found: Found) -> str:
    """What is another whenever somebody joined or left. Without it the list is read each time."""
    values = [_added(found).get(str(name)) for name in _SIZES]
    return "/".join(str(value or "") for value in values) if any(values[1:]) else ""
