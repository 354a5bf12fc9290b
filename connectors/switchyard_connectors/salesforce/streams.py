"""The streams with their default mappings: whom a record is about, and what it says of them.

Fields are named as Salesforce names them (vendor documentation, object reference). Every one is text: booleans are
`true` and `false`, instants end with Z.
"""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.api import Stream
from switchyard.api.records import JSON
from switchyard_connectors.salesforce.config import ObjectConfig, SalesforceConfig

OWN = "OwnWrite"
"""Field of every record: `true` where it was created by the user that this connection signs in as."""
WHERE: Mapping[str, str] = {
    # What is about nobody yet comes when somebody is put in: that touches the stamp.
    "CampaignMember": "(ContactId != null OR LeadId != null)",
    "Opportunity": "ContactId != null",
    "Task": "WhoId != null",
}
"""Object → which of its records are read, unless the configuration says otherwise."""
BY_ID = frozenset({"Contact", "Lead", "Account", "Campaign"})
"""Objects whose subject is the record itself, so that an id is enough to say that one is gone."""

_MONEY = "DECIMAL(18, 4)"
_NOT_OURS = f"coalesce({OWN}, 'false') <> 'true'"


def _names(**fields: str) -> dict[str, JSON]:
    return dict(fields)


_NOBODY = "[not provided]"
"""What stands in a required field that nobody filled, by Salesforce's own conversions and by the hub's `defaults`."""
_PERSON: dict[str, JSON] = _names(
    first_name="FirstName",
    last_name=f"nullif(LastName, '{_NOBODY}')",
    title="Title",
    lead_source="LeadSource",
    salesforce_owner_id="OwnerId",
    email_opt_out="CAST(HasOptedOutOfEmail AS BOOLEAN)",
    created_at="CAST(CreatedDate AS TIMESTAMP)",
)
# Nobody can change a converted lead any more: what the contact has too, the contact alone says from then on.
_UNCONVERTED: dict[str, JSON] = {
    name: f"CASE WHEN ConvertedContactId IS NULL THEN {said} END" for name, said in _PERSON.items()
}

CONTACT = Stream(
    name="contacts",
    key=("Id",),
    whole=True,
    pushed=True,
    mapping={
        "subject": "Id",
        "observed_at": "SystemModstamp",
        # Of two that were merged the loser shows the winner's id; its own it showed while it lived.
        "identifiers": {"source_key": "coalesce(MasterRecordId, Id)", "email": "Email", "phone": "Phone"},
        "attributes": _PERSON
        | _names(
            account_id="AccountId",
            city="MailingCity",
            country="MailingCountry",
            birthdate="TRY_CAST(Birthdate AS DATE)",
        ),
    },
)
LEAD = Stream(
    name="leads",
    key=("Id",),
    whole=True,
    pushed=True,
    mapping={
        "subject": "Id",
        "observed_at": "SystemModstamp",
        "identifiers": {
            "source_key": "coalesce(ConvertedContactId, MasterRecordId, Id)",
            "email": "Email",
            "phone": "Phone",
        },
        "attributes": _UNCONVERTED
        | _names(
            company=f"nullif(Company, '{_NOBODY}')",
            lead_status="Status",
            city="CASE WHEN ConvertedContactId IS NULL THEN City END",
            country="CASE WHEN ConvertedContactId IS NULL THEN Country END",
            industry="Industry",
        ),
        "events": {
            "lead_converted": {
                "when": "IsConverted = 'true'",
                "at": "coalesce(ConvertedDate, SystemModstamp)",
                "properties": {
                    "contact_id": "ConvertedContactId",
                    "account_id": "ConvertedAccountId",
                    "opportunity_id": "ConvertedOpportunityId",
                },
            }
        },
    },
)
ACCOUNT = Stream(
    name="accounts",
    key=("Id",),
    whole=True,
    pushed=True,
    mapping={
        "subject": "Id",
        "observed_at": "SystemModstamp",
        # A company identifies nobody; a person account is its contact.
        "identifiers": {
            "source_key": "PersonContactId",
            "email": "PersonEmail",
            "phone": "CASE WHEN PersonContactId IS NOT NULL THEN Phone END",
        },
        "attributes": _names(
            account_name="Name",
            industry="Industry",
            account_type="Type",
            website="Website",
            employees="TRY_CAST(NumberOfEmployees AS BIGINT)",
            annual_revenue=f"TRY_CAST(AnnualRevenue AS {_MONEY})",
        ),
    },
)
CAMPAIGN = Stream(
    name="campaigns",
    key=("Id",),
    whole=True,
    pushed=True,
    mapping={
        "subject": "Id",
        "observed_at": "SystemModstamp",
        "attributes": _names(campaign_name="Name", campaign_type="Type", campaign_status="Status"),
    },
)
CAMPAIGN_MEMBER = Stream(
    name="campaign_members",
    key=("Id",),
    pushed=True,
    mapping={
        "subject": "coalesce(ContactId, LeadId)",
        "observed_at": "SystemModstamp",
        "identifiers": {"source_key": "coalesce(ContactId, LeadId)"},
        "events": {
            # What the hub's own audiences put on a campaign is no news to it.
            "campaign_joined": {
                "when": _NOT_OURS,
                "at": "CreatedDate",
                "id": "Id",
                "properties": {"campaign_id": "CampaignId", "status": "Status"},
            },
            "campaign_responded": {
                "when": "HasResponded = 'true'",
                "at": "coalesce(FirstRespondedDate, SystemModstamp)",
                "id": "Id || '/responded'",
                "properties": {"campaign_id": "CampaignId", "status": "Status"},
            },
        },
    },
)
_DEAL: dict[str, JSON] = {
    "opportunity_id": "Id",
    "name": "Name",
    "stage": "StageName",
    "amount": f"TRY_CAST(Amount AS {_MONEY})",
    "currency": "CurrencyIsoCode",
}
OPPORTUNITY = Stream(
    name="opportunities",
    key=("Id",),
    pushed=True,
    mapping={
        "subject": "ContactId",
        "observed_at": "SystemModstamp",
        "identifiers": {"source_key": "ContactId"},
        "events": {
            "opportunity_created": {"at": "CreatedDate", "id": "Id || '/created'", "properties": _DEAL},
            "opportunity_won": {
                "when": "IsWon = 'true'",
                "at": "coalesce(CloseDate, SystemModstamp)",
                "id": "Id || '/won'",
                "properties": _DEAL,
            },
            "opportunity_lost": {
                "when": "IsClosed = 'true' AND IsWon = 'false'",
                "at": "coalesce(CloseDate, SystemModstamp)",
                "id": "Id || '/lost'",
                "properties": _DEAL,
            },
        },
    },
)
TASK = Stream(
    name="tasks",
    key=("Id",),
    pushed=True,
    mapping={
        "subject": "WhoId",
        "observed_at": "SystemModstamp",
        "identifiers": {"source_key": "WhoId"},
        "events": {
            "task_completed": {
                "when": "coalesce(IsClosed, CAST(Status = 'Completed' AS VARCHAR)) = 'true'",
                "at": "coalesce(CompletedDateTime, ActivityDate, SystemModstamp)",
                "id": "Id",
                "properties": {"subject": "Subject", "kind": "TaskSubtype", "about": "WhatId"},
            }
        },
    },
)
STREAMS = (CONTACT, LEAD, ACCOUNT, CAMPAIGN, CAMPAIGN_MEMBER, OPPORTUNITY, TASK)
OBJECTS: Mapping[str, str] = {
    "contacts": "Contact",
    "leads": "Lead",
    "accounts": "Account",
    "campaigns": "Campaign",
    "campaign_members": "CampaignMember",
    "opportunities": "Opportunity",
    "tasks": "Task",
}
"""Standard stream → the object that it reads."""


def streams_of(config: SalesforceConfig) -> tuple[Stream, ...]:
    """The standard streams that are wanted, and those of further objects, called like them in lower case: whom these
    are about only their owner knows.
    """
    wanted = tuple(each for each in STREAMS if config.read is None or each.name in config.read)
    return wanted + tuple(
        Stream(name=each.name.lower(), key=("Id",), pushed=True, mapping={"observed_at": "SystemModstamp"})
        for each in config.objects
        if each.name not in OBJECTS.values()
    )


def object_of(stream: str, config: SalesforceConfig) -> ObjectConfig:
    """The object that a stream reads, with what the configuration says of it."""
    name = OBJECTS.get(stream)
    found = (each for each in config.objects if (each.name == name if name else each.name.lower() == stream))
    return next(found, ObjectConfig(name=name or stream, where=None))
