"""Searching contacts in the HubSpot simulator (vendor documentation, search-the-crm)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot.simulator_contacts import DEFAULT, Contact, Contacts, contact_json
from switchyard_connectors.hubspot.simulator_portal import Portal

PAGE = 200
CAP = 10_000
BODY = 3_000
_GROUPS, _FILTERS = 5, 6

Test: TypeAlias = Callable[[Contact], bool]
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "LT": lambda have, want: have < want,
    "LTE": lambda have, want: have <= want,
    "GT": lambda have, want: have > want,
    "GTE": lambda have, want: have >= want,
}


class Search:
    """Finds live contacts: groups joined by or, filters of a group by and."""

    def __init__(self, portal: Portal, contacts: Contacts) -> None:
        self._portal = portal
        self._contacts = contacts

    def answer(self, request: Request) -> Answer:
        if len(request.body) > BODY:
            raise self._portal.invalid(f"The query is longer than {BODY} characters")
        wanted = request.json()
        limit, after = int(wanted.get("limit", 10)), int(wanted.get("after") or 0)
        if not 0 <= limit <= PAGE:
            raise self._portal.invalid(f"limit must be at most {PAGE}")
        if after + limit > CAP:
            raise self._portal.invalid(f"There was a problem with the request: paging ends at {CAP} results")
        found = self._sorted(self._found(wanted.get("filterGroups") or ()), wanted.get("sorts") or ())
        names = (*DEFAULT, *(wanted.get("properties") or ()))
        end = after + limit
        body: dict[str, Any] = {
            "total": len(found),
            "results": [contact_json(contact, names) for contact in found[after:end]],
        }
        if len(found) > end:
            body["paging"] = {"next": {"after": str(end)}}
        return Answer(body=body)

    def _found(self, groups: Sequence[Mapping[str, Any]]) -> Iterable[Contact]:
        if len(groups) > _GROUPS or any(len(group["filters"]) > _FILTERS for group in groups):
            raise self._portal.invalid(f"at most {_GROUPS} filter groups of {_FILTERS} filters")
        tests = [[self._test(each) for each in group["filters"]] for group in groups]
        live = (contact for contact in self._contacts.searchable() if contact.archived is None)
        return (each for each in live if not tests or any(all(test(each) for test in group) for group in tests))

    def _test(self, given: Mapping[str, Any]) -> Test:
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
        return lambda contact: test(contact.properties.get(name, ""))

    def _sorted(self, found: Iterable[Contact], sorts: Sequence[Mapping[str, Any]]) -> list[Contact]:
        if len(sorts) > 1:
            raise self._portal.invalid("only one sort rule is allowed")
        rule = sorts[0] if sorts else {"propertyName": "createdate"}
        name, downwards = rule["propertyName"], rule.get("direction") == "DESCENDING"
        return sorted(
            found,
            key=lambda contact: (_number(contact.properties.get(name)), contact.properties.get(name, "")),
            reverse=downwards,
        )


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
