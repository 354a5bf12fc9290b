"""The receiver as a service: its socket, its writer and its end."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from switchyard.api.errors import ConfigError, TransientError
from switchyard.server.protocol import Connection
from switchyard.server.receiver import App, ReceiverApp
from switchyard.server.routes import Routes
from switchyard.server.settings import Settings
from switchyard.server.writer import Keeper, Writer

_BACKLOG = 2_048


class ReceiverServer:
    """Receives until it is told to stop; then answers what is under way.

    `serve` runs it on the caller's event loop, `start` in a thread of its own. Signals are the caller's.

    Args:
        rest: the ASGI application for all paths that are not the receiver's.
        unready: asked by `/readyz`; a text is why this process should be sent nothing.
    """

    def __init__(
        self,
        routes: Routes,
        inbox: Keeper,
        settings: Settings | None = None,
        rest: App | None = None,
        unready: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.settings = settings or Settings()
        self.writer = Writer(inbox, self.settings)
        self.app = ReceiverApp(routes, self.writer, self.settings, rest, unready=unready)
        self.address: tuple[str, int] = ("", 0)
        """Where it listens, once it does; `url` is the same."""
        self.url = ""
        self._server = _Server(self.app, self.settings)
        self._thread: threading.Thread | None = None

    async def serve(self, host: str, port: int) -> None:
        """Receive until `stop`.

        Raises:
            ConfigError: there is no such address here.
            TransientError: somebody else listens there.
        """
        await self._run(self._listen(host, port))

    def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Receive in a thread; returns once it listens. Raises as `serve`."""
        listening = self._listen(host, port)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(listening)), name="receiver", daemon=True)
        self._thread.start()
        self._server.ready.wait()

    def stop(self) -> None:
        """Take nothing more, answer what is under way, and end. From any thread, and from a signal handler."""
        self.app.is_draining = True
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    async def _run(self, listening: socket.socket) -> None:
        self.writer.start()
        try:
            await self._server.serve(sockets=[listening])
        finally:
            self._server.ready.set()
            await self.writer.stop()

    def _listen(self, host: str, port: int) -> socket.socket:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError:
            raise ConfigError(f"there is no address '{host}' here to listen on") from None
        # Named, because asyncio switches Nagle's algorithm off only for these: an answer would wait 40 ms.
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise TransientError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        self.address = address, port = listening.getsockname()[:2]
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
        self.app.base = self.app.base or self.url
        return listening


class _Server(uvicorn.Server):
    def __init__(self, app: App, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection.bound(settings),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                h11_max_incomplete_event_size=settings.head + 4096,
                timeout_keep_alive=settings.idle_time,  # type: ignore[arg-type]  # handed to call_later
                timeout_graceful_shutdown=settings.drain_time,  # type: ignore[arg-type]  # handed to wait_for
                limit_concurrency=settings.connections,
            )
        )
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
