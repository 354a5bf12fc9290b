"""The receiver: takes what is posted, has it checked, makes it durable, and only then says so."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any, TypeAlias

from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict
from switchyard.server.protocol import code
from switchyard.server.routes import HOOKS, Routes, Taker
from switchyard.server.settings import Settings
from switchyard.server.writer import Saturated, Writer
from switchyard.store.clock import now
from switchyard.store.inbox import Delivery

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

_DONE = b'{"success":true}'
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_FROM_ANYWHERE = (b"access-control-allow-origin", b"*")
_PREFLIGHT = [
    _FROM_ANYWHERE,
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"content-type, authorization"),
    (b"access-control-max-age", b"86400"),
]


class _Answer(Exception):
    """Ends a request before its delivery is kept. `closes`: what may still be coming is not read."""

    def __init__(
        self, status: int, reason: str, headers: Sequence[tuple[bytes, bytes]] = (), closes: bool = False
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = [*headers, _CLOSE] if closes else headers


class _Gone(Exception):
    """The sender went away before its body was whole."""


class ReceiverApp:
    """An ASGI application.

    Args:
        routes: who takes what. Others may be set while it runs.
        writer: started before the first request.
        rest: the application for all other paths; None for none.
        unready: asked by `/readyz`; a text is why this process should be sent nothing.
        clock: the time, UTC without a zone.
    """

    def __init__(
        self,
        routes: Routes,
        writer: Writer,
        settings: Settings,
        rest: App | None = None,
        *,
        unready: Callable[[], str | None] = lambda: None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        """(connection, or the path where several share it; status) → answers. 0: the sender went away."""
        self.is_draining = False
        self.routes = routes
        self._writer = writer
        self._settings = settings
        self._rest = rest
        self._unready = unready
        self._clock = clock
        self._receiving = 0
        self.base = (settings.public_url or "").rstrip("/")
        """What stands in front of the paths that senders call."""
        self._come_again = (b"retry-after", str(settings.retry_after).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"] if scope["type"] == "http" else ""
        routes = self.routes
        takers = routes.takers.get(path)
        if takers is None:
            await self._elsewhere(path, scope, receive, send)
            return
        who = takers[0][0] if len(takers) == 1 else path
        extra = [_FROM_ANYWHERE] if path in routes.open_paths else []
        if extra and scope["method"] == "OPTIONS":
            await _send(send, 204, b"", _PREFLIGHT)
            return
        most = routes.sizes.get(path, self._settings.body)
        answer = await self._answered(takers, most, scope, receive)
        if isinstance(answer, Accepted):
            self.answers[who, 200] += 1
            said, kind = (_DONE, _JSON) if answer.answer is None else (answer.answer, _typed(answer.answer_type))
            await _send(send, 200, said, [kind, *extra])
        else:
            self.answers[who, answer.status] += 1
            if answer.status:
                await _send(send, answer.status, _said(answer), [_JSON, *answer.headers, *extra])

    async def _elsewhere(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path in ("/healthz", "/readyz"):
            why_not = self._why_not() if path == "/readyz" else None
            body = _DONE if why_not is None else _said(_Answer(503, why_not))
            await _send(send, 200 if why_not is None else 503, body, [_JSON])
        elif self._rest is not None and not path.startswith(HOOKS):
            await self._rest(scope, receive, send)
        elif scope["type"] == "http":
            self.answers["", 404] += 1
            nobody = _Answer(404, "nobody receives here", closes=True)
            await _send(send, 404, _said(nobody), [_JSON, *nobody.headers])

    def _why_not(self) -> str | None:
        if self.is_draining:
            return "going down"
        return "the inbox is not available" if self._writer.fault else self._unready()

    async def _answered(self, takers: Sequence[Taker], most: int, scope: Scope, receive: Receive) -> _Answer | Accepted:
        """`Accepted` where the request was kept, durably."""
        try:
            return await self._take(takers, most, scope, receive)
        except _Answer as answer:
            return answer
        except _Gone:
            return _Answer(0, "")
        except asyncio.CancelledError:
            # The server ends and waits no longer.
            return self._later(503, "going down", closes=True)
        except Exception as error:
            # Its text may hold what was sent.
            log.error("a request failed: %s", type(error).__name__)  # noqa: TRY400
            return self._later(503, "this could not be received")

    async def _take(self, takers: Sequence[Taker], most: int, scope: Scope, receive: Receive) -> Accepted:
        if scope["method"] != "POST":
            raise _Answer(405, "only POST is received here", [(b"allow", b"POST")], closes=True)
        if self.is_draining:
            raise self._later(503, "going down", closes=True)
        headers = self._headers(scope["headers"])
        body = await self._body(receive, headers.get("content-length"), most)
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        incoming = Incoming("POST", self.base + target.decode("latin-1"), headers, body, self._clock())
        connection, verdict = _asked(takers, incoming)
        if isinstance(verdict, Refused):
            if verdict.retry_after is not None or verdict.status in (429, 503):
                raise self._later(verdict.status, verdict.reason, after=verdict.retry_after)
            raise _Answer(verdict.status, verdict.reason)
        try:
            kept = self._writer.keep(Delivery(connection, verdict.id, verdict.headers, verdict.body, incoming.at))
        except Saturated:
            raise self._later(429, "too much is waiting") from None
        if await kept is not None:
            raise self._later(503, "the inbox is not available")
        return verdict

    def _headers(self, given: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
        limits = self._settings
        if len(given) > limits.headers or sum(len(name) + len(value) for name, value in given) > limits.head:
            raise _Answer(431, "too many or too long headers", closes=True)
        headers: dict[str, str] = {}
        for raw, value in given:
            name, text = raw.decode("latin-1"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        return headers

    async def _body(self, receive: Receive, length: str | None, most: int) -> bytes:
        """The whole body. One that is somewhat too large is read to its end, so that its sender reads the answer."""
        patience = 4 * most
        too_large = _Answer(413, f"a body may have {most} bytes")
        if length is not None and int(length) > patience:
            raise _Answer(413, too_large.reason, closes=True)
        parts: list[bytes] = []
        size = held = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                part = message["body"]
                size += len(part)
                if size > patience:
                    raise _Answer(413, too_large.reason, closes=True)
                if size <= most:
                    parts.append(part)
                if not message["more_body"]:
                    break
                self._receiving += len(part)
                held += len(part)
                if self._receiving > self._settings.receiving_bytes:
                    raise self._later(429, "too much is being sent", closes=True)
        finally:
            self._receiving -= held
        if size > most:
            raise too_large
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _later(self, status: int, reason: str, *, closes: bool = False, after: float | None = None) -> _Answer:
        wait = self._come_again if after is None else (b"retry-after", str(max(ceil(after), 0)).encode())
        return _Answer(status, reason, [wait], closes)


def _asked(takers: Sequence[Taker], incoming: Incoming) -> tuple[str, Verdict]:
    """The verdict of the first who does not say that it is not meant; of the last where all do."""
    for connection, receiver in takers[:-1]:
        verdict = receiver.check(incoming)
        if not (isinstance(verdict, Refused) and verdict.status == 401):
            return connection, verdict
    connection, receiver = takers[-1]
    return connection, receiver.check(incoming)


def _typed(kind: str) -> tuple[bytes, bytes]:
    return b"content-type", kind.encode("latin-1")


def _said(answer: _Answer) -> bytes:
    return json.dumps({"code": code(answer.status), "message": answer.reason}).encode()


async def _send(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
