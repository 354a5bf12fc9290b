"""The streams of who is on a list or in a program, and of lists and programs themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias, cast

from switchyard.api import Cursor, Page, PermanentError
from switchyard.api.records import DELETED, JSON
from switchyard_connectors.marketo import windows
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.config import MarketoConfig
from switchyard_connectors.marketo.exports import Exports, Extract
from switchyard_connectors.marketo.feeds import ADD_TO_LIST, REMOVE_FROM_LIST, Feeds, Mark, Rows
from switchyard_connectors.marketo.records import as_text, texts_of

_ASSETS = 200
"""Assets of one page (help/asset)."""
_WEEK = timedelta(days=7)
"""The longest span of changed program members that one call may ask for (help/program-members)."""
_FAR = timedelta(days=28)
"""From how long ago on a program is extracted whole, instead of asking week by week."""
_TOO_MANY = "1003"
"""Of a program of more than 100,000 members (help/program-members)."""
_PROGRAM_FIELDS = ("leadId", "programId", "statusName", "membershipDate", "reachedSuccess", "updatedAt")

_State: TypeAlias = "dict[str, JSON]"


class ListMembers:
    """Reads who is on static lists: each list once in full, then who was added and removed, by their activities.

    The cursor: `read`, the lists that are read in full; `page`, where the next one stands; and the mark `moves`.
    """

    def __init__(self, config: MarketoConfig, marketo: Marketo) -> None:
        self._lists = [str(each) for each in dict.fromkeys(config.lists)]
        self._marketo = marketo

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """The pages behind the cursor."""
        state: _State = dict(cursor or {"read": [], "page": None, "moves": {"at": windows.text_of(windows.now())}})
        # One that was taken out of the configuration meanwhile is read anew when it is in it again.
        state["read"] = [each for each in cast("Sequence[str]", state["read"]) if each in self._lists]
        for list_id in self._lists:
            if list_id not in cast("Sequence[str]", state["read"]):
                for page in self._whole(list_id, state):
                    state = dict(cast("_State", page.cursor))
                    yield page
        for rows, mark in Feeds(self._marketo).activities(
            (ADD_TO_LIST, REMOVE_FROM_LIST), cast("Mark", state["moves"])
        ):
            yield Page(self._moves(rows), {**state, "moves": dict(mark)}, origin="/rest/v1/activities.json")

    def _whole(self, list_id: str, state: _State) -> Iterator[Page]:
        path = f"/rest/v1/lists/{list_id}/leads.json"
        token = cast("str | None", state["page"])
        for page in self._marketo.pages_from(path, {"fields": "id"}, token):
            records = [{"listId": list_id, "leadId": as_text(row.get("id"))} for row in page.result]
            done: _State = {"read": [*cast("Sequence[str]", state["read"]), list_id], "page": None}
            yield Page(records, state | ({"page": page.token} if page.token else done), origin=path)

    def _moves(self, rows: Rows) -> list[Mapping[str, JSON]]:
        """Of several moves of one lead the last counts."""
        found: dict[tuple[str, str], Mapping[str, JSON]] = {}
        for row in rows:
            list_id, lead = str(row.get("primaryAttributeValueId")), str(row.get("leadId"))
            if list_id in self._lists:
                gone = row.get("activityTypeId") == REMOVE_FROM_LIST
                record: dict[str, JSON] = {"listId": list_id, "leadId": lead}
                found[list_id, lead] = record | ({DELETED: True} if gone else {})
        return list(found.values())


class ProgramMembers:
    """Reads who is in programs: each program once by bulk extract, then those who changed, week by week.

    The cursor: program's id → its place; see `windows.Place`.
    """

    def __init__(self, config: MarketoConfig, marketo: Marketo, exports: Exports) -> None:
        self._programs = [str(each) for each in dict.fromkeys(config.programs)]
        self._since = windows.midnight_of(config.since)
        self._marketo = marketo
        self._exports = exports
        self._in_bulk = config.extract != "none"

    def read(self, cursor: Cursor) -> Iterator[Page]:
        """The pages behind the cursor."""
        state: _State = dict(cursor or {})
        for program in self._programs:
            place = cast("windows.Place", state.get(program) or {"at": self._since})
            for page in self._members(program, place, state):
                state = dict(cast("_State", page.cursor))
                yield page

    def _members(self, program: str, place: windows.Place, state: _State) -> Iterator[Page]:
        end = windows.now()
        is_far = windows.instant_of(str(place["at"])) < end - _FAR
        if self._in_bulk and (program not in state or "jobs" in place or is_far):
            yield from self._in_one(program, place, state, end)
            return
        at = windows.instant_of(str(windows.looking_back(place, self._since)["at"]))
        while at < end:
            to = min(at + _WEEK, end)
            for rows in self._changed(program, at, to):
                if rows is None:
                    if not self._in_bulk:
                        raise PermanentError(f"program {program} has too many members to be read without bulk extract")
                    yield from self._in_one(program, place, state, end)
                    return
                done: _State = {**state, program: {"at": windows.text_of(at)}}
                yield Page([texts_of(row) for row in rows], done, origin=f"/rest/v1/programs/{program}/members.json")
            at = to
        yield Page((), {**state, program: {"at": windows.text_of(end)}})

    def _in_one(self, program: str, place: windows.Place, state: _State, end: datetime) -> Iterator[Page]:
        extract = Extract("program/members", _PROGRAM_FIELDS, None, {"programId": int(program)})
        yield from windows.read(self._exports, extract, place, end, lambda at: {**state, program: at})

    def _changed(self, program: str, at: datetime, to: datetime) -> Iterator[Rows | None]:
        """Pages of members, or None where Marketo has too many for that."""
        query = {
            "filterType": "updatedAt",
            "filterValues": "",
            "startAt": windows.text_of(at),
            "endAt": windows.text_of(to),
            "fields": ",".join(_PROGRAM_FIELDS),
        }
        path = f"/rest/v1/programs/{program}/members.json"
        for page in self._marketo.pages(path, query, expected=(_TOO_MANY,)):
            if page.code is not None:
                yield None
            elif page.result:
                yield page.result


class Catalogue:
    """Reads all static lists, or all programs, each time. The cursor says where to go on within one reading."""

    def __init__(self, marketo: Marketo) -> None:
        self._marketo = marketo

    def lists(self, cursor: Cursor) -> Iterator[Page]:
        """The static lists."""
        path = "/rest/v1/lists.json"
        for page in self._marketo.pages_from(path, {}, cast("str | None", (cursor or {}).get("page"))):
            yield Page([texts_of(row) for row in page.result], {"page": page.token}, origin=path)

    def programs(self, cursor: Cursor) -> Iterator[Page]:
        """The programs; past the last one there is no result."""
        path = "/rest/asset/v1/programs.json"
        offset = cast("int", (cursor or {}).get("offset") or 0)
        while True:
            rows = self._marketo.get(path, params={"maxReturn": _ASSETS, "offset": offset}).result
            offset = offset + len(rows) if len(rows) == _ASSETS else 0
            yield Page([texts_of(row) for row in rows], {"offset": offset}, origin=path)
            if not offset:
                return
