"""The streams of what leads did: all types of activities, and changes of single fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, cast

from switchyard.api import Cursor, Page
from switchyard.api.records import JSON
from switchyard_connectors.marketo import windows
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.config import MarketoConfig
from switchyard_connectors.marketo.exports import Exports, Extract
from switchyard_connectors.marketo.feeds import DELETE, TYPES, Feeds, Mark, Rows
from switchyard_connectors.marketo.records import ACTIVITY, activity_of, as_text
from switchyard_connectors.marketo.schema import Schema

_SETTLED = timedelta(minutes=15)
"""The youngest activities are left to the feeds: an extract knows only what was written down when it ran."""

_State: TypeAlias = "dict[str, JSON]"


class Activities:
    """Reads the stream of activities: old ones by bulk extract, all types in one job; then by feeds of ten types.

    The cursor: `feeds`, types joined by commas → mark; and while there is history to extract, `span`, `until` and the
    `types` that it is of.
    """

    def __init__(self, config: MarketoConfig, marketo: Marketo, exports: Exports) -> None:
        self._config = config
        self._wanted = list(dict.fromkeys(config.activity_types))
        self._marketo = marketo
        self._exports = exports
        self._since = windows.midnight_of(config.activities_since or config.since)

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """The pages behind the cursor."""
        state: _State = dict(cursor or {})
        if state.get("span") and self._config.extract == "none":
            at = str(cast("windows.Place", state["span"])["at"])
            state = {"feeds": {**_marks(state), **_groups(_types(state), at)}}
        if state.get("span"):
            for page in self._windows(state):
                state = dict(cast("_State", page.cursor))
                yield page
        if new := [each for each in self._wanted if each not in _known(state)]:
            state = self._begun(state, new)
            yield from self._windows(state) if "span" in state else ()
            state = {"feeds": {**_marks(state), **_groups(_types(state), str(state.get("until")))}}
        yield from self._followed(self._still_wanted(state))

    def _begun(self, state: _State, new: Sequence[int]) -> _State:
        """The state for types that are newly asked for: they are read from the beginning."""
        limit = windows.now() - timedelta(days=self._config.bulk_history_days)
        in_bulk = [each for each in new if each != DELETE]
        if not in_bulk or self._config.extract == "none" or windows.instant_of(self._since) >= limit:
            return {"feeds": {**_marks(state), **_groups(new, self._since)}}
        feeds = {**_marks(state), **_groups([each for each in new if each == DELETE], self._since)}
        until = windows.text_of(windows.now() - _SETTLED)
        return {"feeds": feeds, "span": {"at": self._since}, "until": until, "types": [*in_bulk]}

    def _windows(self, state: _State) -> Iterator[Page]:
        until = str(state["until"])
        extract = Extract("activities", ACTIVITY, "createdAt", {"activityTypeIds": state["types"]})

        def cursor(place: windows.Place) -> Cursor:
            if place == {"at": until}:
                return {"feeds": {**_marks(state), **_groups(_types(state), until)}}
            return {**state, "span": place}

        yield from windows.read(
            self._exports, extract, cast("windows.Place", state["span"]), windows.instant_of(until), cursor
        )

    def _still_wanted(self, state: _State) -> dict[str, JSON]:
        kept: dict[str, JSON] = {}
        for group, mark in _marks(state).items():
            if still := [each for each in group.split(",") if int(each) in self._wanted]:
                kept[",".join(still)] = mark
        return kept

    def _followed(self, marks: dict[str, JSON]) -> Iterator[Page]:
        feeds = Feeds(self._marketo)
        for group, begun in marks.items():
            types = [int(each) for each in group.split(",")]
            for rows, mark in feeds.activities(types, cast("Mark", begun)):
                marks = {**marks, group: dict(mark)}
                yield Page([activity_of(row) for row in rows], {"feeds": marks}, origin="/rest/v1/activities.json")


def _marks(state: _State) -> dict[str, JSON]:
    return cast("dict[str, JSON]", state.get("feeds") or {})


def _types(state: _State) -> list[int]:
    return cast("list[int]", state.get("types") or [])


def _known(state: _State) -> set[int]:
    return {int(each) for group in _marks(state) for each in group.split(",")}


def _groups(types: Sequence[int], at: str) -> dict[str, JSON]:
    """Feeds of at most ten types that begin at an instant."""
    parts = (types[start : start + TYPES] for start in range(0, len(types), TYPES))
    return {",".join(map(str, part)): {"at": at} for part in parts}


class LeadChanges:
    """Reads the stream of changes: a record for each field of each change. The cursor is the mark of its feed."""

    def __init__(self, config: MarketoConfig, marketo: Marketo, schema: Schema) -> None:
        self._config = config
        self._marketo = marketo
        self._schema = schema

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """The pages behind the cursor."""
        since = windows.midnight_of(self._config.activities_since or self._config.since)
        fields = self._schema.there(self._config.changes)
        for rows, mark in Feeds(self._marketo).changes(fields, cursor or {"at": since}) if fields else ():
            yield Page(_changes(rows), dict(mark), origin="/rest/v1/activities/leadchanges.json")


def _changes(rows: Rows) -> list[Mapping[str, Any]]:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        about = activity_of(row)
        for each in row.get("fields") or ():
            change = {name: as_text(each.get(name)) for name in ("newValue", "oldValue")}
            field = str(each.get("name"))
            found[str(about["marketoGUID"]), field] = {
                **{name: about[name] for name in ("marketoGUID", "leadId", "activityDate", "activityTypeId")},
                "field": field,
                **change,
            }
    return list(found.values())
