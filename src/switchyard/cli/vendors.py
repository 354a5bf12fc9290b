"""The commands around plugins: connectors, plugins, simulate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from switchyard.cli import printing, stopping, tables
from switchyard.cli.invocation import Answer, Invocation, Json, respond

Vendor = Annotated[str, typer.Argument(help="The connector's name; `switchyard connectors` lists those with one.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Where to listen on 127.0.0.1; 0 for any free port.")]
StateFile = Annotated[
    Path | None, typer.Option("--state", metavar="FILE", help="Keep what the vendor's system holds over restarts.")
]


def connectors(context: typer.Context, as_json: Json = False) -> None:
    """List the connectors there are: what they can do, and which plugin brings them."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.inspection import connectors

        return connectors(call.folder)

    respond(context, as_json, work, tables.connectors)


def plugins(context: typer.Context, as_json: Json = False) -> None:
    """List the plugins that are loaded, and those that are broken, with the error."""

    def work(call: Invocation) -> Answer:
        from switchyard.app.inspection import plugins

        return plugins(call.folder)

    respond(context, as_json, work, tables.plugins)


def simulate(
    context: typer.Context, vendor: Vendor, port: Port = 0, state: StateFile = None, as_json: Json = False
) -> None:
    """Run a stand-in for a vendor's API on this machine until stopped by Ctrl-C."""
    stdout = sys.stdout

    def announce(found: Answer) -> None:
        # Whoever starts it waits for the address, so it cannot be the answer at the end.
        if as_json:
            stdout.write(json.dumps(found) + "\n")
        else:
            tables.simulated(printing.console(stdout), found)
        stdout.flush()

    def work(call: Invocation) -> None:
        from switchyard.app.simulators import serve

        stopping.expect()
        serve(call.folder, vendor, port, state, announce)

    respond(context, as_json, work, lambda *_: None)
