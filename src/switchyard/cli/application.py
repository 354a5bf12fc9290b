"""All commands, in the order in which `--help` shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from switchyard.cli import people, setting_up, vendors, work
from switchyard.cli.serve import serve

app = typer.Typer(
    help="Pull people and what they did into one profile each, and keep lists exactly right.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Exit codes: 0 done; 1 a person has to look; 2 mend the configuration or the command; 3 sign in anew; "
    "4 try later, nothing is lost; 130 stopped.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"switchyard {version('switchyard-hub')}")
        raise typer.Exit


@app.callback()
def project(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Option("--project", envvar="SWITCHYARD_PROJECT", help="The project's folder.", metavar="DIR"),
    ] = Path(),
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = folder


_PANELS = {
    "A project": (setting_up.init, setting_up.check, setting_up.schema, setting_up.doctor),
    "Work": (work.run, work.sync, work.evaluate, work.deliver, serve, work.status),
    "Plugins": (vendors.connectors, vendors.plugins, vendors.simulate),
}

for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for name, group in people.GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel="People and lists")
