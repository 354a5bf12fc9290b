"""The journal of a simulator: what was asked of it, so that tests can count calls."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote

from switchyard.testing.simulator_messages import Request

UNDER_WAY = None
DROPPED = 0


@dataclass(slots=True)
class Call:
    """One request as it arrived.

    Args:
        number: from 1, in order of arrival.
        route: the pattern that answered, such as `/lists/{list_id}`; the path where none did.
        at: the simulator's clock, in epoch seconds.
        body: None once `Journal` no longer keeps it.
        status: of the answer; None while under way, 0 where the connection was dropped instead.
    """

    number: int
    method: str
    path: str
    route: str
    query: str
    at: float
    body: bytes | None
    status: int | None = UNDER_WAY

    def json(self) -> Any:
        """The request's body as JSON."""
        if self.body is None:
            raise LookupError(f"the body of call {self.number} is no longer kept; raise keep_bodies")
        return json.loads(self.body)


class Journal:
    """The calls of a simulator, oldest first: bodies of the newest `bodies`, lines of the newest `calls`, and counts
    by route of all there ever were. So a run of any length stays small.
    """

    def __init__(self, *, bodies: int, calls: int = 1_000_000) -> None:
        self.total = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self._bodies = bodies
        self._calls: deque[Call] = deque(maxlen=calls)
        # Calls come in the simulator's thread, and whoever looks at them is in another.
        self._adding = threading.Lock()

    def open(self, request: Request, route: str, at: float) -> Call:
        """Note a request's arrival."""
        self.total += 1
        self.counts[request.method, route] += 1
        body = request.body if self._bodies else None
        call = Call(self.total, request.method, request.path, route, request.query, at, body)
        with self._adding:
            self._calls.append(call)
            if self._bodies and len(self._calls) > self._bodies:
                self._calls[-1 - self._bodies].body = None
        return call

    def calls(self, method: str | None = None, path: str = "", *, since: int = 0) -> list[Call]:
        """The calls after number `since` with this method (None: any) whose decoded path the expression finds."""
        regex = re.compile(path)
        with self._adding:
            first = max(0, since - (self.total - len(self._calls)))
            found = list(islice(self._calls, first, None))
        return [call for call in found if method in (None, call.method) and regex.search(unquote(call.path))]

    def clear(self) -> None:
        """Forget all calls. Numbers go on."""
        self._calls.clear()
        self.counts.clear()
