"""Sign-in of the Salesforce simulator: OAuth without a browser, and sessions that end without saying when."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.salesforce.simulator_org import ORGANIZATION, USER, Org, error

_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
_LONGEST = 181.0
"""Seconds that an assertion may be good for: three minutes, which some clients round up."""


@dataclass(frozen=True, slots=True)
class App:
    """A connected app.

    Args:
        username: as whom it may sign in by an assertion.
        public_key: PEM, by which assertions are verified; None: no assertion is good.
        rotates: every refresh token works once, and the answer brings the next.
        hours: of a session; Salesforce never tells how long one lasts.
    """

    client_id: str = "simulator-app"
    client_secret: str = field(default="simulator-app-password", repr=False)
    refresh_token: str = field(default="5Aep-simulator-refresh", repr=False)
    username: str = "hub@example.com"
    public_key: str | None = None
    rotates: bool = False
    hours: float = 2.0


class Auth:
    """Knows which sessions are good. `life`: seconds of a session from now on."""

    def __init__(self, org: Org, app: App) -> None:
        self.life = app.hours * 3_600
        self.refresh_token = app.refresh_token
        self._org = org
        self._app = app
        self._expiry: dict[str, float] = {}
        self._issued = 0

    def token(self, request: Request, instance_url: str) -> Answer:
        """Answer the token endpoint (vendor documentation, OAuth 2.0 flows)."""
        form = request.form()
        grant = form.get("grant_type")
        if grant == _BEARER:
            return self._assertion(form, instance_url)
        client = self._client(request, form)
        if client[0] != self._app.client_id:
            return _refused("invalid_client_id", "client identifier invalid")
        if client[1] != self._app.client_secret:
            return _refused("invalid_client", "invalid client credentials")
        if grant == "client_credentials":
            if request.headers.get("host", "").startswith(("login.", "test.")):
                return _refused("invalid_grant", "request not supported on this domain")
            return self._granted(instance_url)
        if grant == "refresh_token":
            return self._refresh(form, instance_url)
        return _refused("unsupported_grant_type", "grant type not supported")

    def revoke(self, request: Request) -> Answer:
        arguments = {**request.arguments(), **(request.form() if request.body else {})}
        if self._expiry.pop(arguments.get("token", ""), None) is None:
            return _refused("unsupported_token_type", "this token is not known")
        return Answer(200)

    def check(self, request: Request) -> None:
        """Raise the 401 that the request deserves."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._org.clock() >= self._expiry.get(token, 0.0):
            raise Refusal(error(401, "INVALID_SESSION_ID", "Session expired or invalid"))

    def expire(self) -> None:
        """End every session now."""
        self._expiry.clear()

    def dump(self) -> dict[str, Any]:
        """The sessions and the refresh token that are good, as JSON."""
        return {"expiry": self._expiry, "issued": self._issued, "refresh": self.refresh_token}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self._expiry, self._issued, self.refresh_token = state["expiry"], state["issued"], state["refresh"]

    def _client(self, request: Request, form: Mapping[str, str]) -> tuple[str | None, str | None]:
        basic = request.headers.get("authorization", "")
        if basic.startswith("Basic "):
            try:
                name, _, password = base64.b64decode(basic[6:], validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None, None
            return name, password
        return form.get("client_id"), form.get("client_secret")

    def _refresh(self, form: Mapping[str, str], instance_url: str) -> Answer:
        if form.get("refresh_token") != self.refresh_token:
            return _refused("invalid_grant", "expired access/refresh token")
        if not self._app.rotates:
            return self._granted(instance_url)
        self.refresh_token = f"{self._app.refresh_token}-{self._issued + 1}"
        return self._granted(instance_url, refresh_token=self.refresh_token)

    def _assertion(self, form: Mapping[str, str], instance_url: str) -> Answer:
        now = self._org.clock()
        try:
            claims = jwt.decode(
                form.get("assertion", ""),
                self._app.public_key or "",
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False},
            )
            expires = float(claims.get("exp", 0))
        except (jwt.PyJWTError, TypeError, ValueError):
            return _refused("invalid_grant", "invalid assertion")
        if claims.get("iss") != self._app.client_id:
            return _refused("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in (*_AUDIENCES, instance_url):
            return _refused("invalid_grant", "audience is invalid")
        if expires <= now:
            return _refused("invalid_grant", "expired assertion")
        if expires > now + _LONGEST:
            return _refused("invalid_grant", "invalid assertion: exp is too far away")
        if claims.get("sub") != self._app.username:
            return _refused("invalid_grant", "user hasn't approved this consumer")
        return self._granted(instance_url)

    def _granted(self, instance_url: str, **more: str) -> Answer:
        self._issued += 1
        access = f"{ORGANIZATION[:15]}!AQ.simulated-session-{self._issued}"
        self._expiry[access] = self._org.clock() + self.life
        body = {
            "access_token": access,
            "signature": base64.b64encode(f"signature {self._issued}".encode()).decode(),
            "scope": "api",
            "instance_url": instance_url,
            "id": f"{instance_url}/id/{ORGANIZATION}/{USER}",
            "token_type": "Bearer",
            "issued_at": str(int(self._org.clock() * 1000)),
            "api_instance_url": instance_url,
        }
        return Answer(body={**body, **more})


def _refused(code: str, description: str) -> Answer:
    # This endpoint's errors are an object, unlike all others.
    return Answer(400, {"error": code, "error_description": description})
