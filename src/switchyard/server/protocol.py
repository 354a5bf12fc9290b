"""HTTP on one connection: uvicorn's, with deadlines and limits of its own for senders who are slow or send junk."""

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from switchyard.server.settings import Settings


class _Joined:
    """A transport that sends at once what is written in one turn of the loop: the head of an answer and its body.

    A call to the kernel less per request; while the inbox commits, each also costs a wait for the interpreter.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data:
            if not self._parts:
                self._loop.call_soon(self._flush)
            self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._transport.write(data)


class Connection(H11Protocol):
    """One sender's connection. `bound` makes the class for given settings."""

    settings = Settings()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    @classmethod
    def bound(cls, settings: Settings) -> type["Connection"]:
        return type("Connection", (cls,), {"settings": settings})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent does
        super().connection_made(cast("asyncio.Transport", _Joined(transport, self.loop)))
        self._within(self.settings.head_time, self._is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_body = self.conn.their_state is h11.SEND_BODY
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            if not was_in_body:
                self._within(self.settings.body_time, self._is_late)
        elif state is not h11.IDLE:
            self._in_time()
        elif self._deadline is None:
            # The beginning of a head came, and not its end.
            self._within(self.settings.head_time, self._is_late)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._within(self.settings.head_time, self.transport.abort)

    def resume_writing(self) -> None:
        self._in_time()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # the parent's word, which says less
        """Refuse what is no HTTP. Called while the error that says why is handled."""
        hint = getattr(sys.exception(), "error_status_hint", HTTPStatus.BAD_REQUEST)
        is_large = hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self._refuse(HTTPStatus(hint) if is_large else HTTPStatus.BAD_REQUEST)

    def _is_late(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer where the state of the connection still allows one, and close it."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f'{{"code":"{code(status)}","message":"{status.phrase.lower()}"}}'.encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            response = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _within(self, seconds: float, late: Callable[[], object]) -> None:
        self._in_time()
        self._deadline = self.loop.call_later(seconds, late)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def code(status: int) -> str:
    """The short stable word for a status in the body of an answer."""
    return HTTPStatus(status).name.lower()
