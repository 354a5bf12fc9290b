"""What the WHERE of a query says of the rows of the simulated org: a test, and where to look for those that pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, TypeAlias

from switchyard_connectors.salesforce.simulator_fields import IDS, Column, Fields, Read, comparable
from switchyard_connectors.salesforce.simulator_org import instant, long_id, refusal
from switchyard_connectors.salesforce.simulator_records import Table
from switchyard_connectors.salesforce.simulator_seeds import Seed
from switchyard_connectors.salesforce.simulator_soql import Compare, Joined, Node, Value, malformed

Test: TypeAlias = Callable[[Any], bool]


class Condition:
    """The WHERE of a query: a test of rows, and what it says of where to look."""

    def __init__(self, fields: Fields, where: Node | None, *, everything: bool) -> None:
        self._fields = fields
        self._where = where
        self.used: set[str] = set()
        inner = self._test(where) if where else None
        self.test: Test
        if everything:
            self.test = inner or (lambda _: True)
        elif inner is None:
            self.test = lambda row: not row.get("IsDeleted")
        else:
            self.test = lambda row: not row.get("IsDeleted") and inner(row)

    def narrowed(self, table: Table) -> Sequence[str] | None:
        """The ids among which all kept rows are that the condition lets through, if it is easy to tell."""
        found: list[Sequence[str]] = []
        for column, values in self._wanted():
            if column.name == "Id":
                found.append(values)
            elif column.plain and (ids := table.indexed(column.name, values)) is not None:
                found.append(ids)
        return min(found, key=len, default=None)

    def seeded(self, seed: Seed) -> Sequence[int]:
        """The seeded rows among which are all that the condition lets through."""
        found: list[Sequence[int]] = [seed.between(*_bounds(self._where))] if self._where else [range(seed.count)]
        for column, values in self._wanted():
            if column.name == "Id":
                found.append(sorted({n for each in values if (n := seed.number(each)) is not None}))
            elif column.plain and column.field.indexed:
                hits = [seed.find(column.name, each) for each in values]
                found.append(hits[0] if len(hits) == 1 else sorted({n for each in hits for n in each}))
        return min(found, key=len)

    def _wanted(self) -> Iterator[tuple[Column, Sequence[str]]]:
        """The fields of which the condition says that they have one of these texts, none of them null."""
        for each in self._conjuncts():
            if isinstance(each, Compare) and each.operator in ("=", "in"):
                column = self._fields.column(each.field)
                texts = [value.value for value in each.values if isinstance(value.value, str)]
                if len(texts) == len(each.values):
                    yield column, [long_id(text) or "" for text in texts] if column.field.kind in IDS else texts

    def _conjuncts(self) -> tuple[Node, ...]:
        if isinstance(self._where, Joined):
            return self._where.parts if self._where.word == "and" else ()
        return (self._where,) if self._where else ()

    def _test(self, node: Node) -> Test:
        if isinstance(node, Compare):
            return self._compare(node)
        tests = [self._test(part) for part in node.parts]
        if node.word == "not":
            return lambda row: not tests[0](row)
        if len(tests) == 2:
            first, second = tests
            if node.word == "and":
                return lambda row: first(row) and second(row)
            return lambda row: first(row) or second(row)
        if node.word == "and":
            return lambda row: all(test(row) for test in tests)
        return lambda row: any(test(row) for test in tests)

    def _compare(self, node: Compare) -> Test:
        column = self._fields.column(node.field)
        self.used.add(column.name)
        if not column.field.filterable:
            raise refusal(400, "INVALID_FIELD", f"field '{column.name}' can not be filtered in a query call")
        values = [_literal(column, each) for each in node.values]
        read = comparable(column)
        value = values[0]
        if node.operator == "in":
            wanted = frozenset(values)
            return lambda row: read(row) in wanted
        if node.operator == "=":
            return lambda row: read(row) == value
        if node.operator == "!=":
            return lambda row: read(row) != value
        if value is None:
            raise malformed("null can only be compared by = and !=")
        if node.operator == "like":
            pattern = re.compile(_like(str(value)), re.DOTALL)
            return lambda row: pattern.fullmatch(str(read(row) or "")) is not None
        return _ordered(node.operator, read, value)


def _ordered(operator: str, read: Read, value: Any) -> Test:
    tests: dict[str, Callable[[Any], bool]] = {
        "<": lambda have: have < value,
        "<=": lambda have: have <= value,
        ">": lambda have: have > value,
        ">=": lambda have: have >= value,
    }
    test = tests[operator]

    def ordered(row: Any) -> bool:
        have = read(row)
        return have is not None and test(have)

    return ordered


def _literal(column: Column, given: Value) -> Any:
    """The value as `comparable` gives those of rows. Raises the 400 of a literal of another type."""
    kind = column.field.kind
    if given.kind == "null":
        return None
    needed = {"datetime": "datetime", "date": "date", "boolean": "boolean"}.get(kind)
    needed = needed or ("number" if kind in ("int", "double", "currency") else "string")
    if given.kind != needed:
        named = {"datetime": "dateTime", "number": "double"}.get(needed, needed)
        how = "should be enclosed in quotes" if needed == "string" else "should not be enclosed in quotes"
        message = f"value of filter criterion for field '{column.name}' must be of type {named} and {how}"
        raise refusal(400, "INVALID_FIELD", message)
    if kind in IDS:
        if (known := long_id(given.value)) is None:
            raise refusal(400, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {given.value}")
        return known
    return given.value.lower() if needed == "string" else given.value


def _like(pattern: str) -> str:
    return "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern)


def _bounds(node: Node) -> tuple[float, float]:
    """Between which instants SystemModstamp must be for the condition to hold, in epoch seconds."""
    if isinstance(node, Joined):
        if node.word == "not":
            return -inf, inf
        parts = [_bounds(part) for part in node.parts]
        lows, highs = [low for low, _ in parts], [high for _, high in parts]
        return (max(lows), min(highs)) if node.word == "and" else (min(lows), max(highs))
    if node.field.lower() != "systemmodstamp" or node.values[0].kind != "datetime":
        return -inf, inf
    at = instant(node.values[0].value)
    return {"=": (at, at), ">": (at, inf), ">=": (at, inf), "<": (-inf, at), "<=": (-inf, at)}.get(
        node.operator, (-inf, inf)
    )
