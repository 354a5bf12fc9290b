"""A receiver on a free port, and what a test needs to talk to it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switchyard.api.receiving import Accepted, Incoming, Receiver, Refused, Verdict
from switchyard.server.routes import routes
from switchyard.server.service import ReceiverServer
from switchyard.server.settings import Settings
from switchyard.store.database import Database
from switchyard.store.inbox import Delivery, Inbox


class Open:
    """Takes everything; the delivery's id is the header `id`."""

    def check(self, incoming: Incoming) -> Verdict:
        return Accepted(incoming.headers.get("id"), incoming.body, {"url": incoming.url})


class Refusing:
    """Refuses everything."""

    def __init__(self, *refused: Any) -> None:
        self.refused = Refused(*refused)

    def check(self, incoming: Incoming) -> Verdict:
        return self.refused


class Acknowledging:
    """Takes everything, and answers as its sender wants it."""

    def check(self, incoming: Incoming) -> Verdict:
        return Accepted(None, incoming.body, {}, b"<Ack>true</Ack>", "text/xml; charset=utf-8")


class Raising:
    """Breaks its promise."""

    def check(self, incoming: Incoming) -> Verdict:
        raise KeyError(incoming.body)


@dataclass
class Keyed:
    """Takes what has its key, on a path that others have too."""

    key: str
    paths: tuple[str, ...] = ("/v1/track",)

    def check(self, incoming: Incoming) -> Verdict:
        if incoming.headers.get("key") != self.key:
            return Refused(401, "unknown key")
        return Accepted(None, incoming.body, {}) if incoming.body else Refused(400, "nothing in it")


@dataclass
class SlowKeeper:
    """Keeps what it is given when it is allowed to, or fails as it is told."""

    kept: list[Delivery] = field(default_factory=list)
    allowed: threading.Event = field(default_factory=threading.Event)
    is_asked: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None

    def append(self, deliveries: Sequence[Delivery]) -> None:
        self.is_asked.set()
        assert self.allowed.wait(30)
        if self.fault is not None:
            raise self.fault
        self.kept.extend(deliveries)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Answer:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["message"])


class Line:
    """A connection to a receiver, on which a test says what it likes."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self._stream = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer | None:
        """The next answer; None where the connection is closed instead."""
        try:
            first = self._stream.readline()
            if not first:
                return None
            headers = {}
            while (line := self._stream.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                headers[name.decode().lower()] = value.decode().strip()
            body = self._stream.read(int(headers.get("content-length", 0)))
        except ConnectionError:
            return None
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Waits for the end of what the other side says."""
        try:
            return self._stream.read() == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._stream.close()
        self.socket.close()


def request(path: str = "/hooks/shop", body: bytes = b"{}", method: str = "POST", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: evil.example", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Running:
    """A receiver that runs."""

    server: ReceiverServer
    inbox: Inbox | None
    lines: list[Line] = field(default_factory=list)

    def line(self) -> Line:
        """A connection, closed at the end of the test."""
        self.lines.append(Line(self.server.address))
        return self.lines[-1]

    def post(self, path: str = "/hooks/shop", body: bytes = b"{}", **headers: str) -> Answer:
        line = Line(self.server.address)
        try:
            line.send(request(path, body, **headers))
            answer = line.answer()
        finally:
            line.close()
        assert answer is not None
        return answer

    def rows(self, connection: str = "shop") -> list[dict[str, Any]]:
        assert self.inbox is not None
        return [row for page in self.inbox.pages(connection) for row in page.to_pylist()]


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a receiver of these connections; with `keeper`, it keeps nothing in an inbox."""
    ends: list[Callable[[], object]] = []

    def one(
        receivers: dict[str, Receiver] | None = None,
        settings: Settings | None = None,
        keeper: SlowKeeper | None = None,
        **options: Any,
    ) -> Running:
        inbox = None
        if keeper is None:
            store = Database(f"sqlite:///{tmp_path / 'store.db'}")
            inbox = Inbox(store)
            ends.extend([store.close, inbox.close])
        server = ReceiverServer(
            routes({"shop": Open()} if receivers is None else receivers), keeper or inbox, settings, **options
        )
        server.start()
        ends.append(server.stop)
        running = Running(server, inbox)
        ends.append(lambda: [line.close() for line in running.lines])
        return running

    yield one
    for end in reversed(ends):
        end()
