"""The base of stateful vendor simulators: real HTTP on a free port, a journal, scripted faults, a control API.

A simulator registers handlers with `route` and keeps the vendor's state in plain dicts. Handlers run one at a time in
the server's thread, so they need no locks. Tests use it as a context manager; `serve` runs it in the foreground.

A call meets, in this order: a scripted delay (it is on its way), sign-in and limits, its latency, the handler.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack

import uvicorn
from starlette.types import Receive, Scope, Send

from switchyard.testing.simulator_control import CONTROL, control_routes
from switchyard.testing.simulator_delays import Slow, duration
from switchyard.testing.simulator_faults import (
    DailyQuota,
    Fault,
    ManualClock,
    RateWindow,
    Script,
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
from switchyard.testing.simulator_server import Connection, Server

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
    "Slow",
]

_PAUSE = 0.2
"""Seconds between two times of keeping what a simulator holds, at least."""
Clock: TypeAlias = Callable[[], float]
Moment: TypeAlias = Literal["before", "applied", "answered"]


class SimulatorOptions(TypedDict, total=False):
    """What every simulator takes by keyword.

    port: to listen on; 0, the default, for any free one. seed: of everything random, so that a run can be repeated.
    clock: the vendor's, in epoch seconds. latency: seconds that every call takes which no `Slow` of
    `Simulator.slow` matches. keep_bodies: how many of the newest request bodies the journal keeps.
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
        self.slow: list[Slow] = []
        self.changes = 0
        self.journal = Journal(bodies=options.get("keep_bodies", 2_000))
        self._port = options.get("port", 0)
        self._router = Router()
        self._control = control_routes(self)
        self._script = Script()
        self._watches: dict[tuple[int, Moment], Callable[[], object]] = {}
        self._lost: dict[int, Callable[[], object]] = {}
        self._failures: list[Exception] = []
        self._listener: socket.socket | None = None
        self._running: tuple[Server, threading.Thread] | None = None

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

    def settings(self) -> Mapping[str, Callable[[Any], object]]:
        """What the control API can set, by name. For vendors to add to."""
        return {"latency": self._set_latency, "slow": self._set_slow}

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

    def kill_at(self, number: int, kill: Callable[[], object], moment: Moment) -> None:
        """Let `kill` end the caller at its call with this number (from 1): "before" the vendor acted on it, when it
        has "applied" the call and not answered, or when it has "answered".
        """
        if moment == "before":
            self._lost[number] = kill
        else:
            self.at_call(number, kill, moment)

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

    def _server(self, tick: Callable[[], object] | None = None) -> Server:
        # The protocol is named because asyncio sends without delay only where it is; else each answer takes 40 ms.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self._listener.listen(128)
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=Connection,
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
        return Server(config, tick)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await read_request(scope, receive)
        if request is None:
            return
        if request.path.startswith(CONTROL):
            await send_answer(send, self._controlled(request))
            return
        found = self._router.find(request.method, request.path)
        call = self.journal.open(request, found[0].pattern if found else request.path, self.clock())
        fault = self._script.take(request.method, request.path)
        self._watch(call, "before")
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.call is not None:
            fault.call()
        if (kill := self._lost.pop(call.number, None)) is not None:
            kill()
        if fault.drop == "before" or kill is not None:
            await _drop(call, scope, receive)
            return
        answer = fault.answer or await self._answer(found, request)
        self._watch(call, "applied")
        if fault.drop == "after":
            await _drop(call, scope, receive)
            return
        call.status = answer.status
        if not await send_answer(send, answer, fault.truncate):
            await _close(scope, receive)
        self._watch(call, "answered")

    async def _answer(self, found: tuple[Route, dict[str, str]] | None, request: Request) -> Answer:
        if found is None:
            return self.not_found(request)
        route, params = found
        request = Request(request.method, request.path, request.query, request.headers, request.body, params)
        answer = self._tried(lambda: self.admit(request, route))
        if answer is None:
            seconds = duration(self.slow, request.method, request.path, self.random)
            if seconds is None:
                seconds = self.latency
            if seconds:
                await asyncio.sleep(seconds)
            answer = self._tried(lambda: route.handler(request))
            assert answer is not None  # noqa: S101  # every handler answers
        if request.method != "GET":
            self.changes += 1
        return self.decorate(request, route, answer)

    def _tried(self, act: Callable[[], Answer | None]) -> Answer | None:
        try:
            return act()
        except Refusal as refusal:
            return refusal.answer
        except Malformed as error:
            return self.malformed(str(error))
        except Exception as error:  # kept for stop(), which raises it
            self._failures.append(error)
            return Answer(500, {"message": f"the simulator failed: {type(error).__name__}"})

    def _controlled(self, request: Request) -> Answer:
        found = self._control.find(request.method, request.path)
        if found is None:
            return Answer(404, {"message": f"no such path: {request.method} {request.path}"})
        route, params = found
        request = Request(request.method, request.path, request.query, request.headers, request.body, params)
        if request.method != "GET":
            self.changes += 1
        try:
            return route.handler(request)
        except (Malformed, LookupError, TypeError, ValueError) as error:
            return Answer(400, {"message": f"{type(error).__name__}: {error}"})

    def _set_latency(self, seconds: float) -> None:
        self.latency = float(seconds)

    def _set_slow(self, rules: Iterable[Mapping[str, Any]]) -> None:
        self.slow = [Slow.from_json(rule) for rule in rules]

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


async def _drop(call: Call, scope: Scope, receive: Receive) -> None:
    call.status = DROPPED
    await _close(scope, receive)


async def _close(scope: Scope, receive: Receive) -> None:
    scope["state"]["transport"].close()
    while (await receive())["type"] != "http.disconnect":
        pass
