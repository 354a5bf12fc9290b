"""The commands that do the hub's work: run, sync, evaluate, deliver; and status, which says how it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from switchyard.cli import tables
from switchyard.cli.faults import of_deliveries, of_parts
from switchyard.cli.invocation import Answer, Invocation, Json, asked, respond

Connection = Annotated[str, typer.Argument(help="The connection's name in switchyard.yaml.")]
Stream = Annotated[str | None, typer.Option(help="Only this stream.", metavar="NAME")]
Full = Annotated[bool, typer.Option("--full", help="From the beginning; what is known counts as duplicate.")]
Audience = Annotated[str | None, typer.Argument(help="Only this audience.")]
Everybody = Annotated[bool, typer.Option("--full", help="Ask everybody, not only whom news or time touched.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, without a call.")]
ConfirmRemovals = Annotated[
    bool, typer.Option("--confirm-removals", help="Let removals pass that the guard holds back.")
]
RecreateList = Annotated[
    bool,
    typer.Option("--recreate-list", help="Fill the list of the audience's name, found or created, not the known one."),
]


def run(context: typer.Context, as_json: Json = False) -> None:
    """Do everything once: sync all sources, evaluate all segments, deliver all audiences.

    What fails does not keep the rest from its turn; the worst exit code is that of the command.
    """
    work = asked("run", "working")
    respond(context, as_json, work, tables.passed, of_deliveries)


def sync(
    context: typer.Context,
    connection: Connection,
    stream: Stream = None,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Read what is new from a connection, from where each of its streams was left."""
    work = asked("sync", f"reading {connection}", connection=connection, stream=stream, full=full)
    respond(context, as_json, work, tables.synced, of_parts)


def evaluate(context: typer.Context, full: Everybody = False, as_json: Json = False) -> None:
    """Bring segments up to now: whom new records touched, whose time has come, and new definitions for everybody."""
    work = asked("evaluate", "evaluating segments", full=full)
    respond(context, as_json, work, tables.evaluated)


def deliver(
    context: typer.Context,
    audience: Audience = None,
    dry_run: DryRun = False,
    confirm_removals: ConfirmRemovals = False,
    recreate_list: RecreateList = False,
    as_json: Json = False,
) -> None:
    """Make lists what their segments are, read them back, and keep the proof.

    Segments are those of the last `switchyard evaluate`. A list that was deleted is not made anew unless
    `--recreate-list` says so; that is also how an audience changes over to another list.
    """
    work = asked(
        "deliver",
        "delivering",
        audience=audience,
        dry_run=dry_run,
        confirm_removals=confirm_removals,
        recreate_list=recreate_list,
    )
    respond(context, as_json, work, tables.delivered, of_parts if dry_run else of_deliveries)


def status(context: typer.Context, as_json: Json = False) -> None:
    """Say how everything stands. Reads the store, and disturbs nobody who is at work."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.status import status
        from switchyard.scheduling.triggers import trigger

        return status(call.project, lambda schedule, zone, at: trigger(schedule, zone).after(at))

    respond(context, as_json, work, tables.stands)
