"""Evaluation: who is in which segment, and what that changes. One query for everybody, one commit for the changes."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter

import ibis
import pyarrow as pa
from sqlmodel import Session, func, select

from switchyard.api.errors import ConfigError
from switchyard.api.transforms import Definition, Printable, ProfileTransform, Program, Reads, Schema
from switchyard.evaluation.scope import WorkingScope
from switchyard.evaluation.working import WorkingDatabase
from switchyard.eventlog.log import EventLog
from switchyard.eventlog.types import data_type
from switchyard.store import names
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database
from switchyard.store.tables import JournalMembership, LogFile, SegmentVersion

FILE_ROWS = 50_000
"""So many membership changes and more are written as a file at once."""


@dataclass(frozen=True)
class Authored:
    """A profile transform with the definitions that it is to evaluate."""

    name: str
    transform: ProfileTransform
    definitions: Sequence[Definition]


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
        timezone: the zone of calendar units.
    """

    attributes: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    timezone: str = "UTC"


class Evaluation:
    """Evaluates definitions over the working database and commits what changed."""

    def __init__(
        self,
        database: Database,
        log: EventLog,
        working: WorkingDatabase,
        vocabulary: Vocabulary,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None),
    ) -> None:
        self._database = database
        self._log = log
        self._catalogue = StoreCatalogue(database)
        self._working = working
        self._vocabulary = vocabulary
        self._clock = clock

    def refresh(self) -> None:
        """Bring the working database up to the store and the log."""
        with self._database.read() as session:
            attributes = dict(self._vocabulary.attributes) | names.attribute_types(session)
            mark = _mark(session)
        self._working.refresh(attributes)
        with self._log.snapshot() as snapshot:
            self._working.memberships_as_of(mark, snapshot)

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

    def compiled(self, authored: Sequence[Authored]) -> list[Program]:
        """Compile all definitions, without running them.

        Raises:
            SegmentError: a definition is wrong.
            ConfigError: definitions read each other in a circle.
        """
        schema = self.schema(frozenset(each.name for one in authored for each in one.definitions))
        programs = [one.transform.compile(one.definitions, schema) for one in authored]
        _layers(_reads(programs))
        return programs

    def run(self, run_id: int, authored: Sequence[Authored]) -> list[Outcome]:
        """Evaluate all definitions over all profiles at this instant, and commit the changes.

        Raises:
            SegmentError: a definition is wrong. Nothing was changed.
        """
        self.refresh()
        at = self._clock()
        programs = self.compiled(authored)
        with self._database.read() as session:
            versions = _versions(session, authored, at)
        self._evaluate(programs, at)
        changes = self._changes(versions, at, run_id)
        mark = self._commit(changes, [row for row in versions.values() if row.published_at == at])
        self._working.change_memberships(changes.select(["segment", "profile_id", "entered", "at"]), mark)
        return self._outcomes(changes, sorted(versions))

    def _evaluate(self, programs: Sequence[Program], at: datetime) -> None:
        """Fill the temporary table `evaluated`, definitions that others read first."""
        reads = _reads(programs)
        connection = self._working.connection
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE evaluated "
            "(profile_id BIGINT, definition VARCHAR, value BOOLEAN, next_change TIMESTAMP)"
        )
        with self._log.snapshot() as snapshot:
            scope = WorkingScope(self._working, snapshot, reads, self._event_types(snapshot.types), at)
            for layer in _layers(reads):
                for program in programs:
                    if wanted := sorted(layer & program.reads.keys()):
                        query = ibis.to_sql(program.evaluate(scope, wanted), dialect="duckdb")
                        connection.execute(
                            f"INSERT INTO evaluated SELECT profile_id, definition, value, next_change FROM ({query})"
                        )
                scope.publish(layer)

    def _changes(self, versions: Mapping[str, SegmentVersion], at: datetime, run_id: int) -> pa.Table:
        """Who entered and who left, in the form of the membership log."""
        connection = self._working.connection
        known = {name: (row.version, row.published_at == at) for name, row in versions.items()}
        connection.register(
            "versions",
            pa.table(
                {
                    "segment": pa.array(known.keys(), pa.string()),
                    "version": pa.array([version for version, _ in known.values()], pa.int64()),
                    "new": pa.array([new for _, new in known.values()], pa.bool_()),
                }
            ),
        )
        changes = connection.execute(
            f"""
            WITH now AS (SELECT definition AS segment, profile_id FROM evaluated WHERE value), changed AS (
                SELECT segment, profile_id, true AS entered FROM now ANTI JOIN membership USING (segment, profile_id)
                UNION ALL
                SELECT segment, profile_id, false FROM membership ANTI JOIN now USING (segment, profile_id)
            )
            SELECT c.segment, coalesce(v.version, 0) AS version, c.profile_id, c.entered,
                TIMESTAMP '{at.isoformat(sep=" ")}' AS "at", TIMESTAMP '{at.isoformat(sep=" ")}' AS noticed,
                CASE WHEN v.segment IS NULL THEN 'definition removed' WHEN p.profile_id IS NULL THEN 'profile gone'
                    WHEN v.new THEN 'definition changed' ELSE 'evaluated' END AS reason,
                CAST({run_id} AS BIGINT) AS run_id
            FROM changed c LEFT JOIN versions v USING (segment) LEFT JOIN profile p USING (profile_id)
            ORDER BY c.profile_id, c.segment
            """
        ).to_arrow_table()
        connection.unregister("versions")
        return changes

    def _commit(self, changes: pa.Table, published: Sequence[SegmentVersion]) -> str:
        """Write the changes and the new versions in one transaction; returns the membership log's mark after it."""
        files = [self._log.write("membership", "", changes)] if changes.num_rows >= FILE_ROWS else []
        try:
            with self._database.write() as session:
                session.add_all(published)
                self._catalogue.add(session, files)
                if not files:
                    self._catalogue.journal_memberships(session, changes)
                mark = _mark(session)
        except BaseException:
            self._log.discard(files)
            raise
        return mark

    def _outcomes(self, changes: pa.Table, segments: Sequence[str]) -> list[Outcome]:
        query = "SELECT segment, count(*) FROM membership GROUP BY segment"
        members = dict(self._working.connection.execute(query).fetchall())
        moves = Counter(zip(changes["segment"].to_pylist(), changes["entered"].to_pylist(), strict=True))
        return [Outcome(name, members.get(name, 0), moves[name, True], moves[name, False]) for name in segments]


def _reads(programs: Sequence[Program]) -> dict[str, Reads]:
    return {name: reads for program in programs for name, reads in program.reads.items()}


def _layers(reads: Mapping[str, Reads]) -> list[frozenset[str]]:
    """The definitions in layers: each reads segments of earlier layers only."""
    sorter = TopologicalSorter({name: each.segments & reads.keys() for name, each in reads.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(f"segments read each other in a circle: {' → '.join(error.args[1])}") from error
    layers = []
    while ready := sorter.get_ready():
        layers.append(frozenset(ready))
        sorter.done(*ready)
    return layers


def _versions(session: Session, authored: Sequence[Authored], now: datetime) -> dict[str, SegmentVersion]:
    """Each definition's version in force; one published `now` where its text is new."""
    versions: dict[str, SegmentVersion] = {}
    for one in authored:
        for definition in one.definitions:
            query = select(SegmentVersion).where(SegmentVersion.segment == definition.name)
            last = max(session.exec(query), key=lambda row: row.version, default=None)
            text = _canonical(one.transform, definition)
            if last is None or (last.transform, last.text) != (one.name, text):
                number = last.version + 1 if last else 1
                last = SegmentVersion(
                    segment=definition.name, version=number, transform=one.name, text=text, published_at=now
                )
            versions[definition.name] = last
    return versions


def _canonical(transform: ProfileTransform, definition: Definition) -> str:
    if isinstance(transform, Printable):
        return transform.canonical(definition)
    return json.dumps(definition.body, sort_keys=True)


def _mark(session: Session) -> str:
    """How many membership changes there are: names the state of the membership log, wherever its rows lie."""
    young = session.exec(select(func.count()).select_from(JournalMembership)).one()
    filed = session.exec(select(func.sum(LogFile.rows)).where(LogFile.kind == "membership")).one()
    return str(young + (filed or 0))
