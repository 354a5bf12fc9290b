"""The list sink: finds or creates a list, changes who is on it, reads it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any
from urllib.parse import quote

import httpx

from switchyard.api import (
    Context,
    Cursor,
    ListChanges,
    ListReceipt,
    ListRef,
    Member,
    Page,
    PermanentError,
    Rejection,
    RemoteList,
    TransientError,
)
from switchyard.api.errors import ListGone
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.account import Account, object_of
from switchyard_connectors.hubspot.config import HubSpotConfig, limits_of
from switchyard_connectors.hubspot.memberships import change
from switchyard_connectors.hubspot.properties import Properties
from switchyard_connectors.hubspot.refusals import body_of
from switchyard_connectors.hubspot.upserts import BATCH, Upserts, rows_of, zoned

_CONTACTS = "0-1"
_PAGE = 250
"""Members of one page of a list (vendor documentation, crm/lists)."""
_EDITABLE = ("MANUAL", "SNAPSHOT")
_NO_RECORD = Rejection("no_record", "no HubSpot record is known for the member, and none was to be written", True)


class HubSpotLists:
    """Contact lists of one HubSpot account. A `ListSink`, `Checkable`, `Costed` and `Lagging`."""

    def __init__(self, config: HubSpotConfig, context: Context) -> None:
        self._account = Account(config, context)
        self._paths = self._account.paths
        self._properties = Properties(self._account, config)
        self._batch = config.membership_batch
        self._concurrency = limits_of(config).concurrency
        self._lag = config.list_lag
        self._key_fields: dict[str, str] = {}
        self._unchecked: dict[str, RemoteList] = {}
        self._missing: dict[str, Sequence[str]] = {}

    def check(self) -> None:
        self._account.get(f"{self._paths.properties}/contacts/email")

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        """Find or create the list, and see that the properties can be written.

        A known list takes one call: its properties are looked at when the first row is to be written, since a run
        without changes needs none of them. Then those are created, too, that HubSpot lacks: the rows say what type.

        Raises:
            ListGone: the known list was deleted.
            PermanentError: the list cannot be edited, or a property cannot be written.
        """
        ref = self._by_id(known) if known is not None else self._by_name(wanted.name) or self._create(wanted.name)
        self._key_fields[ref.id] = wanted.key_field
        self._missing.pop(ref.id, None)
        self._unchecked[ref.id] = wanted
        if known is None:
            self._missing[ref.id] = self._properties.check(wanted)
        return ref

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        """Upsert in calls of 100, then add and remove together in calls of `membership_batch`; several at once.

        Raises:
            ListGone: the list was deleted.
            PermanentError: a property cannot be written.
        """
        key_field = self._key_fields.get(ref.id, "email")
        rows, refused = rows_of(changes.upsert, key_field)
        if refused:
            yield ListReceipt(rejected=refused)
        if rows and ref.id in self._unchecked:
            self._ensure_properties(ref.id, changes.upsert)
        rows = zoned(rows, self._properties.instants)
        ids: dict[str, str] = {}
        spare = max(64, len(rows) // BATCH)
        for receipt in Upserts(key_field, self._post_contacts, spare, self._concurrency).run(rows):
            ids |= receipt.upserted
            yield receipt
        # One whose upsert was refused has its verdict, and stays off the list.
        tried = {member.key for member in changes.upsert}
        adds = {member.key: member.remote_id for member in changes.add if member.key not in tried}
        adds |= {member.key: ids[member.key] for member in changes.add if member.key in ids}
        removes = {member.key: member.remote_id for member in changes.remove}
        if unknown := [key for part in (adds, removes) for key, record_id in part.items() if not record_id]:
            yield ListReceipt(rejected=dict.fromkeys(unknown, _NO_RECORD))
        yield from change(
            _known(adds), _known(removes), self._batch, lambda body: self._put_members(ref, body), self._concurrency
        )

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        """Pages of 250 by rising record id. The cursor is `{"after": …}`, null behind the last page."""
        after = cursor["after"] if cursor else ""
        path = f"{self._paths.lists}/{ref.id}/memberships"
        while after is not None:
            answer = self._account.get(path, params={"limit": _PAGE, "after": after or None}, accept=(404,))
            body = object_of(self._present(ref.id, answer))
            following = (body.get("paging") or {}).get("next") or {}
            if following.get("after") == after:
                raise PermanentError(f"the members of HubSpot list {ref.id} lead from page to page in a circle")
            after = following.get("after")
            records = [{"remote_id": str(row["recordId"])} for row in body.get("results") or ()]
            yield Page(records=records, cursor={"after": after}, origin=path)

    def calls(self, upsert: int, add: int, remove: int, held: int) -> int:
        """The fewest calls for changes of these sizes and one read-back.

        What `ensure` takes to find the list is not in it, nor its look at the properties (once, where rows are written
        that carry more than the address), nor what only happens now and then: calls repeated after a fault, refused
        as a whole or asking for an additional address, tokens of an OAuth app, and repairs with their read-back.
        """
        return ceil(upsert / BATCH) + ceil((add + remove) / self._batch) + max(1, ceil(held / _PAGE))

    def lag(self) -> float:
        """The configured `list_lag`: HubSpot promises no time."""
        return self._lag

    def _by_id(self, list_id: str) -> ListRef:
        answer = self._account.get(f"{self._paths.lists}/{quote(list_id, safe='')}", accept=(404,))
        return _usable(_list_of(self._present(list_id, answer)))

    def _by_name(self, name: str) -> ListRef | None:
        path = f"{self._paths.lists}/object-type-id/{_CONTACTS}/name/{quote(name, safe='')}"
        answer = self._account.get(path, accept=(404,))
        return None if answer.status_code == httpx.codes.NOT_FOUND else _usable(_list_of(answer))

    def _create(self, name: str) -> ListRef:
        body: JSON = {"name": name, "objectTypeId": _CONTACTS, "processingType": "MANUAL"}
        answer = self._account.post(self._paths.lists, json=body, accept=(400, 409))
        if not answer.is_success:
            # Somebody may have taken the name a moment ago.
            if ref := self._by_name(name):
                return ref
            category = body_of(answer).get("category", "no reason given")
            raise PermanentError(f"HubSpot refuses to create the list ({category}); look at the audience's list name")
        made = _list_of(answer)
        return ListRef(str(made["listId"]), str(made.get("name", name)), created=True)

    def _ensure_properties(self, list_id: str, members: Sequence[Member]) -> None:
        missing = self._missing.pop(list_id, None)
        if missing is None:
            missing = self._properties.check(self._unchecked[list_id])
        self._properties.create(missing, members)
        del self._unchecked[list_id]

    def _post_contacts(self, operation: str, body: JSON) -> httpx.Response:
        path = f"{self._paths.objects}/contacts/{operation}"
        # Reading and upserting twice does no more than once.
        return self._account.post(path, json=body, repeatable=True, accept=(400, 409))

    def _put_members(self, ref: ListRef, body: JSON) -> Mapping[str, Any]:
        path = f"{self._paths.lists}/{ref.id}/memberships/add-and-remove"
        answer = self._account.put(path, json=body, accept=(404,))
        return object_of(self._present(ref.id, answer))

    def _present(self, list_id: str, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise _deleted(list_id)
        return answer


def _known(records: Mapping[str, str | None]) -> dict[str, str]:
    return {key: record_id for key, record_id in records.items() if record_id}


def _list_of(answer: httpx.Response) -> Mapping[str, Any]:
    found = object_of(answer).get("list")
    if not isinstance(found, dict) or "listId" not in found:
        raise TransientError("HubSpot answered a question for a list with something else")
    return found


def _usable(found: Mapping[str, Any]) -> ListRef:
    list_id, kind, holds = str(found["listId"]), found.get("processingType"), found.get("objectTypeId", _CONTACTS)
    if found.get("deletedAt"):
        raise _deleted(list_id)
    if kind not in _EDITABLE:
        raise PermanentError(
            f"HubSpot list {list_id} is {kind}: its own filters decide who is on it; "
            "give the audience another list name"
        )
    if holds != _CONTACTS:
        raise PermanentError(f"HubSpot list {list_id} does not hold contacts; give the audience another list name")
    return ListRef(list_id, str(found.get("name", "")))


def _deleted(list_id: str) -> ListGone:
    return ListGone(f"list {list_id} was deleted in HubSpot; restore it there (possible for 90 days)")
