"""What a user can say about a webhook: how it is signed, what names a delivery, what a record is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from switchyard.api import ConnectorConfig
from switchyard_connectors.webhook.keys import symmetric, verifying

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


class WebhookConfig(ConnectorConfig):
    """One sender.

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
    """

    scheme: Scheme
    secrets: tuple[SecretStr, ...] = Field(min_length=1, repr=False)
    header: Header = "x-webhook-secret"
    tolerance: float = Field(default=300, gt=0, le=86_400)
    delivery_id: Header | Pointer | None = None
    records: Pointer | None = None
    record_id: tuple[Pointer, ...] = ()
    keep_headers: tuple[Header, ...] = ()
    max_bytes: int = Field(default=1_000_000, gt=0, le=25_000_000)

    @field_validator("secrets", "record_id", "keep_headers", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str | SecretStr) else value

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
    def records_at(self) -> str | None:
        """`records`, or what the scheme says."""
        return "" if self.records is None and self.scheme.startswith("hubspot") else self.records

    @property
    def named_by(self) -> tuple[str, ...]:
        """`record_id`, or what the scheme says: HubSpot sends an event again in another batch, counted on."""
        return _HUBSPOT_RECORD if not self.record_id and self.scheme.startswith("hubspot") else self.record_id
