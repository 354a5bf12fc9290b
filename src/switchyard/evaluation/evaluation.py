"""Evaluation: who is in which segment, and what that changes.

Whom a commit touched and whose timer is due is walked through the instants at which their truth may change; a new
definition is asked of everybody. Both end in one commit.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import func, select

from switchyard.api.transforms import Schema
from switchyard.evaluation.compiled import Authored, Compiled
from switchyard.evaluation.scope import WorkingScope, instant
from switchyard.evaluation.standing import MOVES, Standing
from switchyard.evaluation.versions import Versions
from switchyard.evaluation.walk import UPCOMING, Period, Walk
from switchyard.evaluation.working import Integers, WorkingDatabase, changed_by
from switchyard.eventlog.layout import MEMBERSHIP
from switchyard.eventlog.log import EventLog
from switchyard.eventlog.types import data_type
from switchyard.store import names
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.clock import now
from switchyard.store.database import Database
from switchyard.store.tables import EvaluationState, Page

FILE_ROWS = 50_000
"""So many membership changes and more are written as a file at once."""
_NAMED = pa.schema([("segment", pa.string()), ("reason", pa.string())])
_EARLIEST = "SELECT profile_id, next_change AS due FROM evaluated"


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found of one segment."""

    segment: str
    members: int
    entered: int
    left: int


@dataclass(frozen=True)
class Vocabulary:
    """What the configuration's mappings can give, whether or not a record came yet.

    Args:
        attributes: attribute → its type.
        events: event type → property → its type.
        kinds: kinds of identifiers.
        timezone: the zone of calendar units.
    """

    attributes: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset()
    timezone: str = "UTC"


@dataclass(frozen=True)
class _Task:
    """One evaluation under way.

    Args:
        types: event type → property → its type.
        state: the evaluation before; None where there was none.
        page: the last committed page.
        changed: profiles that pages since the evaluation before changed, ascending.
        at: the instant up to which to evaluate.
    """

    run_id: int
    compiled: Compiled
    versions: Versions
    types: Mapping[str, Mapping[str, str]]
    state: EvaluationState | None
    page: int
    changed: Integers
    at: datetime


class Evaluation:
    """Evaluates definitions over the working database and commits what changed.

    One process and one thread at a time evaluate; the compiled definitions are kept from one evaluation to the next.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        working: WorkingDatabase,
        vocabulary: Vocabulary,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._log = log
        self._catalogue = StoreCatalogue(database)
        self._working = working
        self._standing = Standing(working)
        self._vocabulary = vocabulary
        self._clock = clock
        self._compiled: tuple[str, Compiled] | None = None

    def refresh(self) -> None:
        """Bring the working database up to the store and the log."""
        with self._database.read() as session:
            attributes = dict(self._vocabulary.attributes) | names.attribute_types(session)
            new = self._vocabulary.kinds - names.known_kinds(session).keys()
            mark = _mark(session.get(EvaluationState, 1))
        if new:
            with self._database.write() as session:
                names.kinds(session, sorted(new))
        self._working.refresh(attributes)
        self._standing.bring(mark, self._log)

    def due(self) -> datetime | None:
        """When time may next move somebody, by the last evaluation; None for never."""
        return self._standing.due()

    def altered(self) -> Mapping[str, Collection[str]] | None:
        """Segment → the columns in which some of its members show other values than when this was last asked; None
        where it may be anybody.
        """
        columns = self._working.altered.taken()
        if columns is None:
            return None
        found: dict[str, set[str]] = {}
        for column, profiles in columns.items():
            for segment in self._standing.of(profiles):
                found.setdefault(segment, set()).add(column)
        return found

    def schema(self, segments: frozenset[str]) -> Schema:
        """What definitions may speak of: what came already, and what the mappings can give."""
        with self._database.read() as session:
            kinds, registered = names.known_kinds(session), names.attribute_types(session)
            events = self._event_types(self._catalogue.types(session))
        attributes = dict.fromkeys(kinds, "text") | dict(self._vocabulary.attributes) | registered
        return Schema(
            attributes={name: data_type(type) for name, type in attributes.items()},
            events={name: {each: data_type(type) for each, type in types.items()} for name, types in events.items()},
            segments=segments,
            timezone=self._vocabulary.timezone,
        )

    def _event_types(self, registered: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        # Types that begin with an underscore are the hub's own.
        named = self._vocabulary.events.keys() | {name for name in registered if not name.startswith("_")}
        return {name: {**self._vocabulary.events.get(name, {}), **registered.get(name, {})} for name in named}

    def compiled(self, authored: Sequence[Authored]) -> Compiled:
        """Compile all definitions, without running them; the same again costs nothing.

        Raises:
            SegmentError: a definition is wrong.
            ConfigError: definitions read each other in a circle.
        """
        schema = self.schema(frozenset(each.name for one in authored for each in one.definitions))
        bodies = [(one.name, each.name, json.dumps(each.body)) for one in authored for each in one.definitions]
        key = repr((schema, bodies))
        if self._compiled is None or self._compiled[0] != key:
            self._compiled = (key, Compiled(authored, schema))
        return self._compiled[1]

    def run(self, run_id: int, authored: Sequence[Authored], full: bool = False) -> list[Outcome]:
        """Evaluate whom new pages changed and whose timers are due, and new definitions over everybody; commit.

        Where nothing came and nothing is due, nothing is written.

        Args:
            full: evaluate everybody. What that finds beyond the rest should be nothing; it is repaired.

        Raises:
            SegmentError: a definition is wrong. Nothing was changed.
        """
        # What comes from here on is of the next evaluation; that profiles may know of it already does no harm.
        task = self._task(run_id, self.compiled(authored))
        # The working database follows the store: its transaction ends after that of the commit.
        with self._working.transaction():
            self.refresh()
            scope = WorkingScope(self._working.connection, task.compiled.reads.values(), task.types)
            found = [self._walked(task, task.state, scope)] if task.state else []
            asked = task.compiled.names if full else task.versions.fresh
            if asked or task.versions.removed:
                found.append(self._asked(task, scope, asked))
            told = [moves for moves in found if moves is not None]
            moves = _in_log_form(task, pa.concat_tables([MOVES.empty_table(), *told]))
            if told:
                self._standing.settle(self._commit(task, moves))
        return self._outcomes(task.compiled.names, moves)

    def _task(self, run_id: int, compiled: Compiled) -> _Task:
        with self._database.read() as session:
            state = session.get(EvaluationState, 1)
            since = state.page_id if state else 0
            pages = session.exec(select(Page.changed).where(Page.id > since)).all()
            last = session.exec(select(func.max(Page.id))).one() or 0
            types = self._event_types(self._catalogue.types(session))
            versions = Versions(session, compiled)
        changed = changed_by(pages)
        # A clock that was set back must not make the log go backwards.
        at = max(self._clock(), state.at) if state else self._clock()
        return _Task(run_id, compiled, versions, types, state, last, changed, at)

    def _walked(self, task: _Task, state: EvaluationState, scope: WorkingScope) -> pa.Table | None:
        """Walk whom pages changed and whose timers are due through the definitions that stay as they are.

        Returns their moves; None where nobody is to be walked.
        """
        # What one of them reads is among them: the readers of a fresh definition are fresh.
        names = task.compiled.names - task.versions.fresh
        if not self._standing.has_timers(_mark(state)):
            self._evaluate_everybody(task, scope, names, state.at)
            self._standing.time(_EARLIEST)
            self._standing.settle(_mark(state))
        walk = Walk(self._working.connection, Period(state.page_id, state.at, task.at), task.changed)
        touched = walk.run(scope, self._log, lambda: task.compiled.evaluate(scope, names))
        if not len(touched):
            return None
        moves = walk.moves()
        self._standing.move(moves)
        self._standing.time(UPCOMING, replacing=touched)
        return moves

    def _asked(self, task: _Task, scope: WorkingScope, names: frozenset[str]) -> pa.Table:
        """Ask these definitions of everybody now. Returns the moves, also of the segments that were taken away."""
        everything = task.compiled.with_read(names)
        self._evaluate_everybody(task, scope, everything, task.at)
        moves = self._compared(task, names | task.versions.removed)
        self._standing.move(moves)
        whole = everything == task.compiled.names
        self._standing.time(_EARLIEST if whole else f"{_EARLIEST} UNION ALL SELECT * FROM timer")
        return moves

    def _evaluate_everybody(self, task: _Task, scope: WorkingScope, names: frozenset[str], at: datetime) -> None:
        with self._log.snapshot(scope.event_types, memberships=False) as snapshot:
            scope.everybody(snapshot, at)
            task.compiled.evaluate(scope, names)

    def _compared(self, task: _Task, segments: Collection[str]) -> pa.Table:
        """Who entered and who left these segments by what was evaluated of everybody."""
        versions = task.versions
        reasons = dict.fromkeys(segments, "audit") | dict.fromkeys(versions.fresh, "definition changed")
        reasons |= {name: "definition new" for name in versions.rewritten if versions.numbers[name] == 1}
        reasons |= dict.fromkeys(versions.removed, "definition removed")
        connection = self._working.connection
        connection.register("compared", pa.table({"segment": list(reasons), "reason": list(reasons.values())}, _NAMED))
        moves = connection.execute(
            f"""
            WITH now AS (
                SELECT definition AS segment, profile_id FROM evaluated JOIN compared ON segment = definition
                WHERE value
            ), stood AS (
                SELECT segment, profile_id FROM membership SEMI JOIN compared USING (segment)
            ), moved AS (
                SELECT segment, profile_id, true AS entered FROM now ANTI JOIN stood USING (segment, profile_id)
                UNION ALL
                SELECT segment, profile_id, false FROM stood ANTI JOIN now USING (segment, profile_id)
            )
            SELECT segment, profile_id, entered, {instant(task.at)} AS "at", reason
            FROM moved JOIN compared USING (segment)
            """
        ).to_arrow_table()
        connection.unregister("compared")
        return moves.cast(MOVES)

    def _commit(self, task: _Task, moves: pa.Table) -> str:
        """Write the moves, the new versions and how far was evaluated in one transaction; returns its mark."""
        files = [self._log.write(MEMBERSHIP.kind, "", moves)] if moves.num_rows >= FILE_ROWS else []
        number = task.state.number + 1 if task.state else 1
        state = EvaluationState(number=number, at=task.at, page_id=task.page)
        mark = _mark(state)
        try:
            with self._database.write() as session:
                session.merge(state)
                session.add_all(task.versions.published(task.at))
                self._catalogue.add(session, files)
                if not files:
                    self._catalogue.journal_memberships(session, moves)
        except BaseException:
            self._log.discard(files)
            raise
        return mark

    def _outcomes(self, segments: Collection[str], moves: pa.Table) -> list[Outcome]:
        sizes = self._standing.sizes()
        counted = moves.group_by(["segment", "entered"]).aggregate([([], "count_all")]).to_pylist()
        of = {(row["segment"], row["entered"]): row["count_all"] for row in counted}
        return [
            Outcome(name, sizes.get(name, 0), of.get((name, True), 0), of.get((name, False), 0))
            for name in sorted(segments)
        ]


def _in_log_form(task: _Task, moves: pa.Table) -> pa.Table:
    """Moves in the form of the membership log."""
    numbers = task.versions.numbers
    places = pc.index_in(moves["segment"], pa.array(numbers.keys(), pa.string()))
    known = {
        "version": pa.array(numbers.values(), pa.int64()).take(places.combine_chunks()),
        "noticed": pa.repeat(pa.scalar(task.at, pa.timestamp("us")), moves.num_rows),
        "run_id": pa.repeat(pa.scalar(task.run_id, pa.int64()), moves.num_rows),
    }
    for name, column in known.items():
        moves = moves.append_column(name, column)
    order = [(name, "ascending") for name in ("profile_id", "segment", "at")]
    return moves.select(MEMBERSHIP.fixed.names).cast(MEMBERSHIP.fixed).sort_by(order)


def _mark(state: EvaluationState | None) -> str:
    """Names what an evaluation left: another evaluation, or the same number after a restored backup, is another."""
    return f"{state.number} {state.at.isoformat()}" if state else ""
