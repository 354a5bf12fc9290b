"""What a user can say about a webhook: of one that is received how it is signed, what names a delivery, what a record
is; of one that is sent where to.
"""

from __future__ import annotations

from typing import Annotated, Literal

import httpx
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from switchyard.api import ConfigError, ConnectorConfig
from switchyard.api.transport import names_internal
from switchyard_connectors.webhook.keys import signing, symmetric, verifying

Scheme = Literal[
    "standard_webhooks",
    "svix",
    "stripe",
    "github",
    "shopify",
    "hubspot_v1",
    "hubspot_v2",
    "hubspot_v3",
    "shared_secret",
]
Header = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$", to_lower=True)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^~/]|~[01])*)*$", max_length=500)]

SHORTEST = 16
"""Characters of a shared secret: it goes over the wire with every request, and nothing else protects the door."""

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})
_HUBSPOT_RECORD = ("/subscriptionId", "/objectId", "/propertyName", "/occurredAt")


class Sending(ConnectorConfig):
    """One endpoint that is told of changes.

    Args:
        url: where each change is posted. It may itself be a secret, and is never shown beyond its host.
        secrets: one, or several while one replaces another: every message is signed by all. `whsec_…` signs as `v1`,
            `whsk_…` (ed25519) as `v1a`.
        timeout: seconds that the endpoint has to answer.
        internal_hosts: hosts inside this network that may be called, as `url` spells them; no other inner address is.
        concurrency: messages under way at once.
        resume: any text. Changing it, or `url`, or the secrets, has a disabled endpoint called again at once.
    """

    url: Annotated[str, StringConstraints(max_length=2_000)] = Field(repr=False)
    secrets: tuple[SecretStr, ...] = Field(min_length=1, repr=False)
    timeout: float = Field(default=20, ge=15, le=30)
    internal_hosts: tuple[str, ...] = ()
    concurrency: int = Field(default=5, ge=1, le=50)
    resume: str = ""

    @field_validator("secrets", "internal_hosts", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return _several(value)

    @model_validator(mode="after")
    def _good_secrets(self) -> Sending:
        for secret in self.secrets:
            _ = signing(secret.get_secret_value())
        return self

    @model_validator(mode="after")
    def _good_url(self) -> Sending:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.fragment:
            raise ValueError("url: write it as https://partner.example/path")
        if not self.is_internal and names_internal(url.host):
            raise ValueError(f"url: {url.host} is inside this network; if that is meant, name it in internal_hosts")
        if not self.is_internal and url.scheme != "https":
            raise ValueError("url: only hosts named in internal_hosts may be called without https")
        return self

    @property
    def host(self) -> str:
        """Whom the endpoint belongs to."""
        return httpx.URL(self.url).host

    @property
    def is_internal(self) -> bool:
        """Whether the endpoint may be inside this network."""
        return self.host in self.internal_hosts


class WebhookConfig(ConnectorConfig):
    """One sender (`scheme`, `secrets` and what follows), one endpoint (`send`), or both.

    Args:
        scheme: how the sender proves who it is.
        secrets: one, or several while one replaces another: any of them is good.
        header: of `shared_secret`: where the secret stands, as it is or behind "Bearer ".
        tolerance: seconds by which a signed timestamp may differ from the clock, both ways.
        delivery_id: what names a delivery: a header, or a JSON pointer into the body. By default what the scheme has.
        records: a JSON pointer to the array whose items are the records ("" is the body itself); what is there and is
            no array is one record. Without it, and where the scheme says nothing else, the body is one record.
        record_id: JSON pointers into a record whose values name it, where a sender repeats records in deliveries of
            other names. Without it a record is named by its delivery and its place therein.
        keep_headers: further headers to keep.
        max_bytes: a larger body is refused.
        send: where changes of people in a segment are sent.
    """

    scheme: Scheme | None = None
    secrets: tuple[SecretStr, ...] = Field(default=(), repr=False)
    header: Header = "x-webhook-secret"
    tolerance: float = Field(default=300, gt=0, le=86_400)
    delivery_id: Header | Pointer | None = None
    records: Pointer | None = None
    record_id: tuple[Pointer, ...] = ()
    keep_headers: tuple[Header, ...] = ()
    max_bytes: int = Field(default=1_000_000, gt=0, le=25_000_000)
    send: Sending | None = None

    @field_validator("secrets", "record_id", "keep_headers", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return _several(value)

    @model_validator(mode="after")
    def _receives_or_sends(self) -> WebhookConfig:
        receiving = self.model_fields_set - {"send"}
        if self.scheme is None and (receiving or self.send is None):
            raise ValueError("scheme: say how the sender proves who it is; or `send` alone, to send and not receive")
        if self.scheme is not None and not self.secrets:
            raise ValueError("secrets: at least one is needed; without a secret anybody could post")
        return self

    @model_validator(mode="after")
    def _good_secrets(self) -> WebhookConfig:
        for secret in self.secrets:
            text = secret.get_secret_value()
            if not text.strip():
                raise ValueError("secrets: one is empty; without a secret anybody could post")
            if self.scheme == "shared_secret" and len(text) < SHORTEST:
                raise ValueError(f"secrets: a shared secret needs at least {SHORTEST} characters; make a random one")
            if self.scheme in ("standard_webhooks", "svix"):
                _ = verifying(text) if text.startswith(("whpk_", "whsk_")) else symmetric(text)
        return self

    @model_validator(mode="after")
    def _header_is_for_shared_secrets(self) -> WebhookConfig:
        if "header" in self.model_fields_set and self.scheme != "shared_secret":
            raise ValueError(f"header: {self.scheme} has its own; only shared_secret needs one")
        return self

    @model_validator(mode="after")
    def _keeps_no_secret(self) -> WebhookConfig:
        if secret := _SECRET_HEADERS.union({self.header}).intersection(self.keep_headers):
            raise ValueError(f"keep_headers: {', '.join(sorted(secret))} may hold a secret, and is not kept")
        return self

    @property
    def sender(self) -> Scheme:
        """The scheme of a webhook that is received.

        Raises:
            ConfigError: it is not.
        """
        if self.scheme is None:
            raise ConfigError("this connection only sends; to receive, give it a `scheme` and `secrets`")
        return self.scheme

    @property
    def records_at(self) -> str | None:
        """`records`, or what the scheme says."""
        return "" if self.records is None and self._is_hubspots else self.records

    @property
    def named_by(self) -> tuple[str, ...]:
        """`record_id`, or what the scheme says: HubSpot sends an event again in another batch, counted on."""
        return _HUBSPOT_RECORD if not self.record_id and self._is_hubspots else self.record_id

    @property
    def _is_hubspots(self) -> bool:
        return self.scheme is not None and self.scheme.startswith("hubspot")


def _several(value: object) -> object:
    return (value,) if isinstance(value, str | SecretStr) else value
