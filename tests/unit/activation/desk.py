"""A segment of people, a list kept in memory, and deliveries between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from math import ceil
from pathlib import Path

from tests.projects import rows_of

from switchyard.activation.delivery import Delivery
from switchyard.activation.report import Report
from switchyard.activation.task import Consent, Route
from switchyard.api import ListChanges, ListReceipt, ListRef, Page, Rejection, RemoteList, TransientError
from switchyard.api.errors import ListGone
from switchyard.config.models import Audience
from switchyard.evaluation.standing import Standing
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import runs
from switchyard.store.tables import AudienceMember, Outbox

REFUSED = Rejection("BAD_VALUE", "the value is not allowed")


class Killed(BaseException):
    """The process died."""


@dataclass
class Shelf:
    """A list sink that changes one row a call.

    Args:
        refuses: e-mails whose upsert is refused.
        breaks_after: calls until it fails with `fault`.
        breaks_unseen: whether the failing call was carried out before it failed.
        said: what was asked of it, in order: "+e-mail", "on id", "off id", "read".
    """

    records: dict[str, dict] = field(default_factory=dict)
    members_: set[str] = field(default_factory=set)
    refuses: dict[str, Rejection] = field(default_factory=dict)
    changes: list[ListChanges] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    breaks_after: int | None = None
    breaks_unseen: bool = False
    fault: BaseException = field(default_factory=lambda: TransientError("gone away"))
    name: str = "L"
    list_id: str = "1"
    deleted: bool = False
    _ids: Iterator[int] = field(default_factory=lambda: count(100))

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        if known is None and (self.deleted or wanted.name != self.name):
            self.list_id, self.name, self.deleted = str(int(self.list_id) + 1), wanted.name, False
            self.members_ = set()
        elif self.deleted:
            raise ListGone("list 1 was deleted; restore it")
        return ListRef(self.list_id, self.name)

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        self.changes.append(changes)
        ids = {member.key: member.remote_id for member in changes.add if member.remote_id}
        for member in changes.upsert:
            email = member.fields["email"]
            if email in self.refuses:
                yield ListReceipt(rejected={member.key: self.refuses[email]})
                ids.pop(member.key, None)
                continue
            ids[member.key] = self._call(f"+{email}", lambda fields=member.fields: self._write(fields))
            yield ListReceipt(upserted={member.key: ids[member.key]})
        for member in changes.add:
            if (record := ids.get(member.key)) is None:
                continue
            if record not in self.records:
                yield ListReceipt(rejected={member.key: Rejection("record_missing", "no such record", True)})
                continue
            self._call(f"on {record}", lambda record=record: self._put(record, True))
            yield ListReceipt(added=frozenset({member.key}))
        for member in changes.remove:
            self._call(f"off {member.remote_id}", lambda record=member.remote_id: self._put(record, False))
            yield ListReceipt(removed=frozenset({member.key}))

    def members(self, ref: ListRef, cursor: object) -> Iterator[Page]:
        self.said.append("read")
        yield Page([{"remote_id": each} for each in sorted(self.shown())], None)

    def shown(self) -> set[str]:
        return self.members_

    def emails(self) -> set[str]:
        return {self.records[each]["email"] for each in self.members_}

    def writes(self) -> list[str]:
        return [each for each in self.said if each != "read"]

    def record(self, email: str) -> str:
        return next(each for each, record in self.records.items() if record["email"] == email)

    def _write(self, fields: dict) -> str:
        email = fields["email"]
        known = next((each for each, record in self.records.items() if record["email"] == email), None)
        record = known or str(next(self._ids))
        self.records.setdefault(record, {}).update(fields)
        return record

    def _put(self, record: str, on: bool) -> None:
        (self.members_.add if on else self.members_.discard)(record)

    def _call(self, what: str, act: Callable):
        self.said.append(what)
        breaks = self.breaks_after == 0
        if self.breaks_after is not None:
            self.breaks_after -= 1
        if breaks and not self.breaks_unseen:
            raise self.fault
        done = act()
        if breaks:
            raise self.fault
        return done


class CostedShelf(Shelf):
    """A shelf that knows its calls: one a row, and one for every ten members read."""

    def calls(self, upsert: int, add: int, remove: int, held: int) -> int:
        return upsert + add + remove + max(1, ceil(held / 10))


@dataclass
class LateShelf(Shelf):
    """A shelf that shows changes only after `late` seconds, and says that it takes `promised` at most."""

    clock: Callable[[], datetime] = datetime.now
    promised: float = 60.0
    late: float = 20.0
    history: list[tuple[datetime, set[str]]] = field(default_factory=list)

    def lag(self) -> float:
        return self.promised

    def shown(self) -> set[str]:
        moment = self.clock() - timedelta(seconds=self.late)
        return next((held for at, held in reversed(self.history) if at <= moment), set())

    def _put(self, record: str, on: bool) -> None:
        super()._put(record, on)
        self.history.append((self.clock(), set(self.members_)))


@dataclass
class JobShelf(Shelf):
    """A shelf that works off changes as jobs. `polls`: questions until a job is done; `forgets`: it knows no job."""

    jobs: dict[str, ListChanges] = field(default_factory=dict)
    polls: int = 2
    forgets: bool = False

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        self.jobs[changes.id] = changes
        self.said.append("job")
        yield ListReceipt(ticket=changes.id)
        if self.breaks_after == 0:
            raise self.fault

    def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
        self.said.append("poll")
        if self.forgets:
            from switchyard.api import PermanentError

            raise PermanentError("no such job")
        self.polls -= 1
        if self.polls > 0:
            yield ListReceipt(ticket=ticket)
            return
        yield from super().apply(ref, self.jobs[ticket])


@dataclass
class Account:
    """An account with so many calls left today."""

    remaining: int | None = None

    def calls(self) -> int:
        return 0

    def left(self) -> int | None:
        return self.remaining

    def until(self) -> datetime:
        return datetime(2030, 1, 2)


class Desk:
    """A segment of people, and its delivery to a shelf. Waiting moves the clock and takes no time."""

    def __init__(self, folder: Path, database) -> None:
        self.database, self.shelf, self.account = database, Shelf(), Account()
        self.now = datetime(2030, 1, 1, 12)
        self.working = WorkingDatabase(folder / "work.duckdb", database)
        Standing(self.working)
        self.working.refresh({"email": "text", "city": "text"})
        self.audience = Audience(segment="s", connection="crm", list="L", fields={"email": "email", "town": "city"})
        self.delivery = Delivery(database, self.working, lambda: self.now, self.wait)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def change(self, **settings) -> None:
        """Change the audience's configuration."""
        self.audience = Audience.model_validate(self.audience.model_dump() | settings)

    def people(self, *people: tuple[int, str | None, str]) -> None:
        """Who is in the segment now: profile, e-mail, city."""
        run = self.working.connection.execute
        run("DELETE FROM profile")
        run("DELETE FROM membership")
        for profile, email, city in people:
            run("INSERT INTO profile BY NAME SELECT ? AS profile_id, ? AS email, ? AS city", [profile, email, city])
            run("INSERT INTO membership VALUES ('s', ?, now()::TIMESTAMP)", [profile])

    def deliver(self, **consent: bool) -> Report:
        return self.delivery.run(self.begin(), self.route, Consent(**consent))

    def verify(self) -> Report:
        return self.delivery.verify(self.begin(), self.route)

    def begin(self) -> int:
        with self.database.write() as session:
            return runs.started(session, "deliver", "a")

    def die(self, calls: int, *, unseen: bool = False) -> None:
        """Deliver, and die at the call with this number; `unseen`: after the vendor carried it out."""
        self.shelf.breaks_after, self.shelf.breaks_unseen, self.shelf.fault = calls, unseen, Killed()
        try:
            self.deliver()
            raise AssertionError("the delivery made fewer calls")
        except Killed:
            self.shelf.breaks_after = None

    @property
    def route(self) -> Route:
        return Route("a", self.audience, self.shelf, self.account)

    def members(self) -> dict[int, AudienceMember]:
        return {row.profile_id: row for row in rows_of(self.database, AudienceMember)}

    def states(self) -> dict[int, str]:
        return {profile: row.state for profile, row in self.members().items()}

    def outbox(self) -> list[Outbox]:
        return sorted(rows_of(self.database, Outbox), key=lambda row: row.begun_at)


def people(*names: str):
    """People 1, 2, … of these names, of Lyon."""
    return [(number, f"{name}@x.org", "Lyon") for number, name in enumerate(names, 1)]
