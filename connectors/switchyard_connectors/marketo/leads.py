"""The stream of leads: all there are, those that changed, those that were deleted or merged into others."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias, cast

from switchyard.api import Cursor, Page
from switchyard.api.records import DELETED, JSON
from switchyard_connectors.marketo import windows
from switchyard_connectors.marketo.client import BATCH, Marketo
from switchyard_connectors.marketo.config import MarketoConfig
from switchyard_connectors.marketo.exports import Exports, Extract, FilterUnsupported
from switchyard_connectors.marketo.feeds import CHANGE_SCORE, MERGE, Feeds, Mark, Rows
from switchyard_connectors.marketo.records import texts_of
from switchyard_connectors.marketo.schema import NEVER_CHANGED, Schema

_PENDING = 10 * BATCH
"""Changed leads that are gathered before they are read, so that calls are full."""
_FEW = 10
"""Pages of a feed of changes up to which they are read; a bulk extract of more takes fewer calls and less time."""

_LONGEST = 6_000
"""Bytes of the names of fields that a question after changes holds, beside all else that stands in its URI."""

_State: TypeAlias = "dict[str, JSON]"


class Leads:
    """Reads the stream of leads.

    The first time, and then once a day or where much changed, by bulk extract in windows of the time of change, which
    tells of any field. Between these by the feed of changes, which takes seconds, and does not tell of fields whose
    changes Marketo does not log. Where the subscription lacks that filter, by windows of the time of creation once, and
    from then on by the feed alone. Deletions and merges have feeds of their own.

    The cursor: `by` ("updatedAt", "createdAt" or "changes"), `fields`, `span` (see `windows.Place`), and the marks of
    the feeds `changes`, `scored`, `merged` and `deleted`.
    """

    def __init__(self, config: MarketoConfig, marketo: Marketo, schema: Schema, exports: Exports) -> None:
        self._config = config
        self._marketo = marketo
        self._schema = schema
        self._exports = exports

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """The pages behind the cursor."""
        fields = self._schema.there(self._config.lead_fields)
        reading = _Reading(self._config, self._marketo, self._exports, fields, self._schema.are_scores(fields))
        yield from reading.pages(cursor)


class _Reading:
    """One reading of the stream, which knows the cursor of the last page that it gave."""

    def __init__(
        self, config: MarketoConfig, marketo: Marketo, exports: Exports, fields: Sequence[str], has_scores: bool
    ) -> None:
        self._config = config
        self._marketo = marketo
        self._exports = exports
        self._fields = fields
        self._has_scores = has_scores
        self._since = windows.midnight_of(config.since)
        self._feeds = Feeds(marketo)
        self._state: _State = {}

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        self._state = self._adapted(dict(cursor)) if cursor else self._beginning()
        is_many = False
        if self._is_feed_enough():
            is_many = yield from self._changed(_FEW if self._state["by"] == "updatedAt" else None)
        if is_many or not self._is_feed_enough():
            yield from self._windows()
            if self._state["by"] == "changes":
                yield from self._changed(None)
        # What is merged or deleted meanwhile is so at the end, whatever a window said of it before.
        yield from self._merged()
        yield from self._deleted()

    def _page(self, records: Sequence[Mapping[str, JSON]], moved: _State, origin: str | None = None) -> Page:
        self._state = {**self._state, **moved}
        return Page(records, self._state, origin=origin)

    def _beginning(self) -> _State:
        begun = windows.text_of(windows.now())
        state: _State = {"fields": list(self._fields), "merged": {"at": begun}, "deleted": {"at": begun}}
        if self._config.extract == "none":
            return {**state, "by": "changes", **_marks(self._since)}
        if self._config.extract == "created_at":
            return {**state, "by": "createdAt", "span": {"at": self._since}, **_marks(begun)}
        return {**state, "by": "updatedAt", "span": {"at": self._since}}

    def _adapted(self, state: _State) -> _State:
        """The state for a configuration that is another since: everybody is read again where a field is new, and where
        windows of changes are not wanted any more, the feeds go on where those ended.
        """
        if set(self._fields) - set(cast("list[str]", state["fields"])):
            return {**self._beginning(), "merged": state["merged"], "deleted": state["deleted"]}
        state["fields"] = list(self._fields)
        if state["by"] != "updatedAt" or self._config.extract == "auto":
            return state
        span = cast("windows.Place", state["span"])
        return {**state, "by": "changes", **_marks(str(span["at"])), "span": None}

    def _is_feed_enough(self) -> bool:
        if self._state["by"] == "changes":
            return True
        span = cast("windows.Place", self._state["span"])
        oldest = windows.now() - timedelta(hours=self._config.bulk_every_hours)
        is_young = "jobs" not in span and windows.instant_of(str(span["at"])) > oldest
        can_be_asked = len(",".join(self._fields)) <= _LONGEST
        return is_young and can_be_asked and "changes" in self._state and self._state["by"] == "updatedAt"

    def _windows(self) -> Iterator[Page]:
        """What changed, or was made, since the last windows."""
        begun, by = self._state, str(self._state["by"])
        span = windows.looking_back(cast("windows.Place", begun["span"]), self._since)
        end = windows.end_of(span)
        extract = Extract("leads", self._fields, by, {})

        def cursor(place: windows.Place) -> Cursor:
            is_over = "jobs" not in place and windows.instant_of(str(place["at"])) >= end
            if by == "createdAt":
                self._state = {**begun, "by": "changes", "span": None} if is_over else {**begun, "span": place}
            else:
                # From here on the feeds tell what the windows do not.
                feeds = _marks(str(windows.looking_back(place, self._since)["at"])) if is_over else {}
                self._state = {**begun, "span": place, **feeds}
            return self._state

        try:
            yield from windows.read(self._exports, extract, span, end, cursor)
        except FilterUnsupported:
            if by == "createdAt":
                raise
            # Everybody is read once more by creation, so what changed until now needs no feed.
            yield self._page((), {"by": "createdAt", "span": {"at": self._since}, **_marks(windows.text_of(end))})
            yield from self._windows()

    def _changed(self, few: int | None) -> Generator[Page, None, bool]:
        """The leads that the feeds of changes name, as they are now. Whether they are more than a few pages."""
        names = [each for each in self._fields if each not in NEVER_CHANGED]
        is_many = yield from self._followed("changes", self._feeds.changes(names, self._mark("changes")), few)
        if is_many or not self._has_scores:
            return is_many
        scored = self._feeds.activities((CHANGE_SCORE,), self._mark("scored"))
        return (yield from self._followed("scored", scored, few))

    def _followed(self, name: str, pages: Iterator[tuple[Rows, Mark]], few: int | None) -> Generator[Page, None, bool]:
        pending: dict[str, None] = {}
        mark = self._mark(name)
        for number, (rows, behind) in enumerate(pages):
            if number == few:
                return True
            mark = behind
            pending |= {str(row["leadId"]): None for row in rows if row.get("leadId")}
            if len(pending) >= _PENDING or not rows:
                yield from self._as_they_are(list(pending), name, mark)
                pending = {}
        yield from self._as_they_are(list(pending), name, mark)
        return False

    def _as_they_are(self, ids: Sequence[str], name: str, mark: Mark) -> Iterator[Page]:
        for start in range(0, len(ids), BATCH):
            records = self._read(ids[start : start + BATCH])
            moved: _State = {name: dict(mark)} if start + BATCH >= len(ids) else {}
            yield self._page(records, moved, "/rest/v1/leads.json")
        if not ids and mark != self._state[name]:
            yield self._page((), {name: dict(mark)})

    def _read(self, ids: Sequence[str]) -> list[Mapping[str, JSON]]:
        return [texts_of(row) for row in self._marketo.leads("id", ids, self._fields)]

    def _deleted(self) -> Iterator[Page]:
        for rows, mark in self._feeds.deleted(self._mark("deleted")):
            gone = dict.fromkeys(str(row["leadId"]) for row in rows if row.get("leadId"))
            records: list[Mapping[str, JSON]] = [{"id": lead, DELETED: True} for lead in gone]
            yield self._page(records, {"deleted": dict(mark)}, "/rest/v1/activities/deletedleads.json")

    def _merged(self) -> Iterator[Page]:
        """The losers, and the winners, which may have got values of theirs."""
        for rows, mark in self._feeds.activities((MERGE,), self._mark("merged")):
            gone = losers(rows)
            records = [*gone, *self._read(list(dict.fromkeys(str(each["merged_into"]) for each in gone)))]
            yield self._page(records, {"merged": dict(mark)}, "/rest/v1/activities.json")

    def _mark(self, name: str) -> Mark:
        return cast("Mark", self._state[name])


def _marks(at: str) -> _State:
    """Both feeds of changes, from an instant on."""
    return {"changes": {"at": at}, "scored": {"at": at}}


def losers(rows: Rows) -> list[dict[str, JSON]]:
    """The leads that are no more since they were merged into others: they keep both ids.

    The activity belongs to the winner and names the losers in its attribute `Merge IDs`.
    """
    found: dict[str, dict[str, JSON]] = {}
    for row in rows:
        winner = str(row.get("leadId"))
        named = [each for each in row.get("attributes") or () if each.get("name") == "Merge IDs"]
        for loser in re.findall(r"\d+", str(named[0].get("value"))) if named else ():
            if loser != winner:
                found[loser] = {"id": loser, "merged_into": winner, DELETED: True}
    return list(found.values())
