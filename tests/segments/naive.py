"""A second opinion on what rules mean: by definition, one person at a time, in plain Python and without a clock.

Truth has three values here, `None` for "cannot be said since something compared is missing". A condition that cannot
be said is what the rule's policy makes of it: once inside an event's `where`, and once at the very end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from switchyard_plugins.segmentation import ast

COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "contains": lambda left, right: right in left,
    "starts with": lambda left, right: left.startswith(right),
    "ends with": lambda left, right: left.endswith(right),
}


@dataclass(frozen=True)
class Event:
    type: str
    at: datetime
    id: bytes
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    id: int
    at: datetime
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Event] = ()
    subjects: Sequence[str] = ()


@dataclass(frozen=True)
class Reference:
    """Rules by name: (condition, nulls_match, zone)."""

    rules: Mapping[str, tuple[ast.Condition, bool, str]]

    def member(self, name: str, person: Person, now: datetime) -> bool:
        condition, nulls_match, zone = self.rules[name]
        said = _Judge(self, person, now, nulls_match, zone).holds(condition, person.attributes)
        return nulls_match if said is None else said


@dataclass(frozen=True)
class _Judge:
    reference: Reference
    person: Person
    now: datetime
    nulls_match: bool
    zone: str

    def holds(self, condition: ast.Condition, names: Mapping[str, Any]) -> bool | None:
        match condition:
            case ast.All(children):
                said = [self.holds(child, names) for child in children]
                return False if False in said else None if None in said else True
            case ast.Any(children):
                said = [self.holds(child, names) for child in children]
                return True if True in said else None if None in said else False
            case ast.Not(child):
                said = self.holds(child, names)
                return None if said is None else not said
            case ast.Presence(attribute, present):
                return (names[attribute.name] is not None) == present
            case ast.InSegment(segment):
                return self.reference.member(segment, self.person, self.now)
            case ast.Relative():
                return self.relative(condition, names[condition.attribute.name])
            case ast.OneOf(left, values):
                tests = [ast.Comparison(left, "=", value) for value in values]
                if isinstance(left, ast.Elements):
                    return self.elements(left, lambda element: element in [v.value for v in values], names)
                return self.holds(ast.any_of(tests), names)
            case ast.Comparison(ast.Elements() as left, sign, ast.Constant(value)):
                return self.elements(left, lambda element: COMPARE[sign](element, value), names)
            case ast.Comparison(left, sign, right):
                return self.compare(self.value(left, names), sign, self.value(right, names))
        raise AssertionError(condition)

    def compare(self, left: Any, sign: str, right: Any) -> bool | None:
        if left is None or right is None:
            return None
        if isinstance(left, datetime) and isinstance(right, date) and not isinstance(right, datetime):
            left = left.replace(tzinfo=UTC).astimezone(ZoneInfo(self.zone)).date()
        return COMPARE[sign](left, right)

    def elements(self, left: ast.Elements, fits: Callable[[str], bool], names: Mapping[str, Any]) -> bool | None:
        elements = names[left.attribute.name]
        if elements is None:
            return None
        known = [fits(element) for element in elements if element is not None]
        return any(known) if left.quantifier == "any" else all(known)

    def relative(self, condition: ast.Relative, moment: Any) -> bool | None:
        if moment is None:
            return None
        if not isinstance(moment, datetime):
            midnight = datetime.combine(moment, time(), tzinfo=ZoneInfo(self.zone))
            moment = midnight.astimezone(UTC).replace(tzinfo=None)
        length = timedelta(seconds=condition.seconds)
        match condition.direction:
            case "last":
                return self.now - length < moment <= self.now
            case "next":
                return self.now < moment <= self.now + length
            case "ago":
                return moment <= self.now - length

    def value(self, operand: ast.Operand | ast.Constant, names: Mapping[str, Any]) -> Any:
        match operand:
            case ast.Constant(datetime() as written):
                aware = written if written.tzinfo else written.replace(tzinfo=ZoneInfo(self.zone))
                return aware.astimezone(UTC).replace(tzinfo=None)
            case ast.Constant(value):
                return value
            case ast.Attribute(name):
                return names[name]
            case ast.Aggregate():
                return self.aggregate(operand)
        raise AssertionError(operand)

    def aggregate(self, aggregate: ast.Aggregate) -> Any:
        events = sorted((e for e in self.person.events if self.counts(e, aggregate)), key=lambda e: (e.at, e.id))
        if aggregate.prop is None:
            return len(events)
        values = [e.properties[aggregate.prop] for e in events]
        values = [value for value in values if value is not None]
        match aggregate.function:
            case "sum":
                return sum(values)
            case "distinct":
                return len(set(values))
        if not values:
            return None
        match aggregate.function:
            case "avg":
                return sum(map(Fraction, values)) / len(values)
            case "min":
                return min(values)
            case "max":
                return max(values)
            case "first":
                return values[0]
            case "last":
                return values[-1]
        raise AssertionError(aggregate.function)

    def counts(self, event: Event, aggregate: ast.Aggregate) -> bool:
        if event.type != aggregate.event:
            return False
        window = aggregate.window
        if event.at > self.now - timedelta(seconds=window.near):
            return False
        if window.far is not None and event.at <= self.now - timedelta(seconds=window.far):
            return False
        if aggregate.where is None:
            return True
        said = self.holds(aggregate.where, event.properties)
        return self.nulls_match if said is None else said


def critical_instants(condition: ast.Condition, person: Person) -> set[datetime]:
    """Every instant at which the condition's truth could change for this person, other segments and days aside."""
    instants: set[datetime] = set()
    for node, _ in ast.walk(condition):
        if isinstance(node, ast.Comparison | ast.OneOf) and isinstance(node.left, ast.Aggregate):
            window = node.left.window
            edges = [timedelta(seconds=edge) for edge in (0, window.near, window.far) if edge is not None]
            instants |= {e.at + edge for e in person.events if e.type == node.left.event for edge in edges}
        if isinstance(node, ast.Relative) and (moment := person.attributes[node.attribute.name]) is not None:
            if not isinstance(moment, datetime):
                moment = datetime.combine(moment, time())
            length = timedelta(seconds=node.seconds)
            hours = [timedelta(hours=hour) for hour in range(-14, 15)] if moment.time() == time() else [timedelta()]
            instants |= {moment + sign * length + hour for sign in (-1, 0, 1) for hour in hours}
    return instants


def decimal(text: str) -> Decimal:
    return Decimal(text).quantize(Decimal("0.0001"))
