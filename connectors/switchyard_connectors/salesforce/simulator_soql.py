"""SOQL as connectors write it, parsed: SELECT, FROM, WHERE, ORDER BY, LIMIT, OFFSET, and no nested queries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from switchyard.testing.simulator import Refusal
from switchyard_connectors.salesforce.simulator_org import refusal

LONGEST = 100_000
ValueKind: TypeAlias = Literal["string", "number", "boolean", "null", "datetime", "date"]
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)
  | (?P<number>[+-]?\d+(?:\.\d+)?)
  | (?P<name>[A-Za-z_][\w.]*)
  | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ENDS = {"where", "order", "limit", "offset", "group", "for", "with", "using", "having"}


@dataclass(frozen=True, slots=True)
class Value:
    """A literal. Datetimes are written as rows have them, so that they compare as text."""

    kind: ValueKind
    value: Any


@dataclass(frozen=True, slots=True)
class Compare:
    """`operator` is one of = != < <= > >= like in; of `in`, `values` are many, else one."""

    field: str
    operator: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """`word` is and, or, or not (of one)."""

    word: str
    parts: tuple[Node, ...]


Node: TypeAlias = "Compare | Joined"


@dataclass(frozen=True, slots=True)
class Order:
    field: str
    down: bool = False
    nulls_last: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A query. `counts`: SELECT COUNT()."""

    fields: tuple[str, ...]
    counts: bool
    object: str
    where: Node | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int


def malformed(message: str) -> Refusal:
    return refusal(400, "MALFORMED_QUERY", message)


def parse(text: str) -> Query:
    """Raises the 400 that a query which is none deserves."""
    if len(text) > LONGEST:
        raise malformed("SOQL statements cannot be longer than 100000 characters.")
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise malformed(f"unexpected token: '{text[at : at + 20].strip()}'")
            self._tokens.append((match.lastgroup, match.group(match.lastgroup)))
            at = match.end()
        self._at = 0

    def query(self) -> Query:
        self._word("select")
        fields, counts = self._fields()
        self._word("from")
        name = self._name()
        if self._kind() == "name" and self._peek() not in _ENDS:
            raise malformed(f"aliases are not understood: '{self._text()}'")
        where = self._any() if self._skip("where") else None
        order: list[Order] = []
        if self._skip("order"):
            self._word("by")
            order.append(self._order())
            while self._skip(","):
                order.append(self._order())
        limit = self._integer() if self._skip("limit") else None
        offset = self._integer() if self._skip("offset") else 0
        if self._at < len(self._tokens):
            raise malformed(f"unexpected token: '{self._text()}'")
        return Query(fields, counts, name, where, tuple(order), limit, offset)

    def _fields(self) -> tuple[tuple[str, ...], bool]:
        if self._peek() == "count" and [text for _, text in self._tokens[self._at + 1 : self._at + 3]] == ["(", ")"]:
            self._at += 3
            return (), True
        found = [self._name()]
        while self._skip(","):
            found.append(self._name())
        return tuple(found), False

    def _any(self) -> Node:
        """Conditions joined by one word: SOQL refuses and beside or without parentheses."""
        parts = [self._one()]
        word = self._peek() if self._peek() in ("and", "or") else None
        while word and self._skip(word):
            parts.append(self._one())
        if self._peek() in ("and", "or"):
            raise malformed(f"unexpected token: {self._text()}; use parentheses")
        return parts[0] if word is None else Joined(word, tuple(parts))

    def _one(self) -> Node:
        if self._skip("not"):
            return Joined("not", (self._one(),))
        if self._skip("("):
            inside = self._any()
            self._word(")")
            return inside
        field = self._name()
        if self._skip("not"):
            self._word("in")
            return Joined("not", (Compare(field, "in", self._list()),))
        if self._skip("in"):
            return Compare(field, "in", self._list())
        if self._skip("like"):
            return Compare(field, "like", (self._value(),))
        kind, text = self._take()
        if kind != "sign" or text in "(),":
            raise malformed(f"unexpected token: '{text}'")
        return Compare(field, "!=" if text == "<>" else text, (self._value(),))

    def _list(self) -> tuple[Value, ...]:
        self._word("(")
        if self._peek() == "select":
            raise malformed("semi-joins are not understood")
        found = [self._value()]
        while self._skip(","):
            found.append(self._value())
        self._word(")")
        return tuple(found)

    def _value(self) -> Value:
        kind, text = self._take()
        if kind == "string":
            return Value("string", re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1], flags=re.DOTALL))
        if kind == "number":
            return Value("number", float(text))
        if kind == "date":
            return Value("date", text)
        if kind == "datetime":
            at = datetime.fromisoformat(text).astimezone(UTC)
            return Value("datetime", at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}+0000")
        word = text.lower()
        if word == "null":
            return Value("null", None)
        if word in ("true", "false"):
            return Value("boolean", word == "true")
        raise malformed(f"unexpected token: '{text}'")

    def _order(self) -> Order:
        field, down = self._name(), False
        if self._peek() in ("asc", "desc"):
            down = self._take()[1].lower() == "desc"
        last = False
        if self._skip("nulls"):
            last = self._take()[1].lower() == "last"
        return Order(field, down, last)

    def _kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _text(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else "<EOF>"

    def _peek(self) -> str:
        return self._text().lower() if self._kind() in ("name", "sign") else ""

    def _take(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise malformed("unexpected token: '<EOF>'")
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, word: str) -> bool:
        if self._peek() == word:
            self._at += 1
            return True
        return False

    def _word(self, word: str) -> None:
        if not self._skip(word):
            raise malformed(f"unexpected token: '{self._text()}', expecting '{word}'")

    def _name(self) -> str:
        kind, text = self._take()
        if kind != "name":
            raise malformed(f"unexpected token: '{text}'")
        return text

    def _integer(self) -> int:
        kind, text = self._take()
        if kind != "number" or not text.isdecimal():
            raise malformed(f"unexpected token: '{text}'")
        return int(text)
