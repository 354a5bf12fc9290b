"""A small project, and `switchyard` run in this process."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from switchyard.cli.application import app
from switchyard_connectors.hubspot.simulator import HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC

SETTINGS = """
connections:
  tills:
    connector: pos_csv
    config:
      folder: drop
      ready: rename
      columns: {{order_id: order, line_id: line, sold_at: at, quantity: n, amount: amount, email: mail}}
      formats: "%Y-%m-%d"
  crm:
    connector: hubspot
    config: {{base_url: "{url}", token: "${{file:secrets/token}}"}}
audiences:
  spenders: {{segment: spenders, connection: crm, list: Spenders, fields: {{email: email}}}}
"""
TICKETS = """\
order,line,at,n,amount,mail
1,1,2026-01-01,1,700.00,ann@example.org
2,1,2026-01-02,1,100.00,bob@example.org
2,2,2026-01-02,2,20.00,bob@example.org
3,1,not a day,1,900.00,cyd@example.org
1,1,2026-01-01,1,700.00,ann@example.org
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found


Switchyard = Callable[..., Done]


def call(folder: Path, arguments: Sequence[str]) -> Done:
    done = CliRunner().invoke(app, ["--project", str(folder), *arguments])
    return Done(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def hubspot() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator() as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path: Path, hubspot: HubSpotSimulator) -> Path:
    """A project with a till's file and a HubSpot account."""
    for name in ("drop", "segments", "secrets"):
        (tmp_path / name).mkdir()
    (tmp_path / "switchyard.yaml").write_text(SETTINGS.format(url=hubspot.url))
    (tmp_path / "segments" / "spenders.yaml").write_text("segment: spenders\nwhere: sum(order_completed.total) > 500\n")
    token = tmp_path / "secrets" / "token"
    token.write_text(STATIC)
    token.chmod(0o600)
    (tmp_path / "drop" / "day.csv").write_text(TICKETS)
    return tmp_path


@pytest.fixture
def switchyard(folder: Path) -> Switchyard:
    """Runs a command on the project."""
    return lambda *arguments: call(folder, arguments)
