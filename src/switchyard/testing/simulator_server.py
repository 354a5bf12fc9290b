"""The HTTP server under a simulator."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol


class Server(uvicorn.Server):
    """Starts and stops at once: a suite does so hundreds of times, and nobody waits for a simulator's last words."""

    def __init__(self, config: uvicorn.Config, tick: Callable[[], object] | None) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._tick = tick
        self.announce: Callable[[], object] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        await super().startup(sockets=sockets)
        self.ready.set()
        self.announce()

    async def main_loop(self) -> None:
        """See `uvicorn.Server`."""
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)
            if self._tick is not None:
                self._tick()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """See `uvicorn.Server`."""
        for server in self.servers:
            server.close()
        for task in self.server_state.tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        while self.server_state.connections:
            await asyncio.sleep(0)


class Connection(H11Protocol):
    """Hands its transport to the application, so that a connection can be dropped in mid-call."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent does
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
