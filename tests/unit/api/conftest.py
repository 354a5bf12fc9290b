"""What tests of the client use."""

import ssl
from collections.abc import Callable, Iterator

import pytest
from tests.unit.api.sockets import Reply, Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*replies: Reply, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(*replies, tls=tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
