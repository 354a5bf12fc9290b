"""A delivery: a list is made the segment, read back, repaired, and the outcome kept as a proof."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
from sqlmodel import Session, select

from switchyard.activation import members, outbox
from switchyard.activation.exchange import Exchange
from switchyard.activation.feed import Feed
from switchyard.activation.ledger import Ledger
from switchyard.activation.members import PLACED
from switchyard.activation.report import Report, Standing
from switchyard.activation.task import NO_CONSENT, Consent, Route, Task
from switchyard.activation.telling import UNREAD, assume, foreseen, is_assumed, tell
from switchyard.activation.wanted import Difference, difference
from switchyard.api.connectors import Lagging
from switchyard.api.errors import ConfigError, ListGone
from switchyard.api.sinks import ListRef, RemoteList
from switchyard.config.models import Audience
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import tables
from switchyard.store.clock import now
from switchyard.store.database import Database


class Delivery:
    """Delivers audiences, one after the other.

    Args:
        clock: the instant, in UTC without a zone.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        database: Database,
        working: WorkingDatabase,
        clock: Callable[[], datetime] = now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._working = working
        self._clock = clock
        self._sleep = sleep

    def plan(self, route: Route, consent: Consent = NO_CONSENT) -> Report:
        """What a delivery would do, without a call. `held` are the members last confirmed: nothing is read back."""
        with self._database.read() as session:
            row = members.known_audience(session, route.name, route.audience.connection)
            held = members.held(session, row.id or 0) if row else members.SCHEMA.empty_table()
            died = outbox.unfinished(session, row.id or 0) if row else []
        wanted = self._difference(route, held)
        placed = sum(state in PLACED for state in held["state"].to_pylist())
        passes = consent.removals or route.passes(len(wanted.remove), placed)
        removed = len(wanted.remove) if passes else 0
        after = placed + len(wanted.add) - removed
        minimum = route.allowance.minimum(len(wanted.upsert), len(wanted.add), removed, after)
        notes = list(foreseen(route, row, len(wanted.add), died=bool(died)))
        if is_assumed(route, row):
            wanted, placed = replace(wanted, upsert=(), add=()), len(wanted.add)
        left = route.account.left()
        if left is not None and minimum is not None and minimum > left:
            notes.append(f"today's quota leaves {left:,} calls; a part waits until {route.account.until():%H:%M} UTC")
        return Report(
            audience=route.name,
            list=(row.list_name if row else None) or route.audience.list,
            segment=wanted.segment,
            skipped=len(wanted.skipped),
            rejected=wanted.refused,
            wanted=wanted.segment - len(wanted.skipped) - wanted.refused,
            held=placed,
            upserted=len(wanted.upsert),
            added=len(wanted.add),
            removed=removed,
            blocked=len(wanted.remove) - removed,
            minimum=minimum,
            notes=[*notes, *(_renamed(route, row, row.list_name) if row and not consent.new_list else ())],
            is_list=not isinstance(route.sink, Feed),
        )

    def skipped(self, audience: Audience) -> dict[int, str]:
        """Whom of the segment no list can hold, and why."""
        nobody = members.SCHEMA.empty_table()
        return dict(difference(self._working.connection, audience, nobody, self._working.columns()).skipped)

    def run(self, run_id: int, route: Route, consent: Consent = NO_CONSENT) -> Report:
        """Make the list the segment, and prove it. A sink that keeps no list is told what changed, and proves nothing.

        What today's quota does not cover waits: the report says for how many people and until when.

        Raises:
            ConfigError: a new list is wanted of a sink that keeps none.
            ListGone: the list was deleted; it is not made anew without consent.
            QuotaExhausted: the list has to be read back first, and the quota does not cover that.
            AuthError, TransientError, PermanentError: from the sink. What it confirmed before is kept; what was under
                way is settled by the next run, by reading the list back before anything is sent.
        """
        if consent.new_list:
            _require_list(route)
        with _explained(route):
            task = self._begun(run_id, route, consent)
            if isinstance(route.sink, Feed):
                with task.until_quota_ends():
                    tell(task, route.sink, self._look_again)
                return task.report()
            if task.exchange.unfinished:
                self._settle(task)
            with task.until_quota_ends():
                self._change(task)
                if task.waits_until is None:
                    return self._proven(task, task.repaired())
            return task.report()

    def send(self, run_id: int, route: Route, consent: Consent = NO_CONSENT) -> Report:
        """Make the changes without reading the list back; the next `run` proves them.

        Where an earlier delivery was cut off, or the list was never read back, this is `run`.

        Raises:
            ListGone, QuotaExhausted, AuthError, TransientError, PermanentError: as `run`.
        """
        if not self._is_proven(route):
            return self.run(run_id, route, consent)
        with _explained(route):
            task = self._begun(run_id, route, consent)
            with task.until_quota_ends():
                self._change(task)
            return task.report()

    def verify(self, run_id: int, route: Route) -> Report:
        """Read the list back and compare, without a change. `blocked` are removals that a delivery would not make.

        Raises:
            ConfigError: the audience was never delivered, or its sink keeps no list.
            ListGone, QuotaExhausted, AuthError, TransientError, PermanentError: as `run`.
        """
        _require_list(route)
        with self._database.read() as session:
            row = members.known_audience(session, route.name, route.audience.connection)
        if row is None or row.list_id is None:
            raise ConfigError(f"audience '{route.name}' was never delivered; run: switchyard deliver {route.name}")
        with _explained(route):
            task = self._begun(run_id, route, NO_CONSENT)
            held = task.placed
            standing = task.standing()
            surplus = standing.extra if route.audience.extra == "remove" else standing.extra - standing.strangers
            task.blocked = 0 if route.passes(len(surplus), held) else len(surplus)
            return self._proven(task, standing)

    def _is_proven(self, route: Route) -> bool:
        """Whether the list was read back, and nothing is under way since."""
        with self._database.read() as session:
            row = members.known_audience(session, route.name, route.audience.connection)
            if row is None or outbox.unfinished(session, row.id or 0):
                return False
            return session.exec(select(tables.Proof.id).where(tables.Proof.audience_id == row.id)).first() is not None

    def _change(self, task: Task) -> None:
        """Send the difference, as far as guard and quota let it pass."""
        task.exchange.forget(task.wanted.forgotten)
        task.exchange.apply(task.difference(), task.wanted.digests)

    def _begun(self, run_id: int, route: Route, consent: Consent) -> Task:
        calls = route.account.calls()
        feed = route.sink if isinstance(route.sink, Feed) else None
        with self._database.write() as session:
            row = members.audience(session, route.name, route.audience.connection, feed=feed is not None)
            audience_id, known = row.id or 0, row.list_id
            if feed is not None:
                feed.open(session, audience_id, run_id)
            held = members.held(session, audience_id)
            session.expunge(row)
        # The vendor's windows begin with the first call: what takes a while without any comes before it.
        wanted = self._difference(route, held)
        if is_assumed(route, row):
            held = assume(self._database, row, route, wanted, self._clock())
            wanted = self._difference(route, held)
        ref = self._ensured(route, row, consent)
        with self._database.read() as session:
            removals, unfinished = members.removals(session, audience_id), outbox.unfinished(session, audience_id)
            if known not in (None, ref.id):
                held = members.held(session, audience_id)
                wanted = self._difference(route, held)
        lag = route.sink.lag() if isinstance(route.sink, Lagging) else 0.0
        ledger = Ledger(held, removals, round(lag * 1_000_000))
        exchange = Exchange(
            self._database, route.sink, ref, audience_id, run_id, ledger, unfinished, self._clock, self._sleep
        )
        ledger.wanted = wanted.digests.keys()
        notes = _renamed(route, row, ref.name) if feed is None else [UNREAD]
        return Task(route, exchange, wanted, consent, notes, calls)

    def _difference(self, route: Route, held: pa.Table) -> Difference:
        return difference(self._working.connection, route.audience, held, self._working.columns())

    def _ensured(self, route: Route, row: tables.Audience, consent: Consent) -> ListRef:
        """Find the list. What is known of who is on it falls with the list."""
        audience = route.audience
        fields = [name for name in sorted(audience.fields) if name != audience.key]
        known = None if consent.new_list else row.list_id
        ref = route.sink.ensure(RemoteList(audience.list, audience.key, fields), known)
        # Whoever renames the list over there, or takes the old name back here, ends the difference of the names.
        asked = audience.list if known is None or ref.name == audience.list else row.asked_name
        if (ref.id, ref.name, asked) != (row.list_id, row.list_name, row.asked_name):
            with self._database.write() as session:
                if row.list_id not in (None, ref.id):
                    self._left(session, row)
                row.list_id, row.list_name, row.asked_name = ref.id, ref.name, asked
                session.merge(row)
        return ref

    def _left(self, session: Session, row: tables.Audience) -> None:
        ledger = Ledger(members.held(session, row.id or 0), {})
        ledger.lose()
        members.put(session, row.id or 0, ledger.news().rows)
        members.leave_list(session, row)

    def _settle(self, task: Task) -> None:
        """Find out what became of what an earlier run had under way, before anything is sent."""
        if task.exchange.finish_jobs():
            task.route.allowance.require_reading(task.placed)
            task.exchange.read_back()
        self._look_again(task)

    def _look_again(self, task: Task) -> None:
        """Compare anew, by what the ledger has learnt."""
        task.wanted = self._difference(task.route, task.ledger.table())
        task.ledger.wanted = task.wanted.digests.keys()

    def _proven(self, task: Task, standing: Standing) -> Report:
        report = task.report(standing)
        kept = ("wanted", "held", "missing", "extra", "settling", "rejected", "read_at")
        values = {name: getattr(report, name) for name in kept}
        with self._database.write() as session:
            row = tables.Proof(audience_id=task.exchange.audience_id, run_id=task.exchange.run_id, **values)
            session.add(row)
        return report


def _require_list(route: Route) -> None:
    """Raises ConfigError where there is none: the sink is told of changes."""
    if isinstance(route.sink, Feed):
        raise ConfigError(
            f"the sink of audience '{route.name}' is told of changes and keeps no list; there is nothing to read back "
            "or to recreate"
        )


@contextmanager
def _explained(route: Route) -> Iterator[None]:
    """Say what a person can do about a list that is gone."""
    try:
        yield
    except ListGone as error:
        raise ListGone(f"{error}, or start a new list with: switchyard deliver {route.name} --recreate-list") from error


def _renamed(route: Route, row: tables.Audience, name: str | None) -> list[str]:
    """What to say where the configuration names another list than the one that is kept."""
    wanted = route.audience.list
    if row.list_id is None or row.asked_name in (None, wanted) or name == wanted:
        return []
    return [
        f"the configuration now names the list '{wanted}', and '{name}' is still the one that is kept; rename that in "
        f"the vendor's tool, or change over with: switchyard deliver {route.name} --recreate-list"
    ]
