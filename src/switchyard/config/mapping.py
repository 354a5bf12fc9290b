"""Mappings: how a record becomes identifiers, attributes and events. Expressions are DuckDB SQL, kept as text."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from switchyard.api.records import JSON
from switchyard.config.errors import NAME_PATTERN

Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""What people may call things: segments, connections, attributes, kinds of identifiers."""

Region: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""A country by ISO 3166, as phone numbers are read by."""


class Model(BaseModel):
    """Base of the models of a configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, data: Any) -> Any:
        # A heading with nothing below it is null in YAML, and means what leaving it out means.
        if not isinstance(data, dict):
            return data
        sections = {name for name, each in cls.model_fields.items() if each.default_factory is not None}
        return {key: value for key, value in data.items() if value is not None or key not in sections}


def _literal(value: Any) -> Any:
    # `quantity: 1` is a fine expression, though YAML reads it as a number.
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Expression: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=10_000),
    BeforeValidator(_literal),
    WithJsonSchema({"type": ["string", "number", "boolean"], "description": "a DuckDB SQL expression over the fields"}),
]


class Identifier(Model):
    """Where an identifier stands; `region` reads phone numbers that carry no country."""

    value: Expression
    region: Region | None = None


class EventMapping(Model):
    """How a record, or a group of records, becomes one event.

    Args:
        at: the event's instant; without it the mapping's `observed_at`.
        when: the condition under which a record gives this event; without it every record does.
        id: the event's natural id; without it the record's key.
        group: what the records of one event have in common (the lines of an order).
        properties: name → value.
        items: name → value within one record of the group; becomes the property `items`.
    """

    at: Expression | None = None
    when: Expression | None = None
    id: Expression | None = None
    group: Expression | None = None
    properties: dict[Name, Expression] = Field(default_factory=dict)
    items: dict[Name, Expression] | None = None


class Mapping(Model):
    """A stream's mapping in full."""

    subject: Expression
    observed_at: Expression | None = None
    identifiers: dict[Name, Identifier] = Field(default_factory=dict)
    attributes: dict[Name, Expression] = Field(default_factory=dict)
    events: dict[Name, EventMapping] = Field(default_factory=dict)


class IdentifierPatch(Model):
    value: Expression | None = None
    region: Region | None = None


class EventPatch(Model):
    at: Expression | None = None
    when: Expression | None = None
    id: Expression | None = None
    group: Expression | None = None
    properties: dict[Name, Expression | None] | None = None
    items: dict[Name, Expression | None] | None = None


def _whole(value: Any) -> Any:
    # The short form says the whole identifier, so it takes the default's region away.
    return value if value is None or isinstance(value, dict) else {"value": value, "region": None}


_IdentifierPatch: TypeAlias = Annotated[
    IdentifierPatch | None,
    BeforeValidator(_whole, json_schema_input_type=Expression | IdentifierPatch | None),
]


class MappingPatch(Model):
    """What a user writes: laid over the stream's default mapping, entry by entry; null takes an entry away."""

    subject: Expression | None = None
    observed_at: Expression | None = None
    identifiers: dict[Name, _IdentifierPatch] | None = None
    attributes: dict[Name, Expression | None] | None = None
    events: dict[Name, EventPatch | None] | None = None


def merge_mapping(default: AnyMapping[str, JSON], user: MappingPatch | None = None) -> Mapping:
    """A connector's default mapping with the user's laid over it.

    Raises:
        pydantic.ValidationError: the outcome is no mapping: the default is wrong, or the user took the subject away.
    """
    base = MappingPatch.model_validate(default).model_dump(exclude_unset=True)
    over = user.model_dump(exclude_unset=True) if user is not None else {}
    return Mapping.model_validate(_merge(base, over))


def _merge(base: Any, over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in over.items():
        merged[key] = _merge(merged.get(key), value) if isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if value is not None}
