"""A sink that is told of changes, kept in memory, and deliveries to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

from sqlalchemy import event
from sqlalchemy.orm import Session
from tests.projects import rows_of
from tests.unit.activation.desk import Desk, Killed

from switchyard.activation.feed import Feed
from switchyard.activation.task import Route
from switchyard.api import Batch, Change, Receipt, Rejection, TransientError
from switchyard.store.tables import AudienceChange


@dataclass
class Listener:
    """A sink that heeds a change the first time it is told of it, and keeps who is in by what it was told.

    Args:
        refuses: keys whose changes are refused.
        fails_at: the write, from 0, that fails with `fault`; `unseen`: after it was carried out.
        batches: every batch that came, also those that failed.
        heard: the changes that took effect, in order.
    """

    refuses: dict[str, Rejection] = field(default_factory=dict)
    fails_at: int | None = None
    unseen: bool = False
    fault: BaseException = field(default_factory=lambda: TransientError("gone away"))
    batches: list[Batch] = field(default_factory=list)
    heard: list[Change] = field(default_factory=list)

    def write(self, batch: Batch) -> Receipt:
        self.batches.append(batch)
        fails = self.fails_at == 0
        self.fails_at = None if self.fails_at is None or fails else self.fails_at - 1
        if fails and not self.unseen:
            raise self.fault
        rejected = {
            index: self.refuses[change.key] for index, change in enumerate(batch.changes) if change.key in self.refuses
        }
        known = {change.id: change for change in self.heard}
        for index, change in enumerate(batch.changes):
            if index not in rejected:
                assert known.get(change.id, change) == change, "one id for two changes"
                self.heard += [] if change.id in known else [change]
        if fails:
            raise self.fault
        return Receipt(rejected)

    def told(self) -> list[tuple[str, str]]:
        return [(change.kind, change.key) for change in self.heard]

    def people(self) -> dict[str, dict]:
        """Who is in, with the fields, and told in an order that makes sense."""
        found: dict[str, dict] = {}
        for change in self.heard:
            assert (change.key in found) == (change.kind != "entered"), f"{change.kind} in the wrong order"
            if change.kind == "left":
                del found[change.key]
            else:
                found[change.key] = dict(change.fields)
        return found


class Announcements(Desk):
    """A desk whose audience goes to a listener."""

    def __init__(self, folder, database) -> None:
        super().__init__(folder, database)
        self.listener = Listener()
        self.batch = 2

    @property
    def route(self) -> Route:
        return Route("a", self.audience, Feed(self.listener, self.batch, "a", self.audience), self.account)

    def fail(self, write: int, fault: BaseException, *, unseen: bool = False) -> None:
        """Deliver, with a fault at the write of this number (from 0)."""
        self.listener = replace(self.listener, fails_at=write, unseen=unseen, fault=fault)
        try:
            self.deliver()
        except type(fault):
            return
        raise AssertionError("the delivery wrote fewer batches")

    def die_at_commit(self, number: int, moment: str) -> None:
        """Deliver, and die at the commit of this number (from 1) that the delivery makes."""
        run, commits = self.begin(), count(1)

        def die(_: Session) -> None:
            if next(commits) == number:
                raise Killed

        event.listen(Session, f"{moment}_commit", die)
        try:
            self.delivery.run(run, self.route)
            raise AssertionError("the delivery made fewer commits")
        except Killed:
            pass
        finally:
            event.remove(Session, f"{moment}_commit", die)

    def kept(self) -> dict[int, AudienceChange]:
        return {row.profile_id: row for row in rows_of(self.database, AudienceChange)}
