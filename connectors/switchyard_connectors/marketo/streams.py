"""The streams there are, and how their records become people and events unless the configuration says otherwise.

Names and attributes of activity types: help/activities of the vendor's documentation.
"""

from __future__ import annotations

from switchyard.api import Stream
from switchyard.api.records import JSON
from switchyard_connectors.marketo.config import CustomObject, MarketoConfig


def _attribute(name: str) -> str:
    return f"attributes->>'{name}'"


def _of(type_id: int, **properties: str) -> dict[str, JSON]:
    """Activities of one type as events: property → expression."""
    return {
        "when": f"activityTypeId = '{type_id}'",
        "properties": {"campaign_id": "campaignId", **properties},
    }


_MAIL = {
    "email_id": "primaryAttributeValueId",
    "email_name": "primaryAttributeValue",
    "campaign_run_id": _attribute("Campaign Run ID"),
}
_LINK = {**_MAIL, "url": _attribute("Link"), "device": _attribute("Device"), "platform": _attribute("Platform")}

LEADS = Stream(
    name="leads",
    key=("id",),
    whole=True,
    mapping={
        "subject": "id",
        "observed_at": "updatedAt",
        "identifiers": {
            # Whoever was merged into another carries the other's id as well.
            "source_key": "coalesce(merged_into, id)",
            "email": "email",
            "phone": "phone",
        },
        "attributes": {
            "first_name": "firstName",
            "last_name": "lastName",
            "company": "company",
            "title": "title",
            "city": "city",
            "state": "state",
            "postal_code": "postalCode",
            "country": "country",
            "email_opt_out": "lower(unsubscribed) IN ('true', '1')",
        },
    },
)

ACTIVITIES = Stream(
    name="activities",
    key=("marketoGUID",),
    mode="append",
    mapping={
        "subject": "leadId",
        "observed_at": "activityDate",
        "identifiers": {"source_key": "leadId"},
        "events": {
            "page_viewed": _of(
                1,
                page_id="primaryAttributeValueId",
                path="primaryAttributeValue",
                url=_attribute("Webpage URL"),
                referrer=_attribute("Referrer URL"),
                query=_attribute("Query Parameters"),
            ),
            "form_submitted": _of(
                2,
                form_id="primaryAttributeValueId",
                form_name="primaryAttributeValue",
                fields=_attribute("Form Fields"),
                page_id=_attribute("Webpage ID"),
                referrer=_attribute("Referrer URL"),
            ),
            "link_clicked": _of(3, link_id="primaryAttributeValueId", url="primaryAttributeValue"),
            "email_sent": _of(6, **_MAIL),
            "email_delivered": _of(7, **_MAIL),
            "email_bounced": _of(8, **_MAIL, reason=_attribute("Details")),
            "email_unsubscribed": _of(9, **_MAIL),
            "email_opened": _of(10, **_MAIL, device=_attribute("Device"), platform=_attribute("Platform")),
            "email_clicked": _of(11, **_LINK),
            "interesting_moment": _of(46, type="primaryAttributeValue", description=_attribute("Description")),
        },
    },
)

LEAD_CHANGES = Stream(
    name="lead_changes",
    key=("marketoGUID", "field"),
    mode="append",
    mapping={
        "subject": "leadId",
        "observed_at": "activityDate",
        "identifiers": {"source_key": "leadId"},
        "events": {
            "lead_changed": {
                "properties": {"field": "field", "new_value": "newValue", "old_value": "oldValue"},
            }
        },
    },
)

LIST_MEMBERS = Stream(
    name="list_members",
    key=("listId", "leadId"),
    whole=True,
    # Each membership by itself: that one ends takes back what it said, and nothing that another says.
    mapping={"subject": "listId || '/' || leadId", "identifiers": {"source_key": "leadId"}},
)

PROGRAM_MEMBERS = Stream(
    name="program_members",
    key=("programId", "leadId"),
    whole=True,
    mapping={
        "subject": "programId || '/' || leadId",
        "observed_at": "updatedAt",
        "identifiers": {"source_key": "leadId"},
    },
)

# What is no person is nobody's profile: these have none of the identifiers by which people are found.
LISTS = Stream(name="lists", key=("id",), whole=True, mapping={"subject": "'list:' || id", "observed_at": "updatedAt"})
PROGRAMS = Stream(
    name="programs", key=("id",), whole=True, mapping={"subject": "'program:' || id", "observed_at": "updatedAt"}
)

STREAMS = (LEADS, ACTIVITIES)


def asked_for(config: MarketoConfig) -> tuple[Stream, ...]:
    """The streams that the configuration asks for besides leads and activities."""
    found = []
    if config.changes:
        found.append(LEAD_CHANGES)
    if config.lists:
        found.append(LIST_MEMBERS)
    if config.programs:
        found.append(PROGRAM_MEMBERS)
    if config.catalogue:
        found += [LISTS, PROGRAMS]
    return (*found, *(stream_of(each) for each in config.custom_objects))


def stream_of(each: CustomObject) -> Stream:
    """The stream of a custom object, named after it."""
    kind = "email" if each.lead_is == "email" else "source_key"
    return Stream(
        name=each.name,
        key=("marketoGUID",),
        whole=True,
        mapping={"subject": each.lead, "observed_at": "updatedAt", "identifiers": {kind: each.lead}},
    )
