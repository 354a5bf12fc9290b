"""A hub that evaluates what changed, a hub that evaluates everybody, and the reference, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.segments.naive import Person

from switchyard.api.transforms import ProfileTransform
from switchyard_plugins.segmentation.printer import text

from .expectation import Expectation, Pair, Past, Present, Remembering
from .hub import Move, SmallHub
from .story import LOST, Rule, Step, with_read


@dataclass
class Comparison:
    """Lives through the steps of a story twice and judges them.

    Args:
        folder: for both hubs.
        template: a store that has the tables.
        transform: of the hub that evaluates what changed.
    """

    folder: Path
    template: Path
    transform: ProfileTransform | None = None
    compared: int = 0
    """Memberships: people × definitions × instants."""
    moves: int = 0
    """Rows of the membership log whose instants were compared."""

    def differences(self, steps: Iterable[Step]) -> Iterator[str]:
        """Yields a line for each membership, or row of the log, that is wrong."""
        hub = SmallHub(self.folder / "changed", self.template, transform=self.transform)
        everybody = SmallHub(self.folder / "everybody", self.template, forgetful=True)
        past = Past()
        try:
            for step in steps:
                written = hub.live(step)
                everybody.live(Step(step.at, step.pages, step.rules))
                for messages in step.pages:
                    past.history.take(messages)
                people = past.history.people(step.at)
                present = Present(step.at, people, Remembering(step.rules), _renewed(past, step), step.mishap == LOST)
                yield from self._memberships(step, present, hub.members(), everybody.members())
                yield from self._log(step, past, present, written, hub.members())
                past.at, past.people, past.rules = hub.evaluated_at(), people, step.rules
                past.events = {event.id for person in people.values() for event in person.events}
            audit = hub.evaluate(step.at, step.definitions, full=True)
            yield from (f"found over everybody only: {move}" for move in audit)
        finally:
            hub.close()
            everybody.close()

    def _memberships(
        self, step: Step, present: Present, changed: Iterable[Pair], everybody: Iterable[Pair]
    ) -> Iterator[str]:
        people = present.people
        expected = {
            (name, segment)
            for name, person in people.items()
            for segment in step.rules
            if present.reference.member(segment, person, step.at)
        }
        self.compared += len(people) * len(step.rules)
        changed, everybody = set(changed), set(everybody)
        for pair in sorted((expected ^ changed) | (expected ^ everybody)):
            said = {"reference": expected, "changed": changed, "everybody": everybody}
            answers = ", ".join(f"{who} says {'in' if pair in members else 'out'}" for who, members in said.items())
            yield f"at {step.at}: {answers}: {_told(step.rules, people, pair)}"

    def _log(
        self, step: Step, past: Past, present: Present, written: list[Move], members: Mapping[Pair, datetime]
    ) -> Iterator[str]:
        people = present.people
        by_pair = {pair: list(rows) for pair, rows in groupby(sorted(written, key=_order), lambda row: _order(row)[:2])}
        for pair in sorted({*by_pair, *((name, segment) for name in people for segment in step.rules)}):
            rows = by_pair.get(pair, [])
            self.moves += len(rows)
            for wrong in Expectation(past, present, pair).wrong(rows):
                yield f"at {step.at}: {wrong}: {_told(step.rules, people, pair)}"
            for row in rows:
                past.members[pair] = row.at
                if not row.entered:
                    del past.members[pair]
        if past.members != members:
            wrong = sorted(past.members.items() ^ members.items())
            yield f"at {step.at}: the log replayed gives other memberships: {wrong[:5]}"


def _renewed(past: Past, step: Step) -> frozenset[str]:
    new = {name for name, rule in step.rules.items() if past.rules.get(name) != rule}
    return frozenset(name for name in step.rules if with_read(step.rules, name) & new)


def _order(row: Move) -> tuple[str, str, datetime]:
    return row.person, row.segment, row.at


def _told(rules: Mapping[str, Rule], people: Mapping[str, Person], pair: Pair) -> str:
    name, segment = pair
    if segment not in rules:
        return f"{segment} (removed), {name}"
    condition, nulls_match, zone = rules[segment]
    who = f"{name}, {_about(people[name])}" if name in people else f"{name}, who is gone"
    return f"{segment} [{text(condition)}; nulls match: {nulls_match}; {zone}] and {who}"


def _about(person: Person) -> str:
    events = ", ".join(f"{event.type} {event.at} {_known(event.properties)}" for event in person.events)
    return f"of whom is known {_known(person.attributes)}, events {events or 'none'}"


def _known(values: Mapping[str, Any]) -> str:
    return str({name: str(value) for name, value in values.items() if value is not None})
