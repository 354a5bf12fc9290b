"""`switchyard serve` as a process, and commands beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 60.0
Answer = dict[str, Any]


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "switchyard.cli", "--project", str(folder), *arguments]


def answered(folder: Path, *arguments: str) -> tuple[int, Answer]:
    """A command's exit code and answer."""
    done = subprocess.run(
        command(folder, *arguments, "--json"), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@dataclass
class Serving:
    """A hub that serves: where, and the events of its log so far."""

    url: str
    process: subprocess.Popen[str]
    log: Path
    _seen: int = field(default=0)

    def events(self, *named: str) -> list[Answer]:
        lines = self.log.read_text().splitlines()
        return [event for event in map(json.loads, lines) if not named or event["event"] in named]

    def wait_for(self, *named: str, count: int = 1) -> Answer:
        """Wait until so many of these events were logged; gives the last."""
        return wait_until(lambda: len(found := self.events(*named)) >= count and found[-1], lambda: str(self.events()))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Serving]:
    log = folder / f"serve{len(arguments)}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command(folder, "serve", "--port", "0", "--json", *arguments),
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said, log.read_text()
            yield Serving(json.loads(said)["url"], process, log)
        finally:
            process.kill()
            process.communicate()


def wait_until(found: Callable[[], Any], otherwise: Callable[[], str] = str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < end, otherwise()
        time.sleep(0.01)
    return value
