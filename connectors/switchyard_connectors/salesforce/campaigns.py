"""Campaigns as lists: found by name or made, with the status that members get."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from switchyard.api import ConfigError, ListRef, PermanentError
from switchyard.api.errors import ListGone
from switchyard.api.http import json_of
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.refusals import ALREADY_OFF, ALREADY_ON, ApiError

_LONGEST_NAME = 80
_SEVERAL = 3


def known_campaign(org: Org, campaign: str) -> ListRef:
    """A campaign by its id.

    Raises:
        ListGone: it was deleted.
    """
    try:
        found = org.get(f"sobjects/Campaign/{quote(campaign, safe='')}", params={"fields": "Id,Name,IsDeleted"})
    except ApiError as error:
        if error.status == 404 or error.code in ALREADY_OFF:
            raise gone(campaign) from None
        raise
    if found.get("IsDeleted") is True:
        raise gone(campaign)
    return ListRef(campaign, str(found.get("Name", "")))


def named_campaign(org: Org, name: str) -> ListRef | None:
    """The campaign of this name, None where there is none.

    Raises:
        PermanentError: there are several: which one is meant only a person knows.
    """
    _check(name)
    query = soql.select(("Id", "Name"), "Campaign", (f"Name = {soql.text(name)}",), ("CreatedDate", "Id"))
    records = next(org.query(f"{query} LIMIT {_SEVERAL}"))["records"]
    # SOQL does not tell upper from lower case.
    found = [record for record in records if record.get("Name") == name] or records
    if len(found) > 1:
        ids = ", ".join(str(record["Id"]) for record in found)
        raise PermanentError(
            f"Salesforce has several campaigns of the name that the audience wants ({ids}); rename one"
        )
    return ListRef(str(found[0]["Id"]), str(found[0]["Name"])) if found else None


def make_campaign(org: Org, name: str) -> ListRef:
    """A new campaign.

    Raises:
        UnknownOutcome: the answer was lost; the next run finds by name what it made.
    """
    _check(name)
    body = {"Name": name, "IsActive": True}
    made: Any = json_of(org.request("POST", "sobjects/Campaign", json=body))
    return ListRef(str(made["id"]), name, created=True)


def ensure_status(org: Org, campaign: str, label: str) -> None:
    """Make sure that members can have this status: another label would silently become the default one."""
    query = soql.select(("Label", "SortOrder"), "CampaignMemberStatus", (f"CampaignId = {soql.text(campaign)}",))
    records = next(org.query(query))["records"]
    if any(str(record.get("Label")).lower() == label.lower() for record in records):
        return
    orders = [int(float(record.get("SortOrder") or 0)) for record in records]
    body = {"CampaignId": campaign, "Label": label, "SortOrder": max(orders, default=0) + 1, "HasResponded": False}
    try:
        org.request("POST", "sobjects/CampaignMemberStatus", json=body, repeatable=True)
    except ApiError as error:
        # Somebody, or an earlier try whose answer was lost, made it.
        if error.code not in ALREADY_ON:
            raise


def gone(campaign: str) -> ListGone:
    return ListGone(f"campaign {campaign} was deleted in Salesforce; restore it from the recycle bin (15 days)")


def _check(name: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"a Salesforce campaign's name has at most {_LONGEST_NAME} characters; shorten the list's")
