"""Signing in: three OAuth flows to one access token, which lives until Salesforce refuses it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from switchyard.api import AuthError, ConfigError, PermanentError, TransientError
from switchyard.api.http import CachedToken, HttpClient, json_of
from switchyard.api.tokens import KeptSecret, SharedTokens, assertion
from switchyard.api.transport import names_internal
from switchyard_connectors.salesforce.config import SalesforceConfig, is_trusted

PATH = "/services/oauth2/token"
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_LIFE = 180
"""Seconds that an assertion is good for, at most (vendor documentation, OAuth 2.0 JWT bearer flow)."""
_PASSING = frozenset({"unknown_error", "server_error", "temporarily_unavailable", "rate_limit_exceeded"})
_IDENTITY = re.compile(r"/id/(00D[A-Za-z0-9]{12,15})/(005[A-Za-z0-9]{12,15})$")


@dataclass(frozen=True, slots=True)
class Session:
    """What a sign-in gave: a token, where the org is, and as whom (None where the answer does not say)."""

    token: str = field(repr=False)
    instance_url: str
    user_id: str | None


SESSIONS = SharedTokens[Session]()
"""The sessions of this process."""


class SignIn:
    """Fetches access tokens; its `bearer` sees to it that one thread does so at a time.

    There is no `expires_in`: a token serves until a call is refused with 401.

    Args:
        client: a client of the org's My Domain without a bearer.
        folder: where a rotated refresh token is kept.
        clock: epoch seconds, for assertions.
    """

    def __init__(
        self, config: SalesforceConfig, client: HttpClient, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._kept = (
            KeptSecret(folder, config.refresh.refresh_token.get_secret_value()) if config.refresh is not None else None
        )
        self._session: Session | None = None
        # Whose workspace, and which credentials.
        self._key = hashlib.sha256(f"{folder.resolve()}\n{_credentials(config)}".encode()).hexdigest()
        self.bearer = CachedToken(self._fetch)

    def session(self) -> Session:
        """Sign in where that was not done yet.

        Raises:
            AuthError: the credentials are refused.
            PermanentError: the org would be at a host that is not Salesforce's.
        """
        self.bearer()
        assert self._session is not None  # noqa: S101  # a token comes with it
        return self._session

    def _fetch(self) -> tuple[str, float]:
        refused = self._session.token if self._session is not None else None
        self._session = SESSIONS.other_than(refused, self._key, self._signed_in)
        return self._session.token, math.inf

    def _signed_in(self) -> Session:
        config = self._config
        if config.client_credentials is not None:
            app = config.client_credentials
            body = self._ask(
                grant_type="client_credentials",
                client_id=app.client_id,
                client_secret=app.client_secret.get_secret_value(),
            )
        elif config.jwt is not None:
            body = self._ask(grant_type=_JWT_GRANT, assertion=self._assertion())
        else:
            body = self._refreshed()
        try:
            token, instance = str(body["access_token"]), str(body["instance_url"])
        except (KeyError, TypeError):
            raise PermanentError("Salesforce's token endpoint answered without a token") from None
        if not is_trusted(instance, inside=names_internal(httpx.URL(config.base_url).host)):
            raise PermanentError("the sign-in names an instance outside Salesforce's domains; the token goes nowhere")
        named = _IDENTITY.search(str(body.get("id", "")))
        return Session(token, instance.rstrip("/"), named[2] if named else None)

    def _assertion(self) -> str:
        jwt = self._config.jwt
        assert jwt is not None  # noqa: S101
        claims = {
            "iss": jwt.client_id,
            "sub": jwt.username,
            "aud": jwt.audience or _audience(self._config.base_url),
            "exp": int(self._clock()) + _JWT_LIFE,
        }
        try:
            return assertion(claims, jwt.private_key.get_secret_value())
        except ConfigError as error:
            raise ConfigError(error.message, key="jwt.private_key") from None

    def _refreshed(self) -> Any:
        app, kept = self._config.refresh, self._kept
        assert app is not None and kept is not None  # noqa: S101
        configured = app.refresh_token.get_secret_value()
        secret = app.client_secret.get_secret_value() if app.client_secret is not None else None
        for refresh in dict.fromkeys((kept.read(), configured)):
            form = {"grant_type": "refresh_token", "client_id": app.client_id, "refresh_token": refresh}
            try:
                body = self._ask(**form, **({} if secret is None else {"client_secret": secret}))
            except AuthError:
                if refresh == configured:
                    raise
                kept.forget()
                continue
            # Rotated, the old one is good for nothing any more: the new one is on disk before anything else happens.
            if isinstance(body, dict) and isinstance(body.get("refresh_token"), str):
                kept.keep(body["refresh_token"])
            return body
        raise AssertionError("the configured token is always tried")

    def _ask(self, **form: str) -> Any:
        # In the body: what stands in a URL is logged on the way.
        answer = self._client.post(PATH, form=form, repeatable=True, accept=(400, 401, 403))
        if answer.is_success:
            return json_of(answer)
        code = oauth_error(answer)
        if code in _PASSING:
            raise TransientError(f"Salesforce's token endpoint is busy ({code})")
        raise AuthError(f"Salesforce refuses to sign in ({code or answer.status_code}); look at the app and its user")


def oauth_error(answer: httpx.Response) -> str | None:
    """The code of a refused sign-in: an object, where the rest of the API answers an array."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    if isinstance(body, list) and body:
        body = body[0]
    code = (body.get("error") or body.get("errorCode")) if isinstance(body, dict) else None
    return code if isinstance(code, str) and re.fullmatch(r"\w{1,64}", code) else None


def _credentials(config: SalesforceConfig) -> str:
    """What signs in, as text."""
    given = [config.base_url]
    for way in filter(None, (config.client_credentials, config.jwt, config.refresh)):
        for name, value in way:
            given.append(f"{name}={value.get_secret_value() if isinstance(value, SecretStr) else value}")
    return "\n".join(given)


def _audience(base_url: str) -> str:
    """Who takes assertions for the org: sandboxes have a sign-in of their own."""
    is_sandbox = ".sandbox." in httpx.URL(base_url).host
    return "https://test.salesforce.com" if is_sandbox else "https://login.salesforce.com"
