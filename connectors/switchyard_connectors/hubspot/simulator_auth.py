"""Sign-in of the HubSpot simulator: static tokens, OAuth with refresh tokens, scopes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.testing.simulator import Answer, Refusal, Request, Route
from switchyard_connectors.hubspot.simulator_portal import COMPANY, CONTACT, DEAL, Portal, Problem, iso

_OBJECTS = re.compile(r"/objects/(?:\d{4}-\d{2}/)?([^/]+)")
STATIC = "pat-na1-simulator"
LIFETIME = 1_800


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """A connected app. With `rotates`, every refresh token works once and the answer brings the next."""

    client_id: str = "simulator-app"
    client_secret: str = field(default="simulator-app-password", repr=False)
    refresh_token: str = field(default="na1-simulator-refresh", repr=False)
    rotates: bool = False


class Auth:
    """Knows which tokens are good.

    Args:
        static: bearer tokens that never expire (legacy private apps, service keys).
        scopes: what the tokens may do; None for everything.
    """

    def __init__(self, portal: Portal, static: Collection[str], app: OAuthApp, scopes: Collection[str] | None) -> None:
        self._portal = portal
        self._static = frozenset(static)
        self._app = app
        self._scopes = None if scopes is None else frozenset(scopes)
        self._refresh = app.refresh_token
        self._expiry: dict[str, float] = {}
        self._issued = 0

    def token(self, request: Request) -> Answer:
        """Answer the token endpoint (vendor documentation, authentication/oauth)."""
        form = request.form()
        if form.get("grant_type") != "refresh_token":
            return self._refused("BAD_GRANT_TYPE", "missing or unknown grant type")
        if (form.get("client_id"), form.get("client_secret")) != (self._app.client_id, self._app.client_secret):
            return self._refused("BAD_CLIENT_ID", "missing or unknown client id")
        if form.get("refresh_token") != self._refresh:
            return self._refused("BAD_REFRESH_TOKEN", "missing or unknown refresh token")
        self._issued += 1
        access = f"simulated-access-{self._issued}"
        self._expiry[access] = self._portal.clock() + LIFETIME
        if self._app.rotates:
            self._refresh = f"{self._app.refresh_token}-{self._issued}"
        return Answer(
            body={
                "token_type": "bearer",
                "access_token": access,
                "refresh_token": self._refresh,
                "expires_in": LIFETIME,
            }
        )

    def by_oauth(self, request: Request) -> bool:
        return _bearer(request) in self._expiry

    def check(self, request: Request, route: Route) -> None:
        """Raise the 401 or 403 that the request deserves."""
        token = _bearer(request)
        if token in self._expiry:
            expiry = self._expiry[token]
            if self._portal.clock() >= expiry:
                late = int(self._portal.clock() - expiry)
                message = f"The OAuth token used to make this call expired {late} second(s) ago."
                problem = Problem("EXPIRED_AUTHENTICATION", message, context={"expire time": [iso(expiry)]})
                raise Refusal(self._portal.error(401, problem))
        elif token not in self._static:
            message = "Authentication credentials not found. This API supports OAuth 2.0 authentication."
            raise Refusal(self._portal.error(401, Problem("INVALID_AUTHENTICATION", message)))
        needed = _scope(route)
        if self._scopes is not None and needed not in self._scopes:
            message = "This app hasn't been granted all required scopes to make this call."
            detail = {"message": message, "context": {"requiredGranularScopes": [needed]}}
            raise Refusal(self._portal.error(403, Problem("MISSING_SCOPES", message, [detail])))

    def expire(self) -> None:
        """End every access token now."""
        self._expiry = dict.fromkeys(self._expiry, self._portal.clock())

    def dump(self) -> dict[str, Any]:
        """The tokens of the app that are good, as JSON."""
        return {"refresh": self._refresh, "expiry": self._expiry, "issued": self._issued}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self._refresh, self._expiry, self._issued = state["refresh"], state["expiry"], state["issued"]

    def _refused(self, status: str, message: str) -> Answer:
        # This endpoint's errors carry the code in `status`, unlike all others.
        return Answer(400, {"status": status, "message": message, "correlationId": self._portal.correlation_id()})


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _scope(route: Route) -> str:
    read = route.method == "GET" or route.pattern.endswith(("/read", "/search", "/all"))
    access = "read" if read else "write"
    if "/email/public" in route.pattern:
        return "content"
    if "/form" in route.pattern:
        return "forms"
    if "/send" in route.pattern:
        return "analytics.behavioral_events.send"
    if "/properties" in route.pattern:
        return "crm.objects.contacts.read" if read else "crm.schemas.contacts.write"
    if "schemas" in route.pattern:
        return "crm.schemas.custom.read"
    if "/lists" in route.pattern:
        return f"crm.lists.{access}"
    named = _OBJECTS.search(route.pattern)
    held = next((kind.name for kind in (CONTACT, COMPANY, DEAL) if named and named[1] in kind.names), "custom")
    return f"crm.objects.{held if named else 'contacts'}.{access}"
