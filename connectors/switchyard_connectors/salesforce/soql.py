"""Queries: values that cannot break out of their quotes, and conditions that lose no record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from switchyard.api.records import JSON

_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        "'": "\\'",
        '"': '\\"',
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\b": "\\b",
        "\f": "\\f",
    }
)
_LONGEST_IN = 80_000
"""Characters of one IN list: a query may have 100,000 in all (vendor documentation, SOQL limits)."""


def text(value: str) -> str:
    """A text literal."""
    return f"'{value.translate(_ESCAPES)}'"


def listed(values: Iterable[str]) -> str:
    """What stands behind IN."""
    return f"({','.join(map(text, values))})"


def chunks(values: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """The values in lists of at most `most`, none too long for a query."""
    start = 0
    while start < len(values):
        end, length = start, 0
        while end < len(values) and end - start < most and (length < _LONGEST_IN or end == start):
            length += len(text(values[end])) + 1
            end += 1
        yield values[start:end]
        start = end


def instant(at: str | datetime) -> str:
    """An instant as a literal: no quotes. Texts come from answers, so only what parses as an instant passes.

    Raises:
        ValueError: it is none.
    """
    when = at if isinstance(at, datetime) else moment(at)
    return f"{when:%Y-%m-%dT%H:%M:%S}" + (f".{when.microsecond // 1000:03}" if when.microsecond else "") + "Z"


def moment(written: JSON) -> datetime:
    """An instant of an answer, in any of Salesforce's spellings, UTC without a zone.

    Raises:
        ValueError: it is none.
    """
    when = datetime.fromisoformat(str(written))
    return when if when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None)


def select(fields: Sequence[str], name: str, conditions: Iterable[str] = (), order: Sequence[str] = ()) -> str:
    """A query; conditions that are empty are left out."""
    given = " AND ".join(each for each in conditions if each)
    ordered = ", ".join(f"{field} ASC" for field in order)
    # Names are checked by the configuration or come from describe; values are quoted where the conditions are made.
    query = f"SELECT {', '.join(fields)} FROM {name}"  # noqa: S608
    return query + (f" WHERE {given}" if given else "") + (f" ORDER BY {ordered}" if ordered else "")


def behind(field: str, at: str, record_id: str) -> str:
    """The condition of the records behind one, in the order of (field, Id).

    `>` alone would lose those that share the stamp, `>=` alone would turn in a circle where they fill a page: stamps
    are whole seconds, and a bulk change gives thousands the same.
    """
    stamp = instant(at)
    return f"(({field} = {stamp} AND Id > {text(record_id)}) OR {field} > {stamp})"
