"""The canonical text of a rule: `parse(text(x)) == x`, and one text for every spelling."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.vocabulary import duration, path

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def text(condition: ast.Condition) -> str:
    """The condition in the text form."""
    match condition:
        case ast.All(children):
            return " and ".join(_inner(child) for child in children)
        case ast.Any(children):
            return " or ".join(_inner(child) for child in children)
        case ast.Not(ast.OneOf(left, values)):
            return f"{operand(left)} not in {_listed(values)}"
        case ast.Not(child):
            return f"not {_inner(child)}"
        case ast.Comparison(ast.Aggregate("count") as left, ">=", ast.Constant(value)) if value == 1:
            return f"did{_arguments(left)}"
        case ast.Comparison(left, operator, right):
            return f"{operand(left)} {operator} {operand(right)}"
        case ast.OneOf(left, values):
            return f"{operand(left)} in {_listed(values)}"
        case ast.Presence(attribute, present):
            return f"{path(attribute.name)} {'exists' if present else 'is missing'}"
        case ast.Relative(attribute, "ago", seconds):
            return f"{path(attribute.name)} more than {duration(seconds)} ago"
        case ast.Relative(attribute, direction, seconds):
            return f"{path(attribute.name)} in {direction} {duration(seconds)}"
        case ast.InSegment(segment):
            return f"in segment {path(segment)}"


def _inner(condition: ast.Condition) -> str:
    return f"({text(condition)})" if isinstance(condition, ast.All | ast.Any) else text(condition)


def operand(value: ast.Operand | ast.Constant) -> str:
    """One side of a comparison."""
    match value:
        case ast.Attribute(name):
            return path(name)
        case ast.Elements(quantifier, attribute):
            return f"{quantifier}({path(attribute.name)})"
        case ast.Aggregate(function):
            return f"{function}{_arguments(value)}"
        case ast.Constant():
            return constant(value)


def constant(value: ast.Constant) -> str:
    """A value as written."""
    match value.value:
        case bool(truth):
            return "true" if truth else "false"
        case str(words):
            return '"' + "".join(_ESCAPES.get(letter, letter) for letter in words) + '"'
        case Decimal() as number:
            shown = f"{number:f}"
            return shown.rstrip("0").rstrip(".") if "." in shown else shown
        case datetime() as instant if instant.tzinfo:
            return f"{instant.replace(tzinfo=None).isoformat()}Z"
        case moment:
            return moment.isoformat()


def window(value: ast.Window) -> str:
    """A window as written; empty for ever."""
    if value.far is None:
        return ""
    if not value.near:
        return f"last {duration(value.far)}"
    return f"between {duration(value.far)} and {duration(value.near)} ago"


def _arguments(aggregate: ast.Aggregate) -> str:
    subject = path(aggregate.event, parts=False) + (f".{path(aggregate.prop, first=False)}" if aggregate.prop else "")
    where = f" where {text(aggregate.where)}" if aggregate.where else ""
    shown = window(aggregate.window)
    return f"({subject}{where}{f', {shown}' if shown else ''})"


def _listed(values: tuple[ast.Constant, ...]) -> str:
    return f"({', '.join(constant(value) for value in values)})"
