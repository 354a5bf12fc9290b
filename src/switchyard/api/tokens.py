"""Tokens that expire: who keeps one, who renews it, and how often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from switchyard.api.errors import AuthError


@runtime_checkable
class Refusable(Protocol):
    """A bearer that wants to hear of refusals. Told the refused token, so that of ten threads one renews it."""

    def refused(self, token: str) -> None:
        """The vendor answered 401 to this token. If it is still the current one, do not give it again."""


class CachedToken:
    """A bearer for `Context.http` that fetches a token once for all threads and keeps it until it nears its end.

    Credentials once refused are not tried again: every later call raises the same AuthError.

    Args:
        fetch: asks the vendor; gives the token and the seconds it is good for. Raises AuthError where the vendor
            refuses the credentials (OAuth: `invalid_grant`, `invalid_client`).
        margin: a token with less than this many seconds left is not given out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], tuple[str, float]],
        *,
        margin: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._margin = margin
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._until = 0.0
        self._refusal: AuthError | None = None

    def __call__(self) -> str:
        """The current token.

        Raises:
            AuthError: the credentials are refused.
        """
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._token is None or self._clock() >= self._until:
                try:
                    self._token, seconds = self._fetch()
                except AuthError as error:
                    self._refusal = error
                    raise
                # A vendor may hand out an old token with little time left; it is better than asking in a circle.
                self._until = self._clock() + max(seconds - self._margin, min(seconds, 1.0))
            return self._token

    def refused(self, token: str) -> None:
        """Forget the token, unless another thread has renewed it already."""
        with self._lock:
            if token == self._token:
                self._token = None
