"""What parses and still makes no sense: unknown names, wrong types, rules that are always true, cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from typing import Final

from switchyard.api.transforms import DataType, Schema
from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.ast import Place, fault
from switchyard_plugins.segmentation.definition import Rule, placed
from switchyard_plugins.segmentation.vocabulary import DEEPEST, suggestion

MOST_CONDITIONS: Final = 500
NUMERIC: Final = ("integer", "decimal", "number")
ORDERED: Final = (*NUMERIC, "timestamp", "date")
_WORDS: Final = ("contains", "starts with", "ends with")
_MONEY_LIMIT: Final = Decimal(10) ** 14
_INTEGER_LIMIT: Final = Decimal(2) ** 63


def check(rules: Sequence[Rule], schema: Schema) -> None:
    """Check rules against the names and types of the schema, and against each other.

    Raises:
        SegmentError: the first thing found wrong.
    """
    segments = schema.segments | {rule.name for rule in rules}
    for rule in rules:
        with placed(rule.file):
            _check_size(rule.condition)
            _Checker(schema, segments).condition(rule.condition)
            _check_not_everybody(rule)
    _check_cycles(rules)


def kind_of(operand: ast.Operand, names: Mapping[str, DataType], schema: Schema) -> DataType:
    """The type of what stands left of an operator; of a list, the type of its elements. Names must be known."""
    match operand:
        case ast.Attribute(name):
            return names[name]
        case ast.Elements():
            return "text"
        case ast.Aggregate("count" | "distinct"):
            return "integer"
        case ast.Aggregate(_, event, prop):
            return schema.events[event][prop or ""]


def _check_size(condition: ast.Condition) -> None:
    for count, (node, depth) in enumerate(ast.walk(condition), start=1):
        if depth > DEEPEST:
            raise fault(f"conditions nest at most {DEEPEST} deep", node.place)
        if count > MOST_CONDITIONS:
            raise fault(f"a rule has at most {MOST_CONDITIONS} conditions, use 'in segment' to share parts", node.place)


@dataclass(frozen=True)
class _Checker:
    """Checks one rule. Inside an event's `where`, `event` is its type and names are its properties."""

    schema: Schema
    segments: Iterable[str]
    event: str | None = None

    def condition(self, condition: ast.Condition) -> None:
        match condition:
            case ast.All(children) | ast.Any(children):
                for child in children:
                    self.condition(child)
            case ast.Not(child):
                self.condition(child)
            case ast.Comparison(left, operator, right):
                self._comparison(left, operator, right)
            case ast.OneOf(left, values):
                kind = self._operand(left)
                for value in values:
                    self._constant(kind, "=", value)
                    if kind in ("timestamp", "boolean"):
                        raise fault(f"'in' does not work on a {kind}", left.place)
            case ast.Presence(attribute):
                self._name(attribute)
            case ast.Relative(attribute):
                self._relative(attribute)
            case ast.InSegment(segment, place):
                self._segment(segment, place)

    def _names(self) -> Mapping[str, DataType]:
        return self.schema.events[self.event] if self.event else self.schema.attributes

    def _name(self, attribute: ast.Attribute) -> DataType:
        names = self._names()
        if attribute.name in names:
            return names[attribute.name]
        what = f"property '{attribute.name}' of '{self.event}'" if self.event else f"attribute '{attribute.name}'"
        hint = suggestion(attribute.name, names)
        if not self.event and attribute.name in self.schema.events:
            hint = f", it is an event: say did({attribute.name})"
        raise fault(f"unknown {what}{hint}", attribute.place)

    def _operand(self, operand: ast.Operand) -> DataType:
        match operand:
            case ast.Attribute():
                kind = self._name(operand)
                if kind == "items":
                    raise fault(f"conditions on the lines in '{operand.name}' are not yet supported", operand.place)
                return kind
            case ast.Elements(quantifier, attribute):
                if (kind := self._name(attribute)) != "list":
                    raise fault(f"{quantifier} takes a list, '{attribute.name}' is {_a(kind)}", attribute.place)
                return "text"
            case ast.Aggregate():
                return self._aggregate(operand)

    def _aggregate(self, aggregate: ast.Aggregate) -> DataType:
        place, event, function = aggregate.place, aggregate.event, aggregate.function
        if self.event:
            raise fault("an event's where speaks of its properties only", place, ["a property"])
        if event not in self.schema.events:
            raise fault(f"unknown event '{event}'{suggestion(event, self.schema.events)}", place)
        window = aggregate.window
        if window.far is not None and window.near >= window.far:
            raise fault("the farther end of 'between' comes first", place, ["between 30 days and 7 days ago"])
        inside = _Checker(self.schema, self.segments, event)
        if aggregate.where:
            inside.condition(aggregate.where)
        if aggregate.prop is None:
            return "integer"
        kind = inside._name(ast.Attribute(aggregate.prop, place))
        fits = {"sum": NUMERIC, "avg": NUMERIC, "min": ORDERED, "max": ORDERED}
        if kind in ("list", "items") or kind not in fits.get(function, (kind,)):
            raise fault(f"{function} does not work on {_a(kind)}", place)
        return "integer" if function == "distinct" else kind

    def _comparison(self, left: ast.Operand, operator: ast.Operator, right: ast.Attribute | ast.Constant) -> None:
        kind = self._operand(left)
        if operator in _WORDS and kind != "text" and not (kind == "list" and operator == "contains"):
            raise fault(f"'{operator}' compares texts, this is {_a(kind)}", left.place)
        if kind == "list" and operator != "contains":
            raise fault("a list is compared by its elements", left.place, ["any(…)", "all(…)", "contains"])
        if operator in ("<", "<=", ">", ">=") and kind not in ORDERED:
            raise fault(f"'{operator}' does not work on {_a(kind)}", left.place, ["=", "!="])
        if isinstance(right, ast.Attribute):
            self._other_attribute(left, kind, right)
            return
        self._constant("text" if kind == "list" else kind, operator, right)
        if isinstance(left, ast.Aggregate) and left.function in ("count", "distinct"):
            _check_open(operator, right)

    def _other_attribute(self, left: ast.Operand, kind: DataType, right: ast.Attribute) -> None:
        if right.name not in self._names() and kind == "text":
            raise fault(f"unknown name '{right.name}', a text stands in quotes", right.place, [f'"{right.name}"'])
        other = self._name(right)
        if not isinstance(left, ast.Attribute) or kind == "list":
            raise fault("only an attribute is compared with an attribute", right.place, ["a value"])
        if other != kind and not (kind in NUMERIC and other in NUMERIC):
            raise fault(f"'{right.name}' is {_a(other)} and '{left.name}' is {_a(kind)}", right.place)

    def _constant(self, kind: DataType, operator: ast.Operator, constant: ast.Constant) -> None:
        value, place = constant.value, constant.place
        fits = {"text": str, "boolean": bool, "timestamp": date, "date": date}.get(kind, Decimal)
        if not isinstance(value, fits) or (kind == "date" and isinstance(value, datetime)):
            raise fault(f"this is compared with {_a(kind)}", place, [_a(kind)])
        if kind == "boolean" and operator not in ("=", "!="):
            raise fault("a boolean is compared with = or !=", place, ["=", "!="])
        if isinstance(value, Decimal) and kind != "number":
            whole = value == value.to_integral_value()
            if abs(value) >= (_INTEGER_LIMIT if whole and kind == "integer" else _MONEY_LIMIT):
                raise fault("this number is too large", place)
            if value != round(value, 4):
                raise fault("a number has at most four decimals", place)

    def _relative(self, attribute: ast.Attribute) -> None:
        if self.event:
            raise fault("dates relative to now inside an event's where are not yet supported", attribute.place)
        if (kind := self._name(attribute)) not in ("timestamp", "date"):
            raise fault(f"'{attribute.name}' is {_a(kind)}, not a date", attribute.place)

    def _segment(self, segment: str, place: Place) -> None:
        if self.event:
            raise fault("an event's where speaks of its properties only", place, ["a property"])
        if segment not in self.segments:
            raise fault(f"unknown segment '{segment}'{suggestion(segment, self.segments)}", place)


def _a(kind: DataType) -> str:
    return {"integer": "an integer", "items": "a list of lines"}.get(kind, f"a {kind}")


def _check_open(operator: ast.Operator, right: ast.Constant) -> None:
    """Refuse a count that every history satisfies, or none."""
    value = right.value
    if isinstance(value, Decimal) and (
        value < 0 or (value == 0 and operator in (">=", "<")) or (operator in ("=", "!=") and value % 1)
    ):
        raise fault("a count is a whole number from 0 on, so this is always or never true", right.place)


def _check_not_everybody(rule: Rule) -> None:
    if not rule.everybody and _true_of_nothing(ast.negations_at_leaves(rule.condition)):
        raise fault(
            "this selects people without any history, everybody whom nothing excludes; add a condition that says who, "
            "or 'everybody: true' to the definition",
            rule.condition.place,
        )


def _true_of_nothing(condition: ast.Condition) -> bool:
    """Whether a person without a single event or membership fulfils it, comparisons with attributes aside.

    Those select by what is known, `is missing` and `nulls: match` say themselves that they take the rest.
    """
    match condition:
        case ast.All(children):
            return all(_true_of_nothing(child) for child in children)
        case ast.Any(children):
            return any(_true_of_nothing(child) for child in children)
        case ast.Not(child):
            return isinstance(child, ast.InSegment) or (_starts_at_zero(child) and not _holds_for_zero(child))
        case _:
            return _starts_at_zero(condition) and _holds_for_zero(condition)


def _starts_at_zero(leaf: ast.Condition) -> bool:
    return (
        isinstance(leaf, ast.Comparison | ast.OneOf)
        and isinstance(leaf.left, ast.Aggregate)
        and leaf.left.function in ("count", "sum", "distinct")
    )


def _holds_for_zero(leaf: ast.Condition) -> bool:
    match leaf:
        case ast.OneOf(_, values):
            return any(value.value == 0 for value in values)
        case ast.Comparison(_, operator, ast.Constant(Decimal() as value)):
            return {"=": value == 0, "!=": value != 0, "<": value > 0, "<=": value >= 0, ">": value < 0}.get(
                operator, value <= 0
            )
        case _:
            return False


def _check_cycles(rules: Sequence[Rule]) -> None:
    by_name = {rule.name: rule for rule in rules}
    read = {rule.name: {node.segment: node for node in _segments(rule)} for rule in rules}
    try:
        TopologicalSorter({name: nodes.keys() & by_name.keys() for name, nodes in read.items()}).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][::-1]
        wrong = fault(f"segments go round in a circle: {' → '.join(circle)}", read[circle[0]][circle[1]].place)
        wrong.file = by_name[circle[0]].file
        raise wrong from None


def _segments(rule: Rule) -> list[ast.InSegment]:
    return [node for node, _ in ast.walk(rule.condition) if isinstance(node, ast.InSegment)]
