"""Programs of the Marketo simulator and their members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_fields import Fields
from switchyard_connectors.marketo.simulator_instance import (
    PAGE,
    Arguments,
    Instance,
    asset_iso,
    instant,
    iso,
    skipped,
)
from switchyard_connectors.marketo.simulator_log import STATUS, Log
from switchyard_connectors.marketo.simulator_people import People

MOST = 100_000
"""Members of a program of which other filters than `leadId` can read (vendor documentation, program-members)."""
SPAN = 7 * 86_400
_FIRST = 1_001
_STATUSES = ("Not in Program", "Invited", "Registered", "Attended")
_OWN = ("leadId", "programId", "program", "statusName", "membershipDate", "reachedSuccess", "acquiredBy", "isExhausted")
_DATES = ("createdAt", "updatedAt")


@dataclass(slots=True)
class Member:
    """A lead in a program; times in epoch seconds. `values` are custom fields of the membership."""

    lead: int
    status: str
    since: float
    updated: float
    acquired: bool = False
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Program:
    """A program. Its statuses rise; whoever has the last of them reached success."""

    id: int
    name: str
    created: float
    statuses: Sequence[str] = _STATUSES
    members: dict[int, Member] = field(default_factory=dict)

    def reached(self, member: Member) -> bool:
        return member.status == self.statuses[-1]


class Programs:
    """The programs, by id. `fields` are the names of custom member fields."""

    def __init__(self, instance: Instance, people: People, fields: Fields, log: Log) -> None:
        self.programs: dict[int, Program] = {}
        self.fields: list[str] = []
        self._instance = instance
        self._people = people
        self._fields = fields
        self._log = log

    def add(self, name: str, statuses: Sequence[str] = _STATUSES) -> Program:
        """Make a program, as a person inside Marketo would."""
        number = max(_FIRST - 1, *self.programs, 0) + 1
        made = Program(number, name, self._instance.clock(), statuses)
        self.programs[number] = made
        return made

    def put(self, program_id: int, lead_ids: Iterable[int], status: str) -> None:
        """Have leads be members with this status, whatever theirs was."""
        program = self.programs[program_id]
        for lead_id in lead_ids:
            self._set(program, lead_id, status)

    def forget(self, lead_id: int, heir: int | None) -> None:
        """A lead ceases to be; `heir` takes its place."""
        for program in self.programs.values():
            member = program.members.pop(lead_id, None)
            if member is not None and heir is not None and heir not in program.members:
                member.lead, member.updated = heir, self._instance.clock()
                program.members[heir] = member

    def columns(self) -> frozenset[str]:
        """The names that a bulk extract can ask for."""
        return frozenset((*_OWN, *_DATES, *self.fields, *self._fields.known))

    def values(self, program: Program, member: Member) -> Mapping[str, Any]:
        """A membership and its lead, by the names of `columns`."""
        lead = self._people.get(member.lead)
        held = {name: lead.value(name) for name in self._fields.known} if lead else {}
        return {
            **held,
            **member.values,
            "leadId": member.lead,
            "programId": program.id,
            "program": program.name,
            "statusName": member.status,
            "membershipDate": iso(member.since),
            "reachedSuccess": program.reached(member),
            "acquiredBy": member.acquired,
            "isExhausted": False,
            "createdAt": iso(member.since),
            "updatedAt": iso(member.updated),
        }

    def browse(self, request: Request) -> Answer:
        """A page of `programs.json` of the asset API."""
        arguments = Arguments(request)
        start, size = int(arguments.text("offset") or 0), arguments.size("maxReturn", 200, 20)
        return self._instance.asset([_asset(each) for each in list(self.programs.values())[start : start + size]])

    def by_name(self, request: Request) -> Answer:
        name = Arguments(request).text("name")
        return self._instance.asset([_asset(each) for each in self.programs.values() if each.name == name])

    def by_id(self, request: Request) -> Answer:
        text = request.params["program_id"]
        found = self.programs.get(int(text)) if text.isdigit() else None
        return self._instance.asset([_asset(found)] if found else [])

    def describe(self, _: Request) -> Answer:
        """`programs/members/describe.json`."""
        names = [*_OWN, *_DATES, *self.fields]
        fields = [
            {
                "name": name,
                "displayName": name,
                "dataType": "integer" if name in ("leadId", "programId") else "string",
                "updateable": name in self.fields,
                "crmManaged": False,
            }
            for name in names
        ]
        now = self._instance.now()
        return self._instance.answer(
            [
                {
                    "name": "API Program Membership",
                    "description": "Map for API program membership fields",
                    "createdAt": now,
                    "updatedAt": now,
                    "dedupeFields": ["leadId", "programId"],
                    "searchableFields": [["leadId"], ["statusName"], ["reachedSuccess"], ["updatedAt"]],
                    "fields": fields,
                }
            ]
        )

    def members(self, request: Request) -> Answer:
        """A page of members (vendor documentation, program-members)."""
        program, arguments = self._addressed(request), Arguments(request)
        name, values = arguments.text("filterType"), arguments.texts("filterValues")
        if name != "leadId" and len(program.members) > MOST:
            raise self._instance.failure("1003", "Too many results match the filter")
        names = arguments.texts("fields")
        if unknown := [each for each in names if each not in self.columns()]:
            raise self._instance.failure("1006", f"Field '{unknown[0]}' not found")
        found = sorted(self._filtered(program, name, values, arguments), key=lambda member: member.lead)
        rows, more = self._instance.page(request, found)
        shown = []
        for number, member in enumerate(rows):
            held = self.values(program, member)
            kept = dict.fromkeys(("leadId", "reachedSuccess", "programId", "acquiredBy", "membershipDate", *names))
            shown.append({"seq": number, **{each: held.get(each) for each in kept}})
        return self._instance.answer(shown, **more)

    def set_status(self, request: Request) -> Answer:
        """Have leads be members with a status; who is further already stays so."""
        program = self._addressed(request)
        status = request.json().get("statusName")
        if status not in program.statuses:
            raise self._instance.failure("1003", f"Invalid value for field 'statusName' and value '{status}'")
        verdicts = []
        for number, row in enumerate(self._instance.inputs(request)):
            lead_id = row.get("leadId")
            member = program.members.get(lead_id or 0)
            if not isinstance(lead_id, int) or self._people.get(lead_id) is None:
                verdicts.append(skipped("1004", "Lead not found", seq=number, leadId=lead_id))
            elif member and program.statuses.index(member.status) > program.statuses.index(status):
                verdicts.append(skipped("1037", "Status is already past the given one", seq=number, leadId=lead_id))
            else:
                self._set(program, lead_id, status)
                verdicts.append({"seq": number, "leadId": lead_id, "status": "updated"})
        return self._instance.answer(verdicts)

    def change(self, request: Request) -> Answer:
        """Change custom fields of members."""
        program, verdicts = self._addressed(request), []
        for number, row in enumerate(self._instance.inputs(request)):
            values = {name: value for name, value in row.items() if name != "leadId"}
            member = program.members.get(row.get("leadId", 0))
            if member is None:
                verdicts.append(skipped("1004", "Lead not found", seq=number, leadId=row.get("leadId")))
            elif unknown := values.keys() - set(self.fields):
                message = f"Field '{min(unknown)}' not found"
                verdicts.append(skipped("1006", message, seq=number, leadId=member.lead))
            else:
                member.values |= values
                member.updated = self._instance.clock()
                verdicts.append({"seq": number, "leadId": member.lead, "status": "updated"})
        return self._instance.answer(verdicts)

    def delete(self, request: Request) -> Answer:
        """Take leads out of a program."""
        program, verdicts = self._addressed(request), []
        for number, row in enumerate(self._instance.inputs(request)):
            if program.members.pop(row.get("leadId", 0), None) is None:
                verdicts.append(skipped("1004", "Lead not found", seq=number, leadId=row.get("leadId")))
            else:
                verdicts.append({"seq": number, "leadId": row["leadId"], "status": "deleted"})
        return self._instance.answer(verdicts)

    def dump(self) -> dict[str, Any]:
        """All programs with their members, as JSON."""
        rows = [asdict(each) | {"members": [asdict(one) for one in each.members.values()]} for each in self._all()]
        return {"programs": rows, "fields": self.fields}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.fields = list(state["fields"])
        self.programs = {}
        for each in state["programs"]:
            members = {one["lead"]: Member(**one) for one in each["members"]}
            self.programs[each["id"]] = Program(**{**each, "members": members})

    def _all(self) -> Iterator[Program]:
        yield from self.programs.values()

    def _set(self, program: Program, lead_id: int, status: str) -> None:
        now = self._instance.clock()
        member = program.members.get(lead_id)
        if member is not None and member.status == status:
            return
        if member is None:
            program.members[lead_id] = Member(lead_id, status, now, now)
        else:
            member.status, member.updated = status, now
        self._log.add(STATUS, lead_id, primary=program.name, primary_id=program.id, attributes={"New Status": status})

    def _filtered(self, program: Program, name: str, values: Sequence[str], arguments: Arguments) -> Iterable[Member]:
        members = program.members
        if name == "updatedAt":
            start, end = self._span(arguments)
            return [each for each in members.values() if start <= each.updated <= end]
        if not values:
            raise self._instance.failure("1002", "Missing value for required parameter 'filterValues'")
        if len(values) > PAGE:
            raise self._instance.failure("1003", f"Too many values for parameter 'filterValues': at most {PAGE}")
        if name == "leadId":
            return [members[int(each)] for each in values if each.isdigit() and int(each) in members]
        if name not in ("statusName", "reachedSuccess", *self.fields):
            raise self._instance.failure("1003", f"Invalid value for field 'filterType' and value '{name}'")
        wanted = {each.lower() for each in values}
        return [each for each in members.values() if str(self.values(program, each).get(name)).lower() in wanted]

    def _span(self, arguments: Arguments) -> tuple[float, float]:
        try:
            start, end = instant(arguments.text("startAt")), instant(arguments.text("endAt"))
        except ValueError:
            raise self._instance.failure("1003", "Invalid value for parameter 'startAt' or 'endAt'") from None
        if not 0 <= end - start <= SPAN:
            raise self._instance.failure("1003", "The date range must be at most 7 days")
        return start, end

    def _addressed(self, request: Request) -> Program:
        text = request.params["program_id"]
        found = self.programs.get(int(text)) if text.isdigit() else None
        if found is None:
            raise self._instance.failure("1013", f"Program '{text}' not found")
        return found


def _asset(program: Program) -> dict[str, Any]:
    return {
        "id": program.id,
        "name": program.name,
        "description": "",
        "createdAt": asset_iso(program.created),
        "updatedAt": asset_iso(program.created),
        "url": f"https://app.marketo.example/#PG{program.id}A1",
        "type": "Default",
        "channel": "Event",
        "folder": {"type": "Folder", "value": 1, "folderName": "Default"},
        "status": "",
        "workspace": "Default",
    }
