"""Searching records in the HubSpot simulator (vendor documentation, search-the-crm)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot.simulator_objects import Objects
from switchyard_connectors.hubspot.simulator_portal import Portal
from switchyard_connectors.hubspot.simulator_shelf import Integers, Record

PAGE = 200
CAP = 10_000
BODY = 3_000
_GROUPS, _FILTERS = 5, 6

Test: TypeAlias = Callable[[Record], bool]
Filter: TypeAlias = "Mapping[str, Any]"
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "LT": lambda have, want: have < want,
    "LTE": lambda have, want: have <= want,
    "GT": lambda have, want: have > want,
    "GTE": lambda have, want: have >= want,
}


class Search:
    """Finds live records: groups joined by or, filters of a group by and.

    What filters find is kept until something changes, for whoever goes through it by rising ids asks again and again.
    """

    def __init__(self, portal: Portal, objects: Objects) -> None:
        self._portal = portal
        self._objects = objects
        self._last: tuple[object, Integers, Mapping[str, Record]] | None = None

    def answer(self, request: Request) -> Answer:
        if len(request.body) > BODY:
            raise self._portal.invalid(f"The query is longer than {BODY} characters")
        wanted = request.json()
        limit, after = int(wanted.get("limit", 10)), int(wanted.get("after") or 0)
        if not 0 <= limit <= PAGE:
            raise self._portal.invalid(f"limit must be at most {PAGE}")
        if after + limit > CAP:
            raise self._portal.invalid(f"There was a problem with the request: paging ends at {CAP} results")
        sorts = wanted.get("sorts") or ()
        if len(sorts) > 1:
            raise self._portal.invalid("only one sort rule is allowed")
        ids, records = self._found(wanted.get("filterGroups") or (), sorts)
        names = (*self._objects.kind.always, *self._objects.kind.shown, *(wanted.get("properties") or ()))
        end = after + limit
        rows = [self._record(str(each), records) for each in ids[after:end].tolist()]
        body: dict[str, Any] = {"total": len(ids), "results": [self._objects.json(each, names) for each in rows]}
        if len(ids) > end:
            body["paging"] = {"next": {"after": str(end)}}
        return Answer(body=body)

    def _record(self, record_id: str, records: Mapping[str, Record]) -> Record:
        return records.get(record_id) or self._objects.records[record_id]

    def _found(self, groups: Sequence[Filter], sorts: Sequence[Filter]) -> tuple[Integers, Mapping[str, Record]]:
        """The ids of what is found, in the order asked for, and the records as they are seen that are no seeds."""
        if len(groups) > _GROUPS or any(len(group["filters"]) > _FILTERS for group in groups):
            raise self._portal.invalid(f"at most {_GROUPS} filter groups of {_FILTERS} filters")
        rule = sorts[0] if sorts else {"propertyName": "createdate"}
        if len(groups) != 1 or rule != {"propertyName": "hs_object_id", "direction": "ASCENDING"}:
            return self._matching([group["filters"] for group in groups] or [[]], rule)
        filters = groups[0]["filters"]
        place = [each for each in filters if each["propertyName"] == "hs_object_id" and each["operator"] in _COMPARE]
        ids, records = self._matching([[each for each in filters if each not in place]], rule)
        for each in place:
            operator, bound = each["operator"], int(each["value"])
            # They rise, so what is kept is one piece.
            at = int(np.searchsorted(ids, bound, "left" if operator in ("GTE", "LT") else "right"))
            ids = ids[at:] if operator in ("GTE", "GT") else ids[:at]
        return ids, records

    def _matching(self, groups: Sequence[Sequence[Filter]], rule: Filter) -> tuple[Integers, Mapping[str, Record]]:
        seen, state = self._objects.searchable()
        asked = (json.dumps([groups, rule], sort_keys=True), state)
        if self._last is None or self._last[0] != asked:
            records = {each.id: each for each in seen if each.archived is None}
            tests = [[self._test(each) for each in group] for group in groups]
            found = [each for each in records.values() if any(all(test(each) for test in group) for group in tests)]
            ids = self._sorted([*found, *self._seeded(groups, tests, rule)], rule)
            if self._is_by_id(rule):
                ids = np.union1d(ids, self._seeded_ids(groups))
            self._last = asked, ids, records
        return self._last[1], self._last[2]

    def _is_by_id(self, rule: Filter) -> bool:
        return dict(rule) == {"propertyName": "hs_object_id", "direction": "ASCENDING"}

    def _seeded_ids(self, groups: Sequence[Sequence[Filter]]) -> Integers:
        """The seeds that one group of bounds on the last change finds: no record is made for that."""
        seeds = self._objects.records.seeds
        if seeds is None or not self._is_simple(groups):
            return np.empty(0, np.int64)
        since, until = 0.0, float("inf")
        for each in groups[0]:
            bound = float(each["value"])
            since = max(since, bound) if each["operator"] == "GTE" else since
            until = min(until, bound) if each["operator"] == "LTE" else until
        return seeds.changed_between(since, until)

    def _is_simple(self, groups: Sequence[Sequence[Filter]]) -> bool:
        changed = self._objects.kind.changed
        return len(groups) == 1 and all(
            each["propertyName"] == changed and each["operator"] in ("GTE", "LTE") for each in groups[0]
        )

    def _seeded(
        self, groups: Sequence[Sequence[Filter]], tests: Sequence[Sequence[Test]], rule: Filter
    ) -> list[Record]:
        seeds = self._objects.records.seeds
        if seeds is None or (self._is_by_id(rule) and self._is_simple(groups)):
            return []
        every = (seeds.record(each) for each in seeds.changed_between(0, float("inf")).tolist())
        return [each for each in every if any(all(test(each) for test in group) for group in tests)]

    def _test(self, given: Filter) -> Test:
        name, operator = str(given["propertyName"]), str(given.get("operator"))
        value = str(given.get("value", "")).lower()
        values = {str(each).lower() for each in given.get("values", ())}
        tests: dict[str, Callable[[str], bool]] = {
            "EQ": lambda have: have.lower() == value,
            "NEQ": lambda have: have.lower() != value,
            "IN": lambda have: have.lower() in values,
            "NOT_IN": lambda have: have.lower() not in values,
            "HAS_PROPERTY": bool,
            "NOT_HAS_PROPERTY": lambda have: not have,
            "CONTAINS_TOKEN": lambda have: value.strip("*") in have.lower(),
            "NOT_CONTAINS_TOKEN": lambda have: value.strip("*") not in have.lower(),
        }
        if operator in tests:
            test = tests[operator]
        elif operator == "BETWEEN":
            low, high = _number(given.get("value")), _number(given.get("highValue"))
            test = lambda have: bool(have) and low <= _number(have) <= high  # noqa: E731
        elif operator in _COMPARE:
            compare, bound = _COMPARE[operator], _number(given.get("value"))
            test = lambda have: bool(have) and compare(_number(have), bound)  # noqa: E731
        else:
            raise self._portal.invalid(f"{operator} is not an operator")
        return lambda record: test(record.properties.get(name, ""))

    def _sorted(self, found: Sequence[Record], rule: Filter) -> Integers:
        name = rule["propertyName"]
        ordered = sorted(
            found,
            key=lambda record: (_number(record.properties.get(name)), record.properties.get(name, "")),
            reverse=rule.get("direction") == "DESCENDING",
        )
        return np.array([int(each.id) for each in ordered], np.int64)


def _number(value: Any) -> float:
    """A value on one axis: a number, an instant as epoch milliseconds, or 0 for what is neither."""
    text = str(value or "")
    try:
        return float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp() * 1000
        except ValueError:
            return 0.0
