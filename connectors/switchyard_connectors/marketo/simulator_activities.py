"""Activities of the Marketo simulator as the API reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_fields import Fields
from switchyard_connectors.marketo.simulator_instance import (
    Arguments,
    Instance,
    instant,
    iso,
    skipped,
    token,
)
from switchyard_connectors.marketo.simulator_lists import Lists
from switchyard_connectors.marketo.simulator_log import (
    ADD_TO_LIST,
    CHANGE_SCORE,
    CHANGE_VALUE,
    DELETE,
    MERGE,
    NEW_LEAD,
    REMOVE_FROM_LIST,
    STATUS,
    WEBHOOK,
    Entry,
    Log,
    Window,
    guid,
)
from switchyard_connectors.marketo.simulator_people import People

TYPES, LEADS = 10, 30
"""Types and leads that one call may ask for."""
LARGE_LIST = 10_000
KEPT = 14 * 86_400
"""Seconds for which deletions can be read (vendor documentation, activities)."""
_CUSTOM = 100_001


@dataclass(slots=True)
class ActivityType:
    """A type; `attributes` are names and data types. Custom ones are used once they are approved."""

    id: int
    name: str
    primary: tuple[str, str]
    attributes: Mapping[str, str]
    api_name: str | None = None
    approved: bool = True


_STANDARD: Sequence[ActivityType] = (
    ActivityType(
        1, "Visit Webpage", ("Webpage ID", "integer"), {"Client IP Address": "string", "User Agent": "string"}
    ),
    ActivityType(2, "Fill Out Form", ("Webform ID", "integer"), {"Client IP Address": "string", "Form Fields": "text"}),
    ActivityType(3, "Click Link", ("Link ID", "integer"), {"Client IP Address": "string"}),
    ActivityType(6, "Send Email", ("Mailing ID", "integer"), {"Campaign Run ID": "integer"}),
    ActivityType(7, "Email Delivered", ("Mailing ID", "integer"), {"Campaign Run ID": "integer"}),
    ActivityType(8, "Email Bounced", ("Mailing ID", "integer"), {"Category": "string", "Details": "string"}),
    ActivityType(9, "Unsubscribe Email", ("Mailing ID", "integer"), {"Client IP Address": "string"}),
    ActivityType(10, "Open Email", ("Mailing ID", "integer"), {"Device": "string", "Is Mobile Device": "boolean"}),
    ActivityType(11, "Click Email", ("Mailing ID", "integer"), {"Link": "string", "Device": "string"}),
    ActivityType(NEW_LEAD, "New Lead", ("Lead ID", "integer"), {"Source Type": "string"}),
    ActivityType(
        CHANGE_VALUE,
        "Change Data Value",
        ("Attribute Name", "string"),
        {"New Value": "string", "Old Value": "string", "Reason": "string", "Source": "string"},
    ),
    ActivityType(
        CHANGE_SCORE, "Change Score", ("Score Name", "string"), {"Change Value": "string", "New Value": "integer"}
    ),
    ActivityType(ADD_TO_LIST, "Add to List", ("List ID", "integer"), {"Source": "string"}),
    ActivityType(REMOVE_FROM_LIST, "Remove from List", ("List ID", "integer"), {"Source": "string"}),
    ActivityType(
        MERGE,
        "Merge Leads",
        ("Lead ID", "integer"),
        {"Merge IDs": "string", "Master Updated": "boolean", "Merge Source": "string"},
    ),
    ActivityType(DELETE, "Delete Lead", ("Lead ID", "integer"), {}),
    ActivityType(STATUS, "Change Status in Progression", ("Program ID", "integer"), {"New Status": "string"}),
    ActivityType(WEBHOOK, "Call Webhook", ("Webhook", "integer"), {"Response": "text", "Error Type": "string"}),
)


class Activities:
    """`activities.json`, `leadchanges.json`, `deletedleads.json`, and the types."""

    def __init__(self, instance: Instance, people: People, fields: Fields, lists: Lists, log: Log) -> None:
        self.types = {each.id: each for each in _STANDARD}
        self._instance = instance
        self._people = people
        self._fields = fields
        self._lists = lists
        self._log = log

    def add_type(
        self, name: str, api_name: str, primary: str, attributes: Mapping[str, str], *, approved: bool = True
    ) -> ActivityType:
        """Define a custom activity type; `attributes` are names and data types."""
        number = max(_CUSTOM - 1, *self.types) + 1
        made = ActivityType(number, name, (primary, "string"), attributes, api_name, approved)
        self.types[number] = made
        return made

    def record(self, kind: int, lead_id: int, **more: Any) -> int:
        """Have something happen to a lead, such as an opened e-mail; see `Log.add`."""
        return self._log.add(kind, lead_id, **more)

    def paging_token(self, request: Request) -> Answer:
        """`pagingtoken.json`: where reading from an instant begins."""
        try:
            at = instant(Arguments(request).text("sinceDatetime"))
        except ValueError:
            raise self._instance.failure("1003", "Invalid value for parameter 'sinceDatetime'") from None
        return self._instance.answer(nextPageToken=token("activity", self._log.since(at)))

    def get(self, request: Request) -> Answer:
        """A page of activities of at most ten types."""
        arguments = Arguments(request)
        types = set(arguments.integers("activityTypeIds"))
        if not types:
            raise self._instance.failure("1002", "Missing value for required parameter 'activityTypeIds'")
        if len(types) > TYPES:
            raise self._instance.failure("1003", f"Too many values for parameter 'activityTypeIds': at most {TYPES}")
        if unknown := types - self.types.keys():
            raise self._instance.failure("1003", f"Invalid activity type {min(unknown)}")
        assets, of_leads = set(arguments.integers("assetIds")), self._of_leads(arguments)
        window = self._window(
            arguments,
            lambda entry: entry.type in types and of_leads(entry) and (not assets or entry.primary_id in assets),
        )
        return self._page([self.shown(*each) for each in window.found], window)

    def changes(self, request: Request) -> Answer:
        """A page of what became of some fields: new leads, and changed values."""
        arguments = Arguments(request)
        names = arguments.texts("fields")
        if not names:
            raise self._instance.failure("1002", "Missing value for required parameter 'fields'")
        if unknown := [name for name in names if name not in self._fields.known]:
            raise self._instance.failure("1006", f"Field '{unknown[0]}' not found")
        wanted = {self._fields.known[name].id for name in names}
        of_leads = self._of_leads(arguments)
        window = self._window(
            arguments,
            lambda entry: (
                (entry.type == NEW_LEAD or (entry.type == CHANGE_VALUE and entry.primary_id in wanted))
                and of_leads(entry)
            ),
        )
        return self._page([self._change(*each) for each in window.found], window)

    def deleted(self, request: Request) -> Answer:
        """A page of deletions of the last 14 days."""
        oldest = self._instance.clock() - KEPT
        window = self._window(Arguments(request), lambda entry: entry.type == DELETE and entry.at >= oldest)
        return self._page([self.shown(*each) for each in window.found], window)

    def list_types(self, _: Request) -> Answer:
        return self._instance.answer([_type(each) for each in self.types.values() if each.approved])

    def list_custom(self, _: Request) -> Answer:
        """`activities/external/types.json`."""
        rows = [
            {
                "apiName": each.api_name,
                "name": each.name,
                "triggerName": each.name,
                "filterName": each.name,
                "status": "approved" if each.approved else "draft",
                "primaryAttribute": {"apiName": each.primary[0], "name": each.primary[0], "dataType": each.primary[1]},
            }
            for each in self.types.values()
            if each.api_name
        ]
        return self._instance.answer(rows)

    def add_custom(self, request: Request) -> Answer:
        """Add custom activities, one verdict per row in their order."""
        return self._instance.answer([self._added(row) for row in self._instance.inputs(request)])

    def shown(self, place: int, entry: Entry) -> dict[str, Any]:
        """An activity as the API shows it. Those of a lead that was merged away are its winner's."""
        row: dict[str, Any] = {
            "id": place + 1,
            "marketoGUID": guid(place),
            "leadId": self._people.resolved(entry.lead),
            "activityDate": iso(entry.at),
            "activityTypeId": entry.type,
        }
        if entry.primary_id is not None:
            row["primaryAttributeValueId"] = entry.primary_id
        if entry.primary is not None:
            row["primaryAttributeValue"] = entry.primary
        return row | {"attributes": _attributes(entry.attributes)}

    def dump(self) -> list[dict[str, Any]]:
        """The custom types, as JSON."""
        return [asdict(each) for each in self.types.values() if each.api_name]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Know the types that `dump` gave."""
        for each in state:
            self.types[each["id"]] = ActivityType(**{**each, "primary": tuple(each["primary"])})

    def _window(self, arguments: Arguments, wanted: Callable[[Entry], bool]) -> Window:
        place = self._instance.place(arguments, "activity")
        if place is None:
            raise self._instance.failure("1003", "Invalid value for parameter 'nextPageToken'")
        return self._log.window(place, wanted, arguments.size())

    def _page(self, rows: list[dict[str, Any]], window: Window) -> Answer:
        """The token is always there; only `moreResult` says whether to go on. An empty page has no result."""
        more = {"nextPageToken": token("activity", window.end), "moreResult": window.more}
        return self._instance.answer(rows or None, **more)

    def _of_leads(self, arguments: Arguments) -> Callable[[Entry], bool]:
        ids = set(arguments.integers("leadIds"))
        if len(ids) > LEADS:
            raise self._instance.failure("1003", f"Too many values for parameter 'leadIds': at most {LEADS}")
        if "listId" in arguments:
            found = self._lists.lists.get(int(arguments.text("listId") or 0))
            if found is None:
                raise self._instance.failure("1013", "List not found")
            if len(found.members) >= LARGE_LIST:
                raise self._instance.failure("1003", f"The list has {LARGE_LIST} members or more")
            ids = set(found.members) & ids if ids else set(found.members)
            return lambda entry: self._people.resolved(entry.lead) in ids
        return lambda entry: not ids or self._people.resolved(entry.lead) in ids

    def _change(self, place: int, entry: Entry) -> dict[str, Any]:
        row = self.shown(place, entry)
        row.pop("primaryAttributeValue", None)
        row.pop("primaryAttributeValueId", None)
        if entry.type == NEW_LEAD:
            return row | {"fields": []}
        names = ((each.name, each.id) for each in self._fields.known.values() if each.id == entry.primary_id)
        name, number = next(names, (entry.primary, entry.primary_id))
        new, old = entry.attributes.get("New Value"), entry.attributes.get("Old Value")
        kept = {key: entry.attributes[key] for key in ("Reason", "Source") if key in entry.attributes}
        fields = [{"id": number, "name": name, "newValue": _text(new), "oldValue": _text(old)}]
        return row | {"attributes": _attributes(kept), "fields": fields}

    def _added(self, row: Mapping[str, Any]) -> dict[str, Any]:
        for name in ("leadId", "activityDate", "activityTypeId", "primaryAttributeValue"):
            if row.get(name) in (None, ""):
                return skipped("1002", f"Missing value for required parameter '{name}'")
        known = self.types.get(row["activityTypeId"])
        if known is None or not known.api_name or not known.approved:
            return skipped("1003", f"Invalid custom activity type {row['activityTypeId']}")
        if self._people.get(row["leadId"]) is None:
            return skipped("1004", "Lead not found")
        try:
            at = instant(row["activityDate"])
        except ValueError:
            return skipped("1003", f"Invalid value for field 'activityDate' and value '{row['activityDate']}'")
        values = {each.get("name") or each.get("apiName"): each.get("value") for each in row.get("attributes") or ()}
        if unknown := values.keys() - known.attributes.keys():
            return skipped("1006", f"Field '{min(unknown)}' not found")
        primary = str(row["primaryAttributeValue"])
        number = self._log.add(known.id, row["leadId"], at, primary=primary, attributes=values)
        return {"id": number, "marketoGUID": guid(number - 1), "status": "added"}


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Names and values; empty ones are left away (vendor documentation, activities)."""
    return [{"name": name, "value": value} for name, value in values.items() if value is not None]


def _type(each: ActivityType) -> dict[str, Any]:
    name, kind = each.primary
    row: dict[str, Any] = {
        "id": each.id,
        "name": each.name,
        "description": each.name,
        "primaryAttribute": {"name": name, "dataType": kind},
        "attributes": [{"name": name, "dataType": kind} for name, kind in each.attributes.items()],
    }
    return row | ({"apiName": each.api_name} if each.api_name else {})


def _text(value: Any) -> str | None:
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
