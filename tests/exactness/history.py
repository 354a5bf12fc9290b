"""What sources said, and whom that makes: the reference's own reading of messages, without the pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
from tests.projects import joined
from tests.segments.naive import Event, Person
from tests.segments.scope import ARROW
from tests.segments.worlds import EVENT, SCHEMA

from switchyard.api import Stream

CONNECTION, STREAM = "shop", Stream(name="messages", key=("id",), mode="append")
CARD_LIMIT = 3
"""A card on more subjects than these joins nobody."""
MAPPING: Mapping[str, Any] = {
    "subject": "subject",
    "observed_at": "seen",
    "identifiers": {"email": "subject || '@x.org'", "loyalty_card": "card"},
    "attributes": {name: f"said_{name}" for name in SCHEMA.attributes},
    "events": {
        name: {"when": f"type = '{name}'", "properties": {each: f"with_{each}" for each in EVENT}}
        for name in SCHEMA.events
    },
}


@dataclass(frozen=True)
class Message:
    """One record of the stream: an event or none, attributes or none, a card or none."""

    id: str
    subject: str
    seen: datetime
    type: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    card: str | None = None


def page(messages: Sequence[Message]) -> pa.Table:
    """The records as a source would give them."""
    columns = {name: pa.array([getattr(each, name) for each in messages], pa.string()) for name in _TEXTS}
    columns["seen"] = pa.array([each.seen for each in messages], pa.timestamp("us"))
    for name, kind in SCHEMA.attributes.items():
        columns[f"said_{name}"] = pa.array([each.attributes.get(name) for each in messages], ARROW[kind])
    for name, kind in EVENT.items():
        columns[f"with_{name}"] = pa.array([each.properties.get(name) for each in messages], ARROW[kind])
    return pa.table(columns)


_TEXTS = ("id", "subject", "type", "card")


@dataclass
class _Subject:
    number: int
    events: list[Event] = field(default_factory=list)
    said: dict[str, tuple[tuple[datetime, int], Any]] = field(default_factory=dict)


class History:
    """All messages so far."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._subjects: dict[str, _Subject] = {}
        self._cards: dict[str, set[int]] = {}

    def take(self, messages: Sequence[Message]) -> None:
        """One page. Numbers of new subjects follow their keys; a message that came before is nothing new."""
        new = []
        for each in messages:
            if each.id not in self._ids:
                self._ids[each.id] = len(self._ids)
                new.append(each)
        for key in sorted({each.subject for each in new} - self._subjects.keys()):
            self._subjects[key] = _Subject(len(self._subjects))
        for each in new:
            self._message(each, self._subjects[each.subject])

    def _message(self, message: Message, subject: _Subject) -> None:
        if message.type:
            named = "\x1f".join((CONNECTION, STREAM.name, message.id))
            properties = {name: message.properties.get(name) for name in EVENT}
            identity = hashlib.md5(named.encode()).digest()
            subject.events.append(Event(message.type, message.seen, identity, properties))
        for name, value in message.attributes.items():
            # Of what was said at one instant the later line counts.
            newest = (message.seen, self._ids[message.id])
            if value is not None and (name not in subject.said or subject.said[name][0] < newest):
                subject.said[name] = (newest, value)
        if message.card:
            self._cards.setdefault(message.card, set()).add(subject.number)

    def people(self, at: datetime) -> dict[str, Person]:
        """Everybody, by the key of the subject that came first."""
        keys = list(self._subjects)
        links = [sorted(held) for held in self._cards.values() if len(held) <= CARD_LIMIT]
        links += [[subject.number] for subject in self._subjects.values()]
        groups: dict[int, list[int]] = {}
        for number, leader in joined(range(len(keys)), links).items():
            groups.setdefault(leader or 0, []).append(number)
        return {
            keys[leader]: self._person(leader, [keys[each] for each in group], at) for leader, group in groups.items()
        }

    def _person(self, leader: int, keys: Sequence[str], at: datetime) -> Person:
        subjects = [self._subjects[key] for key in keys]
        said = {
            name: max(
                ((each.said[name][0][0], each.number, each.said[name][1]) for each in subjects if name in each.said),
                key=lambda one: one[:2],
                default=(None, None, None),
            )[2]
            for name in SCHEMA.attributes
        }
        events = sorted((event for each in subjects for event in each.events), key=lambda event: (event.at, event.id))
        return Person(leader, at, said, events, keys)
