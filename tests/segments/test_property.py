"""The compiled rules against the naive reference, over random rules, people and instants."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from random import Random

import pytest

from switchyard.api.transforms import NEVER, Definition
from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.printer import text
from switchyard_plugins.segmentation.transform import Segmentation

from .naive import Person, Reference, critical_instants
from .scope import MemoryScope
from .worlds import MICROSECOND, SCHEMA, ZONES, World

SAMPLED = 6


def differences(seed: int, definitions: int, people: int) -> Iterator[str]:
    """Yields one line per membership whose truth is wrong, or whose truth changes before it was said to.

    `definitions` rules on events and attributes, and half as many again that also read those by `in segment`.
    """
    world = World(seed)
    crowd = [world.person(number) for number in range(people)]
    plain = [world.condition(depth=number % 4) for number in range(definitions)]
    names = tuple(f"s{number}" for number in range(definitions))
    rules = dict(zip(names, plain, strict=True))
    rules |= {f"t{number}": world.condition(segments=names) for number in range(definitions // 2)}
    reference = Reference(
        {name: (rule, world.random.random() < 0.3, world.random.choice(ZONES)) for name, rule in rules.items()}
    )
    answers = _compiled(reference, crowd, names)
    for name, rule in rules.items():
        read = [node.segment for node, _ in ast.walk(rule) if isinstance(node, ast.InSegment)]
        for person in crowd:
            instants = set().union(*(critical_instants(rules[one], person) for one in (name, *read)))
            for wrong in _wrong(reference, name, person, answers[name, person.id], sorted(instants), world.random):
                yield f"{text(rule)} {reference.rules[name][1:]} {wrong}: {person}"


def _compiled(
    reference: Reference, crowd: list[Person], first: tuple[str, ...]
) -> dict[tuple[str, int], tuple[bool, datetime]]:
    bodies = {
        name: {
            "where": text(rule),
            "nulls": "match" if nulls_match else "no match",
            "timezone": zone,
            "everybody": True,
        }
        for name, (rule, nulls_match, zone) in reference.rules.items()
    }
    program = Segmentation().compile([Definition(name, body) for name, body in bodies.items()], SCHEMA)
    scope = MemoryScope(crowd, SCHEMA)
    rows = program.evaluate(scope, first).to_pyarrow().to_pylist()
    scope.remember({**row, "segment": row["definition"]} for row in rows)
    rows += program.evaluate(scope, [name for name in bodies if name not in first]).to_pyarrow().to_pylist()
    assert len(rows) == len(bodies) * len(crowd)
    return {(row["definition"], row["profile_id"]): (row["value"], row["next_change"]) for row in rows}


def _wrong(
    reference: Reference,
    name: str,
    person: Person,
    answer: tuple[bool, datetime],
    instants: list[datetime],
    random: Random,
) -> Iterator[str]:
    value, next_change = answer
    if reference.member(name, person, person.at) != value:
        yield f"is not {value} at {person.at}"
    if not person.at < next_change <= NEVER:
        yield f"at {person.at} changes at {next_change}"
    for instant in _between(instants, person.at, next_change, random):
        if reference.member(name, person, instant) != value:
            yield f"at {person.at} is {value} until {next_change}, but not at {instant}"
            return


def _between(instants: list[datetime], start: datetime, end: datetime, random: Random) -> set[datetime]:
    """Some of the instants strictly between, a microsecond to their left or right too, the ends always."""
    inside = instants[bisect_right(instants, start) : bisect_left(instants, end)]
    some = set(inside[:2] + inside[-2:] + random.sample(inside, min(SAMPLED, len(inside))))
    beside = {instant + sign * MICROSECOND for instant in some for sign in (-1, 1)}
    return {instant for instant in some | beside | {end - MICROSECOND} if start < instant < end}


@pytest.mark.parametrize("seed", range(3))
def test_compiled_rules_agree_with_the_reference(seed: int) -> None:
    assert list(differences(seed, definitions=24, people=60)) == []
