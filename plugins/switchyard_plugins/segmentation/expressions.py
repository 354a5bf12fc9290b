"""Comparisons as Ibis expressions: NULL where something compared is missing, until `settle` decides."""

from __future__ import annotations

import operator as op
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import ibis
import ibis.expr.types as ir

from switchyard.api.transforms import DataType
from switchyard_plugins.segmentation import ast, zones
from switchyard_plugins.segmentation.plan import Policy

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": op.eq,
    "!=": op.ne,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
    "contains": lambda left, right: left.contains(right),
    "starts with": lambda left, right: left.startswith(right),
    "ends with": lambda left, right: left.endswith(right),
}


@dataclass(frozen=True)
class Row:
    """What names stand for: columns of one table, with their types, under a rule's policy."""

    table: ir.Table
    kinds: Mapping[str, DataType]
    policy: Policy


def truth(condition: ast.Condition, row: Row, *, negated: bool = False) -> ir.BooleanValue:
    """A condition on the names of one row, never NULL: state of a profile, or an event's `where`."""
    match condition:
        case ast.Not(child):
            return truth(child, row, negated=not negated)
        case ast.All(children) | ast.Any(children):
            parts = [truth(child, row, negated=negated) for child in children]
            return reduce(op.and_ if isinstance(condition, ast.All) != negated else op.or_, parts)
        case ast.Presence(attribute, present):
            column = row.table[attribute.name]
            return column.notnull() if present != negated else column.isnull()
        case ast.Comparison(left, operator, ast.Attribute(name)) if isinstance(left, ast.Attribute):
            return settle(_pair(row, left.name, operator, name), row.policy, negated=negated)
        case ast.Comparison(ast.Attribute(name)) | ast.OneOf(ast.Attribute(name)):
            matches = matching(condition, row.table[name], row.kinds[name], row.policy)
            return settle(matches, row.policy, negated=negated)
        case ast.Comparison(ast.Elements(_, attribute)) | ast.OneOf(ast.Elements(_, attribute)):
            matches = _of_elements(condition, row.table[attribute.name], row.policy)
            return settle(matches, row.policy, negated=negated)
        case _:
            raise TypeError(f"not a condition on a row: {condition}")


def settle(matches: ir.BooleanValue, policy: Policy, *, negated: bool) -> ir.BooleanValue:
    """A comparison or its negation; with a missing value both are what the policy says."""
    return (~matches if negated else matches).fill_null(policy.nulls_match)


def matching(
    condition: ast.Comparison | ast.OneOf, column: ir.Value, kind: DataType, policy: Policy
) -> ir.BooleanValue:
    """The column of that type against the condition's constants."""
    if isinstance(condition, ast.OneOf):
        return column.isin([literal(value, kind, policy.zone) for value in condition.values])
    if not isinstance(condition.right, ast.Constant):
        raise TypeError("compared with a name")
    value = condition.right.value
    if kind == "timestamp" and isinstance(value, date) and not isinstance(value, datetime):
        return _against_day(column, condition.operator, value, policy.zone)
    return _OPERATORS[condition.operator](column, literal(condition.right, kind, policy.zone))


def average(condition: ast.Comparison | ast.OneOf, total: ir.Value, count: ir.Value, kind: DataType) -> ir.BooleanValue:
    """An average against constants, as `sum operator constant × count`: exact, where a quotient is rounded."""
    number = "float64" if kind == "number" else "decimal(38, 4)"
    factor = "float64" if kind == "number" else "decimal(18, 0)"

    def compare(operator: str, constant: ast.Constant) -> ir.BooleanValue:
        bound = literal(constant, "number" if kind == "number" else "decimal", "UTC")
        # Nothing to average: the sum is NULL, and so is the comparison.
        return _OPERATORS[operator](total.cast(number), (bound * count.cast(factor)).cast(number))

    if isinstance(condition, ast.OneOf):
        return reduce(op.or_, [compare("=", value) for value in condition.values])
    if not isinstance(condition.right, ast.Constant):
        raise TypeError("compared with a name")
    return compare(condition.operator, condition.right)


def literal(constant: ast.Constant, kind: DataType, zone: str) -> ir.Scalar:
    """The constant as a value of the type it is compared with."""
    match constant.value:
        case bool(truth):
            return ibis.literal(truth)
        case Decimal() as number if kind == "number":
            return ibis.literal(float(number), "float64")
        case Decimal() as number if kind == "integer" and number == number.to_integral_value():
            return ibis.literal(int(number), "int64")
        case Decimal() as number:
            return ibis.literal(number, "decimal(18, 4)")
        case datetime() as moment:
            return ibis.literal(zones.instant(moment, zone), "timestamp(6)")
        case value:
            return ibis.literal(value)


def _pair(row: Row, left: str, operator: str, right: str) -> ir.BooleanValue:
    sides = [row.table[left], row.table[right]]
    if "number" in (row.kinds[left], row.kinds[right]):
        sides = [side.cast("float64") for side in sides]
    return _OPERATORS[operator](*sides)


def _of_elements(condition: ast.Comparison | ast.OneOf, column: ir.ArrayValue, policy: Policy) -> ir.BooleanValue:
    def fits(element: ir.Value) -> ir.BooleanValue:
        return matching(condition, element, "text", policy)

    if isinstance(condition.left, ast.Elements) and condition.left.quantifier == "any":
        return column.filter(fits).length() > 0
    return column.filter(lambda element: ~fits(element)).length() == 0


def _against_day(column: ir.TimestampValue, operator: str, day: date, zone: str) -> ir.BooleanValue:
    """An instant against a whole local day: `>` is after its end, `=` inside it."""
    start, end = (ibis.literal(zones.instant(edge, zone), "timestamp(6)") for edge in (day, zones.next_day(day)))
    match operator:
        case "<":
            return column < start
        case "<=":
            return column < end
        case ">":
            return column >= end
        case ">=":
            return column >= start
        case "=":
            return (column >= start) & (column < end)
        case _:
            return (column < start) | (column >= end)
