"""Records as the streams give them: texts, the same whether they came by bulk extract or page by page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from switchyard.api.records import JSON

ACTIVITY = (
    "marketoGUID",
    "leadId",
    "activityDate",
    "activityTypeId",
    "campaignId",
    "primaryAttributeValueId",
    "primaryAttributeValue",
    "attributes",
)
"""The fields of an activity."""


def as_text(value: Any) -> str | None:
    """A value as bulk extract writes it, without what is left out of its files."""
    if isinstance(value, str):
        return value.replace("\0", "").replace("\r", "")
    return None if value is None else json.dumps(value, ensure_ascii=False)


def texts_of(row: Mapping[str, Any]) -> dict[str, JSON]:
    """A record of a page."""
    return {name: as_text(value) for name, value in row.items()}


def activity_of(row: Mapping[str, Any]) -> dict[str, JSON]:
    """An activity of a page, with its attributes as the text of a JSON object."""
    named = {str(each.get("name")): each.get("value") for each in row.get("attributes") or () if isinstance(each, dict)}
    record: dict[str, JSON] = {name: as_text(row.get(name)) for name in ACTIVITY}
    # The id is being phased out, and stood for the GUID before there was one.
    record["marketoGUID"] = record["marketoGUID"] or as_text(row.get("id"))
    return record | {"attributes": json.dumps(named, ensure_ascii=False)}
