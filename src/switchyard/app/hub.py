"""The composition root: a project's parts, built from its configuration and wired together."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType

from switchyard.activation.delivery import Delivery, Route
from switchyard.api.connectors import ListSink, Source, Stream
from switchyard.app.accounts import Accounts, ConnectorContext
from switchyard.app.lock import HubLock
from switchyard.app.project import Project
from switchyard.evaluation.evaluation import Authored, Evaluation, Vocabulary
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
        spec, config = self.project.sources[connection], self.project.config(connection)
        context = self._context(connection, full)
        try:
            yield spec.build(config, context)
        finally:
            context.close()

    @contextmanager
    def route(self, audience: str) -> Iterator[Route]:
        """An audience's way to its list, built; closed at the end of the block."""
        wanted = self.project.loaded.project.audiences[audience]
        spec = self.project.registry.list_sink(self.project.connection(wanted.connection).connector)
        context = self._context(wanted.connection)
        try:
            sink: ListSink = spec.build(self.project.config(wanted.connection), context)
            yield Route(audience, wanted, sink, context.calls)
        finally:
            context.close()

    def _context(self, connection: str, full: bool = False) -> ConnectorContext:
        connector = self.project.connection(connection).connector
        family = self.project.registry.families(connector)[0]
        spec = self.project.registry.connectors[connector, family].spec
        budget = self.accounts.budget(spec, self.project.config(connection), connection)
        workspace: Path = self.project.folder / FOLDER / "workspace" / connection
        workspace.mkdir(parents=True, exist_ok=True)
        return ConnectorContext(connection, self.project.folder, workspace, self.database, budget, full)
