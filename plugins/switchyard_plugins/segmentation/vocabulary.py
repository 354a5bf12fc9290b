"""The words of the language: functions, units, what is reserved for later, and how a name is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, get_args

from switchyard_plugins.segmentation.ast import AggregateFunction, Place, fault

FUNCTIONS: Final[tuple[str, ...]] = get_args(AggregateFunction)
CALLS: Final = ("did", *FUNCTIONS, "any", "all")
LATER: Final = (
    "bucket",
    "distance",
    "length",
    "mode",
    "percentile",
    "regularly",
    "restarted",
    "sequence",
    "stopped",
)
"""Functions whose names are taken, and that do not work yet."""

# The largest unit comes last: the printer takes the largest that divides. Weeks are read but not printed, so that a
# duration has one spelling.
UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_READ_UNITS: Final = UNITS | {"week": 7 * 86_400}
LONGEST: Final = 36_500 * 86_400
DEEPEST: Final = 20
"""How deep conditions may nest."""

_WORDS: Final = """
    after ago all and any before between bottom changed contains ends ever exists false for in is last missing more next
    not or segment since starts than this top true was where with within
"""
KEYWORDS: Final = frozenset(_WORDS.split())
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def seconds(number: str, unit: str, place: Place) -> int:
    """The length of `30 days`. Raises SegmentError for a part of a unit, an unknown unit, or more than 100 years."""
    name = unit.lower().removesuffix("s")
    if name in ("month", "quarter", "year"):
        raise fault(f"a {name} has no fixed length, say it in days", place, ["days"])
    if name not in _READ_UNITS:
        raise fault(f"unknown unit '{unit}'", place, [f"{known}s" for known in _READ_UNITS])
    if not number.isdecimal() or int(number) == 0:
        raise fault("a duration is a whole number of units above 0", place, ["a whole number"])
    length = int(number) * _READ_UNITS[name]
    if length > LONGEST:
        raise fault("a duration is at most 36500 days", place)
    return length


def duration(length: int) -> str:
    """`30 days` for 2592000."""
    unit, size = next((unit, size) for unit, size in reversed(UNITS.items()) if length % size == 0)
    count = length // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def path(name: str, *, parts: bool = True, first: bool = True) -> str:
    """A name as written. Dots divide it unless `parts` is false; `first` says that no dot stands before it.

    What is not a plain word stands in backticks, and so does a word of the language where it could be taken for one.
    """
    pieces = name.split(".") if parts else [name]
    if not all(pieces):
        return f"`{name}`"
    return ".".join(_piece(piece, first and number == 0) for number, piece in enumerate(pieces))


def _piece(piece: str, first: bool) -> str:
    return piece if _PLAIN.match(piece) and not (first and piece in KEYWORDS) else f"`{piece}`"


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`, did you mean 'city'?`, or nothing."""
    close = get_close_matches(wrong, sorted(known), n=1)
    return f", did you mean '{close[0]}'?" if close else ""
