"""Creating, changing and deleting rows in the simulated org: one row at a time, by the org's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard_connectors.salesforce.simulator_org import PERSON, USER, Org, RowError, long_id
from switchyard_connectors.salesforce.simulator_records import Row, Store, Table
from switchyard_connectors.salesforce.simulator_values import Values

_MESSAGES = {
    "UNABLE_TO_LOCK_ROW": "unable to obtain exclusive access to this record or 1 records",
    "DUPLICATES_DETECTED": "Use one of these records?",
    "DUPLICATE_VALUE": "duplicate value found",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "a validation rule of the org refuses this",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "a trigger of the org failed",
}
_CHILDREN = {
    "Contact": (("CampaignMember", "ContactId"),),
    "Lead": (("CampaignMember", "LeadId"),),
    "Campaign": (("CampaignMember", "CampaignId"), ("CampaignMemberStatus", "CampaignId")),
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId")),
}


@dataclass(frozen=True, slots=True)
class Mode:
    """How rows are written.

    Args:
        version: of the API.
        allow_save: duplicates that a rule only warns of are saved all the same.
        by_hand: somebody inside Salesforce does it, who may write everything and meets no duplicate rule.
    """

    version: float = 62.0
    allow_save: bool = False
    by_hand: bool = False


BY_HAND = Mode(by_hand=True)


@dataclass(slots=True)
class RowRule:
    """Refuses rows that the test would have refused: the next `times` with these values (none: any)."""

    object: str
    code: str
    message: str
    match: Mapping[str, Any]
    times: int


@dataclass(frozen=True, slots=True)
class DuplicateRule:
    """Finds a live row with the same value of an indexed field. `blocks`: even those who would save it anyhow."""

    object: str
    field: str
    blocks: bool = True


class Custom:
    """The rules that one object has of its own."""

    def prepare(self, row: Row, before: Row | None) -> None:
        """Look at and complete a row that is about to be put. Raises RowError."""

    def put(self, row: Row, before: Row | None) -> None:
        """A row was put."""

    def leave(self, row: Row) -> None:
        """A row is about to be deleted. Raises RowError."""


@dataclass(slots=True)
class Writes:
    """Writes rows. Each method raises RowError where the row is refused."""

    org: Org
    store: Store
    rules: list[RowRule] = field(default_factory=list)
    duplicate_rules: list[DuplicateRule] = field(default_factory=list)
    custom: dict[str, Custom] = field(default_factory=dict)
    values: Values = field(init=False)

    def __post_init__(self) -> None:
        self.values = Values(self.store)

    def create(self, name: str, given: Mapping[str, Any], mode: Mode = BY_HAND) -> str:
        """A new row's id."""
        table = self.store[name]
        values = self.values.taken(table, given, creating=True, by_hand=mode.by_hand)
        now = self.org.now()
        row: Row = {each.name: each.default for each in table.kind.fields.values()}
        if not mode.by_hand:
            row |= dict.fromkeys(("CreatedById", "LastModifiedById"), USER) | (
                {"OwnerId": USER} if "OwnerId" in row else {}
            )
        row |= {"IsDeleted": False, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now, **values}
        missing = [each.name for each in table.kind.fields.values() if each.required and row[each.name] is None]
        if missing:
            raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)
        row["Id"] = ""
        self._put(table, row, None, values, mode)
        return str(row["Id"])

    def update(self, name: str, record_id: str, given: Mapping[str, Any], mode: Mode = BY_HAND) -> None:
        table = self.store[name]
        before = self.existing(table, record_id)
        try:
            self._update(table, before, given, mode)
        except RowError as error:
            error.id = before["Id"]
            raise

    def upsert(self, name: str, key: str, given: Mapping[str, Any], mode: Mode = BY_HAND) -> tuple[str, bool]:
        """The row's id, and whether it is new."""
        table = self.store[name]
        known = table.kind.field(key)
        if known is None or not (known.external or known.name == "Id"):
            raise RowError("INVALID_FIELD", f"Field name provided, {key} is not an External ID or indexed field")
        given = {each: value for each, value in given.items() if each != "attributes"}
        wanted = next((value for each, value in given.items() if each.lower() == known.name.lower()), None)
        if wanted in (None, ""):
            raise RowError("MISSING_ARGUMENT", f"{known.name} not specified", [])
        if known.name == "Id":
            self.update(name, str(wanted), given, mode)
            return str(wanted), False
        if any(each.lower() == "id" for each in given):
            raise RowError("INVALID_FIELD", "cannot specify Id in an upsert by an external id", ["Id"])
        found = table.find(known.name, str(wanted))
        if len(found) > 1:
            ids = ", ".join(row["Id"] for row in found)
            message = f"{known.name}: more than one record found for external id field: [{ids}]"
            raise RowError("DUPLICATE_EXTERNAL_ID", message, [known.name])
        if not found:
            return self.create(name, given, mode), True
        self.update(name, found[0]["Id"], given, mode)
        return str(found[0]["Id"]), False

    def delete(self, name: str, record_id: str) -> None:
        """Move a row to the recycle bin, and what belongs to it."""
        table = self.store[name]
        row = self.existing(table, record_id)
        if name in self.custom:
            self.custom[name].leave(row)
        self._scripted(name, row)
        for child, link in _CHILDREN.get(name, ()):
            for each in self.store[child].find(link, row["Id"]):
                self.delete(child, each["Id"])
        self.bin(table, row)

    def bin(self, table: Table, row: Row, **values: Any) -> None:
        """Put a row into the recycle bin, whatever belongs to it."""
        table.put({**row, "IsDeleted": True, "SystemModstamp": self.org.now(), **values})
        table.removed[row["Id"]] = self.org.time()
        self.store.undoing(lambda: table.removed.pop(row["Id"], None))

    def existing(self, table: Table, record_id: str) -> Row:
        """The row that is not deleted. Raises RowError."""
        known = long_id(record_id)
        if known is None or known[:3] != table.kind.prefix:
            raise RowError("MALFORMED_ID", f"malformed id {record_id}", ["Id"])
        row = table.get(known)
        if row is not None and not row["IsDeleted"]:
            return row
        if row is not None or known in table.removed:
            raise RowError("ENTITY_IS_DELETED", "entity is deleted")
        raise RowError("NOT_FOUND", "The requested resource does not exist")

    def _update(self, table: Table, before: Row, given: Mapping[str, Any], mode: Mode) -> None:
        values = self.values.taken(table, given, creating=False, by_hand=mode.by_hand)
        if not mode.by_hand and before.get("IsConverted"):
            raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        now = self.org.now()
        by = {"LastModifiedDate": now, "SystemModstamp": now, "LastModifiedById": PERSON if mode.by_hand else USER}
        self._put(table, {**before, **by, **values}, before, values, mode)

    def _put(self, table: Table, row: Row, before: Row | None, values: Row, mode: Mode) -> None:
        name = table.kind.name
        if "FirstName" in row:
            row["Name"] = " ".join(part for part in (row["FirstName"], row["LastName"]) if part)
        if name in self.custom:
            self.custom[name].prepare(row, before)
        self._unique(table, row, values)
        if not mode.by_hand:
            self._duplicates(table, row, values, mode)
        self._scripted(name, row)
        if before is None:
            row["Id"] = self.org.new_id(table.kind.prefix)
        table.put(row)
        if name in self.custom:
            self.custom[name].put(row, before)

    def _unique(self, table: Table, row: Row, values: Row) -> None:
        for name, value in values.items():
            if value is None or not table.kind.fields[name].unique:
                continue
            others = [each["Id"] for each in table.find(name, value) if each["Id"] != row["Id"]]
            if others:
                message = f"duplicate value found: {name} duplicates value on record with id: {others[0]}"
                raise RowError("DUPLICATE_VALUE", message, [])

    def _duplicates(self, table: Table, row: Row, values: Row, mode: Mode) -> None:
        for rule in self.duplicate_rules:
            if rule.object != table.kind.name or values.get(rule.field) is None:
                continue
            if mode.allow_save and not rule.blocks:
                continue
            if any(each["Id"] != row["Id"] for each in table.find(rule.field, values[rule.field])):
                raise RowError("DUPLICATES_DETECTED", _MESSAGES["DUPLICATES_DETECTED"], [])

    def _scripted(self, name: str, row: Row) -> None:
        for rule in self.rules:
            if rule.times and rule.object == name and all(row.get(key) == value for key, value in rule.match.items()):
                rule.times -= 1
                raise RowError(rule.code, rule.message or _MESSAGES.get(rule.code, rule.code.lower()))
