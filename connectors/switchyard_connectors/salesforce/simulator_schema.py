"""The objects of the simulated org with their fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from switchyard_connectors.salesforce.simulator_org import PERSON


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Args:
        kind: as `describe` names it: string, email, phone, picklist, boolean, int, double, currency, date, datetime,
            reference, id, address, textarea.
        required: a new row must have it.
        external: an external id. unique: no two rows that are not deleted have the same value.
        derived: worked out by Salesforce; its changes do not touch SystemModstamp.
        refers: the objects that a reference may point to; relationship: the name by which queries follow it.
        part_of: the compound field that it belongs to.
    """

    name: str
    kind: str = "string"
    length: int = 255
    required: bool = False
    createable: bool = True
    updateable: bool = True
    external: bool = False
    unique: bool = False
    filterable: bool = True
    derived: bool = False
    default: Any = None
    values: tuple[str, ...] = ()
    refers: tuple[str, ...] = ()
    relationship: str | None = None
    part_of: str | None = None

    @property
    def indexed(self) -> bool:
        if self.kind == "reference":
            return self.createable and self.refers != ("User",)
        return self.external or self.unique or self.kind == "email"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One object. `bulk`: whether the Bulk API reads it (some, the *Status ones among them, it does not)."""

    name: str
    prefix: str
    fields: Mapping[str, Field]
    bulk: bool = True
    by_name: Mapping[str, Field] = field(default_factory=dict)
    relationships: Mapping[str, Field] = field(default_factory=dict)

    def field(self, name: str) -> Field | None:
        """A field by its name, whatever its case."""
        return self.fields.get(name) or self.by_name.get(name.lower())


def object_type(name: str, prefix: str, fields: Iterable[Field], *, bulk: bool = True) -> ObjectType:
    """An object with these fields beside those that every object has."""
    known = {each.name: each for each in (*_SYSTEM, *fields)}
    return ObjectType(
        name,
        prefix,
        known,
        bulk,
        {each.lower(): value for each, value in known.items()},
        {each.relationship.lower(): each for each in known.values() if each.relationship},
    )


def with_field(kind: ObjectType, added: Field) -> ObjectType:
    """The object with one more field, or with another one in its place."""
    return object_type(kind.name, kind.prefix, [*kind.fields.values(), added], bulk=kind.bulk)


def _read(name: str, kind: str, **more: Any) -> Field:
    return Field(name, kind, createable=False, updateable=False, **more)


def _reference(name: str, *objects: str, **more: Any) -> Field:
    relationship = name.removesuffix("Id") if name.endswith("Id") else name.replace("__c", "__r")
    return Field(name, "reference", 18, refers=objects, relationship=relationship, **more)


def _address(prefix: str) -> tuple[Field, ...]:
    whole = f"{prefix}Address"
    parts = ("Street", "City", "State", "PostalCode", "Country")
    return (_read(whole, "address", filterable=False), *(Field(f"{prefix}{part}", part_of=whole) for part in parts))


_SYSTEM = (
    _read("Id", "id", length=18),
    _read("IsDeleted", "boolean", default=False),
    _read("CreatedDate", "datetime"),
    _read("LastModifiedDate", "datetime"),
    _read("SystemModstamp", "datetime"),
    replace(_reference("CreatedById", "User"), createable=False, updateable=False, default=PERSON),
    replace(_reference("LastModifiedById", "User"), createable=False, updateable=False, default=PERSON),
)
_OWNER = _reference("OwnerId", "User", default=PERSON)
_EXTERNAL = Field("Ext__c", length=64, external=True, unique=True)
_CODE = Field("Code__c", length=64, external=True)
_PERSON = (
    _OWNER,
    _read("MasterRecordId", "reference", length=18, refers=("Contact", "Lead", "Account")),
    Field("FirstName", length=40, part_of="Name"),
    Field("LastName", length=80, required=True, part_of="Name"),
    _read("Name", "string", length=121),
    Field("Email", "email", 80),
    Field("Phone", "phone", 40),
    Field("MobilePhone", "phone", 40),
    Field("Title", length=128),
    Field("Description", "textarea", 32_000),
    Field("HasOptedOutOfEmail", "boolean", default=False),
    Field("LeadSource", "picklist", 40, values=("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other")),
    _EXTERNAL,
    _CODE,
    Field("Loyalty_Card__c", length=40),
    Field("Score__c", "double"),
)
_ACTIVITY = ("Contact", "Lead")
STANDARD: Mapping[str, ObjectType] = {
    each.name: each
    for each in (
        object_type(
            "Contact",
            "003",
            (
                *_PERSON,
                _reference("AccountId", "Account"),
                *_address("Mailing"),
                Field("Birthdate", "date"),
            ),
        ),
        object_type(
            "Lead",
            "00Q",
            (
                *_PERSON,
                Field("Company", length=255, required=True),
                Field("Industry", "picklist", 255),
                *_address(""),
                Field("Status", "picklist", 255, default="Open - Not Contacted"),
                _read("IsConverted", "boolean", default=False),
                _read("ConvertedDate", "date"),
                _read("ConvertedContactId", "reference", length=18, refers=("Contact",)),
                _read("ConvertedAccountId", "reference", length=18, refers=("Account",)),
                _read("ConvertedOpportunityId", "reference", length=18, refers=("Opportunity",)),
            ),
        ),
        object_type(
            "Account",
            "001",
            (
                _OWNER,
                _read("MasterRecordId", "reference", length=18, refers=("Account",)),
                Field("Name", length=255, required=True),
                Field("Phone", "phone", 40),
                Field("Website", length=255),
                Field("Industry", "picklist", 255),
                Field("Type", "picklist", 255),
                Field("NumberOfEmployees", "int"),
                Field("AnnualRevenue", "currency"),
                *_address("Billing"),
                _EXTERNAL,
            ),
        ),
        object_type(
            "Opportunity",
            "006",
            (
                _OWNER,
                _reference("AccountId", "Account"),
                _reference("ContactId", "Contact"),
                _reference("CampaignId", "Campaign"),
                Field("Name", length=120, required=True),
                Field("StageName", "picklist", 255, required=True),
                Field("CloseDate", "date", required=True),
                Field("Amount", "currency"),
                Field("CurrencyIsoCode", "picklist", 3, default="EUR"),
                _read("IsClosed", "boolean", default=False),
                _read("IsWon", "boolean", default=False),
                _EXTERNAL,
            ),
        ),
        object_type(
            "Task",
            "00T",
            (
                _OWNER,
                _reference("WhoId", *_ACTIVITY),
                _reference("WhatId", "Account", "Opportunity", "Campaign"),
                Field("Subject", length=255),
                Field("Description", "textarea", 32_000),
                Field("Status", "picklist", 255, default="Not Started"),
                Field("Priority", "picklist", 255, default="Normal"),
                Field("ActivityDate", "date"),
                Field("TaskSubtype", "picklist", 40, default="Task", updateable=False),
                _read("IsClosed", "boolean", default=False),
                _read("CompletedDateTime", "datetime"),
            ),
        ),
        object_type(
            "Campaign",
            "701",
            (
                _OWNER,
                Field("Name", length=80, required=True),
                Field("IsActive", "boolean", default=False),
                Field("Type", "picklist", 40),
                Field("Status", "picklist", 40, default="Planned"),
                Field("StartDate", "date"),
                Field("EndDate", "date"),
                Field("Description", "textarea", 32_000),
                _reference("ParentId", "Campaign"),
                _read("NumberOfContacts", "int", derived=True),
                _read("NumberOfLeads", "int", derived=True),
                _read("NumberOfResponses", "int", derived=True),
                _EXTERNAL,
            ),
        ),
        object_type(
            "CampaignMember",
            "00v",
            (
                _reference("CampaignId", "Campaign", required=True, updateable=False),
                _reference("ContactId", "Contact", updateable=False),
                _reference("LeadId", "Lead", updateable=False),
                _read("LeadOrContactId", "reference", length=18, refers=_ACTIVITY),
                _read("Type", "string", length=40),
                Field("Status", "picklist", 40),
                _read("HasResponded", "boolean", default=False),
                _read("FirstRespondedDate", "date"),
                Field("Ext__c", length=64, external=True, unique=True),
            ),
        ),
        object_type(
            "CampaignMemberStatus",
            "01Y",
            (
                _reference("CampaignId", "Campaign", required=True, updateable=False),
                Field("Label", length=765, required=True),
                Field("SortOrder", "int"),
                Field("IsDefault", "boolean", default=False),
                Field("HasResponded", "boolean", default=False),
            ),
        ),
        object_type(
            "User",
            "005",
            (
                Field("Username", length=80, required=True),
                Field("Name", length=121),
                Field("Email", "email", 128),
                Field("IsActive", "boolean", default=True),
            ),
        ),
        # These two are here for what they lack: the Bulk API, and a stamp by which can be filtered.
        object_type("TaskStatus", "01T", (Field("MasterLabel", required=True),), bulk=False),
        object_type(
            "ActivityFieldHistory",
            "0HJ",
            (Field("ActivityId", "reference", 18), _read("SystemModstamp", "datetime", filterable=False)),
        ),
    )
}


def custom_field(name: str, kind: str = "string", **more: Any) -> Field:
    """A field that an administrator adds; `more` are those of `Field`."""
    made = Field(name, kind, **more)
    if kind == "reference" and made.relationship is None:
        return replace(made, relationship=name.replace("__c", "__r"), length=18)
    return made
