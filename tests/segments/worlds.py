"""Random rules, people and instants, from a seed: few of each kind of value, so that they meet at every edge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from switchyard.api.transforms import DataType, Schema
from switchyard_plugins.segmentation import ast

from .naive import Event, Person

EVENT: Mapping[str, DataType] = {
    "total": "decimal",
    "items": "integer",
    "score": "number",
    "channel": "text",
    "gift": "boolean",
    "due": "timestamp",
    "tags": "list",
}
SCHEMA = Schema(
    attributes={
        "city": "text",
        "country": "text",
        "points": "integer",
        "credit": "decimal",
        "churn": "number",
        "consent": "boolean",
        "joined": "timestamp",
        "birthday": "date",
        "interests": "list",
    },
    events={"order": EVENT, "view": EVENT, "refund": EVENT},
)
ZONES = ("UTC", "Europe/Paris", "America/New_York")
START = datetime(2026, 3, 20)
HOUR = 3600
LENGTHS = (HOUR, 24 * HOUR, 48 * HOUR, 72 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR)
MICROSECOND = timedelta(microseconds=1)
WORDS = ("Paris", "Pau", "paris", "Lyon", "")
SIGNS = ("=", "!=", "<", "<=", ">", ">=")


class World:
    """Draws from one seed; what has a time lies within forty days from `start`."""

    def __init__(self, seed: int, start: datetime = START) -> None:
        self.random = Random(seed)
        self.start = start

    def person(self, number: int) -> Person:
        events = [self.event(number) for number in range(self.random.choice((0, 1, 3, 6, 12)))]
        attributes = self.values(SCHEMA.attributes)
        return Person(number, self.instant(events, attributes), attributes, events)

    def event(self, number: int) -> Event:
        at = self.moment()
        # Ids tell events of one instant apart, and are in no order of theirs.
        identity = self.random.randbytes(2) + number.to_bytes(2, "big")
        return Event(self.random.choice(list(SCHEMA.events)), at, identity, self.values(EVENT))

    def instant(self, events: list[Event], attributes: Mapping[str, Any]) -> datetime:
        """Mostly an edge of something, or a microsecond beside it."""
        birthday = datetime.combine(attributes["birthday"] or self.start, time(self.random.choice((0, 4, 22, 23))))
        joined = attributes["joined"] or self.start
        base = self.random.choice([*(e.at for e in events), joined, joined, birthday, birthday])
        edge = self.random.choice((-1, 1, 1)) * timedelta(seconds=self.random.choice((0, *LENGTHS)))
        return base + edge + self.random.choice((-1, 0, 0, 1)) * MICROSECOND

    def moment(self) -> datetime:
        return self.start + timedelta(hours=6 * self.random.randrange(40 * 4))

    def values(self, kinds: Mapping[str, DataType]) -> dict[str, Any]:
        return {name: None if self.random.random() < 0.2 else self.value(kind) for name, kind in kinds.items()}

    def value(self, kind: DataType) -> Any:
        match kind:
            case "text":
                return self.random.choice(WORDS)
            case "integer":
                return self.random.randrange(-1, 4)
            case "decimal":
                return Decimal(self.random.choice((0, 5, 10, 15, 333))) / 10
            case "number":
                return self.random.choice((0.0, 0.25, 0.5, 1.5))
            case "boolean":
                return self.random.random() < 0.5
            case "timestamp":
                return self.moment()
            case "date":
                return self.start.date() + timedelta(days=self.random.randrange(40))
            case _:
                return [self.random.choice((*WORDS, None)) for _ in range(self.random.randrange(4))]

    def condition(self, depth: int = 3, segments: tuple[str, ...] = ()) -> ast.Condition:
        shape = self.random.random()
        if depth and shape < 0.5:
            children = [self.condition(depth - 1, segments) for _ in range(self.random.randrange(2, 4))]
            return self.random.choice((ast.all_of, ast.any_of))(children)
        if depth and shape < 0.6:
            return ast.negate(self.condition(depth - 1, segments))
        if segments and shape < 0.75:
            return ast.InSegment(self.random.choice(segments))
        if shape < 0.85:
            return self.event_leaf()
        return self.state(SCHEMA.attributes)

    def state(self, kinds: Mapping[str, DataType], *, relative: bool = True) -> ast.Condition:
        name = self.random.choice(list(kinds))
        attribute, kind = ast.Attribute(name), kinds[name]
        shape = self.random.random()
        if shape < 0.15:
            return ast.Presence(attribute, self.random.random() < 0.5)
        if relative and kind in ("timestamp", "date") and shape < 0.8:
            direction = self.random.choice(("last", "next", "ago"))
            return ast.Relative(attribute, direction, self.random.choice(LENGTHS))
        if kind == "list":
            if shape < 0.5:
                return ast.Comparison(attribute, "contains", self.constant("text"))
            return self.comparison(ast.Elements(self.random.choice(("any", "all")), attribute), "text")
        others = [other for other in kinds if kinds[other] == kind and other != name]
        if others and shape < 0.4:
            return ast.Comparison(attribute, self.sign(kind), ast.Attribute(self.random.choice(others)))
        return self.comparison(attribute, kind)

    def comparison(self, left: ast.Operand, kind: DataType) -> ast.Condition:
        if kind not in ("boolean", "timestamp") and self.random.random() < 0.2:
            return ast.OneOf(left, tuple(self.constant(kind) for _ in range(2)))
        return ast.Comparison(left, self.sign(kind), self.constant(kind))

    def sign(self, kind: DataType) -> ast.Operator:
        if kind == "text":
            return self.random.choice(("=", "!=", "contains", "starts with", "ends with"))
        return self.random.choice(SIGNS[:2] if kind == "boolean" else SIGNS)

    def constant(self, kind: DataType) -> ast.Constant:
        value = self.value(kind)
        if kind == "timestamp" and self.random.random() < 0.5:
            value = value.date()
        return ast.Constant(Decimal(str(value)) if kind in ("integer", "decimal", "number") else value)

    def window(self) -> ast.Window:
        shape = self.random.random()
        if shape < 0.2:
            return ast.EVER
        near, far = sorted(self.random.sample(LENGTHS, 2))
        return ast.Window(far, near if shape < 0.5 else 0)

    def event_leaf(self) -> ast.Condition:
        function = self.random.choice(
            ("count", "count", "count", "sum", "avg", "min", "max", "first", "last", "distinct")
        )
        fits = {"sum": ("total", "items", "score"), "avg": ("total", "items", "score")}
        fits |= {"min": (*fits["sum"], "due"), "max": (*fits["sum"], "due")}
        prop = None
        if function != "count":
            prop = self.random.choice(fits.get(function, ("total", "score", "channel", "gift", "due")))
        kinds = dict(EVENT)
        where = self.state(kinds, relative=False) if self.random.random() < 0.4 else None
        if where and self.random.random() < 0.3:
            where = ast.negate(ast.any_of([where, self.state(kinds, relative=False)]))
        event = self.random.choice(list(SCHEMA.events))
        aggregate = ast.Aggregate(function, event, prop, where, self.window())
        if function in ("count", "distinct"):
            return self.count_leaf(aggregate)
        return self.comparison(aggregate, EVENT[prop])

    def count_leaf(self, aggregate: ast.Aggregate) -> ast.Condition:
        number = self.random.randrange(1, 4)
        return ast.Comparison(aggregate, self.random.choice((*SIGNS, ">=")), ast.Constant(Decimal(number)))
