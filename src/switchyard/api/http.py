"""The HTTP client that the hub hands to connectors: pinned to one host, paced, patient and discreet."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack
from urllib.parse import urlencode, urlsplit

import httpx
import tenacity

from switchyard.api.answers import UnknownOutcome, distrust, error_of, json_of, read, template
from switchyard.api.budget import Budget
from switchyard.api.errors import (
    AuthError,
    ConfigError,
    PermanentError,
    QuotaExhausted,
    SwitchyardError,
    TransientError,
)
from switchyard.api.lanes import CalledOff, concurrently
from switchyard.api.tokens import CachedToken, Refusable
from switchyard.api.transport import DEADLINE, NetworkTransport, names_internal

__all__ = [
    "Budget",
    "CachedToken",
    "CalledOff",
    "HttpClient",
    "Options",
    "Refusable",
    "RetryPolicy",
    "UnknownOutcome",
    "concurrently",
    "json_of",
    "pages",
]

_log = logging.getLogger(__name__)

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
# What is true of the bytes on the wire only, and what must not live on.
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding", "set-cookie"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is. All times in seconds.

    Args:
        attempts: tries of one call at most.
        first_wait, widest_wait: own waits are random between 0 and a bound that doubles from the first to the second.
        longest_wait: a wait that the vendor asks for and that is longer than this is not waited out here; the call
            ends with a TransientError that carries it (a day at most).
        deadline: one call with all its waits and attempts.
        attempt: one exchange, from connecting to the last byte.
        connect, read: silence allowed while connecting, and between two pieces of an exchange.
        body: bytes of an answer, decompressed.
    """

    attempts: int = 5
    first_wait: float = 1.0
    widest_wait: float = 20.0
    longest_wait: float = 60.0
    deadline: float = 300.0
    attempt: float = 90.0
    connect: float = 10.0
    read: float = 45.0
    body: int = 64 * 2**20


class Options(TypedDict, total=False):
    """What every method of the client takes by keyword.

    params: the query; None leaves a parameter out. json, content, form: the body, one of them. headers: further ones.
    bucket: whose windows of the account's limits the call counts in. repeatable: whether sending it twice does no
    harm; unless said, so for GET, HEAD, PUT, DELETE. accept: statuses to return besides 2xx. classify: asked first
    about every other status; the error it gives is the one raised (a TransientError after further attempts).
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


class HttpClient:
    """A client pinned to one scheme, host and port. May be used from many threads.

    Credentials never leave that host: an absolute URL elsewhere (a hostile "next" link) is a PermanentError before
    anything is sent, and redirects are not followed. No proxy and no setting of the environment is used.

    Args:
        base_url: where paths start. Plain http only for addresses inside the house.
        bearer: a token, or who to ask for one (before each call, and once more after a 401).
        budget: the account's.
        transport: what tests put in place of the network.
        policy: how patient to be.
        internal: whether the host may be inside this network; None where `base_url` itself names such an address.

    Raises, from every call:
        AuthError: 401, also with a fresh token where `bearer` gives one.
        QuotaExhausted: the account's quota is used up; not one further call is made.
        UnknownOutcome: a call that is not repeatable was sent and its outcome is not known.
        TransientError: still failing after all attempts, or a longer wait is asked for.
        PermanentError: any other status; the message has method, path without ids and query, status, and the
            vendor's category and correlation id; nothing else of the answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        bearer: str | Callable[[], str] | None,
        budget: Budget,
        transport: httpx.BaseTransport | None = None,
        policy: RetryPolicy = RetryPolicy(),
        internal: bool | None = None,
    ) -> None:
        try:
            base = httpx.URL(base_url)
        except httpx.InvalidURL:
            base = httpx.URL()
        if base.scheme not in ("http", "https") or not base.host or base.userinfo or base.query:
            raise ConfigError("a base URL is scheme, host and path, such as https://api.example.com")
        inside = names_internal(base.host) if internal is None else internal
        if base.scheme == "http" and not inside:
            raise ConfigError(f"{base.host} must be addressed by https")
        self._base = base_url.rstrip("/")
        self._origin = _origin(base)
        self._bearer = bearer
        self._budget = budget
        self._transport = transport or NetworkTransport(internal=inside)
        self._policy = policy

    def __repr__(self) -> str:
        return f"HttpClient({self._base!r})"

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def get(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a GET; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a POST; see `request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a PUT; see `request`."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a DELETE; see `request`."""
        return self.request("DELETE", path, **options)

    def request(self, method: str, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a request, again where that is safe and may help, and return the answer with its body read.

        `path` starts at the base URL, or is an absolute URL on the same host.
        """
        call = self._prepare(method, path, options)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=self._pause,
            stop=lambda state: self._is_over(call, state),
            sleep=self._budget.sleep,
            retry_error_callback=_give_up,
        )
        answer: httpx.Response = retrying(self._attempt, call)
        return answer

    def _prepare(self, method: str, path: str, options: Options) -> _Call:
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
        return _Call(
            method=method,
            url=url,
            headers=headers | {name.lower(): value for name, value in (options.get("headers") or {}).items()},
            body=body,
            bucket=options.get("bucket", "default"),
            repeatable=method in _REPEATABLE if repeatable is None else repeatable,
            accept=options.get("accept", ()),
            classify=options.get("classify"),
            deadline=self._budget.clock() + self._policy.deadline,
        )

    def _pinned(self, path: str) -> httpx.URL:
        try:
            absolute = urlsplit(path).scheme or path.startswith("//")
            url = httpx.URL(path if absolute else f"{self._base}/{path.removeprefix('/')}")
        except (ValueError, httpx.InvalidURL):
            raise PermanentError(f"a path on {self._base} is no URL; nothing was sent") from None
        if _origin(url) != self._origin or url.userinfo:
            raise PermanentError(f"a URL outside {self._base} is refused; nothing was sent")
        return url

    def _attempt(self, call: _Call, token: str | None = None) -> httpx.Response:
        token = token or self._token()
        with self._budget.acquire(call.bucket, deadline=call.deadline):
            answer = self._exchange(call, token)
        if answer.is_success or answer.status_code in call.accept:
            return answer
        error = call.classify(answer) if call.classify else None
        if error is None:
            error = error_of(call.name, answer, self._budget.wall(), repeatable=call.repeatable)
        if isinstance(error, AuthError) and not call.replayed and (fresh := self._other_token(token)):
            call.replayed = True
            return self._attempt(call, fresh)
        if isinstance(error, QuotaExhausted):
            self._budget.exhaust(error.until)
        elif isinstance(error, TransientError) and not isinstance(error, UnknownOutcome):
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                self._budget.penalise(call.bucket, error.retry_after or self._policy.first_wait)
            raise _Again(error)
        raise error

    def _token(self) -> str | None:
        return self._bearer() if callable(self._bearer) else self._bearer

    def _other_token(self, refused: str | None) -> str | None:
        """Another token than the refused one, where the bearer has one to give."""
        bearer: object = self._bearer
        if isinstance(bearer, Refusable) and refused is not None:
            bearer.refused(refused)
        token = self._token()
        return None if token == refused else token

    def _exchange(self, call: _Call, token: str | None) -> httpx.Response:
        policy = self._policy
        left = min(policy.attempt, call.deadline - self._budget.clock())
        timeouts = {"connect": policy.connect, "read": policy.read, "write": policy.read, "pool": policy.connect}
        try:
            request = httpx.Request(
                call.method,
                call.url,
                headers=call.headers | ({} if token is None else {"authorization": f"Bearer {_sendable(token)}"}),
                content=call.body,
                extensions={"timeout": timeouts, DEADLINE: time.monotonic() + left},
            )
            raw = self._transport.handle_request(request)
            try:
                body = read(raw, policy.body)
            finally:
                raw.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            if (reason := distrust(error)) is not None:
                raise PermanentError(f"the certificate of {call.url.host} is not trusted: {reason}") from error
            raise _Again(
                TransientError(
                    f"cannot connect to {call.origin} ({type(error).__name__}); is it up, and is base_url right"
                )
            ) from error
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            # Its text quotes the header, which may be the token.
            raise PermanentError(f"{call.name} has a header that cannot be sent") from None
        except httpx.RequestError as error:
            if call.repeatable:
                raise _Again(TransientError(f"{call.name} got no whole answer: {type(error).__name__}")) from error
            raise UnknownOutcome(
                f"{call.name} was sent and got no whole answer ({type(error).__name__}); it may have been carried out"
            ) from error
        _log.debug("%s %s", call.name, raw.status_code)
        headers = [(k, v) for k, v in raw.headers.multi_items() if k.lower() not in _OF_THE_WIRE]
        return httpx.Response(raw.status_code, headers=headers, content=body, request=_without_token(request))

    def _pause(self, state: tenacity.RetryCallState) -> float:
        own = tenacity.wait_random_exponential(self._policy.first_wait, max=self._policy.widest_wait)(state)
        asked = _failure(state).error.retry_after
        # A vendor's "in 10 s" told to twenty callers must not bring all of them back at one instant.
        return asked + min(own, 0.1 * asked) if asked else own

    def _is_over(self, call: _Call, state: tenacity.RetryCallState) -> bool:
        asked = _failure(state).error.retry_after
        return (
            state.attempt_number >= self._policy.attempts
            or (asked is not None and asked > self._policy.longest_wait)
            or self._budget.clock() + state.upcoming_sleep > call.deadline
        )


def pages(
    client: HttpClient,
    path: str,
    query: Mapping[str, Any] | None = None,
    *,
    onward: Callable[[Any], str | Mapping[str, Any] | None],
    **options: Unpack[Options],
) -> Iterator[Any]:
    """The JSON bodies of a chain of GETs.

    `onward` finds in a body how to go on: a URL or path (as "next" links give), parameters laid over the first ones
    (as page tokens are sent), or None at the end.

    Raises:
        PermanentError: the chain comes back to a page it has been to.
    """
    seen: set[str] = set()
    link, params = path, query
    while True:
        body = json_of(client.get(link, **(options | {"params": params})))
        yield body
        step = onward(body)
        if step is None:
            return
        if (mark := json.dumps(step, sort_keys=True, default=str)) in seen:
            raise PermanentError(f"GET {template(path)} leads from page to page in a circle")
        seen.add(mark)
        link, params = (step, None) if isinstance(step, str) else (path, {**(query or {}), **step})


@dataclass(slots=True)
class _Call:
    method: str
    url: httpx.URL
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    bucket: str
    repeatable: bool
    accept: Collection[int]
    classify: Callable[[httpx.Response], SwitchyardError | None] | None
    deadline: float
    replayed: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {template(self.url.path)}"

    @property
    def origin(self) -> str:
        return f"{self.url.scheme}://{self.url.netloc.decode('ascii')}"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


class _Again(Exception):  # a signal to the retry loop, which nobody else sees
    def __init__(self, error: TransientError) -> None:
        super().__init__(str(error))
        self.error = error


def _failure(state: tenacity.RetryCallState) -> _Again:
    failure = state.outcome and state.outcome.exception()
    assert isinstance(failure, _Again)  # noqa: S101
    return failure


def _give_up(state: tenacity.RetryCallState) -> None:
    failure = _failure(state)
    raise failure.error from failure.__cause__


def _sendable(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise AuthError("the token has characters that no header can carry; look for a line end after it")
    return token


def _without_token(request: httpx.Request) -> httpx.Request:
    return httpx.Request(request.method, request.url)
