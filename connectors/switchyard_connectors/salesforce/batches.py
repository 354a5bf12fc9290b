"""Rows through sObject collections: 200 to a collection, five collections to a metered call, a verdict for each row."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from switchyard.api import Rejection
from switchyard.api.http import concurrently
from switchyard_connectors.salesforce.org import IN_ONE_CALL, Org, Part
from switchyard_connectors.salesforce.refusals import LOCKED, PASSING, first_error, rejection

IN_COLLECTION = 200
"""Records of one collection (vendor documentation, sObject Collections)."""
ROWS = IN_COLLECTION * IN_ONE_CALL
"""Rows that one metered call carries."""
_LONGEST_PAUSE = 32.0

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Row]):
    """What became of a row: the record's id, or why it was refused."""

    row: Row
    id: str | None
    why: Rejection | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How locked rows are tried again: so often, after waits that double, by `pause`."""

    retries: int
    first: float
    pause: Callable[[float], None]

    def wait(self, times: int) -> None:
        """Before the try after so many. At random, so that two who met do not meet again."""
        longest = min(self.first * 2**times, _LONGEST_PAUSE)
        self.pause(longest * random.uniform(0.5, 1.0))  # noqa: S311  # guards nothing


@dataclass(frozen=True, slots=True)
class Operation(Generic[Row]):
    """One kind of collection call.

    Args:
        request: rows → the composite part.
        repeatable: whether sending it twice does no harm.
        lanes: calls under way at once.
    """

    org: Org
    request: Callable[[Sequence[Row]], Mapping[str, Any]]
    repeatable: bool
    lanes: int = 1


def carried(operation: Operation[Row], rows: Sequence[Row], patience: Patience) -> Iterator[Sequence[Verdict[Row]]]:
    """Send rows; the verdicts of each call as it is answered. Rows that others hold locked are sent again, alone."""
    for times in range(patience.retries + 1):
        locked: list[Row] = []
        with closing(_sent(operation, rows)) as answers:
            for verdicts in answers:
                if times < patience.retries:
                    again = [each for each in verdicts if each.why is not None and each.why.code in LOCKED]
                    locked += [each.row for each in again]
                    verdicts = [each for each in verdicts if each.why is None or each.why.code not in LOCKED]
                if verdicts:
                    yield verdicts
        if not locked:
            return
        patience.wait(times)
        rows = locked


def _sent(operation: Operation[Row], rows: Sequence[Row]) -> Generator[list[Verdict[Row]], None, None]:
    calls = (partial(_call, operation, rows[start : start + ROWS]) for start in range(0, len(rows), ROWS))
    return concurrently(calls, operation.lanes)


def _call(operation: Operation[Row], rows: Sequence[Row]) -> list[Verdict[Row]]:
    parts = [rows[start : start + IN_COLLECTION] for start in range(0, len(rows), IN_COLLECTION)]
    requests = [operation.request(part) for part in parts]
    answers = operation.org.together(requests, repeatable=operation.repeatable)
    return [verdict for part, answer in zip(parts, answers, strict=True) for verdict in _verdicts(part, answer)]


def _verdicts(rows: Sequence[Row], part: Part) -> Iterator[Verdict[Row]]:
    """Results stand in the order of the rows. A failed one may carry an id all the same: only `success` counts."""
    results = part.body if isinstance(part.body, list) else []
    if not 200 <= part.status < 300 or len(results) != len(rows):
        code, message = first_error(part.body)
        passing = part.status >= 500 or code in PASSING or 200 <= part.status < 300
        why = Rejection(code or f"HTTP_{part.status}", message or "the collection was refused as a whole", passing)
        yield from (Verdict(row, None, why) for row in rows)
        return
    for row, result in zip(rows, results, strict=True):
        if result.get("success") is True:
            yield Verdict(row, str(result.get("id") or ""), None)
        else:
            yield Verdict(row, None, rejection(result))
