"""A rule as one English sentence."""

from __future__ import annotations

from datetime import date

from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.definition import Rule
from switchyard_plugins.segmentation.printer import constant
from switchyard_plugins.segmentation.vocabulary import duration

_OPERATORS = {
    "=": "is",
    "!=": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
    "contains": "contains",
    "starts with": "starts with",
    "ends with": "ends with",
}
_OF_DATES = _OPERATORS | {"<": "is before", "<=": "is not after", ">": "is after", ">=": "is not before"}
_FUNCTIONS = {
    "count": "number of",
    "sum": "sum of",
    "avg": "average",
    "min": "smallest",
    "max": "largest",
    "first": "first",
    "last": "last",
    "distinct": "number of different values of",
}


def explain(rule: Rule) -> str:
    """Who is in the segment."""
    condition, policy = rule.condition, " (a missing value counts as a match)" if rule.nulls_match else ""
    return f"People {_clause(condition)}{policy}."


def _clause(condition: ast.Condition) -> str:
    """What follows "people": "whose … is …", "who have …"."""
    match condition:
        case ast.All(children):
            return _joined(children, "and")
        case ast.Any(children):
            return f"either {_joined(children, 'or')}"
        case ast.Not(ast.InSegment(segment)):
            return f"who are not in segment {segment}"
        case ast.Not(ast.Comparison(ast.Aggregate("count"), ">=", ast.Constant(least)) as did) if least == 1:
            return f"who have no {_events(did.left)}" if isinstance(did.left, ast.Aggregate) else ""
        case ast.Not(ast.All() | ast.Any() as group):
            return f"for whom it is not so that they are people {_clause(group)}"
        case ast.Not(child):
            return f"for whom it is known not to hold that {_predicate(child)}"
        case ast.InSegment(segment):
            return f"who are in segment {segment}"
        case ast.Comparison(ast.Aggregate("count") as counted, operator, ast.Constant() as least):
            return f"who have {_times(operator, least)} {_events(counted)}"
        case leaf:
            return f"whose {_predicate(leaf)}"


def _joined(children: tuple[ast.Condition, ...], word: str) -> str:
    clauses = [f"({_clause(child)})" if isinstance(child, ast.All | ast.Any) else _clause(child) for child in children]
    return f"{', '.join(clauses[:-1])} {word} {clauses[-1]}"


def _times(operator: ast.Operator, least: ast.Constant) -> str:
    count = constant(least)
    if operator == ">=" and count == "1":
        return "at least one"
    words = {"=": "exactly", "!=": "not exactly", "<": "fewer than", "<=": "at most", ">": "more than"}
    return f"{words.get(operator, 'at least')} {count}"


def _events(aggregate: ast.Aggregate) -> str:
    where = f" whose {_where(aggregate.where)}" if aggregate.where else ""
    return f"{aggregate.event}{where}{_window(aggregate.window)}"


def _window(window: ast.Window) -> str:
    if window.far is None:
        return ""
    if not window.near:
        return f" in the last {duration(window.far)}"
    return f" between {duration(window.far)} and {duration(window.near)} ago"


def _where(condition: ast.Condition) -> str:
    match condition:
        case ast.All(children) | ast.Any(children):
            word = " and " if isinstance(condition, ast.All) else " or "
            return "(" + word.join(_where(child) for child in children) + ")"
        case ast.Not(child):
            return f"not ({_where(child)})"
        case leaf:
            return _predicate(leaf)


def _predicate(leaf: ast.Condition) -> str:
    """A condition without "people": `city is "Paris"`."""
    match leaf:
        case ast.Comparison(left, operator, right):
            other = right.name if isinstance(right, ast.Attribute) else constant(right)
            words = _OF_DATES if isinstance(right, ast.Constant) and isinstance(right.value, date) else _OPERATORS
            return f"{_operand(left)} {words[operator]} {other}"
        case ast.OneOf(left, values):
            return f"{_operand(left)} is one of {', '.join(constant(value) for value in values)}"
        case ast.Presence(attribute, present):
            return f"{attribute.name} is {'known' if present else 'missing'}"
        case ast.Relative(attribute, "ago", seconds):
            return f"{attribute.name} is more than {duration(seconds)} ago"
        case ast.Relative(attribute, direction, seconds):
            return f"{attribute.name} is in the {direction} {duration(seconds)}"
        case other:
            return _clause(other)


def _operand(operand: ast.Operand) -> str:
    match operand:
        case ast.Attribute(name):
            return name
        case ast.Elements(quantifier, attribute):
            return f"{'any of' if quantifier == 'any' else 'every one of'} {attribute.name}"
        case ast.Aggregate("count"):
            return f"number of {_events(operand)}"
        case ast.Aggregate(function, event, prop, where, window):
            filtered = f" whose {_where(where)}" if where else ""
            return f"{_FUNCTIONS[function]} {prop} of {event}{filtered}{_window(window)}"
