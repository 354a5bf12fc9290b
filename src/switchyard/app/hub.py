"""The composition root: a project's parts, built from its configuration and wired together."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from copy import copy
from functools import cached_property
from types import TracebackType
from typing import Any

from switchyard.activation.delivery import Delivery
from switchyard.activation.feed import Feed
from switchyard.activation.task import Route
from switchyard.api.connectors import ConnectorSpec, SinkSpec, Source, Stream
from switchyard.api.errors import ConfigError
from switchyard.app.accounts import AccountBudget, Accounts, ConnectorContext
from switchyard.app.control import FOLDER, Door
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
from switchyard.store.inbox import Inbox
from switchyard.store.leases import ENGINE, Lease, LeaseLost


class Hub:
    """A project's engine: holds `hub.lock`, the store with its lease, the event log and the working database while it
    is open.

    Others hand it commands through its `door`; whoever opened it carries them out, in the thread that opened it.

    Raises, on entering:
        TransientError: another process is the engine, or a hub of another folder is at work on the store.
        PermanentError: a file that the catalogue names is missing or damaged.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._stamp = project.stamp()
        self._stack = ExitStack()
        self._configured = ExitStack()
        self._is_beside = False

    def __enter__(self) -> "Hub":
        with ExitStack() as stack:
            stack.enter_context(HubLock(self.project.folder / FOLDER / "hub.lock"))
            self.door = stack.enter_context(Door(self.project.folder / FOLDER))
            self.database = Database(self.project.loaded.store_url, self.project.folder)
            stack.callback(self.database.close)
            schema.prepare(self.database)
            self.lease = stack.enter_context(self._lease())
            # To the very end: threads that are left behind must not write once another hub has taken over.
            self.database.guard = self.lease.check
            with self.database.write() as session:
                runs.interrupt(session)
            self.log = EventLog(self.project.loaded.log, StoreCatalogue(self.database))
            self.log.open()
            stack.callback(self.log.close)
            stack.callback(self._configured.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def renew(self) -> None:
        """Take the configuration as it now is, where its files have changed.

        Raises:
            ConfigError: it is wrong, or wants another store, event log or working database; the one before stays.
        """
        stamp = self.project.stamp()
        if stamp == self._stamp:
            return
        project = self.project.reloaded()
        if project.places != self.project.places:
            raise ConfigError(
                "hub.store, hub.log or hub.work has changed; stop the hub that is at work and start it again"
            )
        self._configured.close()
        for part in ("intake", "evaluation", "delivery", "vocabulary", "accounts", "_mappers"):
            self.__dict__.pop(part, None)
        self.project, self._stamp = project, stamp

    def until_renewed(self, callback: Callable[[], object]) -> None:
        """Have this called when the present configuration ends: by `renew`, or with the hub."""
        self._configured.callback(callback)

    def beside(self) -> "Hub":
        """This hub for another thread, which delivers while this one goes on: to it, the working database is as far as
        this one has brought it. Whoever asked for it closes its `working`.
        """
        # What both use is made before there are two.
        self.evaluation, self.accounts  # noqa: B018
        other = copy(self)
        other.working = self.working.reader()
        other.delivery = Delivery(self.database, other.working)
        other._is_beside = True
        return other

    def refresh(self) -> None:
        """Bring the working database up to the store and the log."""
        if not self._is_beside:
            self.evaluation.refresh()

    def _lease(self) -> Lease:
        # Of two hubs in one folder `hub.lock` makes sure that there is one: that one need not wait for itself.
        holder = f"{socket.gethostname()}:{self.project.folder.resolve()}"
        return Lease(self.database, ENGINE, holder, self.project.loaded.project.hub.lease_seconds)

    def _entitle(self) -> None:
        """Make sure that this hub may act outside of transactions.

        Raises:
            LeaseLost: another one has taken over.
        """
        try:
            self.lease.require()
        except LeaseLost:
            # Late is not lost: the store knows whether anybody took it.
            self.lease.renew()

    @cached_property
    def accounts(self) -> Accounts:
        accounts = Accounts(self.database, self._entitle)
        self._configured.callback(accounts.save)
        return accounts

    @cached_property
    def intake(self) -> Intake:
        identity, hub = self.project.loaded.project.identity, self.project.loaded.project.hub
        rules = Rules(identity, hub.default_region)
        intake = Intake(self.database, self.log, rules, hub.file_rows, hub.flush_rows)
        self._configured.callback(intake.close)
        return intake

    @cached_property
    def _inbox(self) -> Inbox:
        inbox = Inbox(self.database)
        self._stack.callback(inbox.close)
        return inbox

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
        kinds: set[str] = set()
        for connection in self.project.sources:
            for stream in self.project.streams(connection):
                plan = self.plan(connection, stream)
                gives, happens = declared(plan)
                attributes |= gives
                kinds |= plan.mapping.identifiers.keys()
                for name, properties in happens.items():
                    events[name] = events.get(name, {}) | properties
        return Vocabulary(attributes, events, frozenset(kinds), self.project.loaded.project.hub.timezone)

    def plan(self, connection: str, stream: Stream) -> Plan:
        return compile_mapping(connection, stream, self.project.loaded.mapping(connection, stream))

    @cached_property
    def _mappers(self) -> dict[tuple[str, str], Mapper]:
        return {}

    def mapper(self, connection: str, stream: Stream) -> Mapper:
        """A stream's mapper: made once, for making one takes longer than mapping what was just pushed."""
        known = self._mappers.get((connection, stream.name))
        if known is None:
            known = Mapper(self.plan(connection, stream), self.project.transforms(connection, stream))
            self._mappers[connection, stream.name] = known
        return known

    def authored(self) -> list[Authored]:
        """The definitions of every profile transform."""
        return [Authored(spec.name, spec.build(), found) for spec, found in self.project.definitions()]

    @contextmanager
    def source(self, connection: str, full: bool = False) -> Iterator[Source]:
        """A connection's source, built; closed at the end of the block."""
        with self._built(self.project.sources[connection], connection, full) as (source, _):
            yield source

    @contextmanager
    def route(self, audience: str, alone: bool = True) -> Iterator[Route]:
        """An audience's way to its list, built; closed at the end of the block.

        Args:
            alone: wait until nobody else delivers to the account, and let others wait meanwhile.
        """
        wanted = self.project.loaded.project.audiences[audience]
        spec = self.project.registry.delivered(self.project.connection(wanted.connection).connector)
        with self._built(spec, wanted.connection) as (sink, context), context.budget.turn if alone else nullcontext():
            if isinstance(spec, SinkSpec):
                sink = Feed(sink, spec.batch, audience, wanted)
            yield Route(audience, wanted, sink, context)

    def budgets(self) -> list[AccountBudget]:
        """The budgets of the accounts that were used under the present configuration. From any thread."""
        accounts: Accounts | None = self.__dict__.get("accounts")
        return accounts.budgets() if accounts else []

    def account(self, audience: str) -> AccountBudget:
        """The budget of the account that an audience is delivered to."""
        connection = self.project.loaded.project.audiences[audience].connection
        spec = self.project.registry.delivered(self.project.connection(connection).connector)
        return self.accounts.budget(spec, self.project.config(connection), connection)

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
        context = ConnectorContext(
            connection, self.project.folder, workspace, self.database, budget, lambda: self._inbox, full
        )
        try:
            yield spec.build(config, context), context
        finally:
            context.close()
