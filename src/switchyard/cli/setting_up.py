"""The commands around a project's configuration: init, check, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from switchyard.cli import tables
from switchyard.cli.faults import of_checkup, of_parts
from switchyard.cli.invocation import Answer, Invocation, Json, respond

Folder = Annotated[Path | None, typer.Argument(metavar="DIR", help="Made where it is missing; default: the project's.")]
Connect = Annotated[bool, typer.Option("--connect", help="Also try every connection that can be tried.")]
OfSegments = Annotated[bool, typer.Option("--segments", help="The schema of the files under segments/ instead.")]


def init(context: typer.Context, folder: Folder = None, as_json: Json = False) -> None:
    """Write a small commented project to start from. Files that are there stay as they are."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.init import init

        return init(folder or call.folder)

    respond(context, as_json, work, tables.initialised)


def check(context: typer.Context, connect: Connect = False, as_json: Json = False) -> None:
    """Say everything that is wrong with the configuration at once, each with its file and line."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.checking import check

        found = check(call.project)
        return found | call.ask("check", "connecting") if connect else found

    respond(context, as_json, work, tables.checked, of_parts)


def schema(context: typer.Context, segments: OfSegments = False, as_json: Json = False) -> None:
    """Print the JSON Schema of switchyard.yaml, for editors."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.inspection import schema

        return schema(call.folder, segments)

    respond(context, as_json, work, tables.schema)


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look for what may go wrong: store, event log, disk, permissions, plugins, clock. Each with its mend.

    Reads only, and disturbs nobody who is at work.
    """

    def work(call: Invocation) -> Answer:
        from switchyard.app.doctor import examine

        return examine(call.folder)

    respond(context, as_json, work, tables.examined, of_checkup)
