"""The way to the network: one deadline over a whole exchange, and no address inside the house."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, TypeAlias, cast

import httpcore
import httpx

from switchyard.api.errors import PermanentError

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
DEADLINE = "switchyard.deadline"
"""Request extension: the instant of `time.monotonic` at which the exchange is cut off."""

_IDLE = 30.0
"""Seconds after which an unused connection is closed, sooner than the other side is likely to."""

# Prefixes that `is_global` of some supported Python calls global although they reach, or may carry, an inner address:
# IETF protocol assignments; NAT64, both forms; Teredo; 6to4; SRv6 identifiers.
_CARRIERS = tuple(
    ipaddress.ip_network(net)
    for net in ("192.0.0.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "5f00::/16")
)


def is_public(address: _Address) -> bool:
    """Whether the address belongs to the public internet, seen through every way to write an inner one."""
    inner = getattr(address, "ipv4_mapped", None)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast and not any(address in net for net in _CARRIERS)


def names_internal(host: str) -> bool:
    """Whether the host, as written, is an inner address or this machine: whoever wrote it meant it."""
    if host == "localhost":
        return True
    try:
        return not is_public(ipaddress.ip_address(host))
    except ValueError:
        return False


class NetworkTransport(httpx.BaseTransport):
    """Verified TLS, no proxy, no redirect. With `internal` false, names that resolve to inner addresses are refused."""

    def __init__(self, *, internal: bool) -> None:
        self._backend = _Backend(internal=internal)
        # As many connections as calls under way, which the account's budget counts.
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trust(),
            network_backend=self._backend,
            max_connections=None,
            keepalive_expiry=_IDLE,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the answer with its body still unread; see `httpx.BaseTransport`."""
        self._backend.until(request.extensions.get(DEADLINE))
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        try:
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=cast("Iterable[bytes]", request.stream),
                    extensions=request.extensions,
                )
            )
        except _FAULTS as error:
            raise _named(error, request) from error
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer, request), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer.iter_stream()
        except _FAULTS as error:
            raise _named(error, self._request) from error

    def close(self) -> None:
        self._answer.close()


_FAULTS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol)


def _named(error: Exception, request: httpx.Request) -> httpx.TransportError:
    """httpx knows every fault of httpcore under the same name."""
    kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
    return kind(str(error), request=request)


class _Backend(httpcore.NetworkBackend):
    """Resolves a name once, refuses inner addresses, and connects to the very address it judged."""

    def __init__(self, *, internal: bool) -> None:
        self._internal = internal
        self._sockets = httpcore.SyncBackend()
        self._thread = threading.local()

    def until(self, deadline: float | None) -> None:
        # Every exchange is read to its end by the thread that began it, so the thread can hold the deadline.
        self._thread.deadline = deadline

    def left(self, timeout: float | None) -> float | None:
        deadline: float | None = getattr(self._thread, "deadline", None)
        if deadline is None:
            return timeout
        left = deadline - time.monotonic()
        return left if timeout is None else min(timeout, left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        fault: Exception = httpcore.ConnectError("the name has no address")
        for address in self._resolve(host, port):
            left = self.left(timeout)
            if left is not None and left <= 0:
                raise httpcore.ConnectTimeout("deadline")
            try:
                stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
            else:
                return _Stream(stream, self)
        raise fault

    def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError("the name cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # A scope (`fe80::1%eth0`) is no part of the address.
        if not self._internal and not all(is_public(ipaddress.ip_address(a.partition("%")[0])) for a in addresses):
            raise PermanentError(f"{host} resolves to an address inside this network, which is not allowed here")
        return addresses


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline of the exchange it serves."""

    def __init__(self, stream: httpcore.NetworkStream, backend: _Backend) -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._backend.left(timeout)
        if left is not None and left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._backend.left(timeout)
        if left is not None and left <= 0:
            raise httpcore.WriteTimeout("deadline")
        self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._backend.left(timeout)
        if left is not None and left <= 0:
            raise httpcore.ConnectTimeout("deadline")
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
