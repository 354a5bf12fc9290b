"""Stand-ins of vendors, found by their connector and kept over restarts."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.cli.conftest import call

from switchyard.api.errors import ConfigError
from switchyard.app.simulators import serve

PLUGIN = """
from switchyard.api import ConnectorConfig, ListSinkSpec, hookimpl
from switchyard.testing.simulator import Answer, Simulator


class Counter(Simulator):
    '''Counts its calls.'''

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = 0
        self.route("POST", "/count", self.count_one)

    def count_one(self, request):
        self.seen += 1
        return Answer(body={"seen": self.seen})

    def dump(self):
        return {"seen": self.seen}

    def load(self, state):
        self.seen = state["seen"]


@hookimpl
def switchyard_connectors():
    simulator = f"{__name__}:Counter"
    return (ListSinkSpec(name="counter", config=ConnectorConfig, build=None, simulator=simulator),)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counter.py").write_text(PLUGIN)
    return tmp_path


def count_once(folder: Path, state: Path) -> int:
    """Serve, let one call be counted, and stop as Ctrl-C does."""
    counted: list[int] = []

    def ask(url: str) -> None:
        counted.append(httpx.post(f"{url}/count").json()["seen"])
        os.kill(os.getpid(), signal.SIGINT)

    def announce(answer: dict[str, Any]) -> None:
        threading.Thread(target=ask, args=[answer["url"]]).start()

    with pytest.raises(KeyboardInterrupt):
        serve(folder, "counter", 0, state, announce)
    return counted[0]


def test_what_a_vendor_holds_outlives_its_stand_in(folder: Path) -> None:
    state = folder / "state.json"
    assert [count_once(folder, state) for _ in range(3)] == [1, 2, 3]
    assert json.loads(state.read_text()) == {"seen": 3}


def test_a_state_that_cannot_be_read_is_left_alone(folder: Path) -> None:
    state = folder / "state.json"
    state.write_text("{}")
    done = call(folder, ["simulate", "counter", "--state", str(state), "--json"])
    assert done.code == 1
    assert "remove it" in done.answer["error"]["message"]
    assert state.read_text() == "{}"


def test_an_unknown_vendor_is_refused_with_those_known(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"counter, .*hubspot"):
        serve(folder, "acme", 0, None, print)
