"""Lark's parse tree → syntax tree, bottom up."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias, cast

from lark import Token
from lark.visitors import Transformer_NonRecursive, v_args

from switchyard.api.errors import SegmentError
from switchyard_plugins.segmentation import ast, vocabulary
from switchyard_plugins.segmentation.ast import Place, fault

Path: TypeAlias = tuple[tuple[str, ...], Place]
Right: TypeAlias = ast.Attribute | ast.Constant


@dataclass(frozen=True, slots=True)
class Subject:
    """What a function is over: an event type, an event's property or a list, and which of the events."""

    parts: tuple[str, ...]
    place: Place
    where: ast.Condition | None = None


Argument: TypeAlias = Subject | ast.Window | ast.Constant
Left: TypeAlias = ast.Operand | ast.Comparison
"""What stands left of an operator; a comparison where `did` was written, which takes none."""


def _later(what: str, place: Place) -> SegmentError:
    return fault(f"{what} not yet supported", place)


def _refuse(what: str) -> Callable[..., Any]:
    """A builder method for a reserved construct."""

    def refuse(builder: Builder, *parts: object) -> ast.Condition:
        raise _later(what, builder.first_place(parts))

    return refuse


def _value(left: Left) -> ast.Operand:
    if isinstance(left, ast.Comparison):
        raise fault("did is a condition of its own, to compare a number say count", left.place, ["count"])
    return left


def _attribute(left: Left, what: str) -> ast.Attribute:
    if not isinstance(left, ast.Attribute):
        raise fault(f"'{what}' of a function is not yet supported, it takes a name", left.place, ["a name"])
    return left


def _compare(left: Left, operator: ast.Operator, right: Right) -> ast.Condition:
    return ast.Comparison(_value(left), operator, right, left.place)


@v_args(inline=True)
class Builder(Transformer_NonRecursive[Token, ast.Condition]):
    """The methods are named as the alternatives of the grammar."""

    def __init__(self, text: str, key: str) -> None:
        super().__init__()
        self._text = text
        self._key = key

    def first_place(self, parts: tuple[object, ...]) -> Place:
        """Where the first of these stands."""
        for part in parts:
            if isinstance(part, Token):
                return self._place(part)
            if isinstance(part, tuple):
                return cast(Path, part)[1]
            if place := getattr(part, "place", None):
                return cast(Place, place)
        return Place(self._text, key=self._key)

    def _place(self, token: Token) -> Place:
        return Place(self._text, token.line or 1, token.column or 1, self._key)

    def start(self, condition: ast.Condition) -> ast.Condition:
        return condition

    def either(self, *children: ast.Condition) -> ast.Condition:
        return ast.any_of(children)

    def both(self, *children: ast.Condition) -> ast.Condition:
        return ast.all_of(children)

    def negated(self, child: ast.Condition) -> ast.Condition:
        return ast.negate(child)

    def comparison(self, left: Left, operator: Token, right: Right) -> ast.Condition:
        return _compare(left, cast(ast.Operator, str(operator)), right)

    def contains(self, left: Left, right: Right) -> ast.Condition:
        return _compare(left, "contains", right)

    def starts_with(self, left: Left, right: Right) -> ast.Condition:
        return _compare(left, "starts with", right)

    def ends_with(self, left: Left, right: Right) -> ast.Condition:
        return _compare(left, "ends with", right)

    def before(self, left: Left, right: Right) -> ast.Condition:
        return _compare(left, "<", right)

    def after(self, left: Left, right: Right) -> ast.Condition:
        return _compare(left, ">", right)

    def one_of(self, left: Left, *values: ast.Constant) -> ast.Condition:
        return ast.OneOf(_value(left), values, left.place)

    def not_one_of(self, left: Left, *values: ast.Constant) -> ast.Condition:
        return ast.negate(self.one_of(left, *values))

    def exists(self, left: Left) -> ast.Condition:
        return ast.Presence(_attribute(left, "exists"), True, left.place)

    def missing(self, left: Left) -> ast.Condition:
        return ast.Presence(_attribute(left, "is missing"), False, left.place)

    def in_last(self, left: Left, length: int) -> ast.Condition:
        return ast.Relative(_attribute(left, "in last"), "last", length, left.place)

    def in_next(self, left: Left, length: int) -> ast.Condition:
        return ast.Relative(_attribute(left, "in next"), "next", length, left.place)

    def ago(self, left: Left, length: int) -> ast.Condition:
        return ast.Relative(_attribute(left, "more than … ago"), "ago", length, left.place)

    def in_segment(self, path: Path) -> ast.Condition:
        parts, place = path
        return ast.InSegment(".".join(parts), place)

    def bare_call(self, left: Left) -> ast.Condition:
        if isinstance(left, ast.Comparison):
            return left
        raise fault("the function's value is compared with nothing", left.place, ["an operator", "in"])

    def attribute(self, path: Path) -> ast.Attribute:
        parts, place = path
        return ast.Attribute(".".join(parts), place)

    def path(self, *parts: Token) -> Path:
        return tuple(part.strip("`") for part in parts), self._place(parts[0])

    def duration(self, number: Token, unit: Token) -> int:
        return vocabulary.seconds(str(number), str(unit), self._place(number))

    def text(self, token: Token) -> ast.Constant:
        return ast.Constant(_ESCAPE.sub(_unescape, token[1:-1]), self._place(token))

    def number(self, token: Token) -> ast.Constant:
        return ast.Constant(Decimal(token), self._place(token))

    def truth(self, token: Token) -> ast.Constant:
        return ast.Constant(str(token) == "true", self._place(token))

    def date(self, token: Token) -> ast.Constant:
        place = self._place(token)
        try:
            if "T" not in token:
                return ast.Constant(date.fromisoformat(token), place)
            instant = datetime.fromisoformat(token)
            return ast.Constant(instant.astimezone(UTC) if instant.tzinfo else instant, place)
        except (ValueError, OverflowError):
            raise fault(f"there is no date {token}", place, ["a date"]) from None

    def subject(self, path: Path) -> Subject:
        return Subject(*path)

    def filtered(self, path: Path, where: ast.Condition) -> Subject:
        return Subject(*path, where)

    def ever(self) -> ast.Window:
        return ast.EVER

    def last(self, length: int) -> ast.Window:
        return ast.Window(length)

    def between(self, far: int, near: int) -> ast.Window:
        return ast.Window(far, near)

    def call(self, function: Token, *arguments: Argument) -> Left:
        name, place = str(function), self._place(function)
        if name in vocabulary.LATER:
            raise _later(f"'{name}' is", place)
        if name not in vocabulary.CALLS:
            hint = vocabulary.suggestion(name, vocabulary.CALLS)
            raise fault(f"unknown function '{name}'{hint}", place, vocabulary.CALLS)
        match arguments:
            case (Subject() as subject,):
                return _function(name, subject, None, place)
            case (Subject() as subject, ast.Window() as window):
                return _function(name, subject, window, place)
            case _:
                takes = "a list-valued attribute" if name in ("any", "all") else "an event and at most one window"
                raise fault(f"{name} takes {takes}", place)

    later_dwell = _refuse("'in segment … for' is")
    later_population = _refuse("'in top' and 'in bottom' are")
    later_history = _refuse("'was ever' is")
    later_changed = _refuse("'changed within' is")
    later_quantity = _refuse("a number with a unit is")
    later_since = _refuse("'since' is")
    later_calendar = _refuse("a calendar window is")


def _function(name: str, subject: Subject, window: ast.Window | None, place: Place) -> Left:
    if name in ("any", "all"):
        if subject.where or window:
            raise fault(f"{name} takes a list-valued attribute and nothing else", place)
        quantifier = cast(Any, name)
        return ast.Elements(quantifier, ast.Attribute(".".join(subject.parts), subject.place), place)
    event, prop = subject.parts[0], ".".join(subject.parts[1:]) or None
    if name in ("did", "count") and prop:
        raise fault(f"{name} takes an event, not one of its properties", subject.place, [event])
    if name not in ("did", "count") and not prop:
        raise fault(f"{name} takes a property of an event", subject.place, [f"{event}.property"])
    function = cast(ast.AggregateFunction, "count" if name == "did" else name)
    aggregate = ast.Aggregate(function, event, prop, subject.where, window or ast.EVER, place)
    if name == "did":
        return ast.Comparison(aggregate, ">=", ast.Constant(Decimal(1), place), place)
    return aggregate


_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def _unescape(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(match[1], match[1])
