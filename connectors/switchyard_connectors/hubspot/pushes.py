"""What HubSpot pushes: which records something happened to. What they are now is read by id, a hundred at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import duckdb

from switchyard.api import Context, Page, Reject
from switchyard.api.received import documents
from switchyard_connectors.hubspot.objects import Objects
from switchyard_connectors.hubspot.rows import Row, archived_of, gone

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST = 19
_STEP = 1_000
"""Records of one page."""
_TYPES = {"contacts": ("contact", "0-1"), "companies": ("company", "0-2"), "deals": ("deal", "0-3")}
PageOf: TypeAlias = "Callable[[Sequence[Row]], Page]"


@dataclass(slots=True)
class _Touched:
    """Ids of records, in order; those that were deleted, for good or not; and who was merged into whom."""

    ids: dict[str, None] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    heirs: dict[str, str] = field(default_factory=dict)


class Pushes:
    """Reads the inbox on behalf of one stream after the other.

    Events come in no order, more than once, and without the record. So all that is taken from them is whose record to
    read: what that answers holds, whatever was said before or after. A record that is not there, and of which an event
    said so, is deleted.

    Args:
        reports: the stream that reports what cannot be read: each reads the same inbox.
    """

    def __init__(self, context: Context, reports: str) -> None:
        self._context = context
        self._reports = reports
        self._duck = duckdb.connect(config={"threads": 1, "enable_external_access": False})

    def read(self, after: int | None, objects: Objects, page_of: PageOf) -> Iterator[tuple[Page, int | None]]:
        """Pages, and the number of the last row of the inbox that is read with each."""
        for rows in self._context.inbox(after):
            touched, rejects = self._touched(rows, objects.name)
            if objects.name != self._reports:
                rejects = []
            upto = rows["sequence"][-1].as_py()
            ids = list(touched.ids)
            for start in range(0, len(ids), _STEP):
                part = ids[start : start + _STEP]
                page = self._page(part, touched, objects, page_of)
                last = start + _STEP >= len(ids)
                yield replace(page, rejected=rejects if last else ()), upto if last else after
            if not ids:
                yield Page([], None, rejects), upto
            after = upto

    def _page(self, ids: Sequence[str], touched: _Touched, objects: Objects, page_of: PageOf) -> Page:
        page = page_of(objects.read(ids))
        assert isinstance(page.records, list)  # noqa: S101  # made of rows
        come = {str(record["id"]) for record in page.records}
        missing = [each for each in ids if each not in come and (each in touched.deleted or each in touched.heirs)]
        records = {(each, ""): gone(each, touched.heirs.get(each)) for each in missing}
        if objects.has_further_addresses and (deleted := [each for each in missing if each in touched.deleted]):
            for row in objects.read(deleted, archived=True):
                for record in archived_of(row):
                    records.setdefault((str(record["id"]), str(record["alias"])), record)
        return replace(page, records=[*page.records, *records.values()])

    def _touched(self, rows: pa.Table, name: str) -> tuple[_Touched, list[Reject]]:
        """What the events of some rows say of records of this type."""
        readable, rejects = documents(self._duck, rows)
        self._duck.register("delivery", readable)
        prefix, type_id = _TYPES.get(name, (name, name))
        events = self._duck.execute(_EVENTS, {"prefix": prefix, "type": type_id}).fetchall()
        touched = _Touched()
        for what, *told, merged in events:
            record_id, sender, primary, heir = (_id(each) for each in told)
            losers = [_id(each) for each in merged or ()]
            touched.ids |= dict.fromkeys(each for each in (record_id, sender, primary, heir, *losers) if each)
            if what in ("deletion", "privacyDeletion") and record_id:
                touched.deleted.add(record_id)
            if what == "merge" and (winner := heir or primary):
                touched.heirs |= dict.fromkeys({each for each in (*losers, primary) if each} - {winner}, winner)
        return touched, rejects


def _id(told: str | None) -> str | None:
    """An id that HubSpot can be asked for; whatever else stands in its place would have it refuse the ids beside it."""
    return told if told is not None and told.isascii() and told.isdecimal() and len(told) < _LONGEST else None


# Some documents and apps call the type of an event `eventType`. Custom objects are told by the id of their type.
_EVENTS = """
SELECT DISTINCT split_part(kind, '.', 2), event ->> 'objectId', event ->> 'fromObjectId', event ->> 'primaryObjectId',
    event ->> 'newObjectId', TRY_CAST(event -> 'mergedObjectIds' AS VARCHAR[])
FROM (
    SELECT event, coalesce((event ->> 'subscriptionType'), (event ->> 'eventType')) AS kind
    FROM (
        SELECT unnest(CASE json_type(body) WHEN 'ARRAY' THEN json_extract(body, '$[*]') ELSE [body::JSON] END) AS event
        FROM delivery
    )
    WHERE json_type(event) = 'OBJECT'
)
WHERE split_part(kind, '.', 1) = $prefix OR (split_part(kind, '.', 1) = 'object' AND (event ->> 'objectTypeId') = $type)
"""
