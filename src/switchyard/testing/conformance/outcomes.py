"""What a list sink made of its changes: receipts, and what they say together."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from switchyard.api import ListChanges, ListReceipt, ListRef, ListSink, Page, Rejection
from switchyard.api.connectors import Pollable
from switchyard.api.errors import SwitchyardError
from switchyard.testing.bench import records_of

_POLLS = 100


@dataclass(frozen=True)
class Outcome:
    """What receipts say together, whatever their order. `deferred`: whether the vendor gives some later."""

    upserted: Mapping[str, str]
    added: frozenset[str]
    removed: frozenset[str]
    rejected: Mapping[str, Rejection]
    deferred: bool

    @classmethod
    def of(cls, receipts: Iterable[ListReceipt]) -> Outcome:
        """Join receipts."""
        receipts = list(receipts)
        return cls(
            upserted={key: remote_id for receipt in receipts for key, remote_id in receipt.upserted.items()},
            added=frozenset(key for receipt in receipts for key in receipt.added),
            removed=frozenset(key for receipt in receipts for key in receipt.removed),
            rejected={key: why for receipt in receipts for key, why in receipt.rejected.items()},
            deferred=any(receipt.ticket for receipt in receipts),
        )

    @property
    def joined(self) -> frozenset[str]:
        """The keys of those who were written and put on the list."""
        return self.added & self.upserted.keys()

    @property
    def members(self) -> set[str]:
        """The vendor's ids of those who joined."""
        return {self.upserted[key] for key in self.joined}


def applied(sink: ListSink, ref: ListRef, changes: ListChanges) -> list[ListReceipt]:
    """All receipts, with those that the vendor gives later."""
    receipts, error = until_error(sink, ref, changes)
    if error is not None:
        raise error
    return receipts


def until_error(sink: ListSink, ref: ListRef, changes: ListChanges) -> tuple[list[ListReceipt], SwitchyardError | None]:
    """The receipts that came, and the error that ended them."""
    receipts: list[ListReceipt] = []
    try:
        for receipt in _receipts(sink, ref, changes):
            receipts.append(receipt)  # # what came before an error must not be lost with it
    except SwitchyardError as error:
        return receipts, error
    return receipts, None


def read_back(sink: ListSink, ref: ListRef) -> list[str]:
    """Whom a read-back finds."""
    return remote_ids_of(sink.members(ref, None))


def remote_ids_of(pages: Iterable[Page]) -> list[str]:
    """Whom the pages of a read-back name."""
    return [record["remote_id"] for record in records_of(pages)]


def assert_verdicts(changes: ListChanges, receipts: Sequence[ListReceipt]) -> None:
    """Every key of every part has one verdict."""
    rejected = Counter(key for receipt in receipts for key in receipt.rejected)
    parts = {
        "upsert": (changes.upsert, Counter(key for receipt in receipts for key in receipt.upserted)),
        "add": (changes.add, Counter(key for receipt in receipts for key in receipt.added)),
        "remove": (changes.remove, Counter(key for receipt in receipts for key in receipt.removed)),
    }
    known = {member.key for members, _ in parts.values() for member in members}
    assert rejected.keys() <= known, "a receipt rejects keys that were not in the changes"
    for part, (members, confirmed) in parts.items():
        keys = {member.key for member in members}
        assert confirmed.keys() <= keys, f"{part}: a receipt confirms keys that were not in the changes"
        silent = keys - confirmed.keys() - rejected.keys()
        assert not silent, f"{part}: {len(silent)} keys are neither confirmed nor rejected"
        doubled = [key for key in keys if confirmed[key] > 1 or rejected[key] > 1]
        assert not doubled, f"{part}: {len(doubled)} keys have more than one verdict"
    for part in ("add", "remove"):
        both = parts[part][1].keys() & rejected.keys()
        assert not both, f"{part}: {len(both)} keys are both confirmed and rejected"


def _receipts(sink: ListSink, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
    tickets = []
    for receipt in sink.apply(ref, changes):
        yield receipt
        tickets.append(receipt.ticket)
    yield from until_settled(sink, ref, tickets)


def until_settled(sink: ListSink, ref: ListRef, tickets: Iterable[str | None]) -> Iterator[ListReceipt]:
    """What the vendor gives later, for these tickets and those that follow them."""
    for first in filter(None, tickets):
        assert isinstance(sink, Pollable), "a receipt carries a ticket, and the sink has no `poll`"
        ticket: str | None = first
        asked = 0
        while ticket is not None:
            assert asked < _POLLS, f"a ticket was polled {_POLLS} times and is still not settled"
            asked, last = asked + 1, None
            for last in sink.poll(ref, ticket):
                yield last
            ticket = last.ticket if last else None
