"""The models of `switchyard.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    field_validator,
)

from switchyard.config.mapping import MappingPatch, Model, Name, Region
from switchyard.config.schedule import Schedule, Zone


class Hub(Model):
    """Where the hub keeps what it knows. Relative paths start at the project's folder.

    Args:
        store: database URL of the store; may hold secret references. `Loaded.store_url` resolves it.
        log: folder of the event log.
        work: file of the working database.
        timezone: the zone of calendar units in segments, and of reports.
        flush_rows: young events wait in the journal until they are so many.
        file_rows: a page of at least so many records is written as a file at once.
        default_region: reads phone numbers that carry no country; without it they are no identifiers.
        lease_seconds: of several hubs on one store, another may take over from one that was not heard of for so long.
    """

    store: str = "sqlite:///.switchyard/store.db"
    log: Path = Path(".switchyard/log")
    work: Path = Path(".switchyard/work.duckdb")
    timezone: Zone = "UTC"
    flush_rows: PositiveInt = 50_000
    file_rows: PositiveInt = 50_000
    default_region: Region | None = None
    lease_seconds: PositiveFloat = 30.0


class Serve(Model):
    """Where `switchyard serve` listens.

    Args:
        host: its address; 0.0.0.0 for all of the machine.
        public_url: where senders call, as they write it: signatures may be over it. Without it that of host and port.
        max_body: bytes of the largest body that is received.
    """

    host: Annotated[str, StringConstraints(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8470
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$")] | None = None
    max_body: PositiveInt = 1 << 20


class StreamConfig(Model):
    """What a user says of one stream. `transforms` run in the order written; each checks its own value. `schedule` is
    when `serve` reads it, if not with its connection.
    """

    enabled: bool = True
    schedule: Schedule | None = None
    mapping: MappingPatch | None = None
    transforms: dict[Name, Any] = Field(default_factory=dict)


class Connection(Model):
    """A configured connector. `config` is as written: `Loaded.validate` checks it and resolves its secrets.

    Args:
        schedule: when `serve` reads it: every 15 minutes, if nothing else is said. What is pushed is read as it comes.
    """

    connector: Name
    enabled: bool = True
    schedule: Schedule | None = None
    config: dict[str, Any] = Field(default_factory=dict, repr=False)
    streams: dict[Name, StreamConfig] = Field(default_factory=dict)


def _share(value: int | str) -> int | str:
    if isinstance(value, str):
        number = value.removesuffix("%").strip()
        if not value.endswith("%") or not number.isdecimal() or int(number) > 100:
            raise ValueError("write a number of members, or a share such as 30%")
    elif value < 0:
        raise ValueError("must not be negative")
    return value


class Guard(Model):
    """Stops a delivery that would take too many members off a list.

    Args:
        max_removal: how many members one delivery may remove: a number, or a share of the list such as 30%.
        at_least: with a share, so many may always go, for the sake of short lists.
    """

    max_removal: Annotated[int | str, AfterValidator(_share)] = "30%"
    at_least: NonNegativeInt = 10

    def limit(self, held: int) -> int:
        """How many of `held` members one delivery may remove."""
        if isinstance(self.max_removal, int):
            return self.max_removal
        return max(self.at_least, held * int(self.max_removal.removesuffix("%")) // 100)


class Audience(Model):
    """A segment as delivered to one list.

    Args:
        list: the list's name in the outside system.
        key: the vendor's field by which it recognises a person.
        fields: the vendor's field → attribute, trait or kind of identifier whose value it shows.
        extra: what to do with members whom somebody else put on the list: remove them, keep them, or keep and report.
        first: of a sink that is told of changes and keeps no list (a webhook): whether the first delivery tells it of
            everybody who is in the segment, or assumes that it knows them and tells what changes from then on.
        on_missing_key: a member without a value for `key` cannot be delivered, and is reported as skipped.
        schedule: when `serve` reads the list back and proves it: every hour, if nothing else is said. Who enters or
            leaves the segment, or has another value in one of the fields, is delivered at once.
    """

    segment: Name
    connection: Name
    list: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    key: Annotated[str, StringConstraints(min_length=1)] = "email"
    fields: dict[str, Name] = Field(default_factory=dict)
    guard: Guard = Field(default_factory=Guard)
    extra: Literal["remove", "keep", "report"] = "remove"
    first: Literal["tell", "assume"] = "tell"
    on_missing_key: Literal["skip"] = "skip"
    schedule: Schedule | None = None

    @property
    def shown(self) -> dict[str, str]:
        """The vendor's field → what it shows, that of the key among them."""
        return {self.key: self.fields.get(self.key, self.key)} | self.fields


# A browser that two people signed in with tells nothing of either; somebody may use very many.
_LIMITS = {"email": 20, "phone": 10, "loyalty_card": 10, "source_key": 1000, "user_id": 1000, "anonymous_id": 2}
_OTHER_LIMIT = 20


class KindRule(Model):
    """How far one kind of identifier is trusted.

    Args:
        limit: a value that more subjects than this show is shared (a till's phone), and joins nobody.
        blocked: values that never join anybody, as written in the sources or normalised.
    """

    limit: PositiveInt = _OTHER_LIMIT
    blocked: list[str] = Field(default_factory=list)


class Identity(Model):
    """The rules of identity by kind of identifier. A kind that is not named has the default rule."""

    kinds: dict[Name, KindRule] = Field(default_factory=dict)

    @field_validator("kinds")
    @classmethod
    def _with_limits(cls, kinds: dict[str, KindRule]) -> dict[str, KindRule]:
        return {
            kind: rule if "limit" in rule.model_fields_set else _rule(kind, rule.blocked)
            for kind, rule in kinds.items()
        }

    def rule(self, kind: str) -> KindRule:
        return self.kinds.get(kind) or _rule(kind)


def _rule(kind: str, blocked: list[str] | None = None) -> KindRule:
    return KindRule(limit=_LIMITS.get(kind, _OTHER_LIMIT), blocked=blocked or [])


class Project(Model):
    """All of `switchyard.yaml`."""

    hub: Hub = Field(default_factory=Hub)
    serve: Serve = Field(default_factory=Serve)
    connections: dict[Name, Connection] = Field(default_factory=dict)
    audiences: dict[Name, Audience] = Field(default_factory=dict)
    identity: Identity = Field(default_factory=Identity)
