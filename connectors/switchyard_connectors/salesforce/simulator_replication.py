"""Which records changed and which are gone, by time, in the Salesforce simulator (vendor documentation, getUpdated and
getDeleted).
"""

from __future__ import annotations

from collections.abc import Iterator

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.salesforce.simulator_org import DAY, Org, instant, refusal, stamp
from switchyard_connectors.salesforce.simulator_records import Store, Table
from switchyard_connectors.salesforce.simulator_seeds import without
from switchyard_connectors.salesforce.simulator_sobjects import SObjects

_DELETED_DAYS, _UPDATED_DAYS = 15, 30


class Replication:
    """Answers from the log of changes.

    `most`: ids of one answer. `lag`: seconds that the log is behind. `purged`: until when the log of deletions was
    emptied, in epoch seconds; Salesforce does so when it grows large.
    """

    def __init__(self, org: Org, store: Store, objects: SObjects) -> None:
        self.most = 600_000
        self.lag = 0.0
        self.purged = 0.0
        self._org = org
        self._store = store
        self._objects = objects

    def deleted(self, request: Request) -> Answer:
        table = self._objects.table(request)
        start, end, covered = self._window(request, _DELETED_DAYS)
        first = max(start, self.purged)
        gone = {each: at for each, at in table.removed.items() if first <= at < end and at <= covered}
        self._few(len(gone))
        earliest = max(self.purged, self._org.clock() - _DELETED_DAYS * DAY)
        return Answer(
            body={
                "deletedRecords": [{"deletedDate": stamp(at), "id": each} for each, at in gone.items()],
                "earliestDateAvailable": stamp(earliest),
                "latestDateCovered": stamp(covered),
            }
        )

    def updated(self, request: Request) -> Answer:
        table = self._objects.table(request)
        start, end, covered = self._window(request, _UPDATED_DAYS)
        ids = list(_changed(table, start, min(end, covered + 1)))
        self._few(len(ids))
        return Answer(body={"ids": ids, "latestDateCovered": stamp(covered)})

    def _window(self, request: Request, days: int) -> tuple[float, float, float]:
        """From when to when, in whole minutes: seconds are left out of account. And until when the log is complete."""
        now = self._org.clock()
        try:
            start, end = (instant(request.arguments()[name]) // 60 * 60 for name in ("start", "end"))
        except (KeyError, ValueError) as error:
            raise refusal(400, "MALFORMED_QUERY", "start and end must be instants") from error
        if start < (now - days * DAY) // 60 * 60:
            raise refusal(400, "INVALID_REPLICATION_DATE", f"startDate must not be more than {days} days ago")
        if start >= end:
            raise refusal(400, "INVALID_REPLICATION_DATE", "endDate must be at least one minute after startDate")
        if start > now:
            raise refusal(400, "INVALID_REPLICATION_DATE", "startDate cannot be in the future")
        return start, end, min(end, now - self.lag)

    def _few(self, count: int) -> None:
        if count > self.most:
            raise refusal(400, "EXCEEDED_ID_LIMIT", f"more than {self.most} ids; ask for less time")


def _changed(table: Table, start: float, end: float) -> Iterator[str]:
    first, last = stamp(start), stamp(end)
    for row in table.rows.values():
        if first <= row["SystemModstamp"] < last and not row["IsDeleted"]:
            yield row["Id"]
    if table.seed is not None:
        yield from table.seed.column("Id", list(without(table.seed.between(start, end - 1), table.taken)))
