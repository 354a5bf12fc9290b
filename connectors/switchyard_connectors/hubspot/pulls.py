"""Reading the records of one type: what was pushed, then what changed, then what was deleted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from switchyard.api import Cursor, Page
from switchyard_connectors.hubspot.config import HubSpotConfig
from switchyard_connectors.hubspot.objects import ASSOCIATED, Objects, TooLong
from switchyard_connectors.hubspot.place import Place, Scan, Window
from switchyard_connectors.hubspot.pushes import Pushes
from switchyard_connectors.hubspot.rows import Row, archived_of, milliseconds, records_of

_OVERLAP = 3_600_000
"""Milliseconds by which looks for archived records overlap."""


class ObjectStream:
    """One stream of records.

    Args:
        objects: how to call.
        pushes: what is pushed, None where nothing is.
        clock: epoch seconds.
    """

    def __init__(
        self, objects: Objects, config: HubSpotConfig, pushes: Pushes | None, clock: Callable[[], float]
    ) -> None:
        self._objects = objects
        self._config = config
        self._pushes = pushes
        self._clock = clock

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """What was pushed; and what there is to pull, unless that was done a moment ago."""
        place, now = Place.of(cursor), self._now()
        was_pushed = False
        if self._pushes is not None:
            for page, sequence in self._pushes.read(place.sequence, self._objects, self._pages_of):
                was_pushed = True
                place = replace(place, sequence=sequence)
                yield replace(page, cursor=place.cursor())
        lately = place.pulled is not None and now - place.pulled < self._config.pull_every * 1000
        if not (was_pushed and lately and not place.is_under_way):
            yield from self._pull(place, now)

    def _pull(self, place: Place, began: int) -> Iterator[Page]:
        until = began - int(self._config.settle * 1000)
        if place.load is None and place.window is None and place.scan is None:
            place = self._begun(place, until)
        if place.load is not None:
            place = yield from self._load(place, place.load, began)
        if place.window is not None:
            place = yield from self._changes(place, place.window, began)
        if place.scan is None and began - (place.archived or 0) >= self._config.archived_every * 1000:
            place = replace(place, scan=Scan(None, began))
        if place.scan is not None:
            yield from self._archived(place, place.scan)

    def _begun(self, place: Place, until: int) -> Place:
        """The next window; at the very beginning all records, by whichever way takes fewer calls.

        A search brings 200 and a page 100. Where there are too many properties for a search, it brings the ids alone,
        and the records are read by id: one and a half calls for 100.
        """
        if place.bookmark is not None:
            since = max(0, place.bookmark - int(self._config.look_back * 1000))
            return replace(place, window=Window(since, max(until, since)))
        if self._objects.is_searched_whole() or not self._objects.is_listed_whole():
            return replace(place, window=Window(None, until))
        return replace(place, load=Scan(None, until))

    def _load(self, place: Place, begun: Scan, now: int) -> Generator[Page, None, Place]:
        walk: Scan | None = begun
        while walk is not None:
            try:
                rows, after = self._gathered_pages(walk)
            except TooLong:
                return replace(place, load=None, window=Window(None, begun.began))
            walk = Scan(after, begun.began) if after is not None else None
            place = replace(place, load=walk)
            if walk is None:
                # What was deleted before was never here.
                place = replace(place, bookmark=begun.began, archived=begun.began, pulled=now)
            yield self._page(rows, place)
        return place

    def _gathered_pages(self, walk: Scan) -> tuple[list[Row], str | None]:
        """As many pages as one call for what belongs to their records takes; only one where nothing is asked for."""
        rows, after = self._objects.page(walk.after)
        found = list(rows)
        while self._objects.belonging and after is not None and len(found) < ASSOCIATED:
            rows, after = self._objects.page(after)
            found += rows
        return found, after

    def _changes(self, place: Place, window: Window, now: int) -> Generator[Page, None, Place]:
        left: Window | None = window
        while left is not None:
            rows, left = self._gathered_changes(left)
            place = replace(place, window=left)
            if left is None:
                bookmark = max(window.until, place.bookmark or 0)
                place = replace(place, bookmark=bookmark, archived=place.archived or window.until, pulled=now)
            yield self._page(rows, place)
        return place

    def _gathered_changes(self, window: Window) -> tuple[list[Row], Window | None]:
        found: list[Row] = []
        left: Window | None = window
        while left is not None:
            rows, left = self._objects.search(left)
            found += rows
            if not self._objects.belonging or len(found) + len(rows) > ASSOCIATED:
                break
        return found, left

    def _archived(self, place: Place, begun: Scan) -> Iterator[Page]:
        """Whatever was archived since the last look. HubSpot has no other way to ask (vendor documentation)."""
        since = (place.archived or 0) - _OVERLAP
        walk: Scan | None = begun
        while walk is not None:
            rows, after = self._objects.page(walk.after, archived=True)
            walk = Scan(after, begun.began) if after is not None else None
            place = replace(place, scan=walk)
            if walk is None:
                place = replace(place, archived=begun.began)
            lately = (row for row in rows if milliseconds(row.get("archivedAt")) >= since)
            records = [record for row in lately for record in archived_of(row)]
            yield Page(records, place.cursor(), origin=f"{self._objects.name}, archived")

    def _page(self, rows: Sequence[Row], place: Place) -> Page:
        return replace(self._pages_of(rows), cursor=place.cursor())

    def _pages_of(self, rows: Sequence[Row]) -> Page:
        ids = list(dict.fromkeys(str(row["id"]) for row in rows))
        belonging = self._objects.belonging_to(ids) if ids else {}
        return Page(records_of(rows, belonging), None, origin=self._objects.name)

    def _now(self) -> int:
        return int(self._clock() * 1000)
