"""What an evaluation has to write into the membership log, by the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.segments.naive import Person, Reference, critical_instants

from .history import History
from .hub import Move
from .story import Rule, with_read

Pair = tuple[str, str]
"""(person, segment)."""
Told = tuple[datetime, bool]
"""(instant of truth, entered)."""


@dataclass(frozen=True)
class Remembering(Reference):
    """Says each thing of the people of one step once: rules read each other."""

    said: dict[tuple[str, int, datetime], bool] = field(default_factory=dict)

    def member(self, name: str, person: Person, now: datetime) -> bool:
        key = (name, person.id, now)
        if key not in self.said:
            self.said[key] = super().member(name, person, now)
        return self.said[key]


@dataclass
class Past:
    """What stood after the step before; `at` is the instant up to which the log is complete."""

    history: History = field(default_factory=History)
    at: datetime = datetime.min
    people: Mapping[str, Person] = field(default_factory=dict)
    events: set[bytes] = field(default_factory=set)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    members: dict[Pair, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Present:
    """What an evaluation is about.

    Args:
        renewed: segments whose rule, or one that it reads, is new.
        lost: the working database was made anew.
    """

    at: datetime
    people: Mapping[str, Person]
    reference: Reference
    renewed: frozenset[str]
    lost: bool


@dataclass(frozen=True)
class Expectation:
    """Of one person in one segment."""

    past: Past
    present: Present
    pair: Pair

    @property
    def _person(self) -> Person | None:
        return self.present.people.get(self.pair[0])

    @property
    def _removed(self) -> bool:
        return self.pair[1] not in self.present.reference.rules

    @property
    def _renewed(self) -> bool:
        return self.pair[1] in self.present.renewed

    def wrong(self, rows: Sequence[Move]) -> Iterator[str]:
        """Yields what is wrong with the rows that were written, in order of their instants."""
        stood = self.pair in self.past.members
        for row in rows:
            if row.entered == stood:
                yield f"{'entered' if row.entered else 'left'} twice"
            if row.noticed != self.present.at or row.at > self.present.at:
                yield f"a move of {row.at} is noticed at {row.noticed}"
            if row.reason not in self._reasons(row.at):
                yield f"a move of {row.at} has the reason '{row.reason}'"
            stood = row.entered
        found = [(row.at, row.entered) for row in rows]
        person = self._person
        if person and not self._renewed and not self._removed and self._is_another(person):
            if not self._possible(found, person):
                yield f"moves {_short(found)} since {self.past.at} are not true"
        elif found != (wanted := self._moves()):
            yield f"moves {_short(found)} since {self.past.at}, expected {_short(wanted)}"

    def _is_another(self, person: Person) -> bool:
        """Whether more happened to somebody than new events: the hub knows of no instant for that."""
        before = self.past.people.get(self.pair[0])
        if before:
            return before.attributes != person.attributes or before.subjects != person.subjects
        return self.present.lost or any(event.id in self.past.events for event in person.events)

    def _moves(self) -> list[Told]:
        """The moves of somebody who is who they were, but for new events; of a new rule; of who or what is gone."""
        (name, segment), stood, now = self.pair, self.pair in self.past.members, self.present.at
        person = self._person
        if person is None or self._removed:
            return [(now, False)] if stood else []
        known, news = name in self.past.people, self._news(person)
        begin = now if self._renewed else min([*news, self.past.at if known else now])
        critical = sorted(each for each in self._critical(person) if begin < each <= now)
        if known and not self._renewed and not critical and not any(each <= self.past.at for each in news):
            return []
        changes: list[Told] = []
        for instant in [begin, *critical]:
            value = self.present.reference.member(segment, person, instant)
            if not changes or changes[-1][1] != value:
                changes.append((instant, value))
        # What began and ended before the last evaluation is not told.
        old = [change for change in changes if change[0] <= self.past.at][-1:]
        told = []
        for change in [*old, *(change for change in changes if change[0] > self.past.at)]:
            if change[1] != stood:
                told.append(change)
                stood = change[1]
        return told

    def _possible(self, found: Sequence[Told], person: Person) -> bool:
        """Whether each move was true from its instant on to the next, and all but the first at an instant of change."""
        late = any(each <= self.past.at for each in self._news(person))
        if found and found[0][0] <= self.past.at and not late:
            return False
        critical = self._critical(person)
        ends = [*(at for at, _ in found), self.present.at][1:]
        for number, ((at, entered), end) in enumerate(zip(found, ends, strict=True)):
            inside = {at, *(each for each in critical if at < each < end)}
            if any(self.present.reference.member(self.pair[1], person, each) != entered for each in inside):
                return False
            if number and at not in critical:
                return False
        return True

    def _reasons(self, at: datetime) -> set[str]:
        person = self._person
        # Several may fall on one instant.
        gone = set() if person else {"profile gone"}
        if self._removed:
            return gone | {"definition removed"}
        if person is None:
            return gone | {"definition changed"} if self._renewed else gone
        if self._renewed:
            return {"definition new", "definition changed"}
        if at <= self.past.at:
            return {"event"}
        before = self.past.people.get(self.pair[0])
        same = before is not None and replace(before, at=person.at) == person
        reasons = {"time"} if same and at < self.present.at else {"time", "profile"}
        return reasons | {"event"} if any(event.at == at for event in person.events) else reasons

    def _news(self, person: Person) -> list[datetime]:
        known, now = self.past.events, self.present.at
        return [event.at for event in person.events if event.id not in known and event.at <= now]

    def _critical(self, person: Person) -> set[datetime]:
        rules = self.present.reference.rules
        read = with_read(rules, self.pair[1])
        return set().union(*(critical_instants(rules[each][0], person) for each in read))


def _short(moves: Sequence[Told]) -> str:
    return ", ".join(f"{'in' if entered else 'out'} {at}" for at, entered in moves) or "none"
