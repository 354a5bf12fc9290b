"""Where the HubSpot simulator keeps records: as they are, or a million of them as a rule."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from switchyard_connectors.hubspot.simulator_portal import iso

FIRST = 101
"""The first id that is given."""
Integers: TypeAlias = "NDArray[np.int64]"


@dataclass(slots=True)
class Record:
    """A record; times in epoch seconds."""

    id: str
    created: float
    updated: float
    properties: dict[str, str] = field(default_factory=dict)
    archived: float | None = None

    def copy(self) -> Record:
        return replace(self, properties=dict(self.properties))


class Seeds:
    """Records that follow a rule and take no memory of their own but the instants of their last change.

    Args:
        updated: those instants in epoch milliseconds; the first record has the id `FIRST`.
        make: from a record's number, from 0, to the record.
        number: from an e-mail to the number of the record that has it, None where none has.
    """

    def __init__(
        self, updated: Integers, make: Callable[[int, float], Record], number: Callable[[str], int | None]
    ) -> None:
        self.updated = updated
        self.there = np.ones(len(updated), bool)
        self._make = make
        self._number = number

    def __len__(self) -> int:
        return len(self.updated)

    def has(self, record_id: int) -> bool:
        """Whether the record is one of these, and as it was made."""
        return 0 <= record_id - FIRST < len(self.updated) and bool(self.there[record_id - FIRST])

    def record(self, record_id: int) -> Record:
        """The record, made anew."""
        return self._make(record_id - FIRST, self.updated[record_id - FIRST] / 1000)

    def with_email(self, value: str) -> str | None:
        """The id of the record with this address."""
        number = self._number(value)
        return str(number + FIRST) if number is not None and self.has(number + FIRST) else None

    def changed_between(self, since: float, until: float) -> Integers:
        """The ids of records whose last change, in epoch milliseconds, is not before `since` nor after `until`."""
        found = self.there & (self.updated >= since) & (self.updated <= until)
        return np.flatnonzero(found).astype(np.int64) + FIRST


class Shelf(MutableMapping[str, Record]):
    """Id → record, in order of ids. A seed that is written to becomes a record like any other."""

    def __init__(self) -> None:
        self.own: dict[str, Record] = {}
        self.seeds: Seeds | None = None
        # Ids ever given, rising; some are of records that are gone. Those of seeds come before.
        self._given: list[int] = []

    def __getitem__(self, record_id: str) -> Record:
        if (own := self.own.get(record_id)) is not None:
            return own
        if self.seeds is not None and record_id.isdecimal() and self.seeds.has(int(record_id)):
            return self.seeds.record(int(record_id))
        raise KeyError(record_id)

    def __setitem__(self, record_id: str, record: Record) -> None:
        self._take(record_id)
        self.own[record_id] = record

    def __delitem__(self, record_id: str) -> None:
        self._take(record_id)
        self.own.pop(record_id, None)

    def __iter__(self) -> Iterator[str]:
        return (record.id for record in self.behind(0))

    def __len__(self) -> int:
        return len(self.own) + (int(self.seeds.there.sum()) if self.seeds is not None else 0)

    def seed(self, seeds: Seeds) -> None:
        """Hold these. Only where nothing was held."""
        if self._given:
            raise ValueError("seed records before others are made")
        self.seeds = seeds

    def next_id(self) -> str:
        """An id that was never given."""
        first = FIRST + (len(self.seeds) if self.seeds is not None else 0)
        self._given.append(self._given[-1] + 1 if self._given else first)
        return str(self._given[-1])

    def behind(self, after: int) -> Iterator[Record]:
        """The records with a larger id, rising."""
        seeded = range(max(after + 1, FIRST), FIRST + len(self.seeds)) if self.seeds is not None else ()
        given = islice(self._given, bisect_right(self._given, after), None)
        found = (self.get(str(each)) for each in chain(seeded, given))
        return (each for each in found if each is not None)

    @property
    def given(self) -> list[int]:
        """Ids ever given to records that are no seeds."""
        return self._given

    def load(self, records: Mapping[str, Record], given: list[int]) -> None:
        """Hold these and no others."""
        self.own, self._given, self.seeds = dict(records), given, None

    def _take(self, record_id: str) -> None:
        if self.seeds is not None and record_id.isdecimal() and self.seeds.has(int(record_id)):
            self.seeds.there[int(record_id) - FIRST] = False


def numbered_people(updated: Integers) -> Seeds:
    """People p0@seed.example, p1@seed.example, …, made when they were changed last, in epoch milliseconds."""

    def make(number: int, at: float) -> Record:
        values = {"email": f"p{number}@seed.example", "firstname": f"P{number}", "lastname": "Seed"}
        own = {"hs_object_id": str(number + FIRST), "createdate": iso(at), "lastmodifieddate": iso(at)}
        return Record(str(number + FIRST), at, at, values | own)

    def find(email: str) -> int | None:
        name, _, domain = email.partition("@")
        digits = name.removeprefix("p")
        return int(digits) if domain == "seed.example" and digits.isdecimal() and int(digits) < len(updated) else None

    return Seeds(updated, make, find)
