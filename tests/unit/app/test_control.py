"""The door of the engine: real sockets, an engine that is a few lines."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from switchyard.api.errors import ConfigError, TransientError
from switchyard.app import control
from switchyard.app.control import Cancelled, Door, Refused, Request, ask, described


def silent(*_: Any) -> None:
    """Progress that nobody shows."""


@contextmanager
def engine(folder: Path, requests: int, work: Any) -> Iterator[None]:
    """An engine that carries out so many commands by `work`."""
    with Door(folder) as door:

        def attend() -> None:
            for _ in range(requests):
                request = door.next(30)
                assert request is not None
                work(request)
                request.close()

        thread = threading.Thread(target=attend)
        thread.start()
        yield
        thread.join(30)
        assert not thread.is_alive()


def test_nobody_at_work(tmp_path: Path) -> None:
    assert ask(tmp_path, "run", {}, silent) is None


def test_a_command_and_its_answer(tmp_path: Path) -> None:
    def work(request: Request) -> None:
        request.answer({"command": request.command, **request.arguments})

    with engine(tmp_path, 1, work):
        assert ask(tmp_path, "sync", {"connection": "tills"}, silent) == {"command": "sync", "connection": "tills"}


def test_progress_comes_before_the_answer(tmp_path: Path) -> None:
    def work(request: Request) -> None:
        for read in (1, 2):
            request.progress("tills/lines", {"read": read})
        request.answer({})

    told: list[Any] = []
    with engine(tmp_path, 1, work):
        ask(tmp_path, "sync", {}, lambda name, far: told.append((name, far["read"])))
    assert told == [("tills/lines", 1), ("tills/lines", 2)]


def test_an_error_keeps_its_exit_code(tmp_path: Path) -> None:
    said = described(ConfigError("no such stream"), str)
    with engine(tmp_path, 1, lambda request: request.fail(said)), pytest.raises(Refused) as refused:
        ask(tmp_path, "sync", {}, silent)
    assert described(refused.value, str) == said
    assert refused.value.exit_code == ConfigError.exit_code


def test_several_callers_each_get_their_own_answer(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}

    def call(number: int) -> None:
        answers[number] = ask(tmp_path, "echo", {"number": number}, silent)

    with engine(tmp_path, 20, lambda request: request.answer(dict(request.arguments))):
        callers = [threading.Thread(target=call, args=(number,)) for number in range(20)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert answers == {number: {"number": number} for number in range(20)}


def test_a_caller_that_dies_cancels_its_command_and_no_other(tmp_path: Path) -> None:
    told = threading.Event()
    outcome: list[str] = []

    def work(request: Request) -> None:
        if request.command == "echo":
            request.answer({})
            return
        told.wait(30)
        try:
            while True:
                request.progress("tills/lines", {})
        except Cancelled as cancelled:
            outcome.append(str(cancelled))

    code = "import sys; from pathlib import Path; from switchyard.app.control import ask\n"
    code += "ask(Path(sys.argv[1]), 'sync', {}, lambda *_: print('far', flush=True))"
    with engine(tmp_path, 2, work):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told.set()
        assert process.stdout.readline() == "far\n"
        process.kill()
        process.communicate()
        assert ask(tmp_path, "echo", {}, silent) == {}
    assert outcome == ["cancelled by whoever gave the command; what was committed stays"]


def test_a_socket_that_a_killed_engine_left_is_nobody_and_is_taken_over(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / control.SOCKET))
    left.close()
    assert ask(tmp_path, "run", {}, silent) is None
    with engine(tmp_path, 1, lambda request: request.answer({})):
        assert ask(tmp_path, "run", {}, silent) == {}
    assert not (tmp_path / control.SOCKET).exists()


def test_a_caller_of_another_version_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Door(tmp_path) as door, monkeypatch.context() as patched:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / control.SOCKET))
            caller.sendall(json.dumps({"command": "run", "arguments": {}, "version": "0.0.0"}).encode() + b"\n")
            said = json.loads(caller.makefile("rb").readline())
        assert "restart it" in said["error"]["message"]
        assert said["error"]["exit_code"] == TransientError.exit_code
        patched.setattr(control, "__version__", "0.0.1")
        assert door.next() is None


@pytest.mark.parametrize("junk", [b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"command": 1}\n', b""])
def test_what_is_no_command_is_nobodys(tmp_path: Path, junk: bytes) -> None:
    with engine(tmp_path, 1, lambda request: request.answer({})):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / control.SOCKET))
            caller.sendall(junk)
        assert ask(tmp_path, "run", {}, silent) == {}


def test_a_folder_whose_path_is_longer_than_an_address(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    with engine(deep, 1, lambda request: request.answer({})):
        assert ask(deep, "run", {}, silent) == {}


def test_only_the_owner_may_knock(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Door(tmp_path):
            assert (tmp_path / control.SOCKET).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_an_engine_that_ends_gives_back_what_it_has_not_begun(tmp_path: Path) -> None:
    answers: list[Any] = []
    came = threading.Event()
    with Door(tmp_path) as door:
        door.on_request = came.set
        caller = threading.Thread(target=lambda: answers.append(ask(tmp_path, "run", {}, silent)))
        caller.start()
        assert came.wait(30)
    caller.join(30)
    assert answers == [None]


def test_an_engine_that_dies_before_it_answers_says_so_to_nobody(tmp_path: Path) -> None:
    def work(request: Request) -> None:
        request.progress("tills/lines", {})

    with engine(tmp_path, 1, work), pytest.raises(TransientError, match="ended before it answered"):
        ask(tmp_path, "run", {}, silent)
