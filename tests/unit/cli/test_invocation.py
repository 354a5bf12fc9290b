"""How a command ends: its answer, its errors, its exit codes."""

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import typer
from tests.unit.cli.conftest import Done
from typer.testing import CliRunner

from switchyard.api.errors import (
    AuthError,
    ConfigError,
    PermanentError,
    QuotaExhausted,
    SegmentError,
    SwitchyardError,
    TransientError,
)
from switchyard.cli.faults import of_deliveries
from switchyard.cli.invocation import DEBUG, Answer, Invocation, Json, respond
from switchyard.config.errors import ConfigErrors

Work = Callable[[Invocation], Answer]
FAULTY = {"deliveries": [{"audience": "a", "error": "later", "exit_code": 4}, {"audience": "b", "blocked": 3}]}


def end(work: Work, *arguments: str) -> Done:
    """Run a command that does `work`."""
    app = typer.Typer()

    @app.command()
    def command(context: typer.Context, as_json: Json = False) -> None:
        respond(context, as_json, work, lambda console, answer: console.print(answer), of_deliveries)

    done = CliRunner().invoke(app, arguments)
    return Done(done.exit_code, done.stdout, done.stderr)


def raising(error: Exception) -> Work:
    def work(_: Invocation) -> Answer:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (ConfigErrors([ConfigError("x")]), 2),
        (SegmentError("x"), 2),
        (AuthError("x"), 3),
        (TransientError("x"), 4),
        (QuotaExhausted("x", until=datetime(2030, 1, 1)), 4),
        (PermanentError("x"), 1),
        (SwitchyardError("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_the_exit_code_is_that_of_the_error(error: Exception, code: int) -> None:
    assert end(raising(error)).code == code
    assert end(raising(error), "--json").answer["error"]["exit_code"] == code


def test_every_mistake_in_a_configuration_is_told_with_its_place() -> None:
    error = ConfigErrors([ConfigError("bad", file="a.yaml", line=3, key="hub"), ConfigError("worse", file="b.yaml")])
    done = end(raising(error), "--json")
    assert done.stderr == "error: a.yaml:3: hub: bad\nerror: b.yaml: worse\n"
    assert done.answer["error"]["errors"] == [
        {"file": "a.yaml", "line": 3, "key": "hub", "message": "bad"},
        {"file": "b.yaml", "line": None, "key": None, "message": "worse"},
    ]


def test_an_internal_error_shows_places_when_asked_and_never_values(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("ann@example.org")
    plain = end(raising(error))
    monkeypatch.setenv(DEBUG, "1")
    debugged = end(raising(error))
    assert plain.stderr == "internal error: ValueError; this is a bug, please report it\n"
    assert "in work" in debugged.stderr
    assert "ann@" not in plain.stderr + debugged.stderr


def test_parts_that_fail_are_named_and_the_worst_decides() -> None:
    done = end(lambda _: FAULTY, "--json")
    assert done.code == 1
    assert done.answer == FAULTY
    assert "a: later" in done.stderr
    assert "switchyard deliver b --confirm-removals" in done.stderr


def test_a_plugin_that_prints_does_not_spoil_the_answer() -> None:
    def work(_: Invocation) -> Answer:
        print("chatter")
        return {"done": True}

    done = end(work, "--json")
    assert done.answer == {"done": True}
    assert done.stderr == "chatter\n"


def test_secrets_are_hidden_in_errors(tmp_path: Path) -> None:
    (tmp_path / "switchyard.yaml").write_text(
        "connections: {crm: {connector: hubspot, config: {token: '${file:token}'}}}"
    )
    (tmp_path / "token").write_text("pat-very-secret")

    def work(call: Invocation) -> Answer:
        call.project.config("crm")
        raise PermanentError("refused pat-very-secret")

    app = typer.Typer()

    @app.command()
    def command(context: typer.Context, as_json: Json = False) -> None:
        context.obj = tmp_path
        respond(context, as_json, work, lambda *_: None)

    done = CliRunner().invoke(app, ["--json"])
    assert done.exit_code == 1
    assert "very-secret" not in done.output
    assert "***" in done.stdout


def test_importing_the_command_line_is_light() -> None:
    probe = (
        "import sys\n"
        "from switchyard.cli.application import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyarrow', 'duckdb', 'ibis', 'scipy', 'sqlalchemy', 'sqlmodel', 'numpy', 'pydantic', 'httpx'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "segments" in done.stdout
