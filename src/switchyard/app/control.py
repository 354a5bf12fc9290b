"""The door of the engine: a unix socket beside `hub.lock`, by which other processes hand it commands.

One JSON object a line: the command, then any number of `{"progress": …}`, then one `{"answer": …}` or `{"error": …}`.
A caller that goes away cancels its command. Imports nothing heavy: a command that is handed over starts at once.
"""

import contextlib
import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from switchyard import __version__
from switchyard.api.errors import ConfigError, SwitchyardError, TransientError

Answer = dict[str, Any]
Progress = Callable[[str, Mapping[str, Any]], None]
"""Called with what is being done, and how far it is."""
FOLDER = ".switchyard"
"""In the project's folder: what the hub keeps, unless the configuration says otherwise; lock and socket always."""
SOCKET = "hub.sock"


class Cancelled(TransientError):
    """Whoever gave the command has gone away."""


class Refused(SwitchyardError):
    """What the engine answered where a command failed there: `said` is what `described` gave of the error."""

    def __init__(self, said: Answer) -> None:
        super().__init__(said["message"])
        self.exit_code = said["exit_code"]
        self.said = said


def described(error: SwitchyardError, redact: Callable[[str], str]) -> Answer:
    """An error as JSON: its type, message and exit code, and for a wrong configuration every place."""
    if isinstance(error, Refused):
        return error.said
    said: Answer = {"type": type(error).__name__, "message": redact(str(error)), "exit_code": error.exit_code}
    if isinstance(error, ConfigError):
        each = getattr(error, "errors", (error,))
        said["errors"] = [
            {"file": one.file, "line": one.line, "key": one.key, "message": redact(one.message)} for one in each
        ]
    return said


class Request:
    """A command that came through the door, to be carried out by the engine's thread."""

    def __init__(self, connection: socket.socket, command: str, arguments: Mapping[str, Any]) -> None:
        self.command = command
        self.arguments = arguments
        self._connection = connection
        self._gone = threading.Event()
        self._sending = threading.Lock()

    def progress(self, name: str, far: Mapping[str, Any]) -> None:
        """Tell how far the command is.

        Raises:
            Cancelled: nobody is listening any more.
        """
        if self._gone.is_set():
            raise Cancelled("cancelled by whoever gave the command; what was committed stays")
        self._send({"progress": [name, dict(far)]})

    def answer(self, answer: Answer) -> None:
        """The end of the command."""
        self._send({"answer": answer})

    def fail(self, said: Answer) -> None:
        """The end of a command that failed, with the error `described`."""
        self._send({"error": said})

    def give_back(self) -> None:
        """The engine ends, and has not begun with the command."""
        self._send({"answer": None})
        self.close()

    def close(self) -> None:
        # Closing alone does not end the other thread's wait, nor with it the connection.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def wait_until_gone(self) -> None:
        """Block until the caller has closed its side, as it does when it has its answer, or wants none."""
        with suppress(OSError):
            while self._connection.recv(1024):
                continue
        self._gone.set()

    def _send(self, message: Answer) -> None:
        try:
            with self._sending:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._gone.set()


class Door:
    """Open while the context lasts.

    Args:
        folder: where `hub.lock` is; its holder alone opens the door.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.on_request: Callable[[], None] = lambda: None
        """Called when a command has come, in another thread."""
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> "Door":
        # Left behind by an engine that was killed.
        (self._folder / SOCKET).unlink(missing_ok=True)
        with _address(self._folder) as address:
            mask = os.umask(0o177)
            try:
                self._listener.bind(address)
            finally:
                os.umask(mask)
        self._listener.listen()
        threading.Thread(target=self._accept, name="door", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self._folder / SOCKET).unlink(missing_ok=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        while request := self.next():
            request.give_back()

    def next(self, timeout: float | None = 0) -> Request | None:
        """The next command, None where none came in time (seconds; None to wait for ever)."""
        try:
            return self._requests.get(timeout is None or timeout > 0, timeout)
        except queue.Empty:
            return None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._receive, args=(connection,), name="caller", daemon=True).start()

    def _receive(self, connection: socket.socket) -> None:
        # Whoever does not know how to ask is not answered.
        with suppress(OSError, ValueError, KeyError, TypeError), connection:
            with connection.makefile("rb") as lines:
                asked = json.loads(lines.readline(1 << 20))
            request = Request(connection, str(asked["command"]), dict(asked["arguments"]))
            if asked["version"] != __version__:
                other = TransientError(f"the hub at work here is version {__version__}; restart it")
                request.fail(described(other, str))
            else:
                self._requests.put(request)
                self.on_request()
            request.wait_until_gone()


def ask(folder: Path, command: str, arguments: Mapping[str, Any], progress: Progress) -> Answer | None:
    """Hand a command to the engine of a project; None where none is at work, or it ends without having begun.

    Args:
        folder: where `hub.lock` is.

    Raises:
        Refused: the command failed there.
        TransientError: the engine ended before it answered.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with _address(folder) as address:
                connection.connect(address)
        except OSError:
            return None
        asked = {"command": command, "arguments": dict(arguments), "version": __version__}
        connection.sendall(json.dumps(asked).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "progress" in message:
                    progress(*message["progress"])
                elif "error" in message:
                    raise Refused(message["error"])
                else:
                    answer: Answer | None = message["answer"]
                    return answer
    raise TransientError("the hub at work here ended before it answered; try again")


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path; by way of the open folder where it is longer than an address may be."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) < 100:
        yield path
        return
    with contextlib.ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
