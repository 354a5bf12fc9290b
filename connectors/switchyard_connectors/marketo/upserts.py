"""Creating leads and bringing them up to date: 300 to a call, every row with a verdict of its own."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from switchyard.api import ListReceipt, Rejection
from switchyard.api.http import UnknownOutcome, concurrently
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import Marketo
from switchyard_connectors.marketo.rows import Row, calls_of

WRITTEN = frozenset({"created", "updated"})


class Busy:
    """Who is being written at this moment, in all lists of one instance.

    Two calls at once with one new person make two leads (help/leads), so the second waits for the first.
    """

    def __init__(self) -> None:
        self._people: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def writing(self, people: Collection[str]) -> Iterator[None]:
        """Wait until nobody else writes any of these, and keep others from it."""
        with self._changed:
            self._changed.wait_for(lambda: self._people.isdisjoint(people))
            self._people.update(people)
        try:
            yield
        finally:
            with self._changed:
                self._people.difference_update(people)
                self._changed.notify_all()


BUSY: defaultdict[str, Busy] = defaultdict(Busy)
"""By account: several deliveries of one process write to one instance."""


def upsert(
    marketo: Marketo, busy: Busy, how: Mapping[str, str], rows: Sequence[Row], concurrency: int
) -> Iterator[ListReceipt]:
    """Write the rows; a receipt after each call. Every row ends in exactly one of them.

    Args:
        how: what stands in each call beside the rows: `lookupField`, `partitionName`.

    Raises:
        UnknownOutcome: a call was sent and its answer lost. It is not repeated: Marketo may still be at work on it, and
            then the same rows again would make second leads.
    """

    def send(part: Sequence[Row]) -> ListReceipt:
        inputs: list[JSON] = [dict(row.fields) for row in part]
        body: JSON = {"action": "createOrUpdate", "input": inputs, **how}
        with busy.writing([row.identity for row in part]):
            answer = marketo.call("POST", "/rest/v1/leads.json", json=body)
        return _receipt(part, answer.result)

    calls = (partial(send, part) for part in calls_of(rows))
    with closing(concurrently(calls, concurrency)) as receipts:
        yield from receipts


def _receipt(rows: Sequence[Row], results: Sequence[Mapping[str, Any]]) -> ListReceipt:
    """Results stand in the order of the rows; a skipped one has no id, so nothing else tells whose it is."""
    if len(results) != len(rows):
        raise UnknownOutcome(f"Marketo answered {len(rows)} leads with {len(results)} results")
    upserted: dict[str, str] = {}
    rejected: dict[str, Rejection] = {}
    for row, result in zip(rows, results, strict=True):
        if result.get("status") in WRITTEN and result.get("id") is not None:
            upserted[row.key] = str(result["id"])
        else:
            rejected[row.key] = rejection(result)
    return ListReceipt(upserted=upserted, rejected=rejected)


def rejection(result: Mapping[str, Any]) -> Rejection:
    """Why a row was skipped: all codes of rows are for good (help/error-codes)."""
    code, message = reason_of(result)
    return Rejection(code, message or f"Marketo skipped the lead ({result.get('status')})")


def reason_of(result: Mapping[str, Any]) -> tuple[str, str]:
    """The first reason of a skipped row: its code and its words."""
    reasons = result.get("reasons")
    first = reasons[0] if isinstance(reasons, list) and reasons and isinstance(reasons[0], dict) else {}
    return str(first.get("code") or "unknown"), str(first.get("message") or "")
