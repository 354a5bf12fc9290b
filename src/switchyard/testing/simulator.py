"""The base of stateful vendor simulators: real HTTP on a free port, a journal, scripted faults, a control API.

A simulator registers handlers with `route` and keeps the vendor's state in plain dicts. Handlers run one at a time in
the server's thread, so they need no locks. Tests use it as a context manager; `serve` runs it in the foreground.

Beside the vendor's paths it answers, to whoever runs it as a process:

========================== ==========================================================================
GET /_simulator/calls      `?since=N`: calls after number N, counted by method and route, and the last number
GET /_simulator/journal    `?since=N&limit=M`: the calls themselves, without bodies
GET /_simulator/state      what the vendor's system holds, in brief
POST /_simulator/script    `{"method", "path", "steps": [...]}`: script faults (see `fault_from_json`)
DELETE /_simulator/script  forget what was scripted
POST /_simulator/settings  `{"latency": seconds}`
POST /_simulator/edit/NAME a change made by hand inside the vendor's system; the body holds its arguments
========================== ==========================================================================
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from switchyard.testing.simulator_faults import (
    DailyQuota,
    Fault,
    ManualClock,
    RateWindow,
    Script,
    fault_from_json,
)
from switchyard.testing.simulator_journal import DROPPED, Call, Journal
from switchyard.testing.simulator_messages import (
    Answer,
    Handler,
    Malformed,
    Refusal,
    Request,
    Route,
    Router,
    read_request,
    send_answer,
)

__all__ = [
    "Answer",
    "Call",
    "DailyQuota",
    "Fault",
    "Handler",
    "ManualClock",
    "RateWindow",
    "Refusal",
    "Request",
    "Route",
    "Simulator",
    "SimulatorOptions",
]

CONTROL = "/_simulator/"
_PAUSE = 0.2
"""Seconds between two times of keeping what a simulator holds, at least."""
Clock: TypeAlias = Callable[[], float]
Moment: TypeAlias = Literal["before", "applied", "answered"]


class SimulatorOptions(TypedDict, total=False):
    """What every simulator takes by keyword.

    port: to listen on; 0, the default, for any free one. seed: of everything random, so that a run can be repeated.
    clock: the vendor's, in epoch seconds. latency: seconds that every call takes before it is looked at. keep_bodies:
    how many of the newest request bodies the journal keeps.
    """

    port: int
    seed: int
    clock: Clock
    latency: float
    keep_bodies: int


class Simulator:
    """A vendor's API on 127.0.0.1. The options are those of `SimulatorOptions`."""

    def __init__(self, **options: Unpack[SimulatorOptions]) -> None:
        # Repeatable on purpose; guards nothing.
        self.random = random.Random(options.get("seed", 0))  # noqa: S311
        self.clock = options.get("clock", time.time)
        self.latency = options.get("latency", 0.0)
        self.changes = 0
        self.journal = Journal(bodies=options.get("keep_bodies", 2_000))
        self._port = options.get("port", 0)
        self._router = Router()
        self._control = _control_routes(self)
        self._script = Script()
        self._watches: dict[tuple[int, Moment], Callable[[], object]] = {}
        self._failures: list[Exception] = []
        self._listener: socket.socket | None = None
        self._running: tuple[_Server, threading.Thread] | None = None

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Answer `method` on paths like `pattern` (`/lists/{list_id}`) by `handler`."""
        self._router.add(Route(method, pattern, handler))

    def admit(self, request: Request, route: Route) -> Answer | None:  # noqa: ARG002
        """The refusal of a request, before its handler sees it (sign-in, limits), or None. For vendors to override."""
        return None

    def decorate(self, request: Request, route: Route, answer: Answer) -> Answer:  # noqa: ARG002
        """The answer with what the vendor adds to every answer (limit headers). For vendors to override."""
        return answer

    def not_found(self, request: Request) -> Answer:
        """The answer where no route matches. For vendors to override."""
        return Answer(404, {"message": f"no such path: {request.method} {request.path}"})

    def malformed(self, reason: str) -> Answer:
        """The answer to a body that cannot be read. For vendors to override."""
        return Answer(400, {"message": reason})

    def state(self) -> dict[str, Any]:
        """What the vendor's system holds, in brief, for the control API. For vendors to override."""
        return {}

    def edits(self) -> Mapping[str, Callable[..., Any]]:
        """Changes made by hand inside the vendor's system, by name, for the control API. For vendors to override."""
        return {}

    def script(self, method: str | None, path: str, steps: Iterable[Answer | Fault | None]) -> None:
        """Let the next matching calls take these steps, one each: an answer, a fault, or None for nothing unusual.

        `method` None means any; `path` is a regular expression to be found in the path. The steps may be endless
        (`itertools.repeat(Answer(503))`). A scripted answer is given before sign-in and limits are looked at.
        """
        self._script.add(method, path, steps)

    def forget_script(self) -> None:
        """Drop what was scripted and not yet used."""
        self._script.clear()

    def at_call(self, number: int, callback: Callable[[], object], moment: Moment = "before") -> None:
        """Call back when the call with this number (from 1) arrives, is applied but not answered, or is answered."""
        self._watches[number, moment] = callback

    def calls(self, method: str | None = None, path: str = "", *, since: int = 0) -> list[Call]:
        """The calls so far, oldest first; see `Journal.calls`."""
        return self.journal.calls(method, path, since=since)

    def count(self, method: str | None = None, path: str = "", *, since: int = 0) -> int:
        """How many such calls there were."""
        return len(self.journal.calls(method, path, since=since))

    @property
    def url(self) -> str:
        """The base URL, once started."""
        if self._listener is None:
            raise RuntimeError("the simulator is not running; use it as a context manager")
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> Self:
        """Serve from a thread of its own. The port answers when this returns."""
        server = self._server()
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [self._listener]}, name=type(self).__name__, daemon=True
        )
        thread.start()
        server.ready.wait()
        self._running = server, thread
        return self

    def stop(self) -> None:
        """Stop serving. Raises the first error that a handler met: a faulty simulator proves nothing."""
        if self._running is not None:
            server, thread = self._running
            server.should_exit = True
            thread.join()
        if self._listener is not None:
            self._listener.close()
        self._running = self._listener = None
        if self._failures:
            raise self._failures[0]

    def serve(self, announce: Callable[[str], object] = print, keep: Callable[[], object] | None = None) -> None:
        """Serve in the foreground until interrupted.

        Args:
            announce: told the base URL.
            keep: called between two calls, soon after one that may have changed something, to write down what the
                vendor's system holds. Whoever kills the process loses what was not kept, a fraction of a second.
        """
        server = self._server(_Keeping(self, keep).look if keep else None)
        # Not before the server listens to signals: whoever reads the address may send one at once.
        server.announce = lambda: announce(self.url)
        try:
            server.run(sockets=[self._listener] if self._listener else None)
        finally:
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _server(self, tick: Callable[[], object] | None = None) -> _Server:
        # The protocol is named because asyncio sends without delay only where it is; else each answer takes 40 ms.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self._listener.listen(128)
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=_Connection,
            loop="asyncio",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            # Longer than clients keep idle connections, so that the simulator is not the one to close them.
            timeout_keep_alive=75,
        )
        return _Server(config, tick)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await read_request(scope, receive)
        if request.path.startswith(CONTROL):
            await send_answer(send, self._answer(self._control, request))
            return
        found = self._router.find(request.method, request.path)
        call = self.journal.open(request, found[0].pattern if found else request.path, self.clock())
        fault = self._script.take(request.method, request.path)
        self._watch(call, "before")
        await asyncio.sleep(self.latency + fault.delay)
        if fault.call is not None:
            fault.call()
        if fault.drop == "before":
            await _drop(call, scope, receive)
            return
        answer = fault.answer or self._answer(self._router, request)
        self._watch(call, "applied")
        if fault.drop == "after":
            await _drop(call, scope, receive)
            return
        call.status = answer.status
        if not await send_answer(send, answer, fault.truncate):
            await _close(scope, receive)
        self._watch(call, "answered")

    def _answer(self, router: Router, request: Request) -> Answer:
        found = router.find(request.method, request.path)
        if found is None:
            return self.not_found(request)
        route, params = found
        request = Request(request.method, request.path, request.query, request.headers, request.body, params)
        gated = router is self._router
        try:
            answer = (self.admit(request, route) if gated else None) or route.handler(request)
        except Refusal as refusal:
            answer = refusal.answer
        except Malformed as error:
            answer = self.malformed(str(error))
        except Exception as error:  # kept for stop(), which raises it
            self._failures.append(error)
            answer = Answer(500, {"message": f"the simulator failed: {type(error).__name__}"})
        if request.method != "GET":
            self.changes += 1
        return self.decorate(request, route, answer) if gated else answer

    def _watch(self, call: Call, moment: Moment) -> None:
        if callback := self._watches.pop((call.number, moment), None):
            callback()


class _Keeping:
    """Keeps what a simulator holds, so seldom that it takes a tenth of the time at most."""

    def __init__(self, simulator: Simulator, keep: Callable[[], object]) -> None:
        self._simulator = simulator
        self._keep = keep
        self._kept = 0
        self._due = 0.0

    def look(self) -> None:
        """Keep, where something may have changed and it is time."""
        begun = time.monotonic()
        if self._simulator.changes == self._kept or begun < self._due:
            return
        self._kept = self._simulator.changes
        self._keep()
        ended = time.monotonic()
        self._due = ended + max(_PAUSE, 9 * (ended - begun))


class _Server(uvicorn.Server):
    """Starts and stops at once: a suite does so hundreds of times, and nobody waits for a simulator's last words."""

    def __init__(self, config: uvicorn.Config, tick: Callable[[], object] | None) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._tick = tick
        self.announce: Callable[[], object] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()
        self.announce()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)
            if self._tick is not None:
                self._tick()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        for server in self.servers:
            server.close()
        for task in self.server_state.tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        while self.server_state.connections:
            await asyncio.sleep(0)


class _Connection(H11Protocol):
    """Hands its transport to the application, so that a connection can be dropped in mid-call."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent does
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def _drop(call: Call, scope: Scope, receive: Receive) -> None:
    call.status = DROPPED
    await _close(scope, receive)


async def _close(scope: Scope, receive: Receive) -> None:
    scope["state"]["transport"].close()
    while (await receive())["type"] != "http.disconnect":
        pass


def _control_routes(simulator: Simulator) -> Router:
    router = Router()

    def add(method: str, path: str, handler: Handler) -> None:
        router.add(Route(method, CONTROL + path, handler))

    def calls(request: Request) -> Answer:
        since = int(request.arguments().get("since", 0))
        if since == 0:
            counts = dict(simulator.journal.counts)
        else:
            counts = Counter((call.method, call.route) for call in simulator.calls(since=since))
        rows = [{"method": method, "route": route, "count": count} for (method, route), count in sorted(counts.items())]
        return Answer(body={"last": simulator.journal.total, "total": sum(counts.values()), "calls": rows})

    def journal(request: Request) -> Answer:
        arguments = request.arguments()
        found = simulator.calls(since=int(arguments.get("since", 0)))[: int(arguments.get("limit", 1_000))]
        names = ("number", "method", "path", "route", "query", "at", "status")
        return Answer(body={"calls": [{name: getattr(call, name) for name in names} for call in found]})

    def script(request: Request) -> Answer:
        wanted = request.json()
        simulator.script(wanted.get("method"), wanted["path"], [fault_from_json(step) for step in wanted["steps"]])
        return Answer(204)

    def forget(_: Request) -> Answer:
        simulator.forget_script()
        return Answer(204)

    def settings(request: Request) -> Answer:
        simulator.latency = float(request.json()["latency"])
        return Answer(204)

    def edit(request: Request) -> Answer:
        known = simulator.edits()
        name = request.params["name"]
        if name not in known:
            return Answer(404, {"message": f"no edit {name!r}; there are {', '.join(sorted(known))}"})
        return Answer(body={"result": known[name](**(request.json() if request.body else {}))})

    add("GET", "calls", calls)
    add("GET", "journal", journal)
    add("GET", "state", lambda _: Answer(body=simulator.state()))
    add("POST", "script", script)
    add("DELETE", "script", forget)
    add("POST", "settings", settings)
    add("POST", "edit/{name}", edit)
    return router
