"""Rows of a simulated object that are worked out when they are looked at: a million of them need no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from switchyard_connectors.salesforce.simulator_org import id_of, number_of, stamp
from switchyard_connectors.salesforce.simulator_schema import ObjectType

_STAMPS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")


@dataclass(frozen=True, slots=True)
class Ids:
    """A reference to the rows of another object, one after the other from `first` on."""

    prefix: str
    first: int


@dataclass(frozen=True, slots=True)
class _Numbered:
    before: str
    after: str


Template: TypeAlias = Any
"""The same value for every row; a text in which `{n}` stands for the row's number; or `Ids`."""

USUAL: Mapping[str, Mapping[str, Template]] = {
    "Contact": {
        "FirstName": "Ada",
        "LastName": "Seed{n}",
        "Name": "Ada Seed{n}",
        "Email": "seed{n}@example.com",
        "Phone": "+43 1 {n}",
        "MailingCity": "Graz",
        "Ext__c": "seed-{n}",
        "HasOptedOutOfEmail": False,
    },
    "Lead": {
        "FirstName": "Leo",
        "LastName": "Lead{n}",
        "Name": "Leo Lead{n}",
        "Company": "Company {n}",
        "Email": "lead{n}@example.com",
        "Status": "Open - Not Contacted",
        "IsConverted": False,
        "Ext__c": "lead-{n}",
    },
    "Account": {"Name": "Account {n}", "Ext__c": "account-{n}"},
    "Campaign": {"Name": "Campaign {n}", "IsActive": True, "Status": "Planned"},
    "CampaignMember": {"Status": "Sent", "HasResponded": False, "Type": "Contact"},
    "Opportunity": {"Name": "Opportunity {n}", "StageName": "Prospecting", "CloseDate": "2026-12-31", "Amount": 10.0},
    "Task": {"Subject": "Call {n}", "Status": "Completed", "Priority": "Normal", "ActivityDate": "2026-01-01"},
}


class Seed:
    """The rows 0 to `count` − 1. Their ids and their stamps rise together.

    Args:
        first: the number of the first id.
        start: epoch seconds of the first row's stamp.
        per_second: how many rows share one stamp.
    """

    def __init__(self, kind: ObjectType, first: int, count: int, start: int, per_second: int = 200) -> None:
        self.kind, self.first, self.count, self.start, self.per_second = kind, first, count, start, per_second
        self.values: dict[str, Any] = {}
        self._templates: dict[str, Template] = {}

    def fill(self, values: Mapping[str, Template]) -> None:
        """Let the rows have these values, by field; the other fields have their defaults."""
        for name, template in values.items():
            self.values[name] = [template.prefix, template.first] if isinstance(template, Ids) else template
            if isinstance(template, list):
                template = Ids(*template)
            if isinstance(template, str) and "{n}" in template:
                template = _Numbered(*template.split("{n}", 1))
            self._templates[name] = template

    def value(self, n: int, name: str) -> Any:
        if name == "Id":
            return id_of(self.kind.prefix, self.first + n)
        if name in _STAMPS:
            return stamp(self.start + n // self.per_second)
        template = self._templates.get(name)
        if template is None:
            known = self.kind.fields.get(name)
            return known.default if known else None
        if isinstance(template, _Numbered):
            return f"{template.before}{n}{template.after}"
        if isinstance(template, Ids):
            return id_of(template.prefix, template.first + n)
        return template

    def column(self, name: str, numbers: Sequence[int]) -> list[Any]:
        """The values of one field."""
        template = self._templates.get(name)
        if isinstance(template, _Numbered):
            before, after = template.before, template.after
            return [f"{before}{n}{after}" for n in numbers]
        if name == "Id":
            prefix, first = self.kind.prefix, self.first
            return [id_of(prefix, first + n) for n in numbers]
        return [self.value(n, name) for n in numbers]

    def row(self, n: int) -> dict[str, Any]:
        """A row of its own with all fields."""
        return {name: self.value(n, name) for name in self.kind.fields}

    def number(self, record_id: str) -> int | None:
        """Which row has this id."""
        n = number_of(record_id) - self.first
        return n if record_id[:3] == self.kind.prefix and 0 <= n < self.count else None

    def find(self, name: str, value: str) -> Sequence[int]:
        """The rows with this value, compared without regard to case. Costs nothing per row."""
        template = self._templates.get(name)
        n: int | None = None
        if isinstance(template, _Numbered):
            digits = value[len(template.before) : len(value) - len(template.after)]
            if digits.isdecimal() and f"{template.before}{int(digits)}{template.after}".lower() == value.lower():
                n = int(digits)
        elif isinstance(template, Ids):
            n = number_of(value) - template.first if value[:3] == template.prefix else None
        elif str(template).lower() == value.lower():
            return range(self.count)
        return (n,) if n is not None and 0 <= n < self.count else ()

    def between(self, low: float, high: float) -> range:
        """The rows whose stamp is from `low` to `high` epoch seconds, both included."""
        first = 0 if low <= self.start else min(self.count, _ceil(low - self.start) * self.per_second)
        last = self.count if high == float("inf") else (int(high) - self.start + 1) * self.per_second
        return range(first, max(first, min(self.count, last)))


class SeedRow:
    """One row, of which is worked out what is asked for."""

    __slots__ = ("_seed", "n")

    def __init__(self, seed: Seed, n: int) -> None:
        self._seed, self.n = seed, n

    def get(self, name: str, default: Any = None) -> Any:
        value = self._seed.value(self.n, name)
        return default if value is None else value

    def __getitem__(self, name: str) -> Any:
        return self._seed.value(self.n, name)


def seconds(seed: Seed, numbers: range) -> Iterator[range]:
    """The rows of a range in pieces that share a stamp."""
    start = numbers.start
    while start < numbers.stop:
        stop = min(numbers.stop, (start // seed.per_second + 1) * seed.per_second)
        yield range(start, stop)
        start = stop


def without(numbers: Iterable[int], taken: set[int]) -> Iterator[int]:
    """The numbers that are not taken."""
    return (n for n in numbers if n not in taken) if taken else iter(numbers)


def _ceil(value: float) -> int:
    return -int(-value // 1)
