"""Run as `python receiving.py STORE_URL PORT`: a receiver that takes everything, until it is killed.

Also the senders of its tests, who send each delivery again until it is answered with a 2xx.
"""

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from switchyard.api.receiving import Accepted, Incoming, Verdict
from switchyard.server.routes import routes
from switchyard.server.service import ReceiverServer
from switchyard.store.database import Database
from switchyard.store.inbox import Inbox

HOST = "127.0.0.1"


class Open:
    def check(self, incoming: Incoming) -> Verdict:
        return Accepted(incoming.headers.get("id"), incoming.body, {})


def serve(url: str, port: int) -> None:
    server = ReceiverServer(routes({"shop": Open()}), Inbox(Database(url)))
    server.start(HOST, port)
    print("ready", flush=True)
    signal.pause()


class Child:
    """A receiver in a process of its own, started again on the same port after each kill.

    Args:
        url: of its store.
        before: the words in front of its command, to start it within something else.
    """

    def __init__(self, url: str, before: tuple[str, ...] = ()) -> None:
        self._command = [*before, sys.executable, __file__, url]
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        if not self.port:
            with closing(socket.create_server((HOST, 0))) as free:
                self.port = free.getsockname()[1]
        self.process = subprocess.Popen([*self._command, str(self.port)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@contextmanager
def receiver(url: str, before: tuple[str, ...] = ()) -> Iterator[Child]:
    """A running receiver."""
    child = Child(url, before)
    child.start()
    try:
        yield child
    finally:
        child.kill()


@dataclass
class Senders:
    """Senders at work on one receiver, each with deliveries of its own, named `sender-number`."""

    port: int
    count: int = 8
    size: int = 300
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(self.count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Every delivery that was begun is sent until it is taken."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int, *statuses: int) -> None:
        """Return when so many more answers with one of these statuses came."""
        before = self._seen(statuses)
        deadline = time.monotonic() + 60
        while self._seen(statuses) < before + count:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)

    def _seen(self, statuses: tuple[int, ...]) -> int:
        return sum(self.statuses[status] for status in statuses)

    def _send(self, sender: int) -> None:
        number = 0
        while not self._ended.is_set():
            name = f"{sender}-{number}"
            body = name.encode().ljust(self.size)
            while not self._is_taken(name, body):
                time.sleep(0.01)
            self.acknowledged.add(name)
            number += 1

    def _is_taken(self, name: str, body: bytes) -> bool:
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=30)) as connection:
            try:
                connection.request("POST", "/hooks/shop", body, {"id": name})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return False
        self.statuses[answer.status] += 1
        if answer.status in (429, 503) and not answer.headers["Retry-After"]:
            self.without_retry_after += 1
        return answer.status == 200


@contextmanager
def senders(child: Child, **options: int) -> Iterator[Senders]:
    """Senders at work."""
    working = Senders(child.port, **options)
    working.start()
    try:
        yield working
    finally:
        working.stop()


def kept(url: str) -> list[str]:
    """The ids in the inbox, each with the body that was sent under it."""
    store = Database(url)
    inbox = Inbox(store)
    names = []
    for page in inbox.pages("shop"):
        for row in page.select(["id", "body"]).to_pylist():
            assert row["body"].rstrip() == row["id"].encode()
            names.append(row["id"])
    inbox.close()
    store.close()
    return names


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
