"""`switchyard serve`: receiver, engine and schedule in one process, or only a receiver."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from switchyard.cli import printing, stopping, tables
from switchyard.cli.invocation import Answer, Invocation, Json, respond

if TYPE_CHECKING:
    from switchyard.app.engine import Observer
    from switchyard.app.project import Project
    from switchyard.server.metrics import Metrics
    from switchyard.server.service import ReceiverServer
    from switchyard.store.inbox import Inbox

GRACE = 15.0
"""Seconds between the signal and the end of the process, whatever it is doing."""
DRAIN = 5.0
"""Of these, seconds for requests that are under way, and as many for deliveries."""


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    RECEIVER = "receiver"


Host = Annotated[str | None, typer.Option(help="Where to listen, instead of `serve.host`.", metavar="ADDRESS")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65_535, help="Where to listen, instead of `serve.port`; 0 for any free port.")
]
Roles = Annotated[Role, typer.Option(help="Everything, or one more receiver for a store on PostgreSQL.")]


def serve(
    context: typer.Context, host: Host = None, port: Port = None, role: Roles = Role.ALL, as_json: Json = False
) -> None:
    """Do everything, all the time: receive, read by schedule, evaluate, and keep lists exact, until stopped.

    Every other command works beside it. The log goes to stderr, a JSON object a line. SIGTERM and Ctrl-C end it: what
    is under way is finished or left to be settled, and the exit code is 0.
    """
    stdout = sys.stdout

    def announce(found: Answer) -> None:
        # Whoever starts it waits for the address, so it cannot be the answer at the end.
        if as_json:
            stdout.write(json.dumps(found) + "\n")
        else:
            tables.serving(printing.console(stdout), found)
        stdout.flush()

    def work(call: Invocation) -> None:
        from switchyard.app.logs import logging_to

        call.project.check()
        place = (host, port)
        with logging_to(sys.stderr) as observe:
            if role is Role.ALL:
                _everything(call.project, place, observe, announce)
            else:
                _only_receiver(call.project, place, observe, announce)

    respond(context, as_json, work, lambda *_: None)


Place = tuple[str | None, int | None]
Announce = Callable[[Answer], None]


def _everything(project: Project, place: Place, observe: Observer, announce: Announce) -> None:
    from switchyard.app.engine import Engine
    from switchyard.app.hub import Hub
    from switchyard.app.pushes import Pushes
    from switchyard.app.receiving import inbox
    from switchyard.scheduling.timetable import Timetable
    from switchyard.server.metrics import Metrics, of_accounts, of_engine, of_lists
    from switchyard.server.routes import routes_of

    with Hub(project) as hub, inbox(project) as opened:
        metrics = Metrics()

        def renewed() -> None:
            server.app.routes = routes_of(hub.project)

        def observed(event: str, **facts: Any) -> None:
            metrics.observe(event, **facts)
            observe(event, **facts)

        engine = Engine(hub, Timetable(), observed, lambda wake: Pushes(opened, wake), renewed)
        project.registry.watchers.append(metrics.watch)
        metrics.ask(lambda: of_engine(engine))
        metrics.ask(lambda: of_accounts(hub.budgets))
        metrics.ask(lambda: of_lists(hub.database, lambda: hub.project.loaded.project.audiences))

        def unready() -> str | None:
            return engine.fault()

        with _listening(project, place, opened, metrics, unready) as server:

            def stop() -> None:
                server.app.is_draining = True
                engine.stop()

            stopping.instead(stop, GRACE)
            _announce(server, Role.ALL, observe, announce)
            try:
                engine.run()
            finally:
                server.app.is_draining = True
                is_done = engine.end_deliveries(DRAIN)
                observe("stopped")
        if not is_done and stopping.asked():
            # What a vendor is still at is settled at the next start; nobody closes what it works with.
            os._exit(0)


def _only_receiver(project: Project, place: Place, observe: Observer, announce: Announce) -> None:
    from switchyard.app.receiving import inbox
    from switchyard.server.metrics import Metrics

    ended = threading.Event()
    with (
        inbox(project, is_alone=True) as opened,
        _listening(project, place, opened, Metrics(), lambda: None) as server,
    ):
        # An event must not be set by a handler that interrupts its wait: a timer's thread may.
        stopping.instead(lambda: threading.Timer(0, ended.set).start(), GRACE)
        _announce(server, Role.RECEIVER, observe, announce)
        ended.wait()
        observe("stopped")


@contextmanager
def _listening(
    project: Project, place: Place, opened: Inbox, metrics: Metrics, unready: Callable[[], str | None]
) -> Iterator[ReceiverServer]:
    from switchyard.server.metrics import of_receiver
    from switchyard.server.routes import routes_of
    from switchyard.server.service import ReceiverServer
    from switchyard.server.settings import Settings

    said = project.loaded.project.serve
    host, port = place[0] or said.host, said.port if place[1] is None else place[1]
    settings = Settings(public_url=said.public_url, body=said.max_body, drain_time=DRAIN)
    server = ReceiverServer(routes_of(project), opened, settings, metrics, unready)
    server.writer.on_commit = metrics.committed
    metrics.ask(lambda: of_receiver(server.app, server.writer.depth))
    server.start(host, port)
    try:
        yield server
    finally:
        server.stop()


def _announce(server: ReceiverServer, role: Role, observe: Observer, announce: Announce) -> None:
    host, port = server.address
    observe("started", host=host, port=port, role=role.value)
    announce({"url": server.url, "role": role.value, "process": os.getpid()})
