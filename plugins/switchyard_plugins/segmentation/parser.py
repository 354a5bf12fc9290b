"""The text form: text → syntax tree."""

from __future__ import annotations

from functools import cache
from typing import Final

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from switchyard.api.errors import SegmentError
from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.ast import Place, fault
from switchyard_plugins.segmentation.builder import Builder

LONGEST_TEXT: Final = 20_000

_RESERVED: Final = ("FOR", "TOP", "BOTTOM", "WAS", "CHANGED", "SINCE", "THIS", "PERCENT", "QUOTED_NAME", "DOT")
_SHOWN: Final = {
    "NAME": "a name",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "DATE": "a date",
    "OPERATOR": "an operator",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "$END": "the end",
} | dict.fromkeys(_RESERVED, "")
_HINTS: Final = {
    "==": "equality is written =",
    "<>": "inequality is written !=",
    "&&": "'&&' is written and",
    "||": "'||' is written or",
}


def parse(text: str, key: str = "where") -> ast.Condition:
    """The tree of a rule's text; `key` says where in the definition the text stands.

    Raises:
        SegmentError: with line, column and what was expected.
    """
    if len(text) > LONGEST_TEXT:
        raise fault(f"a text is at most {LONGEST_TEXT} characters", Place(text[:80], key=key))
    try:
        return Builder(text, key).transform(_grammar().parse(text))
    except UnexpectedInput as error:
        raise _syntax_fault(error, text, key) from None
    except VisitError as error:
        if isinstance(error.orig_exc, SegmentError):
            raise error.orig_exc from None
        raise


@cache
def _grammar() -> Lark:
    return Lark.open("grammar.lark", rel_to=__file__, parser="lalr", maybe_placeholders=False)


def _syntax_fault(error: UnexpectedInput, text: str, key: str) -> SegmentError:
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    position = len(text.rstrip()) if at_end else (error.pos_in_stream or 0)
    line_start = text.rfind("\n", 0, position) + 1
    place = Place(text, text.count("\n", 0, position) + 1, position - line_start + 1, key)
    expected = _expected(error)
    for wrong, hint in _HINTS.items():
        if wrong in text[max(position - 1, 0) : position + 2]:
            return fault(hint, place)
    if at_end:
        return fault("the text ends too early", place, expected)
    if text[position] in "\"'`" and isinstance(error, UnexpectedCharacters):
        return fault(f"{text[position]} is opened and not closed, or a quoted text does not fit here", place, expected)
    wrong = str(error.token) if isinstance(error, UnexpectedToken) else text[position]
    return fault(f"unexpected '{wrong}'", place, expected)


def _expected(error: UnexpectedInput) -> list[str]:
    names = error.accepts if isinstance(error, UnexpectedToken) else getattr(error, "allowed", None)
    return sorted({_SHOWN.get(name, name.lower()) for name in names or ()} - {""})
