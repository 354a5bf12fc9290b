"""Bringing contact records up to date: 100 to a call, every row with a verdict of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

import httpx

from switchyard.api import ListReceipt, Member, Rejection
from switchyard.api.http import concurrently, json_of
from switchyard.api.records import JSON
from switchyard_connectors.hubspot.refusals import body_of, context_of, rejection

BATCH = 100
"""Inputs of one batch call (vendor documentation, crm/objects/contacts)."""

Post: TypeAlias = "Callable[[str, JSON], httpx.Response]"
"""Posts a body to an operation of the contacts API, such as "batch/upsert"."""


@dataclass(frozen=True, slots=True)
class Row:
    """A member as it is sent: `key` is the hub's, `value` that of the property by which HubSpot knows the person."""

    key: str
    value: str
    properties: Mapping[str, str]


def rows_of(members: Iterable[Member], key_field: str) -> tuple[list[Row], dict[str, Rejection]]:
    """The rows to send, and those refused before any call.

    Two rows for one person in a call make HubSpot refuse the whole call, so of those with the same key the later stays.
    """
    rows: dict[str, Row] = {}
    rejected: dict[str, Rejection] = {}
    for member in members:
        value = _text(member.fields.get(key_field)).strip()
        if key_field == "email":
            value = value.lower()
        if not value:
            rejected[member.key] = Rejection("missing_key", f"the member has no {key_field}")
            continue
        if earlier := rows.pop(value.lower(), None):
            rejected[earlier.key] = Rejection("duplicate_key", f"another member has the same {key_field}")
        # By e-mail, the address is left out: where it is an additional one of the contact, it must not become the
        # main one. Any other key is sent, so that the answer has it.
        properties = {
            name: _text(given) for name, given in member.fields.items() if name != key_field or key_field != "email"
        }
        rows[value.lower()] = Row(member.key, value, properties)
    return list(rows.values()), rejected


def zoned(rows: list[Row], instants: Collection[str]) -> list[Row]:
    """The rows, with a zone in the values of these properties: the hub's instants are in UTC and do not say so."""
    if not instants:
        return rows
    return [
        replace(
            row,
            properties={name: _in_utc(value) if name in instants else value for name, value in row.properties.items()},
        )
        for row in rows
    ]


_Asked: TypeAlias = "tuple[Sequence[Row], bool, Any]"
"""The rows of a call, whether it succeeded, and the body of its answer. Read where the call was made: an answer that is
none is the fault of that call alone.
"""


class Upserts:
    """Creates or updates the records of rows.

    Args:
        key_field: the property by which HubSpot knows a person.
        post: how to call.
        spare: calls beyond the fewest that may be spent on finding the bad rows of calls refused as a whole.
        concurrency: calls under way at once.
    """

    def __init__(self, key_field: str, post: Post, spare: int = 64, concurrency: int = 1) -> None:
        self._key_field = key_field
        self._post = post
        self._spare = spare
        self._concurrency = concurrency
        self._again: list[Sequence[Row]] = []
        self._unnamed: list[tuple[Sequence[Row], Sequence[str]]] = []

    def run(self, rows: Sequence[Row]) -> Iterator[ListReceipt]:
        """Send the rows; a receipt after each call. Every row ends in exactly one of them."""
        parts: list[Sequence[Row]] = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        while parts:
            with closing(concurrently((partial(self._sent, part) for part in parts), self._concurrency)) as answers:
                for part, good, body in answers:
                    yield self._verdicts(part, body) if good else self._refused(part, body)
            yield from self._by_additional_address()
            parts, self._again = self._again, []

    def _sent(self, rows: Sequence[Row]) -> _Asked:
        # With a trace id on every input HubSpot writes the good ones and names the bad ones; without, one bad input
        # refuses them all.
        inputs: list[JSON] = [
            {
                "id": row.value,
                "idProperty": self._key_field,
                "properties": dict(row.properties),
                "objectWriteTraceId": str(index),
            }
            for index, row in enumerate(rows)
        ]
        answer = self._post("batch/upsert", {"inputs": inputs})
        return rows, answer.is_success, json_of(answer) if answer.is_success else body_of(answer)

    def _refused(self, rows: Sequence[Row], body: Mapping[str, Any]) -> ListReceipt:
        """The whole call was refused and nothing was written: leave out whom the refusal names, else try halves."""
        bad = _named(rows, [body, *_dicts(body.get("errors"))])
        if len(rows) == 1 or _concerns_all(rows, body):
            bad = dict.fromkeys(range(len(rows)), rejection(body))
        elif self._spare <= 0:
            bad = dict.fromkeys(range(len(rows)), replace(rejection(body), retryable=True))
        if bad:
            parts = [[row for index, row in enumerate(rows) if index not in bad]]
        else:
            half = len(rows) // 2
            parts = [list(rows[:half]), list(rows[half:])]
        for part in filter(None, parts):
            self._spare -= 1
            self._again.append(part)
        return ListReceipt(rejected={rows[index].key: why for index, why in bad.items()})

    def _verdicts(self, rows: Sequence[Row], body: Any) -> ListReceipt:
        """Match an answer to its rows. Results come in no order; a record merged away is in none of the parts."""
        results = _dicts(body.get("results") if isinstance(body, dict) else None)
        errors = _dicts(body.get("errors") if isinstance(body, dict) else None)
        bad = _named(rows, errors)
        rejected = {rows[index].key: why for index, why in bad.items()}
        good = [row for index, row in enumerate(rows) if index not in bad]
        by_trace = {str(index): row for index, row in enumerate(rows) if index not in bad}
        by_value = {row.value.lower(): row for row in good}
        upserted: dict[str, str] = {}
        ids = [str(result["id"]) for result in results if result.get("id")]
        for result in results:
            record_id = str(result.get("id") or "")
            answered = _text(_properties(result).get(self._key_field)).strip().lower()
            trace = str(result.get("objectWriteTraceId") or "")
            # The id that a row was known by says nothing: it may be the answer to somebody who has become that record.
            row = by_trace.get(trace) or by_value.get(answered)
            if row is not None and record_id:
                upserted[row.key] = record_id
        silent = [row for row in good if row.key not in upserted]
        if silent and ids and self._key_field == "email":
            self._unnamed.append((silent, ids))
        else:
            rejected |= _unanswered(silent)
        return ListReceipt(upserted=upserted, rejected=rejected)

    def _by_additional_address(self) -> Iterator[ListReceipt]:
        """Rows whose address is not the main one of their contact: the answer names the main one only."""
        unnamed, self._unnamed = self._unnamed, []
        calls = (partial(self._read, rows, ids) for rows, ids in unnamed)
        with closing(concurrently(calls, self._concurrency)) as answers:
            for rows, _, body in answers:
                owner = {
                    address.strip().lower(): str(result["id"])
                    for result in _dicts(body.get("results") if isinstance(body, dict) else None)
                    if result.get("id")
                    for address in _text(_properties(result).get("hs_additional_emails")).split(";")
                }
                found = {row.key: owner[row.value] for row in rows if row.value in owner}
                yield ListReceipt(upserted=found, rejected=_unanswered(row for row in rows if row.key not in found))

    def _read(self, rows: Sequence[Row], ids: Sequence[str]) -> _Asked:
        inputs: list[JSON] = [{"id": record_id} for record_id in dict.fromkeys(ids)]
        answer = self._post("batch/read", {"properties": ["hs_additional_emails"], "inputs": inputs})
        return rows, answer.is_success, json_of(answer)


def _unanswered(rows: Iterable[Row]) -> dict[str, Rejection]:
    reason = "HubSpot's answer does not mention the record; it may have been merged into another"
    return {row.key: Rejection("no_answer", reason, retryable=True) for row in rows}


def _named(rows: Sequence[Row], errors: Iterable[Mapping[str, Any]]) -> dict[int, Rejection]:
    """The rows that errors name, by trace id or by the value they were sent with."""
    by_value = {row.value.lower(): index for index, row in enumerate(rows)}
    named: dict[int, Rejection] = {}
    for error in errors:
        context = context_of(error)
        traces = [int(trace) for trace in _strings(context.get("objectWriteTraceId")) if trace.isdecimal()]
        values = [by_value.get(value.strip().lower()) for value in _strings(context.get("ids"))]
        for index in [*traces, *(each for each in values if each is not None)]:
            if index < len(rows):
                named[index] = rejection(error)
    return named


def _concerns_all(rows: Sequence[Row], body: Mapping[str, Any]) -> bool:
    """Whether the refusal is about a property that does not exist and every row has it: trying halves is in vain."""
    unknown = {
        name
        for error in _dicts(body.get("errors"))
        if error.get("code") == "PROPERTY_DOESNT_EXIST"
        for name in _strings(context_of(error).get("propertyName"))
    }
    return bool(unknown) and all(unknown & row.properties.keys() for row in rows)


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _properties(result: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = result.get("properties")
    return properties if isinstance(properties, dict) else {}


def _in_utc(value: str) -> str:
    """An ISO 8601 instant without a zone as one in UTC; anything else, such as epoch milliseconds, as it is."""
    if value.isdecimal():
        return value
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value
    return value if at.tzinfo is not None else f"{at.isoformat(timespec='milliseconds')}Z"


def _text(value: Any) -> str:
    """A value as HubSpot takes it: text; "" clears; several choices are joined by ";"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ";".join(_text(each) for each in value)
    return str(value)
