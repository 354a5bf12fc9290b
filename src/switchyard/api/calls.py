"""Calls: what a connector asks for, made into a request that stays on one host."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import urlencode, urlsplit

import httpx

from switchyard.api.answers import template
from switchyard.api.errors import ConfigError, PermanentError, SwitchyardError
from switchyard.api.transport import names_internal

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is. All times in seconds.

    Args:
        attempts: tries of one call at most; of a download, tries in a row that brought nothing.
        first_wait, widest_wait: own waits are random between 0 and a bound that doubles from the first to the second.
        longest_wait: a wait that the vendor asks for and that is longer than this is not waited out here; the call
            ends with a TransientError that carries it (a day at most).
        deadline: one call with all its waits and attempts.
        attempt: one exchange, from connecting to the last byte.
        download: one download with all its waits and attempts, and each of its exchanges.
        connect, read: silence allowed while connecting, and between two pieces of an exchange.
        body: bytes of an answer, decompressed.
        file: bytes of a download, decompressed.
    """

    attempts: int = 5
    first_wait: float = 1.0
    widest_wait: float = 20.0
    longest_wait: float = 60.0
    deadline: float = 300.0
    attempt: float = 90.0
    download: float = 3_600.0
    connect: float = 10.0
    read: float = 45.0
    body: int = 64 * 2**20
    file: int = 16 * 2**30


class Options(TypedDict, total=False):
    """What every method of the client takes by keyword.

    params: the query; None leaves a parameter out. json, content, form: the body, one of them. headers: further ones.
    bucket: whose windows of the account's limits the call counts in. repeatable: whether sending it twice does no
    harm; unless said, so for GET, HEAD, PUT, DELETE. accept: statuses to return besides 2xx. usage: finds in the
    headers of any answer what the vendor says of the quota: calls used today and calls allowed in a day.

    classify is asked first about every other status, and judge about every answer that would be returned, for vendors
    that tell their errors with a 200; None is no objection. The error that either gives is treated as one of a status:
    after an AuthError the call is made once more with a fresh token, QuotaExhausted stops the whole account, and a
    TransientError says that nothing was carried out and leads to further attempts. Where judge's has `retry_after`,
    the whole bucket is held back for so long, as after a 429. Every other error is raised.
    """

    params: Mapping[str, Any] | None
    json: Any
    content: bytes | None
    form: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    bucket: str
    repeatable: bool | None
    accept: Collection[int]
    classify: Callable[[httpx.Response], SwitchyardError | None] | None
    judge: Callable[[httpx.Response], SwitchyardError | None] | None
    usage: Callable[[httpx.Headers], tuple[int, int] | None] | None


@dataclass(slots=True)
class Call:
    """A call under way, through all its attempts. `deadline` is an instant of the budget's clock."""

    method: str
    url: httpx.URL = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    bucket: str
    repeatable: bool
    accept: Collection[int]
    classify: Callable[[httpx.Response], SwitchyardError | None] | None
    judge: Callable[[httpx.Response], SwitchyardError | None] | None
    usage: Callable[[httpx.Headers], tuple[int, int] | None] | None
    deadline: float = 0.0
    tries: int = 0
    replayed: bool = False

    @property
    def name(self) -> str:
        """The call in a message: without its query, and without what may name a person or a record."""
        return f"{self.method} {template(self.url.path)}"

    @property
    def origin(self) -> str:
        """Where it goes, as an operator would write it."""
        return f"{self.url.scheme}://{self.url.netloc.decode('ascii')}"


class Base:
    """Where paths start, and the one scheme, host and port that calls go to."""

    def __init__(self, written: str, *, internal: bool | None) -> None:
        try:
            base = httpx.URL(written)
        except httpx.InvalidURL:
            base = httpx.URL()
        if base.scheme not in ("http", "https") or not base.host or base.userinfo or base.query:
            raise ConfigError("a base URL is scheme, host and path, such as https://api.example.com")
        self.is_internal = names_internal(base.host) if internal is None else internal
        """Whether the host may be inside this network; where nothing was said, whether it names such an address."""
        if base.scheme == "http" and not self.is_internal:
            raise ConfigError(f"{base.host} must be addressed by https")
        self.url = written.rstrip("/")
        self._origin = _origin(base)

    def call(self, method: str, path: str, options: Options) -> Call:
        """The call of a path, or of an absolute URL on the same host.

        Raises:
            PermanentError: the URL is elsewhere or none, or the body cannot be written; nothing was sent.
        """
        method = method.upper()
        headers = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": "switchyard"}
        body = options.get("content")
        if (data := options.get("json")) is not None:
            try:
                body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
            except (TypeError, ValueError, RecursionError):
                raise PermanentError(f"the body for {method} {template(path)} cannot be written as JSON") from None
            headers["content-type"] = "application/json"
        if (form := options.get("form")) is not None:
            body = urlencode(form).encode()
            headers["content-type"] = "application/x-www-form-urlencoded"
        repeatable = options.get("repeatable")
        url = self._pinned(path)
        if params := {name: value for name, value in (options.get("params") or {}).items() if value is not None}:
            url = url.copy_merge_params(params)
        return Call(
            method=method,
            url=url,
            headers=headers | {name.lower(): value for name, value in (options.get("headers") or {}).items()},
            body=body,
            bucket=options.get("bucket", "default"),
            repeatable=method in _REPEATABLE if repeatable is None else repeatable,
            accept=options.get("accept", ()),
            classify=options.get("classify"),
            judge=options.get("judge"),
            usage=options.get("usage"),
        )

    def _pinned(self, path: str) -> httpx.URL:
        try:
            absolute = urlsplit(path).scheme or path.startswith("//")
            url = httpx.URL(path if absolute else f"{self.url}/{path.removeprefix('/')}")
        except (ValueError, httpx.InvalidURL):
            raise PermanentError(f"a path on {self.url} is no URL; nothing was sent") from None
        if _origin(url) != self._origin or url.userinfo:
            raise PermanentError(f"a URL outside {self.url} is refused; nothing was sent")
        return url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
