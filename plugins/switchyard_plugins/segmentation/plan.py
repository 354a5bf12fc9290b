"""What has to be aggregated from events for a set of conditions, once each, and in which queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor
from typing import Final, Literal, TypeAlias

from switchyard.api.transforms import Reads
from switchyard_plugins.segmentation import ast

AGGREGATES_PER_QUERY: Final = 8
"""Many aggregates in one GROUP BY cost more than their sum; scans are cheap beside them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a rule says about all its comparisons."""

    nulls_match: bool
    zone: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events count: those of the type that have the property and fulfil the filter."""

    event: str
    prop: str | None
    where: ast.Condition | None
    policy: Policy | None
    """The policy `where` is under; None without one, so that rules of different policies share."""


MeasureKind: TypeAlias = Literal[
    "count", "sum", "avg", "min", "max", "first", "last", "distinct", "oldest", "newest", "times", "upcoming"
]


@dataclass(frozen=True, slots=True)
class Measure:
    """One aggregate over the selected events of a profile.

    `oldest`, `newest` and `times` are event times inside the window; `upcoming` is the first time after
    `now − window.near`. `avg` is the sum: its quotient is never taken.
    """

    selection: Selection
    kind: MeasureKind
    window: ast.Window


@dataclass(frozen=True, slots=True)
class Threshold:
    """A count of at least `least`, or fewer where negated."""

    least: int
    negated: bool


def threshold(comparison: ast.Comparison) -> Threshold | None:
    """The comparison of a count as a threshold; None for `=`, `!=` and what is no count."""
    if not isinstance(comparison.left, ast.Aggregate) or comparison.left.function != "count":
        return None
    value = comparison.right.value if isinstance(comparison.right, ast.Constant) else None
    if not isinstance(value, Decimal):
        return None
    match comparison.operator:
        case ">=":
            return Threshold(ceil(value), negated=False)
        case ">":
            return Threshold(floor(value) + 1, negated=False)
        case "<":
            return Threshold(ceil(value), negated=True)
        case "<=":
            return Threshold(floor(value) + 1, negated=True)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class EventLeaf:
    """A condition on events, and the measures that it is computed from.

    `value` gives its truth, with `count` beside the sum of an average and `bound` for a count that is a threshold.
    `leaving` holds the event times whose leaving the window may change it, `upcoming` the first event to enter the
    window, `after` the first after now (the same where the window ends now). That one is of any event of the type:
    few are dated in the future, and one measure serves all leaves.
    """

    condition: ast.Comparison | ast.OneOf
    aggregate: ast.Aggregate
    bound: Threshold | None
    value: Measure
    count: Measure | None
    leaving: Measure | None
    upcoming: Measure
    after: Measure

    def measures(self) -> Iterable[Measure]:
        """All of them; some may be the same."""
        return (one for one in (self.value, self.count, self.leaving, self.upcoming, self.after) if one)


def event_leaf(condition: ast.Condition, policy: Policy) -> EventLeaf | None:
    """What the condition needs from events; None for a condition that is not about events."""
    if not isinstance(condition, ast.Comparison | ast.OneOf) or not isinstance(condition.left, ast.Aggregate):
        return None
    aggregate = condition.left
    selection = Selection(aggregate.event, aggregate.prop, aggregate.where, policy if aggregate.where else None)
    window = aggregate.window
    after = Measure(Selection(aggregate.event, None, None, None), "upcoming", ast.EVER)
    bound = threshold(condition) if isinstance(condition, ast.Comparison) else None
    leaving: Measure | None = None
    if window.far is not None:
        by_time: MeasureKind = "oldest" if bound is None else "newest" if bound.least == 1 else "times"
        leaving = Measure(selection, by_time, window)
    return EventLeaf(
        condition,
        aggregate,
        bound,
        # A threshold inside a window is read off the n-th newest time, which also says when it will be missed.
        value=leaving if leaving and bound else Measure(selection, aggregate.function, window),
        count=Measure(selection, "count", window) if aggregate.function == "avg" else None,
        leaving=leaving,
        upcoming=Measure(selection, "upcoming", ast.Window(None, window.near)) if window.near else after,
        after=after,
    )


def queries(needed: Iterable[Measure]) -> list[tuple[str, Sequence[Measure]]]:
    """The measures by event type, in groups that one query computes; each measure once.

    Measures of one filter and of windows stand together, since a query whose measures all have a filter or a window
    reads fewer events.
    """
    by_event: dict[str, dict[Measure, None]] = {}
    for measure in needed:
        by_event.setdefault(measure.selection.event, {})[measure] = None
    grouped: list[tuple[str, Sequence[Measure]]] = []
    for event, found in by_event.items():
        ordered = sorted(found, key=lambda measure: (reach(measure) is None, repr(measure.selection)))
        for start in range(0, len(ordered), AGGREGATES_PER_QUERY):
            grouped.append((event, ordered[start : start + AGGREGATES_PER_QUERY]))
    return grouped


def reach(measure: Measure) -> int | None:
    """How far before now an event can lie and matter, in seconds; None for any distance."""
    return measure.window.near if measure.kind == "upcoming" else measure.window.far


def reads(condition: ast.Condition) -> Reads:
    """What a rule reads."""
    events: dict[str, set[str]] = {}
    attributes: set[str] = set()
    segments: set[str] = set()
    functions: set[str] = set()

    def visit(node: ast.Condition, names: set[str]) -> None:
        match node:
            case ast.All(children) | ast.Any(children):
                for child in children:
                    visit(child, names)
            case ast.Not(child):
                visit(child, names)
            case ast.InSegment(segment):
                segments.add(segment)
            case ast.Presence(attribute) | ast.Relative(attribute):
                names.add(attribute.name)
            case ast.Comparison(left) | ast.OneOf(left):
                operand(left, names)
                if isinstance(node, ast.Comparison) and isinstance(node.right, ast.Attribute):
                    names.add(node.right.name)

    def operand(left: ast.Operand, names: set[str]) -> None:
        match left:
            case ast.Attribute(name):
                names.add(name)
            case ast.Elements(_, attribute):
                names.add(attribute.name)
            case ast.Aggregate(function, event, prop, where):
                functions.add(function)
                properties = events.setdefault(event, set())
                properties |= {prop} if prop else set()
                if where:
                    visit(where, properties)

    visit(condition, attributes)
    return Reads(
        {event: frozenset(names) for event, names in events.items()},
        frozenset(attributes),
        frozenset(segments),
        event_ids=not functions.isdisjoint({"first", "last"}),
    )
