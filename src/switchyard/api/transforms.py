"""Transforms: everything that derives one thing from another, the hub's own segment language included.

A *record transform* works on pages on their way in. A *profile transform* turns history into memberships or traits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel

from switchyard.api.records import JSON, Reject

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

DataType: TypeAlias = Literal["text", "integer", "decimal", "number", "boolean", "timestamp", "date", "list", "items"]
"""The type of an attribute or an event property. Instants are UTC without a zone; `decimal` has four places;
`list` holds texts; `items` holds structs (the lines of an order).
"""

NEVER = datetime(2200, 1, 1)
"""`next_change` of what no passing of time will change. A finite instant, since engines differ on NULL."""


class RecordTransform(Protocol):
    """Works on the mapped records of a page, before identities are resolved."""

    def apply(self, page: pa.Table) -> tuple[pa.Table, Sequence[Reject]]:
        """Return the page to go on with and the records that must not.

        The table has one row per record: a column per identifier kind (`identifier.email`), per attribute
        (`attribute.city`), per property of an event made of one record (`event.product_purchased.price`; with
        `event.product_purchased._when`, whether the record gives that event), and `_row` (int64). These columns must
        survive. A reject names its record by the `_row` it stood in, as `Reject.record`.
        Pure: no I/O, no clock.
        """


@dataclass(frozen=True, slots=True)
class RecordTransformSpec:
    """A record transform: `name` is the key under a stream in the configuration, `config` the model of its value."""

    name: str
    config: type[BaseModel]
    build: Callable[[Any], RecordTransform]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition for a profile transform, as written: `body` is the parsed YAML of its file."""

    name: str
    body: Mapping[str, JSON]
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """What definitions may speak of: attributes and traits by name, event types with their properties, segments."""

    attributes: Mapping[str, DataType] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, DataType]] = field(default_factory=dict)
    segments: frozenset[str] = frozenset()
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Reads:
    """What one definition reads, so that the hub fetches no more.

    Args:
        events: event type → properties.
        attributes, segments: by name.
        event_ids: whether it reads `event_id`, as those do for whom it matters which of two events at one instant came
            first. To fetch a history without costs a third less.
    """

    events: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    event_ids: bool = True


class Scope(Protocol):
    """The people and instants to evaluate, as Ibis tables. All of it may be read many times in one expression."""

    @property
    def profiles(self) -> ir.Table:
        """One row per profile: `profile_id` int64, `at` timestamp (the instant to answer for), and one column per
        attribute, named as the attribute; NULL where it is missing.
        """

    def events(self, event_type: str) -> ir.Table:
        """The events of one type of these profiles: `profile_id` int64, `at` timestamp, one column per property, and
        `event_id` binary where some definition reads it. Events after the profile's instant are among them: they count
        from their time on.
        """

    def memberships(self) -> ir.Table:
        """Segments evaluated before this one, at the same instants: `profile_id` int64, `segment` string,
        `value` boolean, `next_change` timestamp.
        """


class Program(Protocol):
    """Compiled definitions."""

    @property
    def reads(self) -> Mapping[str, Reads]:
        """For every definition, what it reads."""

    def evaluate(self, scope: Scope, definitions: Sequence[str]) -> ir.Table:
        """One row per profile and definition: `profile_id` int64, `definition` string, `value` (boolean for a
        segment, the trait's type otherwise), `next_change` timestamp: the instant after `at` at which the value may
        change without a new event. Early is allowed, late is not; `NEVER` where it never does.

        `definitions` are some of those compiled; the segments they read are already in `scope.memberships()`.
        """


class ProfileTransform(Protocol):
    """Turns history into memberships or traits. Pure: no I/O, no store, no clock."""

    def compile(self, definitions: Sequence[Definition], schema: Schema) -> Program:
        """Compile all definitions of this transform at once, so that they can share scans.

        Raises:
            SegmentError: a definition is wrong; with the place, and what would fit.
        """


@runtime_checkable
class Explainable(Protocol):
    """A profile transform that can say a definition in a sentence."""

    def explain(self, definition: Definition) -> str:
        """The definition as one English sentence."""


@runtime_checkable
class Printable(Protocol):
    """A profile transform with a canonical spelling, so that equal definitions have equal versions."""

    def canonical(self, definition: Definition) -> str:
        """The canonical text of the definition: the same for every spelling of the same meaning."""


@dataclass(frozen=True, slots=True)
class ProfileTransformSpec:
    """A profile transform.

    Args:
        name: the transform's name.
        key: the top-level key of a definition's file by which it is recognised (`segment`); its value is the
            definition's name.
        gives: "membership" or "trait".
        schema: JSON Schema of such a file, for editors.
    """

    name: str
    key: str
    build: Callable[[], ProfileTransform]
    gives: Literal["membership", "trait"] = "membership"
    title: str = ""
    schema: Mapping[str, JSON] = field(default_factory=dict)


TransformSpec: TypeAlias = RecordTransformSpec | ProfileTransformSpec
