"""Sign-in of the Marketo simulator: client credentials, and tokens that live for an hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.marketo.simulator_instance import Arguments, Instance

LIFETIME = 3_600
CLIENT_ID = "simulator-client"
CLIENT_SECRET = "simulator-client-password"  # noqa: S105  # of no real system


@dataclass(frozen=True, slots=True)
class ApiUser:
    """An API-only user and its client credentials."""

    client_id: str = CLIENT_ID
    client_secret: str = field(default=CLIENT_SECRET, repr=False)
    name: str = "hub@api.example"


@dataclass(slots=True)
class _Token:
    user: ApiUser
    expires: float


class Identity:
    """Knows which tokens are good, and whose they are.

    `lifetime`: of new tokens, in seconds.
    """

    def __init__(self, instance: Instance, users: tuple[ApiUser, ...]) -> None:
        self.lifetime = float(LIFETIME)
        self._instance = instance
        self._users = {user.client_id: user for user in users}
        self._tokens: dict[str, _Token] = {}
        self._current: dict[str, str] = {}

    def answer(self, request: Request) -> Answer:
        """Answer the token endpoint: the same token with what remains of it, until it has expired (vendor
        documentation, authentication).
        """
        arguments = Arguments(request)
        user = self._users.get(arguments.text("client_id"))
        if arguments.text("grant_type") != "client_credentials":
            return _refused("invalid_request", "unsupported grant type")
        if user is None:
            return _refused("invalid_client", "No client with requested id")
        if user.client_secret != arguments.text("client_secret"):
            return _refused("unauthorized", "Bad client credentials")
        now = self._instance.clock()
        value = self._current.get(user.client_id, "")
        if value not in self._tokens or self._tokens[value].expires <= now:
            value = f"{self._instance.guid()}:int"
            self._tokens[value] = _Token(user, now + self.lifetime)
            self._current[user.client_id] = value
        remaining = int(self._tokens[value].expires - now)
        body = {"access_token": value, "token_type": "bearer", "expires_in": remaining, "scope": user.name}
        return Answer(body=body)

    def user(self, request: Request) -> ApiUser:
        """Whose call this is. Raises the failure 600, 601 or 602."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if not value:
            raise self._instance.failure("600", "Access token not specified")
        found = self._tokens.get(value) if kind.lower() == "bearer" else None
        if found is None:
            raise self._instance.failure("601", "Access token invalid")
        if self._instance.clock() >= found.expires:
            raise self._instance.failure("602", "Access token expired")
        return found.user

    def expire(self) -> None:
        """Let every token expire now (602)."""
        for each in self._tokens.values():
            each.expires = min(each.expires, self._instance.clock())

    def revoke(self) -> None:
        """Forget every token (601), as when the API user's credentials are renewed."""
        self._tokens.clear()

    def dump(self) -> dict[str, Any]:
        """The tokens, as JSON."""
        tokens = {value: [each.user.client_id, each.expires] for value, each in self._tokens.items()}
        return {"tokens": tokens, "current": self._current}

    def load(self, state: Mapping[str, Any]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self._tokens = {value: _Token(self._users[who], expires) for value, (who, expires) in state["tokens"].items()}
        self._current = dict(state["current"])


def _refused(error: str, description: str) -> Answer:
    return Answer(401, {"error": error, "error_description": description})
