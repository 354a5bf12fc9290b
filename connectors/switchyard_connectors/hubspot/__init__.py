"""HubSpot: keeps contact lists exactly as the hub wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from switchyard.api import ConnectorConfig, ConnectorSpec, Context, Limits, ListSink, ListSinkSpec, Window, hookimpl
from switchyard_connectors.hubspot.paths import Version
from switchyard_connectors.hubspot.tiers import ADDON, OAUTH_CALLS, SEARCHES, TIERS, WINDOW, Tier, lanes


class OAuthConfig(ConnectorConfig):
    """An OAuth app that was installed in the account."""

    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr


class HubSpotConfig(ConnectorConfig):
    """Which HubSpot account, how to sign in, and what its subscription allows."""

    token: SecretStr | None = Field(None, description="a static bearer token: a service key, or a private app's")
    oauth: OAuthConfig | None = Field(None, description="instead of a token")
    base_url: str = "https://api.hubapi.com"
    api: Version = Field("2026-03", description="the version of the API to speak")
    object: str = Field("contacts", pattern="^contacts$", description="the type of record that lists hold")
    tier: Tier | Literal["none"] = Field(
        "starter", description="the account's subscription, for its limits; none for a simulator without limits"
    )
    addon: bool = Field(False, description="whether the account has the API limit increase")
    time_zone: str = Field("UTC", description="the account's zone, whose midnight resets the daily limit")
    membership_batch: int = Field(1_000, ge=1, le=100_000, description="members added and removed by one call")
    concurrency: int | None = Field(
        None, ge=1, le=64, description="calls under way at once; unless set, as many as use the limits up"
    )
    list_lag: float = Field(
        0.0, ge=0, le=3_600, description="seconds after which a list shows every change that HubSpot confirmed"
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
    def _one_way_to_sign_in(self) -> HubSpotConfig:
        if (self.token is None) == (self.oauth is None):
            raise ValueError("give either token or oauth")
        return self


_UNPACED_LANES = 8


def limits_of(config: HubSpotConfig) -> Limits:
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


def _account(config: HubSpotConfig) -> str:
    if config.oauth is not None:
        credential = config.oauth.client_id
    else:
        credential = config.token.get_secret_value() if config.token else ""
    return f"{config.base_url}#{hashlib.sha256(credential.encode()).hexdigest()[:12]}"


def _build(config: HubSpotConfig, context: Context) -> ListSink:
    from switchyard_connectors.hubspot.sink import HubSpotLists

    return HubSpotLists(config, context)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (
        ListSinkSpec(
            name="hubspot",
            title="HubSpot contact lists",
            config=HubSpotConfig,
            build=_build,
            limits=limits_of,
            account=_account,
            simulator="switchyard_connectors.hubspot.simulator:HubSpotSimulator",
        ),
    )
