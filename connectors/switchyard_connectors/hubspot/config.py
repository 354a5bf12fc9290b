"""What a user can say about a HubSpot account: how to sign in, what to read, how lists are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from switchyard.api import ConnectorConfig, Limits, Window
from switchyard_connectors.hubspot.paths import PIN, Version
from switchyard_connectors.hubspot.tiers import ADDON, OAUTH_CALLS, SEARCHES, TIERS, WINDOW, Tier, lanes

StreamName: TypeAlias = Literal[
    "contacts", "companies", "deals", "lists", "list_memberships", "email_events", "form_submissions"
]
OBJECTS = ("contacts", "companies", "deals")
_TYPE = r"^([a-z][a-z0-9_]{0,99}|p[0-9]+_[a-z0-9_]{1,99}|2-[0-9]{1,15})$"
ObjectName: TypeAlias = Annotated[str, StringConstraints(pattern=_TYPE)]
PropertyName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,249}$")]
PropertyType: TypeAlias = Literal["string", "number", "bool", "date", "datetime"]


class OAuthConfig(ConnectorConfig):
    """An OAuth app that was installed in the account."""

    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr


class WebhooksConfig(ConnectorConfig):
    """The webhooks that a HubSpot app sends to this connection."""

    secrets: tuple[SecretStr, ...] = Field(
        min_length=1, description="the app's client secret; several while one replaces another"
    )
    signatures: tuple[Literal["v1", "v2", "v3"], ...] = Field(
        ("v3",), min_length=1, description="which signatures are good; v1 and v2 do not guard against repetition"
    )
    tolerance: float = Field(300.0, gt=0, le=86_400, description="seconds by which the timestamp of v3 may be off")

    @field_validator("secrets", "signatures", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str | SecretStr) else value

    @field_validator("secrets")
    @classmethod
    def _not_empty(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(secret.get_secret_value().strip() for secret in secrets):
            raise ValueError("one is empty; without a secret anybody could post")
        return secrets


class AccountConfig(ConnectorConfig):
    """Which HubSpot account, how to sign in, and what its subscription allows."""

    token: SecretStr | None = Field(None, description="a static bearer token: a service key, or a private app's")
    oauth: OAuthConfig | None = Field(None, description="instead of a token")
    base_url: str = "https://api.hubapi.com"
    api: Version = Field(PIN, description="the version of the API to speak")
    tier: Tier | Literal["none"] = Field(
        "starter", description="the account's subscription, for its limits; none for a simulator without limits"
    )
    addon: bool = Field(False, description="whether the account has the API limit increase")
    time_zone: str = Field("UTC", description="the account's zone, whose midnight resets the daily limit")
    concurrency: int | None = Field(
        None, ge=1, le=64, description="calls under way at once; unless set, as many as use the limits up"
    )

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; write an IANA name such as Europe/Vienna") from None
        return name

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        if (self.token is None) == (self.oauth is None):
            raise ValueError("give either token or oauth")
        return self


class HubSpotConfig(AccountConfig):
    """An account, what is read of it, and how its lists are kept."""

    object: str = Field("contacts", pattern="^contacts$", description="the type of record that lists hold")
    membership_batch: int = Field(1_000, ge=1, le=100_000, description="members added and removed by one call")
    list_lag: float = Field(
        0.0, ge=0, le=3_600, description="seconds after which a list shows every change that HubSpot confirmed"
    )
    create_properties: bool = Field(
        True, description="whether contact properties that an audience writes and HubSpot lacks are created"
    )
    property_types: Mapping[PropertyName, PropertyType] = Field(
        default_factory=dict, description="what is created as something else than its first values say"
    )
    read: tuple[StreamName, ...] = Field((), description="the streams to read; without it nothing is read")
    custom_objects: tuple[ObjectName, ...] = Field(
        (), description="types of custom objects to read: their names, or ids such as 2-123456"
    )
    properties: Mapping[ObjectName, tuple[PropertyName, ...]] = Field(
        default_factory=dict, description="stream to the properties to read; all of them where it is not named"
    )
    associations: Mapping[ObjectName, tuple[ObjectName, ...]] = Field(
        default_factory=dict,
        description="stream to the types whose associated ids become fields of its records; for deals, contacts",
    )
    webhooks: WebhooksConfig | None = Field(None, description="where HubSpot pushes changes to this connection")
    settle: float = Field(60.0, ge=0, le=3_600, description="seconds after which HubSpot's search finds a change")
    look_back: float = Field(300.0, ge=0, le=86_400, description="seconds that are read again, for what came late")
    archived_every: float = Field(
        86_400.0, ge=0, le=90 * 86_400, description="seconds between two looks for records that were deleted"
    )
    pull_every: float = Field(
        60.0, ge=0, le=86_400, description="seconds between two pulls while changes are being pushed"
    )

    @field_validator("read", "custom_objects", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_what_is_read(self) -> Self:
        known = {*self.custom_objects, *OBJECTS}
        for key in ("properties", "associations"):
            if unknown := getattr(self, key).keys() - known:
                raise ValueError(f"{key}: {', '.join(sorted(unknown))} is no type of records")
        if clash := set(self.custom_objects) & {*get_args(StreamName)}:
            raise ValueError(f"custom_objects: {', '.join(sorted(clash))} belongs under `read`")
        if self.webhooks is not None and (named := [each for each in self.custom_objects if each[:2] != "2-"]):
            raise ValueError(f"custom_objects: webhooks name types by id; write 2-… instead of {', '.join(named)}")
        if self.webhooks is not None and not {*self.read, *self.custom_objects} & {*OBJECTS, *self.custom_objects}:
            raise ValueError("webhooks: name under `read` which records they are about")
        return self

    def belonging_to(self, name: str) -> tuple[str, ...]:
        """The types whose associated ids become fields of a type's records; for deals contacts, if not said."""
        return self.associations.get(name, ("contacts",) if name == "deals" else ())


class HubSpotEventsConfig(AccountConfig):
    """An account, and the custom events that tell it who entered or left a segment."""

    entered: str | None = Field(None, description="the event sent of who entered: its full name, pe<portal>_<name>")
    left: str | None = Field(None, description="the event sent of who left")
    changed: str | None = Field(None, description="the event sent of who changed within the segment")
    properties: Mapping[str, str] = Field(
        default_factory=dict,
        description="the event's property to what it shows: a field of the audience, or segment, audience, list",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.entered is None and self.left is None and self.changed is None:
            raise ValueError("name at least one event: entered, left or changed")
        return self


_UNPACED_LANES = 8


def limits_of(config: AccountConfig) -> Limits:
    """The window and daily limit of an OAuth app are its own; those of a static token follow the subscription."""
    if config.tier == "none":
        return Limits(day_zone=config.time_zone, concurrency=config.concurrency or _UNPACED_LANES)
    allowed = TIERS[config.tier]
    daily = allowed.daily + (ADDON.daily if config.addon else 0)
    calls = OAUTH_CALLS if config.oauth else ADDON.calls if config.addon else allowed.calls
    return Limits(
        # One search a second less than allowed: searches of other apps count in the same second.
        windows={"default": (Window(calls, WINDOW),), "search": (Window(SEARCHES - 1, 1.0),)},
        daily=None if config.oauth else daily,
        day_zone=config.time_zone,
        concurrency=config.concurrency or lanes(calls),
    )


def account_of(config: AccountConfig) -> str:
    """The key of the account that HubSpot counts calls by, without the credential itself."""
    if config.oauth is not None:
        credential = config.oauth.client_id
    else:
        credential = config.token.get_secret_value() if config.token else ""
    return f"{config.base_url}#{hashlib.sha256(credential.encode()).hexdigest()[:12]}"
