"""Putting records on a list and taking them off: both in the same calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, TypeAlias

from switchyard.api import ListReceipt, Rejection
from switchyard.api.http import concurrently
from switchyard.api.records import JSON

Put: TypeAlias = "Callable[[JSON], Mapping[str, Any]]"
"""Sends the body of one add-and-remove call and gives the answer's."""


def change(
    adds: Mapping[str, str], removes: Mapping[str, str], batch: int, put: Put, concurrency: int = 1
) -> Iterator[ListReceipt]:
    """Put on and take off; a receipt after each call.

    Args:
        adds, removes: the hub's key → HubSpot's record id. Several keys may mean one record.
        batch: ids that one call carries, added and removed together.
        concurrency: calls under way at once.
    """
    adding, removing = _by_id(adds), _by_id(removes)
    # Somebody else who has become the same record wants it on the list, so it stays.
    settled = frozenset(key for record_id in removing.keys() & adding.keys() for key in removing.pop(record_id))
    if settled:
        yield ListReceipt(removed=settled)
    work = [(record_id, True) for record_id in adding] + [(record_id, False) for record_id in removing]

    def carry(part: Sequence[tuple[str, bool]]) -> ListReceipt:
        add: list[JSON] = [record_id for record_id, added in part if added]
        remove: list[JSON] = [record_id for record_id, added in part if not added]
        answer = put({"recordIdsToAdd": add, "recordIdsToRemove": remove})
        return _receipt(add, remove, answer, adding, removing)

    calls = (partial(carry, work[start : start + batch]) for start in range(0, len(work), batch))
    with closing(concurrently(calls, concurrency)) as receipts:
        yield from receipts


def _receipt(
    add: Sequence[JSON],
    remove: Sequence[JSON],
    answer: Mapping[str, Any],
    adding: Mapping[str, Sequence[str]],
    removing: Mapping[str, Sequence[str]],
) -> ListReceipt:
    """Ids that were on the list already, or off it, are nowhere in the answer, so all but the missing are confirmed.

    A record that does not exist any more is on no list: its removal is confirmed, too. The answer spells the added
    ids `recordsIdsAdded` in the specification and `recordIdsAdded` on a page, and may leave out what is empty.
    """
    said = {str(each) for name in ("recordsIdsAdded", "recordIdsAdded") for each in answer.get(name) or ()}
    missing = {str(each) for each in answer.get("recordIdsMissing") or ()} - said
    reason = "HubSpot has no such record any more; it was deleted or merged into another"
    return ListReceipt(
        added=frozenset(key for record_id in add if record_id not in missing for key in adding[str(record_id)]),
        removed=frozenset(key for record_id in remove for key in removing[str(record_id)]),
        rejected={
            key: Rejection("record_missing", reason, retryable=True)
            for record_id in add
            if record_id in missing
            for key in adding[str(record_id)]
        },
    )


def _by_id(records: Mapping[str, str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for key, record_id in records.items():
        keys.setdefault(record_id, []).append(key)
    return keys
