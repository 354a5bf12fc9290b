"""What happens to a hub, from a seed: messages in pages, ticks at odd instants, edits, losses and restarts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from tests.segments.worlds import EVENT, LENGTHS, MICROSECOND, SCHEMA, ZONES, World

from switchyard.api.transforms import Definition
from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.printer import text

from .history import Message

Rule: TypeAlias = tuple[ast.Condition, bool, str]
LOST = "working database lost"
Mishap: TypeAlias = Literal["working database lost", "restarted", "flushed"]

STARTS = (datetime(2026, 3, 4), datetime(2026, 10, 18))
"""Clocks change in New York on 8 March and 1 November 2026, in Paris on 29 March and 25 October."""
CHANGES = (
    datetime(2026, 3, 8, 7),
    datetime(2026, 3, 29, 1),
    datetime(2026, 10, 25, 1),
    datetime(2026, 11, 1, 6),
)
MIDNIGHTS = tuple(timedelta(hours=hour) for hour in (0, 4, 5, 22, 23))
"""UTC hours at which days begin in the zones, summer and winter."""


@dataclass(frozen=True)
class Step:
    """Pages arrive, then the hub evaluates at an instant; before that it may suffer a mishap."""

    at: datetime
    pages: Sequence[Sequence[Message]] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)
    mishap: Mishap | None = None

    @property
    def definitions(self) -> list[Definition]:
        return [Definition(name, body(rule)) for name, rule in self.rules.items()]


def body(rule: Rule) -> dict[str, Any]:
    """The rule as in its file."""
    condition, nulls_match, zone = rule
    nulls = "match" if nulls_match else "no match"
    return {"where": text(condition), "nulls": nulls, "timezone": zone, "everybody": True}


class Story:
    """Steps of one world.

    Args:
        people: subjects there will be, about.
        rules: definitions on events and attributes; half as many again read those and each other.
        calm: what arrives after the first step is on time, and events of people who stand alone: no attribute
            changes, no merges, no edits, no mishaps.
    """

    def __init__(self, seed: int, people: int, rules: int, *, calm: bool = False) -> None:
        start = STARTS[seed % len(STARTS)]
        self._world = World(seed, start)
        self._random = self._world.random
        self._start = start
        self._calm = calm
        self._subjects = [f"s{number:04}" for number in range(people)]
        self._newcomers: list[str] = []
        self._cards = [f"C{number}" for number in range(people // 3)]
        self._messages: list[Message] = []
        self._rules: dict[str, Rule] = {f"a{number:02}": self._rule((), number % 4) for number in range(rules)}
        for number in range(rules // 2):
            self._rules[f"b{number:02}"] = self._rule(tuple(self._rules), 3)

    def steps(self, count: int) -> Iterator[Step]:
        at = self._start + timedelta(days=5, seconds=self._random.randrange(86_400))
        yield Step(at, self._beginning(at), dict(self._rules))
        for _ in range(count - 1):
            before, at = at, self._next(at)
            mishap = None
            if not self._calm:
                mishap = self._random.choice(("working database lost", "restarted", "flushed", None, None, None, None))
                self._edit()
            yield Step(at, self._pages(before, at), dict(self._rules), mishap)

    def _rule(self, read: tuple[str, ...], depth: int) -> Rule:
        condition = self._world.condition(depth, read)
        if self._random.random() < 0.2:
            condition = ast.negate(condition)
        return condition, self._random.random() < 0.3, self._random.choice(ZONES)

    def _edit(self) -> None:
        """Now and then another rule under a known name, a name less, a name more."""
        draw = self._random.random()
        names = sorted(self._rules)
        if draw < 0.15:
            name = self._random.choice(names)
            self._rules[name] = self._rule(tuple(each for each in names if each < name and name[0] == "b"), 2)
        elif draw < 0.2:
            free = set(names) - {read for condition, *_ in self._rules.values() for read in segments(condition)}
            del self._rules[self._random.choice(sorted(free))]
        elif draw < 0.25:
            self._rules[f"c{len(self._messages):05}"] = self._rule(tuple(names), 2)

    def _next(self, at: datetime) -> datetime:
        """Seconds to days later, on something's edge if it can be."""
        shape = self._random.random()
        if shape < 0.15:
            return at + timedelta(microseconds=self._random.choice((1, 1_000_000, 20_000_000)))
        if shape < 0.35:
            return at + timedelta(minutes=self._random.randrange(1, 600))
        if shape < 0.5:
            return at + timedelta(hours=self._random.randrange(12, 110))
        if shape < 0.65:
            edges = [*CHANGES, *(change.replace(hour=0) + midnight for change in CHANGES for midnight in MIDNIGHTS)]
        else:
            some = self._random.sample(self._messages, min(40, len(self._messages)))
            edges = [message.seen + timedelta(seconds=length) for message in some for length in (0, *LENGTHS)]
        near = [edge for edge in edges if at < edge < at + timedelta(days=4)]
        edge = self._random.choice(near or [at + timedelta(hours=7)])
        return max(edge + self._random.choice((-1, 0, 0, 1)) * MICROSECOND, at + MICROSECOND)

    def _beginning(self, at: datetime) -> list[list[Message]]:
        """Everybody but a few who are to come later, and what they did before."""
        self._newcomers = self._subjects[-len(self._subjects) // 10 :]
        known = self._known()
        first = [self._message(subject, self._long_ago(at), "first", self._any_card()) for subject in known]
        second = [self._message(self._random.choice(known), self._long_ago(at), "event") for _ in range(5 * len(known))]
        return [first, second]

    def _known(self) -> list[str]:
        return self._subjects[: -len(self._newcomers) or None]

    def _pages(self, before: datetime, at: datetime) -> list[list[Message]]:
        sizes = [self._random.choice((1, 3, len(self._subjects) // 4)) for _ in range(self._random.randrange(4))]
        known = self._known()
        return [[self._arriving(known, before, at) for _ in range(size)] for size in sizes]

    def _arriving(self, known: list[str], before: datetime, at: datetime) -> Message:
        shape = self._random.random()
        if self._newcomers and shape < 0.05:
            card = None if self._calm else self._any_card()
            return self._message(self._newcomers.pop(0), self._on_time(before, at), "first", card)
        subject = self._random.choice(known)
        if self._calm or shape < 0.5:
            return self._message(subject, self._on_time(before, at), "event")
        if shape < 0.65:
            return self._message(subject, self._long_ago(before), "event")
        if shape < 0.75:
            return self._message(subject, at + timedelta(hours=self._random.randrange(200)), "event")
        if shape < 0.8:
            return self._random.choice(self._messages)
        return self._message(subject, self._random.choice((at, before, self._long_ago(at))), "state", self._any_card())

    def _any_card(self) -> str | None:
        return self._random.choice(self._cards) if self._random.random() < 0.4 else None

    def _on_time(self, before: datetime, at: datetime) -> datetime:
        """After `before`, and not after `at`."""
        length = (at - before) // MICROSECOND
        return at - self._random.choice((0, length - 1, self._random.randrange(length))) * MICROSECOND

    def _long_ago(self, at: datetime) -> datetime:
        return at - timedelta(
            hours=self._random.choice((0, 1, 6, 24, 24, 48, 72, 168, 700)) * self._random.randrange(3)
        )

    def _message(
        self, subject: str, seen: datetime, what: Literal["first", "event", "state"], card: str | None = None
    ) -> Message:
        """The first that is heard of somebody, an event, or a few attributes."""
        kind = None if what == "state" else self._random.choice(list(SCHEMA.events))
        attributes = {} if what == "event" else self._world.values(SCHEMA.attributes)
        if what == "state":
            attributes = {name: value for name, value in attributes.items() if self._random.random() < 0.3}
        properties = self._world.values(EVENT) if kind else {}
        message = Message(f"m{len(self._messages)}", subject, seen, kind, properties, attributes, card)
        self._messages.append(message)
        return message


def segments(condition: ast.Condition) -> set[str]:
    """The segments that a rule reads itself."""
    return {node.segment for node, _ in ast.walk(condition) if isinstance(node, ast.InSegment)}


def with_read(rules: Mapping[str, Rule], name: str) -> set[str]:
    """A rule and all that it reads, however indirectly."""
    found = {name}
    for read in segments(rules[name][0]):
        found |= with_read(rules, read)
    return found
