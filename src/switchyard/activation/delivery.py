"""A delivery: a list is made the segment, read back, repaired, and the outcome kept as a proof."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from switchyard.activation import members
from switchyard.activation.ledger import Ledger
from switchyard.activation.members import LISTED
from switchyard.activation.wanted import Difference, difference
from switchyard.api.connectors import Costed, ListSink
from switchyard.api.errors import ConfigError
from switchyard.api.records import Cursor
from switchyard.api.sinks import ListChanges, ListRef, Member, RemoteList
from switchyard.config.models import Audience
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import tables
from switchyard.store.database import Database

_STRANGER = "remote "
"""Begins the key of a member whom only the vendor knows."""


@dataclass(frozen=True)
class Report:
    """How an audience stands after a delivery, or would after a dry run.

    Args:
        segment: people in the segment; of whom `skipped` cannot be delivered and `rejected` were refused.
        wanted: the rest: those who have to be on the list.
        held: members of the list; `missing` are wanted and not there, `extra` are there and not wanted.
        blocked: removals that the guard holds back until a person confirms them.
        calls: spent on the account; `minimum` would have sufficed (None where the sink cannot tell).
        read_at: when the list was read back.
    """

    audience: str
    segment: int
    skipped: int
    rejected: int
    wanted: int
    held: int
    missing: int = 0
    extra: int = 0
    upserted: int = 0
    added: int = 0
    removed: int = 0
    blocked: int = 0
    calls: int = 0
    minimum: int | None = None
    read_at: datetime | None = None

    @property
    def exact(self) -> bool:
        return self.missing == 0 and self.extra == 0 and self.blocked == 0


@dataclass(frozen=True)
class Route:
    """Where an audience goes: its configuration, the sink, and how many calls the account has made so far."""

    name: str
    audience: Audience
    sink: ListSink
    calls: Callable[[], int]


@dataclass
class _Task:
    """One delivery under way."""

    route: Route
    ref: ListRef
    audience_id: int
    ledger: Ledger
    wanted: Difference
    confirmed: bool = False
    upserted: int = 0
    added: int = 0
    removed: int = 0
    blocked: int = 0

    def guarded(self, remove: Sequence[Member], held: int) -> Sequence[Member]:
        """The removals that may go. Beyond the guard none does: which of them are right, a person has to say."""
        if _passes(self.route, remove, held, self.confirmed):
            return remove
        self.blocked += len(remove)
        return ()

    def repair(self, run_id: int, remote: AnySet[str]) -> ListChanges:
        """What hand edits, or answers that were not true, have left to do."""
        listed = {row["remote_id"]: profile for profile, row in self.ledger.rows.items() if row["state"] == LISTED}
        lost = [Member(str(listed[each]), each) for each in sorted(listed.keys() - remote)]
        strangers: Sequence[Member] = ()
        if self.route.audience.extra == "remove":
            found = sorted(remote - self.ledger.remote_ids())
            strangers = self.guarded([Member(f"{_STRANGER}{each}", each) for each in found], len(remote))
        return ListChanges(f"{run_id} repair", (), lost, strangers)

    def compared(self, remote: AnySet[str], calls: int, read_at: datetime) -> Report:
        refused = self.ledger.refused(self.wanted.digests)
        people = self.wanted.digests.keys() - self.wanted.skipped.keys() - refused
        places = [row["remote_id"] for profile in people if (row := self.ledger.rows.get(profile))]
        extra = remote - set(places)
        if self.route.audience.extra == "keep":
            extra &= self.ledger.remote_ids()
        return Report(
            audience=self.route.name,
            segment=self.wanted.segment,
            skipped=len(self.wanted.skipped),
            rejected=len(refused),
            wanted=len(people),
            held=len(remote),
            missing=len(people) - sum(each in remote for each in places),
            extra=len(extra),
            upserted=self.upserted,
            added=self.added,
            removed=self.removed,
            blocked=self.blocked,
            calls=calls,
            minimum=_minimum(self.route.sink, self.upserted, self.added, self.removed, len(remote)),
            read_at=read_at,
        )


class Delivery:
    """Delivers audiences, one after the other."""

    def __init__(
        self,
        database: Database,
        working: WorkingDatabase,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None),
    ) -> None:
        self._database = database
        self._working = working
        self._clock = clock

    def plan(self, route: Route, confirmed: bool = False) -> Report:
        """What a delivery would do, without a call. `held` are the members last confirmed: nothing is read back."""
        with self._database.read() as session:
            row = members.known_audience(session, route.name, route.audience.connection)
            held = members.held(session, row.id or 0) if row else members.SCHEMA.empty_table()
        wanted = self._difference(route, held)
        listed = _listed(held)
        removed = len(wanted.remove) if _passes(route, wanted.remove, listed, confirmed) else 0
        after = listed + len(wanted.add) - removed
        return Report(
            audience=route.name,
            segment=wanted.segment,
            skipped=len(wanted.skipped),
            rejected=wanted.refused,
            wanted=wanted.segment - len(wanted.skipped) - wanted.refused,
            held=listed,
            upserted=len(wanted.upsert),
            added=len(wanted.add),
            removed=removed,
            blocked=len(wanted.remove) - removed,
            minimum=_minimum(route.sink, len(wanted.upsert), len(wanted.add), removed, after),
        )

    def run(self, run_id: int, route: Route, confirmed: bool = False) -> Report:
        """Make the list the segment, and prove it.

        Args:
            confirmed: a person agreed to removals beyond the guard.

        Raises:
            AuthError, TransientError, PermanentError: from the sink. What it confirmed before is kept; what was under
                way is settled by the next run.
        """
        before = route.calls()
        task = self._begun(route, confirmed)
        remove = task.guarded(task.wanted.remove, self._count(task))
        self._forget(task, task.wanted.forgotten)
        self._apply(task, ListChanges(f"{run_id}", task.wanted.upsert, task.wanted.add, remove))
        remote = _read_back(route.sink, task.ref)
        repair = task.repair(run_id, remote)
        if repair.add or repair.remove:
            self._apply(task, repair)
            remote = _read_back(route.sink, task.ref)
        return self._proven(task, run_id, task.compared(remote, route.calls() - before, self._clock()))

    def verify(self, run_id: int, route: Route) -> Report:
        """Read the list back and compare, without a change.

        Raises:
            ConfigError: the audience was never delivered.
        """
        before = route.calls()
        with self._database.read() as session:
            row = members.known_audience(session, route.name, route.audience.connection)
        if row is None or row.list_id is None:
            raise ConfigError(f"audience '{route.name}' was never delivered; run: switchyard deliver {route.name}")
        task = self._begun(route, confirmed=False)
        remote = _read_back(route.sink, task.ref)
        return self._proven(task, run_id, task.compared(remote, route.calls() - before, self._clock()))

    def _begun(self, route: Route, confirmed: bool) -> _Task:
        with self._database.write() as session:
            row = members.audience(session, route.name, route.audience.connection)
            audience_id, known, held = row.id or 0, row.list_id, members.held(session, row.id or 0)
        wanted = self._difference(route, held)
        ref = self._ensured(route, audience_id, known)
        return _Task(route, ref, audience_id, Ledger(held, wanted.digests), wanted, confirmed)

    def _difference(self, route: Route, held: pa.Table) -> Difference:
        return difference(self._working.connection, route.audience, held, self._working.columns())

    def _ensured(self, route: Route, audience_id: int, known: str | None) -> ListRef:
        audience = route.audience
        fields = [name for name in sorted(audience.fields) if name != audience.key]
        ref = route.sink.ensure(RemoteList(audience.list, audience.key, fields), known)
        if ref.id != known:
            with self._database.write() as session:
                row = session.get_one(tables.Audience, audience_id)
                row.list_id, row.list_name = ref.id, ref.name
                session.add(row)
        return ref

    def _count(self, task: _Task) -> int:
        return sum(row["state"] == LISTED for row in task.ledger.rows.values())

    def _forget(self, task: _Task, profiles: Sequence[int]) -> None:
        if profiles:
            with self._database.write() as session:
                members.forget(session, task.audience_id, profiles)
            task.ledger.forget(profiles)

    def _apply(self, task: _Task, changes: ListChanges) -> None:
        """Carry out changes; each receipt is committed before the sink makes its next call."""
        if not (changes.upsert or changes.add or changes.remove):
            return
        sending = task.ledger.sending(_profiles(changes.upsert), _profiles(changes.add))
        with self._database.write() as session:
            members.put(session, task.audience_id, sending, self._clock())
        for receipt in task.route.sink.apply(task.ref, changes):
            rows, gone = task.ledger.confirm(receipt)
            with self._database.write() as session:
                members.put(session, task.audience_id, rows, self._clock())
                members.forget(session, task.audience_id, gone)
        task.upserted += len(changes.upsert)
        task.added += len(changes.add)
        task.removed += len(changes.remove)

    def _proven(self, task: _Task, run_id: int, report: Report) -> Report:
        kept = ("wanted", "held", "missing", "extra", "rejected", "read_at")
        values = {name: getattr(report, name) for name in kept}
        with self._database.write() as session:
            session.add(tables.Proof(audience_id=task.audience_id, run_id=run_id, **values))
        return report


def _passes(route: Route, remove: Sequence[Member], held: int, confirmed: bool) -> bool:
    """Whether the guard lets these removals pass."""
    return confirmed or len(remove) <= route.audience.guard.limit(held)


def _profiles(rows: Sequence[Member]) -> list[int]:
    return [int(row.key) for row in rows]


def _listed(held: pa.Table) -> int:
    return held["state"].to_pylist().count(LISTED)


def _minimum(sink: ListSink, upsert: int, add: int, remove: int, held: int) -> int | None:
    return sink.calls(upsert, add, remove, held) if isinstance(sink, Costed) else None


def _read_back(sink: ListSink, ref: ListRef) -> set[str]:
    """Everybody on the list, by the vendor's ids."""
    remote: set[str] = set()
    cursor: Cursor = None
    for page in sink.members(ref, cursor):
        remote.update(str(record["remote_id"]) for record in page.records)
    return remote
