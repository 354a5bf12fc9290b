"""The commands that do the hub's work: run, sync, evaluate, deliver; and status, which says how it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from switchyard.cli import tables
from switchyard.cli.faults import of_deliveries, of_parts
from switchyard.cli.invocation import Answer, Invocation, Json, respond

Connection = Annotated[str, typer.Argument(help="The connection's name in switchyard.yaml.")]
Stream = Annotated[str | None, typer.Option(help="Only this stream.", metavar="NAME")]
Full = Annotated[bool, typer.Option("--full", help="From the beginning; what is known counts as duplicate.")]
Audience = Annotated[str | None, typer.Argument(help="Only this audience.")]
Everybody = Annotated[bool, typer.Option("--full", help="Ask everybody, not only whom news or time touched.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, without a call.")]
ConfirmRemovals = Annotated[
    bool, typer.Option("--confirm-removals", help="Let removals pass that the guard holds back.")
]


def run(context: typer.Context, as_json: Json = False) -> None:
    """Do everything once: sync all sources, evaluate all segments, deliver all audiences.

    What fails does not keep the rest from its turn; the worst exit code is that of the command.
    """

    def work(call: Invocation) -> Answer:
        from switchyard.app.passes import full_pass

        with call.hub() as hub, call.progress("working") as progress:
            return full_pass(hub, progress)

    respond(context, as_json, work, tables.passed, of_deliveries)


def sync(
    context: typer.Context,
    connection: Connection,
    stream: Stream = None,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Read what is new from a connection, from where each of its streams was left."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.syncs import sync_connection

        with call.hub() as hub, call.progress(f"reading {connection}") as progress:
            return {"syncs": sync_connection(hub, connection, stream, full, progress)}

    respond(context, as_json, work, tables.synced, of_parts)


def evaluate(context: typer.Context, full: Everybody = False, as_json: Json = False) -> None:
    """Bring segments up to now: whom new records touched, whose time has come, and new definitions for everybody."""

    def work(call: Invocation) -> Answer:
        from switchyard.app import segments

        with call.hub() as hub, call.progress("evaluating segments"):
            return segments.evaluate(hub, full)

    respond(context, as_json, work, tables.evaluated)


def deliver(
    context: typer.Context,
    audience: Audience = None,
    dry_run: DryRun = False,
    confirm_removals: ConfirmRemovals = False,
    as_json: Json = False,
) -> None:
    """Make lists what their segments are, read them back, and keep the proof.

    Segments are those of the last `switchyard evaluate`.
    """

    def work(call: Invocation) -> Answer:
        from switchyard.app import audiences

        with call.hub() as hub, call.progress("delivering"):
            return {"deliveries": audiences.deliver(hub, audience, dry_run, confirm_removals)}

    respond(context, as_json, work, tables.delivered, of_parts if dry_run else of_deliveries)


def status(context: typer.Context, as_json: Json = False) -> None:
    """Say how everything stands. Reads the store, and disturbs nobody who is at work."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.status import status

        return status(call.project)

    respond(context, as_json, work, tables.stands)
