"""What the simulated resources of one Salesforce org share: a clock, ids, the shape of instants and of errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from switchyard.testing.simulator import Answer, Refusal

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_UPPER = [("A" <= pair[0] <= "Z") | ("A" <= pair[1] <= "Z") << 1 for pair in _PAIRS]
_POD = "5g00"
DAY = 86_400.0


class RowError(ValueError):
    """Why one row is refused. `id`: the record that it would have changed, where there is one."""

    def __init__(self, code: str, message: str, fields: Sequence[str] = (), record_id: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.fields, self.id = code, message, list(fields), record_id


@dataclass(slots=True)
class Org:
    """The org. `clock` gives epoch seconds."""

    clock: Callable[[], float]
    random: random.Random
    created: float = 0.0
    issued: dict[str, int] = field(default_factory=dict)
    moment: float | None = None

    def time(self) -> float:
        """Epoch seconds: the clock's, or those of the job that is being made up for."""
        return self.clock() if self.moment is None else self.moment

    def now(self) -> str:
        return stamp(self.time())

    @contextmanager
    def at(self, moment: float | None) -> Iterator[None]:
        """Let what is done inside have happened then."""
        self.moment = moment
        try:
            yield
        finally:
            self.moment = None

    def new_id(self, prefix: str, count: int = 1) -> str:
        """The next id of objects with this prefix; with `count`, the first of so many in a row."""
        first = self.issued.get(prefix, 0) + 1
        self.issued[prefix] = first + count - 1
        return id_of(prefix, first)


def error(status: int, code: str, message: str, fields: Sequence[str] | None = None) -> Answer:
    """An error's body: a list, unlike that of the token endpoint (vendor documentation, errorcodes)."""
    entry: dict[str, Any] = {"message": message, "errorCode": code}
    if fields is not None:
        entry["fields"] = list(fields)
    return Answer(status, [entry])


def refusal(status: int, code: str, message: str) -> Refusal:
    return Refusal(error(status, code, message))


def absent(message: str = "The requested resource does not exist") -> Refusal:
    return refusal(404, "NOT_FOUND", message)


def id_of(prefix: str, number: int) -> str:
    """The 18-character id of the object with this number. Ids rise with the numbers."""
    rest, last = divmod(number, 3844)
    rest, third = divmod(rest, 3844)
    high, low = divmod(rest, 62)
    upper = ("A" <= _DIGITS[low] <= "Z") | _UPPER[third] << 1 | _UPPER[last] << 3
    head, check = _head(prefix, high)
    return f"{head}{_DIGITS[low]}{_PAIRS[third]}{_PAIRS[last]}{check}{_CHECK[upper]}"


@lru_cache(maxsize=4_096)
def _head(prefix: str, high: int) -> tuple[str, str]:
    """The first ten characters of an id, and their part of the check."""
    first, second = divmod(high, 3844)
    head = f"{prefix}{_POD}{_DIGITS[first % 62]}{_PAIRS[second]}"
    return head, _part(head[:5]) + _part(head[5:])


def number_of(record_id: str) -> int:
    """The number that `id_of` was given; 0 for an id of another making."""
    if record_id[3:7] != _POD:
        return 0
    number = 0
    for digit in record_id[7:15]:
        number = number * 62 + _VALUE.get(digit, 0)
    return number


def checked(short: str) -> str:
    """A 15-character id with its three characters of case check."""
    return short + "".join(_part(short[start : start + 5]) for start in (0, 5, 10))


def _part(five: str) -> str:
    return _CHECK[sum(1 << place for place, char in enumerate(five) if "A" <= char <= "Z")]


def long_id(given: Any) -> str | None:
    """An id with 18 characters, whether 15 or 18 were given; None for what is none."""
    if not isinstance(given, str) or len(given) not in (15, 18) or not given.isalnum() or not given.isascii():
        return None
    return given if len(given) == 18 else checked(given)


def stamp(at: float) -> str:
    """Epoch seconds as Salesforce writes instants: whole seconds."""
    return _stamp(int(at))


@lru_cache(maxsize=65_536)
def _stamp(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def instant(text: str) -> float:
    """Epoch seconds of an instant in any of the forms that Salesforce takes. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


ORGANIZATION = id_of("00D", 1)
USER = id_of("005", 1)
"""As whom the app signs in: the first user of an org."""
PERSON = id_of("005", 2)
"""Who does what is done by hand: the second one."""
