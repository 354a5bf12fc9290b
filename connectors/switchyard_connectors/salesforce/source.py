"""The source: drains what was pushed, pulls what changed, and asks what is gone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from switchyard.api import Context, Cursor, Page, PermanentError, Stream
from switchyard.api.lanes import pause
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.bulk_query import BulkQuery
from switchyard_connectors.salesforce.config import ObjectConfig, SalesforceConfig
from switchyard_connectors.salesforce.deletions import Deletions
from switchyard_connectors.salesforce.describe import Descriptions, Shape
from switchyard_connectors.salesforce.ledger import IdLedger
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.place import NEVER, Place
from switchyard_connectors.salesforce.pull import Reading, pull
from switchyard_connectors.salesforce.pushes import Inbox
from switchyard_connectors.salesforce.refusals import ApiError
from switchyard_connectors.salesforce.streams import BY_ID, OBJECTS, WHERE, object_of


class Salesforce:
    """A `Source` of standard and custom objects.

    Args:
        clock: epoch seconds of this machine, for how long ago the last pull was.
        wait: waits so many seconds between two looks at a job.
    """

    def __init__(
        self,
        config: SalesforceConfig,
        context: Context,
        *,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = pause,
    ) -> None:
        self._config = config
        self._context = context
        self._clock = clock
        self._wait = wait
        self._org = Org(config, context)
        names = dict.fromkeys([*OBJECTS.values(), *(each.name for each in config.objects)])
        self._descriptions = Descriptions(self._org, list(names), context.workspace)

    def check(self) -> None:
        next(self._org.query(f"{soql.select(('Id',), self._config.people)} LIMIT 1"))

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """Yield what lies behind the cursor.

        Records are re-read from ten minutes before the last one: what a long transaction wrote shows after its stamp.
        """
        place = Place.of(cursor)
        wanted = object_of(stream.name, self._config)
        for again in (True, False):
            shape = self._descriptions.shape(wanted.name, wanted)
            try:
                for records, reached in self._pages(shape, wanted, place):
                    yield Page(records, reached.cursor(), origin=wanted.name)
                    place = reached
            except ApiError as error:
                # A field was taken away since the object was described.
                if error.code != "INVALID_FIELD" or not again:
                    raise
                self._descriptions.forget(wanted.name)
            else:
                return

    def _pages(self, shape: Shape, wanted: ObjectConfig, place: Place) -> Iterator[tuple[pa.Table, Place]]:
        where = wanted.where if wanted.where is not None else _about_somebody(shape)
        by_id = wanted.hard_deletes or shape.name in BY_ID
        ledger = IdLedger(self._context.workspace / f"ids-{shape.name}") if by_id else None
        if ledger is not None and place.is_new and ledger:
            # Read from the beginning a second time: whoever went meanwhile shows only by comparing.
            place = replace(place, gone=NEVER)
        due = True
        if self._config.push is not None:
            inbox = Inbox(self._context, self._org, shape, where, by_id=by_id)
            for records, reached in inbox.pages(place):
                yield _noted(records, ledger), reached
                place = reached
            due = not inbox.came or inbox.overflowed or self._is_due(place)
        if not due:
            return
        bulk = BulkQuery(
            self._org,
            shape,
            self._context.workspace / "results",
            page=self._config.bulk_page,
            wait=self._config.poll_wait,
            pause=self._wait,
        )
        reading = Reading(self._org, shape, bulk, where, self._config.bulk_query_above)
        for records, reached in pull(reading, place):
            place = reached if reached.load is not None else replace(reached, pulled=self._clock())
            yield _noted(records, ledger), place
        if ledger is not None:
            yield from Deletions(self._org, shape, ledger, self._config.deletions_every).pages(place)

    def _is_due(self, place: Place) -> bool:
        if place.load is not None or place.until is None or place.pulled is None:
            return True
        return self._clock() - place.pulled >= self._config.pull_every


def _about_somebody(shape: Shape) -> str:
    """Which records of a standard object are read. Raises PermanentError where the user does not see whom they name."""
    where = WHERE.get(shape.name, "")
    hidden = [name for name in re.findall(r"\w+Id", where) if name not in shape.known]
    if hidden:
        raise PermanentError(
            f"Salesforce's {shape.name} shows this user no {', '.join(hidden)}, so nobody knows whom its records are "
            "about; grant access to the field, or switch the stream off"
        )
    return where


def _noted(records: pa.Table, ledger: IdLedger | None) -> pa.Table:
    if ledger is not None:
        ledger.note(records["Id"])
    return records
