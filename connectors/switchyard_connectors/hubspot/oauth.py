"""OAuth: from a refresh token to access tokens."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from switchyard.api import AuthError, PermanentError
from switchyard.api.http import HttpClient, json_of
from switchyard_connectors.hubspot import OAuthConfig


class TokenEndpoint:
    """Fetches access tokens for `CachedToken`, which sees to it that one thread does so at a time.

    HubSpot's refresh tokens live long, but an answer may bring a new one (vendor documentation, authentication/oauth).
    It is on disk before the access token that came with it is used; where that file is lost, the configured one serves.

    Args:
        client: a client without a bearer.
        path: of the endpoint.
        app: the configured credentials.
        folder: where a newer refresh token is kept, readable by nobody else.
    """

    def __init__(self, client: HttpClient, path: str, app: OAuthConfig, folder: Path) -> None:
        self._client = client
        self._path = path
        self._app = app
        self._configured = app.refresh_token.get_secret_value()
        # Named by the configured token, so that signing in again puts the kept one out of use.
        self._file = folder / f"refresh-{hashlib.sha256(self._configured.encode()).hexdigest()[:16]}"

    def fetch(self) -> tuple[str, float]:
        """An access token and the seconds it is good for.

        Raises:
            AuthError: HubSpot refuses the refresh token or the app.
        """
        kept = self._file.read_text() if self._file.exists() else None
        if kept is not None:
            try:
                return self._exchange(kept)
            except AuthError:
                self._file.unlink()
        return self._exchange(self._configured)

    def _exchange(self, refresh: str) -> tuple[str, float]:
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
        if newer != refresh:
            self._keep(newer)
        return access, seconds

    def _keep(self, refresh: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(refresh)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(self._file)
