"""Records that are gone for good: they have left the recycle bin, and no query shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.describe import Shape
from switchyard_connectors.salesforce.ledger import IdLedger
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.place import Place, text_of
from switchyard_connectors.salesforce.refusals import ApiError
from switchyard_connectors.salesforce.rows import gone

_KEPT = timedelta(days=15)
"""How far back Salesforce remembers deletions (vendor documentation, Get Deleted)."""
_LEAST = timedelta(minutes=1)
_AT_ONCE = 5_000
"""Ids of one call that looks for those that are left."""


class Deletions:
    """Asks for the deletions of one object.

    Args:
        every: seconds between two questions: what is still in the recycle bin shows in queries at once.
        ledger: the ids that were ever read, for when Salesforce has forgotten what it deleted.
    """

    def __init__(self, org: Org, shape: Shape, ledger: IdLedger, every: float) -> None:
        self._org = org
        self._shape = shape
        self._ledger = ledger
        self._every = timedelta(seconds=every)

    def pages(self, place: Place) -> Iterator[tuple[pa.Table, Place]]:
        """Tombstones, with the place that is true once they are committed."""
        now = _minute(self._org.now or datetime.now(UTC).replace(tzinfo=None))
        if place.gone is None:
            # From where the first load began: who was read by it may have gone before it ended.
            yield gone((), self._shape), replace(place, gone=place.until or text_of(now - _LEAST))
            return
        start = soql.moment(place.gone)
        if now - start < max(self._every, _LEAST):
            return
        if now - start >= _KEPT:
            yield from self._by_comparing(place, now)
            return
        end = now
        while start < end:
            try:
                answer = self._ask(start, end)
            except ApiError as error:
                if error.code == "INVALID_REPLICATION_DATE":
                    # The log was purged beyond the start (vendor documentation, getDeleted).
                    yield from self._by_comparing(place, now)
                    return
                if error.code != "EXCEEDED_ID_LIMIT" or end - start < 2 * _LEAST:
                    raise
                end = _minute(start + (end - start) / 2)
                continue
            # What happened before the first day that Salesforce remembers is to be found by comparing alone.
            if (earliest := answer.get("earliestDateAvailable")) and soql.moment(earliest) > start:
                yield from self._by_comparing(place, now)
                return
            covered = soql.moment(answer.get("latestDateCovered") or text_of(end))
            asked, place = place, replace(place, gone=text_of(max(start, min(covered, end))))
            ids = list(dict.fromkeys(str(each["id"]) for each in answer.get("deletedRecords") or ()))
            for start_at in range(0, len(ids), _AT_ONCE):
                part = ids[start_at : start_at + _AT_ONCE]
                # Who is still to be seen has said more of itself: into whom it was merged, or that it is back.
                seen = self._org.by_ids(self._shape.name, ("Id",), part, deleted=self._shape.has_deleted)
                lost = sorted(set(part) - {str(record["Id"]) for record in seen})
                if lost:
                    yield gone(lost, self._shape), asked
            yield gone((), self._shape), place
            if covered < end:
                # Salesforce knows no more yet.
                return
            start, end = end, now

    def _ask(self, start: datetime, end: datetime) -> Any:
        path = f"sobjects/{self._shape.name}/deleted/"
        return self._org.get(
            path, params={"start": soql.instant(start.replace(microsecond=0)), "end": soql.instant(end)}
        )

    def _by_comparing(self, place: Place, now: datetime) -> Iterator[tuple[pa.Table, Place]]:
        """Whoever was read once and is not there any more."""
        for lost in self._ledger.missing(self._present()):
            if lost:
                yield gone(lost, self._shape), place
        yield gone((), self._shape), replace(place, gone=text_of(now - _LEAST))

    def _present(self) -> Iterator[list[str]]:
        query = soql.select(("Id",), self._shape.name, (), ("Id",))
        for page in self._org.query(query, deleted=self._shape.has_deleted):
            yield [str(record["Id"]) for record in page["records"]]


def _minute(at: datetime) -> datetime:
    """The whole minute before: Salesforce does not look at seconds."""
    return at.replace(second=0, microsecond=0)
