"""What a user says about a Salesforce org: where it is, how to sign in, what to read, how to write."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from switchyard.api import ConnectorConfig, Limits
from switchyard.api.transport import names_internal

ApiName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")]
"""How objects and fields are called: nothing else may ever become part of a query."""

StreamName: TypeAlias = Literal[
    "contacts", "leads", "accounts", "campaigns", "campaign_members", "opportunities", "tasks"
]

SUFFIXES = ("salesforce.com", "salesforce.mil", "sfcrmproducts.cn")
"""Domains that Salesforce serves orgs from; credentials go nowhere else."""
SHORTEST_TOKEN = 16


class ClientCredentials(ConnectorConfig):
    """An app that signs in as its own Run-As user."""

    client_id: str
    client_secret: SecretStr


class JwtBearer(ConnectorConfig):
    """An app with a certificate, signing in as `username`.

    Args:
        client_id: the app's consumer key.
        private_key: the certificate's RSA key in PEM.
        audience: who is to accept the assertion, where that is not known from the org's address: an Experience
            Cloud site.
    """

    client_id: str
    username: str
    private_key: SecretStr
    audience: str | None = None


class RefreshToken(ConnectorConfig):
    """A person's grant to an app. Where Salesforce rotates the token, the newest is kept in the workspace."""

    client_id: str
    client_secret: SecretStr | None = None
    refresh_token: SecretStr


class ObjectConfig(ConnectorConfig):
    """An object to read besides the standard streams, or one of those with other fields.

    Args:
        name: the object's API name. Its stream is called the same in lower case.
        fields: API names to read; without it all that describe shows, but compound fields and files.
        where: a SOQL condition that the records must fulfil.
        hard_deletes: whether records that left the recycle bin are told by their id alone. The mapping's subject and
            identifiers must then come from `Id`.
    """

    name: ApiName
    fields: tuple[ApiName, ...] = ()
    where: str | None = Field(None, max_length=4_000)
    hard_deletes: bool = False


class Push(ConnectorConfig):
    """What Salesforce, or a relay of its change events, may post to `/hooks/{connection}?token=…`.

    Args:
        token: stands in the address as the parameter `token`, or in the header `x-switchyard-token`.
        organization_id: the org's id, 15 or 18 characters; messages of another org are refused.
    """

    token: SecretStr
    organization_id: str = Field(pattern=r"^00D[A-Za-z0-9]{12}([A-Za-z0-9]{3})?$")
    max_bytes: int = Field(1_000_000, gt=0, le=25_000_000)

    @field_validator("token")
    @classmethod
    def _long(cls, token: SecretStr) -> SecretStr:
        if len(token.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"a token needs at least {SHORTEST_TOKEN} characters; make a random one")
        return token


class SalesforceConfig(ConnectorConfig):
    """One Salesforce org."""

    base_url: str = Field(description="the org's My Domain, such as https://acme.my.salesforce.com")
    client_credentials: ClientCredentials | None = None
    jwt: JwtBearer | None = None
    refresh: RefreshToken | None = None
    version: str = Field("v62.0", pattern=r"^v(5[3-9]|[6-9]\d)\.0$", description="the version of the API to speak")
    daily_calls: int | None = Field(
        None, ge=1, description="calls that the hub may make in a day; unless set, as many as Salesforce says"
    )
    concurrency: int = Field(4, ge=1, le=25, description="calls under way at once")
    read: tuple[StreamName, ...] | None = Field(
        None, description="the standard streams to read, none with []; all of them without it"
    )
    objects: tuple[ObjectConfig, ...] = Field((), description="custom objects to read")
    bulk_query_above: int = Field(
        20_000, ge=0, description="rows above which a first load goes through the Bulk API; a count comes before"
    )
    bulk_page: int = Field(50_000, ge=1, le=1_000_000, description="rows of one download of a bulk job")
    bulk_ingest_above: int = Field(20_000, ge=0, description="rows above which people are written through the Bulk API")
    poll_wait: float = Field(2.0, gt=0, le=60, description="seconds before the second look at a job; they grow to 30")
    deletions_every: float = Field(
        900.0, ge=0, description="seconds between two questions for records that left the recycle bin"
    )
    pull_every: float = Field(60.0, ge=0, description="seconds between two pulls while pushes come in")
    push: Push | None = Field(None, description="for outbound messages and relayed change events")
    people: Literal["Contact", "Lead"] = Field("Contact", description="what members of campaigns are")
    defaults: dict[ApiName, str] = Field(
        {"LastName": "[not provided]", "Company": "[not provided]"},
        description="values of required fields of new people whom the audience has none for",
    )
    allow_duplicates: bool = Field(
        False, description="whether people are written against duplicate rules that only warn"
    )
    member_status: str = Field("Sent", min_length=1, max_length=40, description="status of whom the hub adds")
    lock_retries: int = Field(5, ge=0, le=10, description="tries more for rows that others hold locked")
    lock_wait: float = Field(2.0, ge=0, le=30, description="seconds before the first of them; they double")

    @field_validator("base_url")
    @classmethod
    def _is_salesforce(cls, url: str) -> str:
        if not is_trusted(url, inside=True):
            raise ValueError("give the org's My Domain: https://YOURS.my.salesforce.com, without a path")
        if urlsplit(url).hostname in ("login.salesforce.com", "test.salesforce.com"):
            raise ValueError("give the org's My Domain (https://YOURS.my.salesforce.com), not the common sign-in host")
        return url.rstrip("/")

    @field_validator("objects")
    @classmethod
    def _named_once(cls, objects: tuple[ObjectConfig, ...]) -> tuple[ObjectConfig, ...]:
        names = [each.name.lower() for each in objects]
        if len(set(names)) < len(names):
            raise ValueError("objects: one is named twice")
        return objects

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> SalesforceConfig:
        if sum(way is not None for way in (self.client_credentials, self.jwt, self.refresh)) != 1:
            raise ValueError("give one of client_credentials, jwt and refresh")
        return self


def is_trusted(url: str, *, inside: bool) -> bool:
    """Whether credentials may be sent there: a host of Salesforce's by https, judged by the parsed host; with
    `inside`, also an address of this network.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return False
    if parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/"):
        return False
    if inside and names_internal(host):
        return parts.scheme in ("http", "https")
    ours = any(host.endswith(f".{suffix}") for suffix in SUFFIXES)
    return parts.scheme == "https" and ours and port in (None, 443)


def limits_of(config: SalesforceConfig) -> Limits:
    """There is no window: a daily allocation, and 25 long calls at once (vendor documentation, API request limits)."""
    return Limits(daily=config.daily_calls, concurrency=config.concurrency)


def account_of(config: SalesforceConfig) -> str:
    """Calls are counted per org, whichever app makes them."""
    return config.base_url
