"""Rows of leads to write: who stands for which member, and how many fit a call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from switchyard.api import Member, Rejection
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import BATCH

_BODY = 1_000_000 - 1_000
"""Bytes of the rows of a call: Marketo takes 1 MB (help/rest-api), and the rest of the body wants some."""


@dataclass(frozen=True, slots=True)
class Row:
    """A member as it is sent: `key` is the hub's, `value` that of the field by which Marketo knows the person."""

    key: str
    value: str
    fields: Mapping[str, JSON]

    @property
    def identity(self) -> str:
        """What Marketo takes for one person: it tells values by their letters and not by their case."""
        return self.value.lower()


def rows_of(members: Iterable[Member], key_field: str) -> tuple[list[Row], dict[str, Rejection]]:
    """The rows to send, and those refused before any call: of several for one person the last is sent."""
    rows: dict[str, Row] = {}
    rejected: dict[str, Rejection] = {}
    for member in members:
        value = str(member.fields.get(key_field) or "").strip()
        if key_field == "email":
            value = value.lower()
        if not value:
            rejected[member.key] = Rejection("missing_key", f"the member has no {key_field}")
            continue
        fields = {name: _value(given) for name, given in member.fields.items()} | {key_field: value}
        if len(_written(fields)) > _BODY:
            rejected[member.key] = Rejection("too_large", "the member's fields are more than a call to Marketo holds")
            continue
        row = Row(member.key, value, fields)
        if earlier := rows.pop(row.identity, None):
            rejected[earlier.key] = Rejection("duplicate_key", f"another member has the same {key_field}")
        rows[row.identity] = row
    return list(rows.values()), rejected


def calls_of(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in calls: 300 each, or fewer where they are large."""
    part: list[Row] = []
    size = 0
    for row in rows:
        length = len(_written(row.fields)) + 1
        if part and (len(part) == BATCH or size + length > _BODY):
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def _written(fields: Mapping[str, JSON]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _value(given: JSON) -> JSON:
    """A value as a field of a lead takes it: several choices are one text."""
    if isinstance(given, list):
        return ";".join(str(each) for each in given)
    return json.dumps(given) if isinstance(given, dict) else given
