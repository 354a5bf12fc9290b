"""The one syntax tree behind both spellings of a rule.

Trees are built with `all_of`, `any_of` and `negate`, which keep one shape per meaning: no nested `All` in an `All`,
no single child, no double negation. A node's place is where it was written; it takes no part in equality.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal as Choice
from typing import TypeAlias

from switchyard.api.errors import SegmentError


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: `line` and `column` (from 1) in `text`, which stands at `key` of the definition."""

    text: str = ""
    line: int = 1
    column: int = 1
    key: str = "where"


NOWHERE = Place()


def fault(message: str, place: Place, expected: Sequence[str] = ()) -> SegmentError:
    """The error for something wrong at `place`."""
    error = SegmentError(message, text=place.text, line=place.line, column=place.column, expected=expected)
    error.key = place.key
    return error


@dataclass(frozen=True, slots=True)
class Window:
    """Event times that count: `(now − far, now − near]` in seconds; without `far`, everything up to now."""

    far: int | None = None
    near: int = 0


EVER = Window()


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute or trait by name; inside an event's `where`, a property of the event."""

    name: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value as written. A `datetime` without a zone is local to the definition's time zone, else it is in UTC."""

    value: str | bool | Decimal | date | datetime
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Elements:
    """Any or all elements of a list-valued attribute."""

    quantifier: Choice["any", "all"]
    attribute: Attribute
    place: Place = field(default=NOWHERE, compare=False, repr=False)


AggregateFunction: TypeAlias = Choice["count", "sum", "avg", "min", "max", "first", "last", "distinct"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over one profile's events of one type. Only `count` has no property."""

    function: AggregateFunction
    event: str
    prop: str | None = None
    where: Condition | None = None
    window: Window = EVER
    place: Place = field(default=NOWHERE, compare=False, repr=False)


Operand: TypeAlias = Attribute | Elements | Aggregate
Operator: TypeAlias = Choice["=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    left: Operand
    operator: Operator
    right: Attribute | Constant
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class OneOf:
    """`left in (values)`."""

    left: Operand
    values: tuple[Constant, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Presence:
    """`attribute exists`, or `is missing`."""

    attribute: Attribute
    present: bool
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Relative:
    """A date against now: in the last or next so many seconds, or at least so many ago."""

    attribute: Attribute
    direction: Choice["last", "next", "ago"]
    seconds: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class InSegment:
    """Membership of another segment, at the same instant."""

    segment: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of one condition."""

    child: Condition
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class All:
    """Every child is true."""

    children: tuple[Condition, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Any:
    """At least one child is true."""

    children: tuple[Condition, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


Leaf: TypeAlias = Comparison | OneOf | Presence | Relative | InSegment
Condition: TypeAlias = Leaf | Not | All | Any


def all_of(children: Sequence[Condition]) -> Condition:
    """The conjunction of at least one condition."""
    flat = tuple(inner for child in children for inner in (child.children if isinstance(child, All) else (child,)))
    return flat[0] if len(flat) == 1 else All(flat, flat[0].place)


def any_of(children: Sequence[Condition]) -> Condition:
    """The disjunction of at least one condition."""
    flat = tuple(inner for child in children for inner in (child.children if isinstance(child, Any) else (child,)))
    return flat[0] if len(flat) == 1 else Any(flat, flat[0].place)


def negate(child: Condition) -> Condition:
    """The opposite, without a double negation."""
    if isinstance(child, Not):
        return child.child
    if isinstance(child, Presence):
        return replace(child, present=not child.present)
    return Not(child, child.place)


def negations_at_leaves(condition: Condition, negated: bool = False) -> Condition:
    """The same condition with `Not` only directly on leaves (De Morgan)."""
    if isinstance(condition, Not):
        return negations_at_leaves(condition.child, not negated)
    if isinstance(condition, All | Any):
        children = [negations_at_leaves(child, negated) for child in condition.children]
        return all_of(children) if isinstance(condition, All) != negated else any_of(children)
    return negate(condition) if negated else condition


def walk(condition: Condition) -> Iterator[tuple[Condition, int]]:
    """Every condition of the tree with its depth, from 1, those inside an event's `where` included.

    Does not recurse: it is what measures a tree before anything recursive sees it.
    """
    waiting: list[tuple[Condition, int]] = [(condition, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if isinstance(node, All | Any):
            waiting += [(child, depth + 1) for child in reversed(node.children)]
        elif isinstance(node, Not):
            waiting.append((node.child, depth + 1))
        elif isinstance(node, Comparison | OneOf) and isinstance(node.left, Aggregate) and node.left.where:
            waiting.append((node.left.where, depth + 1))
