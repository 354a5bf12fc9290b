"""One invocation of a command: the project it is for, what it answers, and how it fails."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from switchyard.cli import printing, stopping

if TYPE_CHECKING:
    from rich.console import Console

    from switchyard.app.control import Progress
    from switchyard.app.project import Project

Answer: TypeAlias = dict[str, Any]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on stdout.")]
DEBUG = "SWITCHYARD_DEBUG"
PATIENCE = 10.0
"""Seconds to wait for a hub that is at work and does not answer."""


class Invocation:
    """What a command's work is handed."""

    def __init__(self, folder: Path, as_json: bool) -> None:
        self.folder = folder
        self.as_json = as_json
        self._redact: Callable[[str], str] = str

    @cached_property
    def project(self) -> Project:
        """The project.

        Raises:
            ConfigError: something in its configuration is wrong.
        """
        from switchyard.app.project import open_project

        project = open_project(self.folder)
        self._redact = project.loaded.secrets.redact
        return project

    def ask(self, command: str, doing: str | None = None, **arguments: Any) -> Answer:
        """Have the engine carry out a command: the hub that is at work here, or else this process.

        Args:
            command: its name in `switchyard.app.commands`.
            doing: what to show meanwhile on a terminal.

        Raises:
            SwitchyardError: it failed.
        """
        from switchyard.app import control
        from switchyard.app.lock import Occupied

        folder, patience = self.folder.absolute() / control.FOLDER, time.monotonic() + PATIENCE
        with self.progress(doing) as progress:
            while True:
                answer = control.ask(folder, command, arguments, progress)
                if answer is not None:
                    return answer
                try:
                    return self._carried_out(command, arguments, progress)
                except Occupied:
                    # It has just begun, or is about to end.
                    if time.monotonic() > patience:
                        raise
                    time.sleep(0.05)

    def _carried_out(self, command: str, arguments: Mapping[str, Any], progress: Progress) -> Answer:
        from switchyard.app import commands
        from switchyard.app.hub import Hub

        with Hub(self.project) as hub:
            answer = commands.carry_out(hub, command, arguments, progress)
            commands.attend_waiting(hub)
            return answer

    @contextmanager
    def progress(self, doing: str | None) -> Iterator[Progress]:
        """Say on a terminal what is being done; gives a callback that tells how far it is."""
        console = printing.console(sys.stderr)
        if doing is None or not console.is_terminal:
            yield lambda _name, _far: None
            return
        with console.status(f"{doing} …") as status:

            def far(name: str, done: Mapping[str, Any]) -> None:
                status.update(printing.progress_line(name, done))

            yield far

    def redacted(self, text: str) -> str:
        return self._redact(text)


def asked(command: str, doing: str | None = None, **arguments: Any) -> Callable[[Invocation], Answer]:
    """Work that is a question to the engine; see `Invocation.ask`."""
    return lambda call: call.ask(command, doing, **arguments)


def respond(
    context: typer.Context,
    as_json: bool,
    work: Callable[[Invocation], Answer | None],
    show: Callable[[Console, Answer], None],
    faults: Callable[[Answer], list[tuple[int, str]]] = lambda _: [],
) -> None:
    """Do a command's work, print the answer, and end with the exit code.

    Args:
        work: gives the answer, or None where it printed one itself.
        show: prints the answer for a person.
        faults: what went wrong in the parts of an answer, as (exit code, message). The worst code is the command's.
    """
    invocation = Invocation(context.obj or Path(), as_json)
    try:
        # Logs, and whatever a plugin prints, must not mix with the answer.
        with redirect_stdout(sys.stderr):
            answer = work(invocation)
        if answer is None:
            return
        wrong = faults(answer)
        _print(answer, as_json, show)
    except Exception as error:
        if stopping.asked():
            # DuckDB makes another error of the interruption, and a vendor's client or the store may do so too.
            raise KeyboardInterrupt from None
        raise typer.Exit(_failed(invocation, error)) from None
    for _, message in wrong:
        stopping.say(f"error: {invocation.redacted(message)}")
    if wrong:
        raise typer.Exit(worst(code for code, _ in wrong))


def worst(codes: Iterable[int]) -> int:
    """The worst of some exit codes: a person has to look (1), mend the configuration (2), sign in (3), wait (4)."""
    return min(codes)


def _print(answer: Answer, as_json: bool, show: Callable[[Console, Answer], None]) -> None:
    try:
        if as_json:
            sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        else:
            show(printing.console(sys.stdout), answer)
        sys.stdout.flush()
    except BrokenPipeError:
        stopping.discard_output()


def _failed(invocation: Invocation, error: Exception) -> int:
    """Report an error; gives the exit code."""
    from switchyard.api.errors import SwitchyardError
    from switchyard.app.control import described

    if not isinstance(error, SwitchyardError):
        message = f"internal error: {type(error).__name__}; this is a bug, please report it"
        stopping.say(message)
        if os.environ.get(DEBUG) == "1":
            stopping.say(_frames(error).rstrip())
        said: Answer = {"type": "InternalError", "message": message, "exit_code": 1}
    else:
        said = described(error, invocation.redacted)
        stopping.say("\n".join(f"error: {line}" for line in invocation.redacted(str(error)).splitlines()))
    if invocation.as_json:
        _print({"error": said}, True, lambda *_: None)
    return int(said["exit_code"])


def _frames(error: BaseException) -> str:
    """Where an error came from, and where its cause did. Only places: the texts of errors may hold values."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = _frames(cause) + "which led to\n" if cause else ""
    return f"{before}{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}\n"
