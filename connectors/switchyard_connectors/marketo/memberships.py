"""Putting leads on a static list and taking them off: 300 to a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

from switchyard.api import ListReceipt, Rejection
from switchyard.api.errors import ListGone
from switchyard.api.http import concurrently
from switchyard.api.records import JSON
from switchyard_connectors.marketo.client import BATCH, Marketo
from switchyard_connectors.marketo.envelope import NO_SUCH
from switchyard_connectors.marketo.upserts import reason_of

_NO_LEAD, _NOT_ON_LIST = "1004", "1015"
_DONE = ("added", "removed")
_MISSING = "Marketo has no such lead any more; it was deleted or merged into another"


def change(
    marketo: Marketo, list_id: str, adds: Mapping[str, str], removes: Mapping[str, str], concurrency: int
) -> Iterator[ListReceipt]:
    """Put on and take off; a receipt after each call.

    Args:
        adds, removes: the hub's key → the lead's id. Several keys may mean one lead.

    Raises:
        ListGone: the list was deleted.
    """
    adding, removing = _by_id(adds), _by_id(removes)
    # Somebody else who has become the same lead wants it on the list, so it stays.
    settled = frozenset(key for lead in removing.keys() & adding.keys() for key in removing.pop(lead))
    if settled:
        yield ListReceipt(removed=settled)
    add, remove = list(adding), list(removing)

    def put(leads: Sequence[str]) -> ListReceipt:
        body: JSON = {"input": [{"id": int(lead)} for lead in leads]}
        answer = marketo.call("POST", _path(list_id), json=body, repeatable=True, expected=(NO_SUCH,))
        refused = _refused(list_id, answer.code, leads, answer.result)
        return ListReceipt(
            added=frozenset(key for lead in leads if lead not in refused for key in adding[lead]),
            rejected={key: why for lead, why in refused.items() for key in adding[lead]},
        )

    def take(leads: Sequence[str]) -> ListReceipt:
        answer = marketo.call("DELETE", _path(list_id), params={"id": list(leads)}, expected=(NO_SUCH,))
        refused = _refused(list_id, answer.code, leads, answer.result)
        # Whoever was not on the list, or is no lead any more, is off it.
        bad = {lead: why for lead, why in refused.items() if why.code not in (_NOT_ON_LIST, _NO_LEAD)}
        return ListReceipt(
            removed=frozenset(key for lead in leads if lead not in bad for key in removing[lead]),
            rejected={key: why for lead, why in bad.items() for key in removing[lead]},
        )

    calls = [partial(put, add[start : start + BATCH]) for start in range(0, len(add), BATCH)]
    calls += [partial(take, remove[start : start + BATCH]) for start in range(0, len(remove), BATCH)]
    with closing(concurrently(iter(calls), concurrency)) as receipts:
        yield from receipts


def gone(list_id: str) -> ListGone:
    """The error of a list that is known and not there."""
    return ListGone(f"static list {list_id} was deleted in Marketo; deliver with --recreate-list to make a new one")


def _refused(
    list_id: str, code: str | None, leads: Sequence[str], results: Sequence[Mapping[str, object]]
) -> dict[str, Rejection]:
    """The leads that were skipped, or that the answer does not speak of. One that was skipped may come without its id,
    and results stand in the order of the leads.
    """
    if code is not None:
        raise gone(list_id)
    in_order = len(results) == len(leads)
    said = dict(zip(leads, results, strict=True)) if in_order else {str(each.get("id")): each for each in results}
    refused = {}
    for lead in leads:
        result = said.get(lead, {})
        if result.get("status") in _DONE and str(result.get("id", lead)) == lead:
            continue
        if result.get("status") != "skipped":
            refused[lead] = Rejection("no_answer", "Marketo said nothing of the lead", retryable=True)
            continue
        why, words = reason_of(result)
        # A lead may have been merged meanwhile: the next delivery knows its new id.
        is_gone = why == _NO_LEAD
        refused[lead] = Rejection(why, _MISSING if is_gone else words or "Marketo skipped the lead", is_gone)
    return refused


def _by_id(leads: Mapping[str, str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for key, lead in leads.items():
        keys.setdefault(lead, []).append(key)
    return keys


def _path(list_id: str) -> str:
    return f"/rest/v1/lists/{list_id}/leads.json"
