"""One audience's exchange with its sink: in the outbox before it goes out, committed as soon as an answer comes."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sqlmodel import Session

from switchyard.activation import members, outbox
from switchyard.activation.allowance import Parts
from switchyard.activation.feed import Feed
from switchyard.activation.ledger import Ledger
from switchyard.activation.members import ACCEPTED, SENT, microseconds
from switchyard.api.connectors import ListSink, Pollable
from switchyard.api.errors import ListGone, PermanentError, TransientError
from switchyard.api.priorities import Priority, priority
from switchyard.api.records import Cursor
from switchyard.api.sinks import ListChanges, ListReceipt, ListRef
from switchyard.store.database import Database
from switchyard.store.tables import Outbox

Item = TypeVar("Item")

_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, *[30.0] * 9)
"""Seconds between two questions for verdicts: five minutes in all, then the next delivery goes on asking."""


@dataclass
class Exchange:
    """The exchange of one run.

    Args:
        unfinished: what earlier runs left in the outbox.
        upserted, added, removed: what the vendor confirmed so far.
        sent: rows that were handed to the sink for each of these three.
    """

    database: Database
    sink: ListSink
    ref: ListRef
    audience_id: int
    run_id: int
    ledger: Ledger
    unfinished: Sequence[Outbox]
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    upserted: int = 0
    added: int = 0
    removed: int = 0
    sent: tuple[int, int, int] = (0, 0, 0)
    read_at: datetime | None = None
    _settled_by_reading: bool = field(default=False)

    def finish_jobs(self) -> bool:
        """Wait for the verdicts of jobs that earlier runs left with the vendor.

        Returns whether something is still unknown, which only a read-back can tell.

        Raises:
            TransientError: the vendor is still at work.
        """
        for row in self.unfinished:
            if row.state == outbox.ACCEPTED:
                self._poll(row.id, list(row.tickets or ()))
        died = any(row.state == outbox.SENT for row in self.unfinished)
        self._settled_by_reading = died or self.ledger.count(SENT, ACCEPTED) > 0
        return self._settled_by_reading

    def apply(self, parts: Parts, digests: Mapping[int, str]) -> None:
        """Have changes carried out; each receipt is committed when it comes.

        Args:
            digests: profile → the digest of its fields.

        Raises:
            AuthError, TransientError, PermanentError: from the sink. What it confirmed before is kept; the outcome of
                the rest is unknown until a run reads the list back.
        """
        if not any(parts):
            return
        written, added = ([int(member.key) for member in part] for part in parts[:2])
        self.ledger.sending(written, added, digests)
        with self.database.write() as session:
            self._keep(session)
            id = outbox.begun(session, self.audience_id, self.run_id, parts, digests, self.unfinished)
            if isinstance(self.sink, Feed):
                self.sink.begin(session)
        # The same changes once more are a repair, and no repetition.
        self.unfinished = ()
        self.sent = tuple(old + new for old, new in zip(self.sent, parts.sizes, strict=True))  # type: ignore[assignment]
        tickets: list[str] = []
        changes = ListChanges(id, *parts)
        with priority(Priority.DELIVERY), _closing(self.sink.apply(self.ref, changes)) as receipts:
            for receipt in receipts:
                tickets += [receipt.ticket] if receipt.ticket else []
                self._take(receipt, id, tickets)
        if tickets:
            self.ledger.accept()
            self._poll(id, tickets)
        else:
            self._end(id)

    def read_back(self) -> set[str]:
        """Everybody on the list, by the vendor's ids; the ledger takes it in."""
        begun = self.clock()
        remote: set[str] = set()
        cursor: Cursor = None
        with priority(Priority.READ_BACK), _closing(self.sink.members(self.ref, cursor)) as pages:
            for page in pages:
                remote.update(str(record["remote_id"]) for record in page.records)
        self.ledger.observe(remote, microseconds(begun))
        with self.database.write() as session:
            self._keep(session)
            if self._settled_by_reading:
                outbox.settle(session, self.audience_id)
        self._settled_by_reading = False
        self.read_at = begun
        return remote

    def forget(self, profiles: Sequence[int]) -> None:
        """These people have no place on the list and want none."""
        self.ledger.forget(profiles)
        if profiles:
            with self.database.write() as session:
                self._keep(session)

    def _poll(self, id: str, tickets: list[str]) -> None:
        """Ask for the verdicts until all are in."""
        if not isinstance(self.sink, Pollable):
            raise PermanentError("the connector gave a ticket and cannot be asked for it: it has no `poll`")
        with self.database.write() as session:
            self._keep(session)
        for pause in _PAUSES:
            for ticket in list(tickets):
                self._ask(self.sink, id, ticket, tickets)
            if not tickets:
                break
            self.sleep(pause)
        else:
            raise TransientError(
                f"the vendor is still at work on {len(tickets)} jobs; the next delivery asks for their verdicts before "
                "it sends anything"
            )
        self.ledger.doubt()
        self._settled_by_reading |= self.ledger.count(SENT) > 0
        self._end(id)

    def _ask(self, sink: Pollable, id: str, ticket: str, tickets: list[str]) -> None:
        """Take in what is known of one ticket; `tickets` loses it when that is all."""
        place = tickets.index(ticket)
        following: str | None = None
        try:
            with priority(Priority.DELIVERY), _closing(sink.poll(self.ref, ticket)) as receipts:
                for receipt in receipts:
                    following = receipt.ticket
                    self._take(receipt, id, tickets)
        except ListGone:
            raise
        except PermanentError:
            # The vendor does not know the job any more: a read-back has to tell what it did.
            following = None
        tickets[place : place + 1] = [following] if following else []
        with self.database.write() as session:
            outbox.accepted(session, id, tickets)

    def _take(self, receipt: ListReceipt, id: str, tickets: Sequence[str]) -> None:
        self.upserted += len(receipt.upserted)
        self.added += len(receipt.added)
        self.removed += len(receipt.removed)
        self.ledger.confirm(receipt, microseconds(self.clock()))
        with self.database.write() as session:
            self._keep(session)
            if receipt.ticket:
                outbox.accepted(session, id, tickets)

    def _end(self, id: str) -> None:
        with self.database.write() as session:
            self._keep(session)
            if not self._settled_by_reading:
                outbox.ended(session, id, outbox.DONE)

    def _keep(self, session: Session) -> None:
        """Write what the ledger learnt, and what a sink that keeps no list is known to be told."""
        if isinstance(self.sink, Feed):
            self.sink.keep(session)
        news = self.ledger.news()
        members.put(session, self.audience_id, news.rows)
        if news.seen_us is not None:
            members.see(session, self.audience_id, news.seen_us)
        members.forget(session, self.audience_id, news.gone)
        members.put_removals(session, self.audience_id, news.removed)
        members.forget_removals(session, self.audience_id, news.over)


@contextmanager
def _closing(found: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Close an iterator at the end of the block, also where that ends early: calls may be under way behind it."""
    try:
        yield found
    finally:
        if isinstance(found, Generator):
            found.close()
