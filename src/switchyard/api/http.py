"""The HTTP client that the hub hands to connectors: pinned to one host, paced, patient and discreet."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

import httpx
import tenacity

from switchyard.api.answers import UnknownOutcome, distrust, error_of, json_of, read, template
from switchyard.api.budget import Budget
from switchyard.api.calls import Base, Call, Options, RetryPolicy
from switchyard.api.downloads import Download
from switchyard.api.errors import AuthError, PermanentError, QuotaExhausted, SwitchyardError, TransientError
from switchyard.api.lanes import CalledOff, concurrently
from switchyard.api.tokens import CachedToken, Refusable
from switchyard.api.transport import DEADLINE, NetworkTransport

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

_POLICY = RetryPolicy()
# What is true of the bytes on the wire only, and what must not live on.
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding", "set-cookie"})


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
        policy: RetryPolicy = _POLICY,
        internal: bool | None = None,
    ) -> None:
        self._base = Base(base_url, internal=internal)
        self._bearer = bearer
        self._budget = budget
        self._transport = transport or NetworkTransport(internal=self._base.is_internal)
        self._policy = policy

    def __repr__(self) -> str:
        return f"HttpClient({self._base.url!r})"

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

    def patch(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a PATCH; see `request`."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a DELETE; see `request`."""
        return self.request("DELETE", path, **options)

    def request(self, method: str, path: str, **options: Unpack[Options]) -> httpx.Response:
        """Send a request, again where that is safe and may help, and return the answer with its body read.

        `path` starts at the base URL, or is an absolute URL on the same host.
        """
        call = self._base.call(method, path, options)
        call.deadline = self._budget.clock() + self._policy.deadline
        return self._through(call, None)

    def download(self, path: str, file: Path, **options: Unpack[Options]) -> httpx.Headers:
        """GET a body of any size into a file, decompressed, in bounded memory. The headers it came with.

        Where an answer breaks off, the rest is asked for if the vendor gives ranges of the same entity, else all of it
        again. `file` is there, in the place of an older one, only when it is whole. `judge` is asked about JSON of at
        most 1 MiB, which is then no file. `accept` means nothing here.

        Raises, beyond what every call raises:
            PermanentError: the body is larger than the policy's `file`, or the file cannot be written.
        """
        options["headers"] = {"accept": "*/*"} | dict(options.get("headers") or {})
        call = self._base.call("GET", path, options)
        call.accept = ()
        call.deadline = self._budget.clock() + self._policy.download
        with Download(file, self._policy.file, self._policy.body) as download:
            self._through(call, download)
            headers = download.finish()
        return _kept(headers)

    def _through(self, call: Call, download: Download | None) -> httpx.Response:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=lambda state: self._pause(call, state),
            stop=lambda state: self._is_over(call, state),
            sleep=self._budget.sleep,
            retry_error_callback=_give_up,
        )
        answer: httpx.Response = retrying(self._attempt, call, download)
        return answer

    def _attempt(self, call: Call, download: Download | None, token: str | None = None) -> httpx.Response:
        token = token or self._token()
        call.tries += 1
        try:
            with self._budget.acquire(call.bucket, deadline=call.deadline):
                answer = self._exchange(call, download, token)
        finally:
            if download is not None and download.went_on:
                call.tries = 0
        if call.usage and (usage := call.usage(answer.headers)):
            self._budget.observed(*usage)
        error, pause = self._judged(call, answer)
        if error is None:
            return answer
        if isinstance(error, AuthError) and not call.replayed and (fresh := self._other_token(token)):
            call.replayed = True
            return self._attempt(call, download, fresh)
        if isinstance(error, QuotaExhausted):
            self._budget.exhaust(error.until)
        elif isinstance(error, TransientError) and not isinstance(error, UnknownOutcome):
            if pause:
                self._budget.penalise(call.bucket, pause)
            raise _Again(error)
        raise error

    def _judged(self, call: Call, answer: httpx.Response) -> tuple[SwitchyardError | None, float | None]:
        """What is wrong with an answer, and for how many seconds the vendor wants to hear nothing of the bucket."""
        if answer.is_success or answer.status_code in call.accept:
            error = call.judge(answer) if call.judge else None
            return error, error.retry_after if isinstance(error, TransientError) else None
        error = call.classify(answer) if call.classify else None
        if error is None:
            error = error_of(call.name, answer, self._budget.wall(), repeatable=call.repeatable)
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS or not isinstance(error, TransientError):
            return error, None
        return error, error.retry_after or self._policy.first_wait

    def _token(self) -> str | None:
        return self._bearer() if callable(self._bearer) else self._bearer

    def _other_token(self, refused: str | None) -> str | None:
        """Another token than the refused one, where the bearer has one to give."""
        bearer: object = self._bearer
        if isinstance(bearer, Refusable) and refused is not None:
            bearer.refused(refused)
        token = self._token()
        return None if token == refused else token

    def _exchange(self, call: Call, download: Download | None, token: str | None) -> httpx.Response:
        policy = self._policy
        left = call.deadline - self._budget.clock()
        timeouts = {"connect": policy.connect, "read": policy.read, "write": policy.read, "pool": policy.connect}
        headers = call.headers | ({} if token is None else {"authorization": f"Bearer {_sendable(token)}"})
        try:
            request = httpx.Request(
                call.method,
                call.url,
                headers=headers | (download.wish() if download else {}),
                content=call.body,
                extensions={
                    "timeout": timeouts,
                    DEADLINE: time.monotonic() + (left if download else min(policy.attempt, left)),
                },
            )
            raw = self._transport.handle_request(request)
            try:
                body = download.take(raw) if download else read(raw, policy.body)
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
        # Without the query and the headers it was sent with: either may hold a secret.
        told = httpx.Request(call.method, call.url.copy_with(query=None))
        return httpx.Response(raw.status_code, headers=_kept(raw.headers), content=body, request=told)

    def _pause(self, call: Call, state: tenacity.RetryCallState) -> float:
        bound = self._policy.first_wait * 2.0 ** max(call.tries - 1, 0)
        own = random.uniform(0, min(bound, self._policy.widest_wait))  # noqa: S311
        asked = _failure(state).error.retry_after
        # A vendor's "in 10 s" told to twenty callers must not bring all of them back at one instant.
        return asked + min(own, 0.1 * asked) if asked else own

    def _is_over(self, call: Call, state: tenacity.RetryCallState) -> bool:
        asked = _failure(state).error.retry_after
        return (
            call.tries >= self._policy.attempts
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


def _kept(headers: httpx.Headers) -> httpx.Headers:
    return httpx.Headers([(k, v) for k, v in headers.multi_items() if k.lower() not in _OF_THE_WIRE])


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
