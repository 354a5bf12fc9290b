"""Servers that say any bytes, well-formed or not."""

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable

Reply = Callable[[socket.socket], None]


class Server:
    """Answers each request with the next reply, and the last reply for ever; keeps what it was sent."""

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self._replies = iter(itertools.chain(replies[:-1], itertools.repeat(replies[-1])))
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while request := self._request(connection):
                    self.requests.append(request)
                    next(self._replies)(connection)
        except OSError:
            connection.close()

    @staticmethod
    def _request(connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return b""
            data += piece
        return data

    def stop(self) -> None:
        self._listener.close()


def say(*pieces: bytes, pause: float = 0.0) -> Reply:
    def reply(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    return reply


def ok(body: bytes, *headers: bytes) -> Reply:
    head = b"".join(header + b"\r\n" for header in (b"Content-Length: %d" % len(body), *headers))
    return say(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
