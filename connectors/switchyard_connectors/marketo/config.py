"""What a user says of a Marketo instance, and what Marketo allows it."""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from switchyard.api import ConnectorConfig, Limits, Window

_MUNCHKIN = r"\d{3}-[a-z]{3}-\d{3}"
_ENDPOINTS = re.compile(r"/*((rest|bulk|identity)(/v1)?|identity/oauth/token)?/*")

_POLLS = {
    "leads": "poll_leads",
    "activities": "poll_activities",
    "program/members": "poll_members",
    "customobjects": "poll_objects",
}
IMPORTS = "imports"
"""Bucket of imports and the questions after them."""
IDENTITY = "identity"
"""Bucket of token calls, which Marketo counts nowhere."""
_WINDOW = 20.0
_APART = {**dict.fromkeys(_POLLS.values(), 65.0), IMPORTS: 10.0}
_CALLS = 100 - 6
"""Of 100 calls in 20 s, six are left to the slow buckets, whose calls count in the same window."""


class Folder(ConnectorConfig):
    """Where static lists are created: a folder or a program, by its name or its id."""

    name: str | None = None
    id: int | None = None
    type: Literal["Folder", "Program"] = "Folder"


class CustomObject(ConnectorConfig):
    """A custom object to read.

    `lead` is the field that names the person: by the lead's id, or by an e-mail address where `lead_is` says so.
    """

    name: str = Field(pattern=r"^\w+_c$", description="the object's API name, such as order_c")
    fields: tuple[str, ...] = Field((), description="fields to read; unless set, all that describe names")
    lead: str = "leadId"
    lead_is: Literal["id", "email"] = "id"


class MarketoConfig(ConnectorConfig):
    """Which Marketo instance, how to sign in, what to read, and what the subscription allows."""

    base_url: str = Field(description="the REST endpoint, with or without /rest, or only 123-ABC-456")
    client_id: str = Field(min_length=1)
    client_secret: SecretStr
    daily_calls: int = Field(50_000, ge=1, description="calls a day of the subscription")
    calls_per_window: int = Field(50, ge=1, le=100, description="calls in 20 s; Marketo allows 100 and advises 50")
    concurrency: int = Field(5, ge=1, le=10, description="calls under way at once; Marketo allows 10 and advises 5")
    folder: Folder = Field(Folder(name="Group Lists"), description="where lists are created")
    partition: str | None = Field(None, description="the lead partition that leads are created in")
    import_above: int = Field(10_000, ge=1, description="rows above which a delivery is a bulk import")
    since: date = Field(date(2020, 1, 1), description="from when on leads and other records are read")
    activities_since: date | None = Field(None, description="from when on activities are read; unless set, as since")
    extract: Literal["auto", "created_at", "none"] = Field(
        "auto", description="how bulk extract finds leads: by change, else by creation; none without bulk extract"
    )
    bulk_every_hours: int = Field(
        24, ge=0, description="hours after which changed leads are read by bulk extract, of whatever their feed told"
    )
    bulk_history_days: int = Field(3, ge=0, description="activities older than this are read by bulk extract")
    fields: tuple[str, ...] = Field(
        (
            "firstName",
            "lastName",
            "phone",
            "company",
            "title",
            "city",
            "state",
            "postalCode",
            "country",
            "unsubscribed",
        ),
        description="fields of a lead to read, besides id, email, createdAt and updatedAt",
    )
    activity_types: tuple[int, ...] = Field(
        (1, 2, 3, 6, 7, 8, 9, 10, 11), min_length=1, description="types of activities to read, by id"
    )
    changes: tuple[str, ...] = Field((), description="fields of a lead whose changes are read as events")
    lists: tuple[int, ...] = Field((), description="static lists whose members are read, by id")
    programs: tuple[int, ...] = Field((), description="programs whose members are read, by id")
    catalogue: bool = Field(False, description="whether lists and programs themselves are read as records")
    custom_objects: tuple[CustomObject, ...] = ()

    @field_validator("base_url")
    @classmethod
    def _endpoint(cls, text: str) -> str:
        return endpoint(text)

    @property
    def lead_fields(self) -> tuple[str, ...]:
        """All fields of a lead that are read, each once."""
        return tuple(dict.fromkeys(("id", "email", "createdAt", "updatedAt", *self.fields)))


def endpoint(text: str) -> str:
    """The base of all paths, from whatever of the REST endpoint was pasted.

    Raises:
        ValueError: it leads to no Marketo instance.
    """
    text = text.strip()
    if re.fullmatch(_MUNCHKIN, text, re.IGNORECASE):
        return f"https://{text.lower()}.mktorest.com"
    parts = urlsplit(text if "://" in text else f"https://{text}")
    host = (parts.hostname or "").lower()
    if not _ENDPOINTS.fullmatch(parts.path) or parts.query or parts.username:
        raise ValueError("write the REST endpoint alone, such as https://123-ABC-456.mktorest.com/rest")
    if parts.scheme == "https" and re.fullmatch(rf"{_MUNCHKIN}\.mktorest\.com", host):
        return f"https://{host}"
    if not _is_here(host):
        raise ValueError("a REST endpoint is https:// and a host such as 123-ABC-456.mktorest.com")
    return f"{parts.scheme}://{parts.netloc}"


def _is_here(host: str) -> bool:
    """Whether this is a simulator's address and no name that the network gives."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def limits_of(config: MarketoConfig) -> Limits:
    """100 calls in 20 s, 10 at once, 50,000 until midnight in the zone of US Central (help/rest-api)."""
    return Limits(
        windows={
            "default": (Window(min(config.calls_per_window, _CALLS), _WINDOW),),
            IDENTITY: (),
            **{bucket: (Window(1, seconds),) for bucket, seconds in _APART.items()},
        },
        daily=config.daily_calls,
        day_zone="America/Chicago",
        concurrency=config.concurrency,
    )


def poll_of(path: str) -> str:
    """The bucket of questions after export jobs of a kind, given by its path: a state is brought up to date a minute
    after it was last asked for (help/bulk-extract), or the job was queued, which is seconds after the question before.
    """
    return _POLLS[path if path in _POLLS else "customobjects"]


def account_of(config: MarketoConfig) -> str:
    """The instance: its limits are shared by all its API users."""
    return config.base_url
