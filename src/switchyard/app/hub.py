"""The composition root: a project's parts, built from its configuration and wired together."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any

from switchyard.activation.delivery import Delivery, Route
from switchyard.api.connectors import ConnectorSpec, Source, Stream
from switchyard.app.accounts import Accounts, ConnectorContext
from switchyard.app.lock import HubLock
from switchyard.app.project import Project
from switchyard.evaluation.compiled import Authored
from switchyard.evaluation.evaluation import Evaluation, Vocabulary
from switchyard.evaluation.working import WorkingDatabase
from switchyard.eventlog.log import EventLog
from switchyard.pipeline.intake import Intake
from switchyard.pipeline.mapping import Mapper, declared
from switchyard.pipeline.people import Rules
from switchyard.pipeline.plan import Plan, compile_mapping
from switchyard.store import runs, schema
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database

FOLDER = ".switchyard"


class Hub:
    """A project's engine: holds `hub.lock`, the store, the event log and the working database while it is open.

    Raises, on entering:
        TransientError: another process is the engine.
        PermanentError: a file that the catalogue names is missing or damaged.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._stack = ExitStack()

    def __enter__(self) -> "Hub":
        with ExitStack() as stack:
            stack.enter_context(HubLock(self.project.folder / FOLDER / "hub.lock"))
            self.database = Database(self.project.loaded.store_url, self.project.folder)
            stack.callback(self.database.close)
            schema.prepare(self.database)
            with self.database.write() as session:
                runs.interrupt(session)
            self.log = EventLog(self.project.loaded.log, StoreCatalogue(self.database))
            self.log.open()
            stack.callback(self.log.close)
            self.accounts = Accounts(self.database)
            stack.callback(self.accounts.save)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def intake(self) -> Intake:
        identity, hub = self.project.loaded.project.identity, self.project.loaded.project.hub
        rules = Rules(identity, hub.default_region)
        intake = Intake(self.database, self.log, rules, hub.file_rows, hub.flush_rows)
        self._stack.callback(intake.close)
        return intake

    @cached_property
    def working(self) -> WorkingDatabase:
        working = WorkingDatabase(self.project.loaded.work, self.database)
        self._stack.callback(working.close)
        return working

    @cached_property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.database, self.log, self.working, self.vocabulary)

    @cached_property
    def delivery(self) -> Delivery:
        return Delivery(self.database, self.working)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What the mappings of all connections can give."""
        attributes: dict[str, str] = {}
        events: dict[str, dict[str, str]] = {}
        for connection in self.project.sources:
            for stream in self.project.streams(connection):
                gives, happens = declared(self.plan(connection, stream))
                attributes |= gives
                for name, properties in happens.items():
                    events[name] = events.get(name, {}) | properties
        return Vocabulary(attributes, events, self.project.loaded.project.hub.timezone)

    def plan(self, connection: str, stream: Stream) -> Plan:
        return compile_mapping(connection, stream, self.project.loaded.mapping(connection, stream))

    def mapper(self, connection: str, stream: Stream) -> Mapper:
        return Mapper(self.plan(connection, stream), self.project.transforms(connection, stream))

    def authored(self) -> list[Authored]:
        """The definitions of every profile transform."""
        return [Authored(spec.name, spec.build(), found) for spec, found in self.project.definitions()]

    @contextmanager
    def source(self, connection: str, full: bool = False) -> Iterator[Source]:
        """A connection's source, built; closed at the end of the block."""
        with self._built(self.project.sources[connection], connection, full) as (source, _):
            yield source

    @contextmanager
    def route(self, audience: str) -> Iterator[Route]:
        """An audience's way to its list, built; closed at the end of the block."""
        wanted = self.project.loaded.project.audiences[audience]
        spec = self.project.registry.list_sink(self.project.connection(wanted.connection).connector)
        with self._built(spec, wanted.connection) as (sink, context):
            yield Route(audience, wanted, sink, context.calls)

    @contextmanager
    def connector(self, connection: str) -> Iterator[object]:
        """A connection's connector, whatever its family, built; closed at the end of the block."""
        name = self.project.connection(connection).connector
        family = self.project.registry.families(name)[0]
        with self._built(self.project.registry.connectors[name, family].spec, connection) as (connector, _):
            yield connector

    @contextmanager
    def _built(
        self, spec: ConnectorSpec, connection: str, full: bool = False
    ) -> Iterator[tuple[Any, ConnectorContext]]:
        config = self.project.config(connection)
        workspace = self.project.folder / FOLDER / "workspace" / connection
        workspace.mkdir(parents=True, exist_ok=True)
        budget = self.accounts.budget(spec, config, connection)
        context = ConnectorContext(connection, self.project.folder, workspace, self.database, budget, full)
        try:
            yield spec.build(config, context), context
        finally:
            context.close()
