"""What the Measurement Protocol takes: changes as events of one user, checked against its limits.

The endpoint answers 204 to everything, also to what it throws away, so what it would not take has to be known here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard.api import Batch, Change, Rejection
from switchyard.api.records import JSON
from switchyard_connectors.google_analytics.config import GoogleAnalyticsConfig

EVENTS_PER_REQUEST = 25
_PROPERTIES_PER_REQUEST = 25
_VALUE, _PROPERTY_NAME, _PROPERTY_VALUE, _ID = 100, 24, 36, 256
"""Characters of a parameter's value, a user property's name and value, an id (sending-events; support 9267744)."""
_BACKDATED = timedelta(hours=72)
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_RESERVED_EVENTS = frozenset(
    {
        *("ad_activeview", "ad_click", "ad_exposure", "ad_impression", "ad_query", "ad_reward", "adunit_exposure"),
        *("app_background", "app_clear_data", "app_exception", "app_install", "app_remove", "app_store_refund"),
        *("app_store_subscription_cancel", "app_store_subscription_convert", "app_store_subscription_renew"),
        *("app_uninstall", "app_update", "app_upgrade", "dynamic_link_app_open", "dynamic_link_app_update"),
        *("dynamic_link_first_open", "error", "firebase_campaign", "firebase_in_app_message_action"),
        *("firebase_in_app_message_dismiss", "firebase_in_app_message_impression", "first_open", "first_visit"),
        *("in_app_purchase", "notification_dismiss", "notification_foreground", "notification_open"),
        *("notification_receive", "notification_send", "os_update", "screen_view", "session_start"),
        "user_engagement",
    }
)
RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
RESERVED_PROPERTIES = frozenset(
    {"first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install"}
)
_IDS = ("client_id", "app_instance_id", "user_id")


class Refused(Exception):
    """A change that cannot be sent."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.rejection = Rejection(code, reason)


def is_reserved_event(name: str) -> bool:
    """Whether events of this name are Google's own, and thrown away."""
    return name in _RESERVED_EVENTS or name.startswith(RESERVED_PREFIXES)


def membership_property(config: GoogleAnalyticsConfig, list_name: str) -> str:
    """The user property that says whether somebody is in the audience. A name that is too long keeps a hash of what it
    lost, so that two of them stay two.
    """
    if config.membership is not None:
        return config.membership
    name = "in_" + re.sub(r"\W+", "_", list_name, flags=re.ASCII).strip("_").lower()
    if len(name) <= _PROPERTY_NAME and name != "in_":
        return name
    return f"{name[:17].rstrip('_')}_{hashlib.sha256(list_name.encode()).hexdigest()[:6]}"


def payload(config: GoogleAnalyticsConfig, batch: Batch, changes: Sequence[Change], now: datetime) -> dict[str, JSON]:
    """The request's body for changes of one person, of which there are 25 at most, oldest first.

    Args:
        config: whose names and consent to use.
        batch: what the changes are of.
        changes: with the same key.
        now: UTC without a zone.

    Raises:
        Refused: the protocol does not take it.
    """
    body: dict[str, Any] = _ids(config, batch.key_field, changes)
    properties: dict[str, JSON] = {}
    for change in changes:
        properties |= {name: value for name, value in change.fields.items() if name not in _IDS}
        properties[membership_property(config, batch.list)] = "false" if change.kind == "left" else "true"
    if len(properties) > _PROPERTIES_PER_REQUEST:
        raise Refused("too_many_properties", f"a request has at most {_PROPERTIES_PER_REQUEST} user properties")
    body["user_properties"] = {name: {"value": _property(name, value)} for name, value in sorted(properties.items())}
    if config.consent:
        body["consent"] = dict(config.consent)
    body["events"] = [_event(config, batch, change, now) for change in changes]
    return body


def _ids(config: GoogleAnalyticsConfig, key_field: str, changes: Sequence[Change]) -> dict[str, JSON]:
    ids = {name: str(value) for name in _IDS for change in changes if (value := change.fields.get(name))}
    ids[key_field] = changes[-1].key
    needed = "client_id" if config.measurement_id else "app_instance_id"
    found: dict[str, JSON] = {name: ids[name] for name in (needed, "user_id") if ids.get(name)}
    if needed not in found:
        raise Refused(f"no_{needed}", f"the data stream needs each person's {needed}; name it among the fields")
    if any(len(str(value)) > _ID for value in found.values()):
        raise Refused("id_too_long", f"an id has at most {_ID} characters")
    return found


def _property(name: str, value: JSON) -> JSON:
    if len(name) > _PROPERTY_NAME or not _NAME.fullmatch(name):
        raise Refused("name_invalid", f"{name!r} is no name of a user property: letters, digits and _, 24 at most")
    if name.startswith(RESERVED_PREFIXES) or name in RESERVED_PROPERTIES:
        raise Refused("name_reserved", f"{name!r} is a user property of Google's own")
    # A value that is taken away is sent as an empty text, which reports show as (not set).
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, list | dict) or len(text) > _PROPERTY_VALUE:
        raise Refused("value_too_long", f"the user property {name!r} takes at most {_PROPERTY_VALUE} characters")
    return text


def _event(config: GoogleAnalyticsConfig, batch: Batch, change: Change, now: datetime) -> dict[str, JSON]:
    params: dict[str, JSON] = {
        "audience": batch.list[:_VALUE],
        "segment": batch.segment[:_VALUE],
        # What is sent twice all the same can be told apart in the export.
        "change_id": change.id[:_VALUE],
        "engagement_time_msec": 1,
    }
    event: dict[str, JSON] = {"name": getattr(config.event_names, change.kind), "params": params}
    if now - _BACKDATED < change.at <= now:
        event["timestamp_micros"] = int(change.at.replace(tzinfo=UTC).timestamp() * 1_000_000)
    return event
