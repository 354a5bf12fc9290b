"""The real thing, small: a store, an event log and a working database in a folder, with a clock that is set."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
from sqlmodel import delete, select
from tests.projects import Spine
from tests.segments.worlds import SCHEMA

from switchyard.api.transforms import Definition, ProfileTransform, Schema
from switchyard.config.models import Identity
from switchyard.evaluation.compiled import Compiled
from switchyard.evaluation.evaluation import Authored, Evaluation, Vocabulary
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import runs
from switchyard.store.tables import EvaluationState, JournalMembership, SegmentVersion, Subject
from switchyard_plugins.segmentation.transform import Segmentation

from .history import CARD_LIMIT, MAPPING, STREAM, Message, page
from .story import Step

VOCABULARY = Vocabulary(attributes=SCHEMA.attributes, events=SCHEMA.events)
IDENTITY = Identity.model_validate({"kinds": {"loyalty_card": {"limit": CARD_LIMIT}}})


@dataclass(frozen=True, order=True)
class Move:
    """A row of the membership log; people are named by the subject that gave the profile its id."""

    person: str
    segment: str
    at: datetime
    entered: bool
    version: int
    noticed: datetime
    reason: str


class SharedCompiled:
    """Compiles a set of definitions once for all hubs of a test: compiling is most of what a small hub does."""

    def __init__(self) -> None:
        self._known: dict[str, Compiled] = {}

    def __call__(self, authored: Sequence[Authored], schema: Schema) -> Compiled:
        key = repr((authored, schema))
        if key not in self._known:
            self._known[key] = Compiled(authored, schema)
        return self._known[key]


class SmallHub:
    """What it was told survives in its folder.

    Args:
        template: a store that has the tables.
        forgetful: every evaluation is the first, so that it asks everybody.
    """

    def __init__(
        self, folder: Path, template: Path, *, forgetful: bool = False, transform: ProfileTransform | None = None
    ) -> None:
        folder.mkdir()
        shutil.copy(template, folder / "spine.db")
        self._folder = folder
        self._forgetful = forgetful
        self._transform = transform or Segmentation()
        self._names: dict[int, str] = {}
        self.now = datetime.min
        self._open()

    def _open(self) -> None:
        # What is forgotten has to be in the journal.
        rows = 1_000_000 if self._forgetful else 2_000
        self._spine = Spine(self._folder, STREAM, MAPPING, identity=IDENTITY, flush_rows=rows, clock=lambda: self.now)
        self._work()

    def _work(self) -> None:
        database, log = self._spine.database, self._spine.log
        self._working = WorkingDatabase(self._folder / "work.duckdb", database)
        self._evaluation = Evaluation(database, log, self._working, VOCABULARY, lambda: self.now)

    def close(self) -> None:
        self._working.close()
        self._spine.close()

    def live(self, step: Step) -> list[Move]:
        """A step of its story; gives what the evaluation wrote into the membership log."""
        self.now = step.at
        match step.mishap:
            case "restarted":
                self.close()
                self._open()
            case "working database lost":
                self._lose()
            case "flushed":
                self._spine.log.flush(0)
        for messages in step.pages:
            self.take(messages)
        return self.evaluate(step.at, step.definitions)

    def _lose(self) -> None:
        self._working.close()
        for path in self._folder.glob("work.duckdb*"):
            path.unlink()
        self._work()

    def take(self, messages: Sequence[Message]) -> None:
        self._spine.feed(page(messages))

    def evaluate(self, at: datetime, definitions: Sequence[Definition], *, full: bool = False) -> list[Move]:
        self.now = at
        with self._spine.database.write() as session:
            if self._forgetful:
                for table in (EvaluationState, SegmentVersion, JournalMembership):
                    session.exec(delete(table))
            run = runs.started(session, "evaluate", "all")
        self._evaluation.run(run, [Authored("segmentation", self._transform, definitions)], full)
        with self._spine.database.write() as session:
            runs.finished(session, run, {})
        return self.moves(run)

    def evaluated_at(self) -> datetime:
        """The instant of the last evaluation that found something to do."""
        with self._spine.database.read() as session:
            return session.exec(select(EvaluationState.at)).one()

    def members(self) -> Mapping[tuple[str, str], datetime]:
        """(person, segment) → since when."""
        rows = self._working.connection.execute("SELECT segment, profile_id, entered_at FROM membership").fetchall()
        return {(self._name(profile), segment): since for segment, profile, since in rows}

    def moves(self, run: int | None = None) -> list[Move]:
        """The membership log, in its order; of one evaluation, where it is given."""
        with self._spine.log.snapshot() as snapshot, duckdb.connect() as connection:
            snapshot.view(connection, "membership", "", None, "log")
            rows = connection.execute(
                'SELECT profile_id, segment, "at", entered, version, noticed, reason FROM log '
                'WHERE run_id = coalesce(?, run_id) ORDER BY run_id, "at"',
                [run],
            ).fetchall()
        return [Move(self._name(profile), *rest) for profile, *rest in rows]

    def _name(self, profile: int) -> str:
        if profile not in self._names:
            with self._spine.database.read() as session:
                self._names = {row[0]: row[1] for row in session.exec(select(Subject.id, Subject.key))}
        return self._names[profile]
