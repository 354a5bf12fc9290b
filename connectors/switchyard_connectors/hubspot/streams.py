"""The streams of HubSpot, as the configuration asks for them, with their default mappings.

Values of properties are texts, as HubSpot answers them. Names of events are those of Switchyard's vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.api import Stream
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.config import OBJECTS, HubSpotConfig

CONTACT_ID = "source_key"
"""The kind of identifier that holds ids of contacts, those that were merged away included."""

# Several records are about one contact: one for every further address, one for each that was merged into it. A further
# address is a subject of its own, which the contact's id joins with the contact's: it says nothing but the address.
_CONTACTS: Mapping[str, JSON] = {
    "subject": "concat_ws('/', id, nullif(alias, ''))",
    "observed_at": "updated_at",
    "identifiers": {CONTACT_ID: "coalesce(merged_into, id)", "email": "email", "phone": "phone"},
    "attributes": {
        "first_name": "firstname",
        "last_name": "lastname",
        "company": "company",
        "job_title": "jobtitle",
        "city": "city",
        "zip": "zip",
        "country": "country",
        "lifecycle_stage": "lifecyclestage",
    },
}
_COMPANIES: Mapping[str, JSON] = {
    "subject": "'company:' || id",
    "observed_at": "updated_at",
    # A company identifies nobody.
    "attributes": {"name": "name", "domain": "domain", "industry": "industry", "city": "city", "country": "country"},
}
_DEAL = {"deal_id": "id", "name": "dealname", "stage": "dealstage", "pipeline": "pipeline"}
_AMOUNT = "TRY_CAST(amount AS DECIMAL(18, 4))"
_FIRST_CONTACT = "json_extract_string(contacts, '$[0]')"
# All deals of a contact are of one subject: an id that very many subjects share identifies nobody.
_DEALS: Mapping[str, JSON] = {
    "subject": f"coalesce({_FIRST_CONTACT}, 'deal:' || id)",
    "observed_at": "updated_at",
    "identifiers": {CONTACT_ID: _FIRST_CONTACT},
    "events": {
        "deal_created": {
            "when": "createdate IS NOT NULL",
            "at": "createdate",
            "properties": {**_DEAL, "amount": _AMOUNT},
        },
        "deal_won": {
            "when": "hs_is_closed_won = 'true' AND closedate IS NOT NULL",
            "at": "closedate",
            "properties": {**_DEAL, "amount": _AMOUNT},
        },
    },
}
_LISTS: Mapping[str, JSON] = {
    "subject": "'list:' || list_id",
    "observed_at": "updated_at",
    "attributes": {"name": "name", "processing_type": "processing_type"},
}
_MEMBERSHIPS: Mapping[str, JSON] = {
    "subject": "record_id",
    "observed_at": "joined_at",
    "identifiers": {CONTACT_ID: "record_id"},
    "events": {
        "list_joined": {
            "id": "concat_ws('/', list_id, record_id, joined_at)",
            "properties": {"list_id": "list_id", "list_name": "list_name"},
        }
    },
}
_EMAIL_TYPES = {
    "email_sent": "SENT",
    "email_delivered": "DELIVERED",
    "email_opened": "OPEN",
    "email_clicked": "CLICK",
    "email_bounced": "BOUNCE",
    "email_dropped": "DROPPED",
    "email_marked_as_spam": "SPAMREPORT",
    "email_subscription_changed": "STATUSCHANGE",
}
_EMAILS: Mapping[str, JSON] = {
    "subject": "lower(recipient)",
    "observed_at": "created_at",
    "identifiers": {"email": "recipient"},
    "events": {
        name: {
            "when": f"type = '{kind}'",
            "properties": {"campaign_id": "campaign_id", **({"url": "url"} if kind == "CLICK" else {})},
        }
        for name, kind in _EMAIL_TYPES.items()
    },
}
_SUBMISSIONS: Mapping[str, JSON] = {
    "subject": "coalesce(lower(email), 'submission:' || submission_id)",
    "observed_at": "submitted_at",
    "identifiers": {"email": "email", "phone": "phone"},
    "attributes": {"first_name": "firstname", "last_name": "lastname", "company": "company"},
    "events": {
        "form_submitted": {
            "properties": {
                "form_id": "form_id",
                "form_name": "form_name",
                "page_url": "page_url",
                "values": "submitted_values",
            }
        }
    },
}
_CUSTOM: Mapping[str, JSON] = {
    "observed_at": "updated_at",
    "identifiers": {CONTACT_ID: _FIRST_CONTACT},
}

_OWN_MAPPING = {"contacts": _CONTACTS, "companies": _COMPANIES, "deals": _DEALS}
_OTHERS = {
    "lists": Stream("lists", ("list_id",), mapping=_LISTS, whole=True),
    "list_memberships": Stream("list_memberships", ("list_id", "record_id"), mapping=_MEMBERSHIPS),
    "email_events": Stream("email_events", ("event_id",), "append", _EMAILS),
    "form_submissions": Stream("form_submissions", ("form_id", "submission_id"), "append", _SUBMISSIONS),
}


def streams_of(config: HubSpotConfig) -> tuple[Stream, ...]:
    """The streams that the configuration asks for."""
    pushed = config.webhooks is not None
    named = [_objects(each, pushed) if each in OBJECTS else _OTHERS[each] for each in dict.fromkeys(config.read)]
    return (*named, *(_objects(each, pushed) for each in dict.fromkeys(config.custom_objects)))


def _objects(name: str, pushed: bool) -> Stream:
    mapping = _OWN_MAPPING.get(name) or {"subject": f"coalesce({_FIRST_CONTACT}, '{name}:' || id)", **_CUSTOM}
    # Several deals and custom objects may be one subject's: what one of them does not say another may.
    return Stream(name, ("id", "alias"), mapping=mapping, whole=name in ("contacts", "companies"), pushed=pushed)
