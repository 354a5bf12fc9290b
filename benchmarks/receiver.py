"""The receiver against two FastAPI applications, all under uvicorn, the senders on the same processors.

    python benchmarks/receiver.py [SECONDS] [RUNS]

Each run asks all of them one after the other, each in a process of its own with 32 connections that send the next
request when the last one is answered, and gives ratios within the run: machines are shared and noisy.

commits   FastAPI and SQLModel, as one would write it: a row and a commit per request, synchronous=FULL
nothing   FastAPI that reads the JSON and keeps nothing
webhook   Switchyard: GitHub's signature checked, delivery ids remembered, durable before the answer
batches   Switchyard's tracking API: batches of 100 events, durable before the answer

Goals: webhook ≥ 8 × commits, ≥ 0.6 × nothing, p99 < 50 ms; batches ≥ 30,000 events a second.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

SECONDS, RUNS, CONNECTIONS, EVENTS = 4.0, 3, 32, 100
SECRET = "It's a Secret to Everybody"
KEY = "a-write-key"


def main(seconds: float, runs: int) -> None:
    print(f"{os.cpu_count()} processors, {CONNECTIONS} connections, {seconds:.0f} s each")
    ratios: dict[str, list[float]] = {"commits": [], "nothing": []}
    for _ in range(runs):
        rates: dict[str, float] = {}
        for name in ("commits", "nothing", "webhook", "batches"):
            with _serving(name) as (port, process):
                made = _batch if name == "batches" else _hook
                asyncio.run(_load(port, made, min(1.0, seconds)))
                before = _processor(process)
                times, took = asyncio.run(_load(port, made, seconds))
                used = (_processor(process) - before) / len(times) * 1e6
            rates[name] = len(times) / took
            p50, p99 = (statistics.quantiles(times, n=100)[place] * 1_000 for place in (49, 98))
            events = f" {rates[name] * EVENTS:>8,.0f} events/s" if name == "batches" else ""
            rate = f"{name:8} {rates[name]:>8,.0f} requests/s"
            print(f"{rate}  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  {used:5.0f} µs cpu{events}")
        for peer, of_peer in ratios.items():
            of_peer.append(rates["webhook"] / rates[peer])
            print(f"webhook is {of_peer[-1]:.2f} × {peer}")
    for peer, of_peer in ratios.items():
        print(f"median: webhook is {statistics.median(of_peer):.2f} × {peer}")


def _hook(number: int) -> tuple[str, dict[str, str], bytes]:
    order = {"order": number, "email": f"person{number}@example.org", "total": "19.90", "lines": [{"sku": "a"}] * 8}
    body = json.dumps(order).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    given = {
        "x-github-delivery": f"{os.getpid()}-{number}-{time.time_ns()}",
        "x-hub-signature-256": f"sha256={signature}",
    }
    return "/hooks/shop", given, body


def _batch(number: int) -> tuple[str, dict[str, str], bytes]:
    events = [
        {
            "type": "track",
            "event": "product_viewed",
            "userId": f"{number}-{each}",
            "messageId": f"{number}-{each}-{time.time_ns()}",
            "timestamp": "2026-03-01T12:00:00Z",
            "properties": {"sku": "a-17", "price": 19.9},
        }
        for each in range(EVENTS)
    ]
    user = base64.b64encode(f"{KEY}:".encode()).decode()
    return "/v1/batch", {"authorization": f"Basic {user}"}, json.dumps({"batch": events}).encode()


class _Sender(asyncio.Protocol):
    """One connection: sends a request when the one before it is answered."""

    def __init__(self, next_request: Callable[[], bytes | None], times: list[float]) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._next = next_request
        self._times = times
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length):
            assert head.startswith(b"HTTP/1.1 200"), self._received
            self._times.append(time.perf_counter() - self._since)
            self._received = b""
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("closed by the server"))

    def _send(self) -> None:
        request = self._next()
        if request is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._since = time.perf_counter()
        self._transport.write(request)


async def _load(
    port: int, made: Callable[[int], tuple[str, dict[str, str], bytes]], seconds: float
) -> tuple[list[float], float]:
    """Seconds that each request took, and that all took. What is sent was made before."""
    count = int(seconds * (1_500 if made is _batch else 10_000))
    requests = iter([_spelt(*made(number)) for number in range(count)])
    end = time.perf_counter() + seconds
    started = time.perf_counter()
    times: list[float] = []

    def following() -> bytes | None:
        return next(requests, None) if time.perf_counter() < end else None

    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(lambda: _Sender(following, times), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(sender.ended for sender in senders))
    return times, time.perf_counter() - started


def _spelt(path: str, headers: dict[str, str], body: bytes) -> bytes:
    given = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body)), **headers}
    head = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(head).encode() + body


@contextmanager
def _serving(name: str) -> Iterator[tuple[int, int]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as folder:
        process = subprocess.Popen([sys.executable, __file__, f"--{name}", folder, str(port)])
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.kill()
            process.wait()


def _processor(process: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peer(name: str, folder: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from sqlalchemy import JSON, Column, create_engine, event
    from sqlmodel import Field, Session, SQLModel

    class Delivery(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)
        connection: str
        payload: Any = Field(sa_column=Column(JSON))

    app = FastAPI()
    engine = create_engine(f"sqlite:///{folder}/peer.db")

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    if name == "commits":
        SQLModel.metadata.create_all(engine)

        @app.post("/hooks/{connection}")
        def keep(connection: str, payload: dict[str, Any]) -> dict[str, bool]:
            with Session(engine) as session:
                session.add(Delivery(connection=connection, payload=payload))
                session.commit()
            return {"success": True}
    else:

        @app.post("/hooks/{connection}")
        async def drop(connection: str, payload: dict[str, Any]) -> dict[str, bool]:  # noqa: ARG001  # as the other
            return {"success": True}

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
        uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, loop="asyncio")).run([listening])


def _switchyard(folder: str, port: int) -> None:
    from switchyard.api.receiving import Receiver
    from switchyard.server.routes import routes
    from switchyard.server.service import ReceiverServer
    from switchyard.store.database import Database
    from switchyard.store.inbox import Inbox

    def receiver(module: str, **config: str) -> Receiver:
        import importlib

        spec = importlib.import_module(f"switchyard_connectors.{module}").SOURCE
        return spec.receiver(spec.config(**config))

    receivers = {
        "shop": receiver("webhook", scheme="github", secrets=SECRET),
        "web": receiver("tracking", write_keys=KEY),
    }
    server = ReceiverServer(routes(receivers), Inbox(Database(f"sqlite:///{Path(folder) / 'store.db'}")))
    asyncio.run(server.serve("127.0.0.1", port))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("--commits" | "--nothing") as peer, place, number]:
            _peer(peer[2:], place, int(number))
        case ["--webhook" | "--batches", place, number]:
            _switchyard(place, int(number))
        case given:
            main(
                *(convert(text) for convert, text in zip((float, int), given, strict=False)),
                *(SECONDS, RUNS)[len(given) :],
            )
