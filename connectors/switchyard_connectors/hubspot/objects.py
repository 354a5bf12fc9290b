"""Calls that read the records of one type: by searching, page by page, and by id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from urllib.parse import urlencode

import httpx

from switchyard.api import TransientError
from switchyard.api.http import concurrently
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.account import Account, next_after, object_of
from switchyard_connectors.hubspot.config import HubSpotConfig, limits_of
from switchyard_connectors.hubspot.place import Window
from switchyard_connectors.hubspot.property_names import PropertyNames
from switchyard_connectors.hubspot.rows import NEEDED, NEEDED_OF_CONTACTS, Row

SEARCHED, LISTED, READ, ASSOCIATED = 200, 100, 100, 1_000
"""Records of one answer: of a search, of a page of all records; inputs of a batch read, and of one of associations
(vendor documentation, crm/search, crm/objects, crm/associations).
"""
MOST_BODY = 2_900
"""Characters of a search: HubSpot refuses 3,000 (vendor documentation, search-the-crm)."""
MOST_QUERY = 6_000
"""Characters of a query. HubSpot names no limit and answers 414 somewhere above."""
_ABSENT = "OBJECT_NOT_FOUND"


class TooLong(Exception):
    """The address is longer than HubSpot takes (414)."""


class Objects:
    """The records of one type.

    Args:
        names: which properties there are.
        name: the type as paths have it.
    """

    def __init__(self, account: Account, config: HubSpotConfig, names: PropertyNames, name: str) -> None:
        self.name = name
        self.has_further_addresses = name == "contacts"
        self.belonging = config.belonging_to(name)
        self._account = account
        self._names = names
        self._root = f"{account.paths.objects}/{name}"
        self._changed = "lastmodifieddate" if name == "contacts" else "hs_lastmodifieddate"
        self._needed = NEEDED_OF_CONTACTS if name == "contacts" else NEEDED
        self._configured = config.properties.get(name)
        self._concurrency = limits_of(config).concurrency

    def properties(self) -> Sequence[str]:
        """The names of the properties to read: those configured, or else all there are."""
        if self._configured is not None:
            return tuple(dict.fromkeys((*self._configured, *self._needed)))
        return self._names.of(self.name)

    def is_searched_whole(self) -> bool:
        """Whether a search can name all properties: then it brings the records themselves."""
        far = Window(2**43, 2**43, 2**53)
        return len(json.dumps(self._query(far, self.properties()), separators=(",", ":"))) <= MOST_BODY

    def is_listed_whole(self) -> bool:
        """Whether the address of a page of all records can name all properties."""
        return len(urlencode(self._page_of(None, self.properties()))) <= MOST_QUERY

    def search(self, window: Window) -> tuple[Sequence[Row], Window | None]:
        """The next records of the window by rising ids, and what is left of it, None for nothing.

        Every search begins behind the last id and never asks for a second page. So 10,000 results are no limit, and a
        record that leaves the window while it is read (it was changed) does not move others to a page already read.
        """
        whole = self.is_searched_whole()
        query = self._query(window, self.properties() if whole else ())
        body = self._account.asked(f"{self._root}/search", json=query, bucket="search")
        rows = body.get("results") or []
        ids = [int(row["id"]) for row in rows]
        if ids and max(ids) <= window.last:
            raise TransientError(f"HubSpot's search of {self.name} does not go on behind the last id")
        # That there is a next page says that there is more; it is then asked for by the last id.
        more = bool(rows) and next_after(body) is not None
        left = Window(window.since, window.until, max(ids)) if more else None
        return (rows if whole else self.read([str(each) for each in ids])), left

    def page(self, after: str | None, *, archived: bool = False) -> tuple[Sequence[Row], str | None]:
        """A page of all records by rising ids, and the token of the next one. Of archived ones only what tells
        which people are one.

        Raises:
            TooLong: HubSpot does not take so long an address.
        """
        params = self._page_of(after, self._needed if archived else self.properties())
        answer = self._account.get(self._root, params={**params, "archived": str(archived).lower()}, accept=(414,))
        if answer.status_code == httpx.codes.REQUEST_URI_TOO_LONG:
            raise TooLong
        body = object_of(answer)
        following = next_after(body)
        if following is not None and following == after:
            raise TransientError(f"HubSpot's pages of {self.name} lead in a circle")
        return body.get("results") or (), following

    def read(self, ids: Sequence[str], *, archived: bool = False) -> list[Row]:
        """The records with these ids that exist; of one that was merged away, the one that it became. Of archived ones
        only what tells which people are one.
        """
        parts = [ids[start : start + READ] for start in range(0, len(ids), READ)]
        calls = (partial(self._read, part, archived) for part in parts)
        with closing(concurrently(calls, self._concurrency)) as answers:
            return [row for rows in answers for row in rows]

    def belonging_to(self, ids: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """The type of what belongs to records → the record's id → ids, for each configured type."""
        parts = [ids[start : start + ASSOCIATED] for start in range(0, len(ids), ASSOCIATED)]
        found: dict[str, dict[str, list[str]]] = {name: {} for name in self.belonging}
        calls = [partial(self._associated, name, part) for name in self.belonging for part in parts]
        with closing(concurrently(iter(calls), self._concurrency)) as answers:
            for name, ids_of in answers:
                found[name] |= ids_of
        return found

    def _query(self, window: Window, properties: Sequence[str]) -> JSON:
        bounds = [("GTE", self._changed, window.since), ("LTE", self._changed, window.until)]
        bounds.append(("GTE", "hs_object_id", window.last + 1))
        filters: list[JSON] = [
            {"propertyName": name, "operator": operator, "value": str(value)}
            for operator, name, value in bounds
            if value is not None
        ]
        return {
            "filterGroups": [{"filters": filters}],
            # By the instant of the change it would stand still where a mass change gives 10,000 records the same one.
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(properties),
            "limit": SEARCHED,
        }

    def _page_of(self, after: str | None, properties: Sequence[str]) -> dict[str, str | int | None]:
        return {"limit": LISTED, "after": after, "properties": ",".join(properties) or None}

    def _read(self, ids: Sequence[str], archived: bool) -> Sequence[Row]:
        inputs: list[JSON] = [{"id": each} for each in ids]
        names = list(self._needed if archived else self.properties())
        body: JSON = {"inputs": inputs, "properties": [*names], "propertiesWithHistory": []}
        params = {"archived": "true"} if archived else {}
        # With some that do not exist the answer is a 207, which has the others all the same.
        answer = self._account.asked(f"{self._root}/batch/read", json=body, params=params)
        # Of the rest it knows that they are gone, or else nothing: then nobody may take them for gone.
        failed = {str(error.get("category")) for error in answer.get("errors") or ()} - {_ABSENT}
        if failed:
            raise TransientError(f"HubSpot could not read some {self.name} ({', '.join(sorted(failed))})")
        return [row for row in answer.get("results") or () if bool(row.get("archived")) is archived]

    def _associated(self, other: str, ids: Sequence[str]) -> tuple[str, dict[str, list[str]]]:
        """What belongs to each record, in HubSpot's order. A record with many has pages of its own."""
        path = f"{self._account.paths.associations}/{self.name}/{other}/batch/read"
        found: dict[str, list[str]] = {}
        waiting: list[dict[str, JSON]] = [{"id": each} for each in ids]
        while waiting:
            inputs: list[JSON] = [*waiting[:ASSOCIATED]]
            waiting = waiting[ASSOCIATED:]
            for entry in self._account.asked(path, json={"inputs": inputs}).get("results") or ():
                record_id = str(entry["from"]["id"])
                found.setdefault(record_id, []).extend(str(each["toObjectId"]) for each in entry.get("to") or ())
                if (after := next_after(entry)) is not None:
                    waiting.append({"id": record_id, "after": after})
        return other, {record_id: list(dict.fromkeys(others)) for record_id, others in found.items()}
