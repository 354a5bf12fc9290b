"""OAuth: from a refresh token to access tokens."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from switchyard.api import AuthError, PermanentError
from switchyard.api.http import HttpClient, json_of
from switchyard.api.tokens import KeptSecret, SharedTokens
from switchyard_connectors.hubspot.config import OAuthConfig

_SHORT = 120.0
"""Seconds: a token with less to go is not handed on."""


@dataclass(frozen=True, slots=True)
class Access:
    """An access token, and until when it is good in monotonic seconds."""

    token: str = field(repr=False)
    until: float


def _has_time(access: Access) -> bool:
    return access.until - time.monotonic() >= _SHORT


ACCESSES = SharedTokens[Access]()
"""The access tokens of this process."""


class TokenEndpoint:
    """Fetches access tokens for `CachedToken`.

    HubSpot's refresh tokens live long, but an answer may bring a new one (vendor documentation, authentication/oauth).
    It is on disk before the access token that came with it is used; where that file is lost, the configured one serves.

    Args:
        client: a client without a bearer.
        address: the endpoint's, as base URL and path.
        app: the configured credentials.
        folder: where a newer refresh token is kept.
    """

    def __init__(self, client: HttpClient, address: tuple[str, str], app: OAuthConfig, folder: Path) -> None:
        self._client = client
        self._path = address[1]
        self._app = app
        refresh, secret = app.refresh_token.get_secret_value(), app.client_secret.get_secret_value()
        self._refresh = KeptSecret(folder, refresh)
        self._given: str | None = None
        # Whose workspace, and which credentials for whom.
        whose = "\n".join((str(folder.resolve()), *address, app.client_id, secret, refresh))
        self._key = hashlib.sha256(whose.encode()).hexdigest()

    def fetch(self) -> tuple[str, float]:
        """An access token and the seconds it is good for. That it is asked for again says that the last one is not.

        Raises:
            AuthError: HubSpot refuses the refresh token or the app.
        """
        access = ACCESSES.other_than(self._given, self._key, self._exchanged, _has_time)
        self._given = access.token
        return access.token, access.until - time.monotonic()

    def _exchanged(self) -> Access:
        newest, configured = self._refresh.read(), self._app.refresh_token.get_secret_value()
        if newest != configured:
            try:
                return self._exchange(newest)
            except AuthError:
                self._refresh.forget()
        return self._exchange(configured)

    def _exchange(self, refresh: str) -> Access:
        # In the body: what stands in a URL is logged on the way.
        form = {
            "grant_type": "refresh_token",
            "client_id": self._app.client_id,
            "client_secret": self._app.client_secret.get_secret_value(),
            "refresh_token": refresh,
        }
        answer = self._client.post(self._path, form=form, repeatable=True, accept=(400, 401, 403))
        if not answer.is_success:
            raise AuthError(f"HubSpot refuses the refresh token or the app ({answer.status_code}); sign in again")
        body = json_of(answer)
        try:
            access, seconds = str(body["access_token"]), float(body["expires_in"])
            newer = str(body.get("refresh_token") or refresh)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise PermanentError("HubSpot's token endpoint answered without a token") from None
        self._refresh.keep(newer)
        return Access(access, time.monotonic() + seconds)
