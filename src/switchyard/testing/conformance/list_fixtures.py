"""What the kit for list sinks asks of its author: the vendor's side of a list, and people to put on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import httpx
import pytest

from switchyard.api import ListChanges, Member, RemoteList
from switchyard.api.records import JSON
from switchyard.testing.conformance.common import Conformance
from switchyard.testing.conformance.outcomes import Outcome


class Remote(Protocol):
    """The vendor's side of a list, as the vendor itself sees it. Usually a few lines around a simulator."""

    def lists(self) -> Collection[str]:
        """Ids of the lists there are."""

    def members(self, list_id: str) -> Collection[str]:
        """Ids of the records on the list."""

    def records(self) -> Mapping[str, JSON]:
        """The records there are: id → value of the key field, as `person` gives it."""

    def refuse(self, values: Collection[JSON]) -> None:
        """From now on refuse, for good, to write records whose key field has one of these values, and no others."""

    def delete(self, list_id: str) -> None:
        """Delete the list by hand."""


@runtime_checkable
class Hesitant(Protocol):
    """A `Remote` of a vendor that may also refuse a row for a reason that passes."""

    def hesitate(self, values: Collection[JSON]) -> None:
        """As `refuse`, for a reason that passes. No values: take all rows again."""


@runtime_checkable
class Working(Protocol):
    """A `Remote` of a vendor that works asynchronously."""

    def work(self) -> None:
        """Let the vendor finish the jobs it has."""


class People:
    """People whom the vendor does not know: each time new ones."""

    def __init__(self, wanted: RemoteList, person: Callable[[int], Mapping[str, JSON]], many: int) -> None:
        self.wanted = wanted
        self.many = many
        self._person = person
        self._next = 0

    def joining(self, leaving: Sequence[Member] = ()) -> ListChanges:
        """Changes that write `many` people and put them on the list, and take those who leave off it."""
        numbers = range(self._next, self._next + self.many)
        self._next = numbers.stop
        new = [Member(key=f"k{number}", fields=self._person(number)) for number in numbers]
        return ListChanges(id=f"kit-{numbers.start}", upsert=new, add=new, remove=leaving)

    def values(self, members: Iterable[Member]) -> list[JSON]:
        """What the vendor knows these people by."""
        return [member.fields[self.wanted.key_field] for member in members]

    def first(self, outcome: Outcome) -> list[Member]:
        """The first two of those who were put on the list, by the vendor's ids."""
        return [Member(key=key, remote_id=outcome.upserted[key]) for key in sorted(outcome.joined)[:2]]


class ListSinkFixtures(Conformance):
    """The fixtures of the kit for list sinks."""

    @pytest.fixture
    def remote(self) -> Remote:
        """The vendor's own view, of a vendor without lists."""
        raise NotImplementedError("give the fixture `remote`: the vendor's own view of its lists")

    @pytest.fixture
    def wanted(self) -> RemoteList:
        """The list to work on."""
        return RemoteList("Switchyard conformance", key_field="email")

    @pytest.fixture
    def person(self, wanted: RemoteList) -> Callable[[int], Mapping[str, JSON]]:
        """Fields of the person with this number, whom the vendor does not know."""
        return lambda number: {wanted.key_field: f"kit{number}@example.com"}

    @pytest.fixture
    def many(self) -> int:
        """How many people take several calls to write and several pages to read back."""
        return 300

    @pytest.fixture
    def bulk(self) -> int | None:
        """How many people make a `Pollable` sink give a ticket; None where it is none."""
        return None

    @pytest.fixture
    def exhausted(self) -> httpx.Response | None:
        """What the vendor answers when the calls of the day are used up; None where there is no such limit."""
        return None

    @pytest.fixture
    def people(self, wanted: RemoteList, person: Callable[[int], Mapping[str, JSON]], many: int) -> People:
        """People to work with. Not for authors to override."""
        return People(wanted, person, many)
