"""Sign-in to the simulated property: the key of its service account, and tokens for assertions signed with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from switchyard.testing.simulator import Answer, Refusal, Request

EMAIL = "switchyard@simulated.iam.gserviceaccount.com"
KEY_ID = "0123456789abcdef0123456789abcdef01234567"
READ = "https://www.googleapis.com/auth/analytics.readonly"
EDIT = "https://www.googleapis.com/auth/analytics.edit"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFE = 3_599


class SignIn:
    """One service account, its key, and the tokens that it was given.

    Args:
        clock: the vendor's, epoch seconds.
        random: of tokens.
        address: the token endpoint's own.
    """

    def __init__(self, clock: Callable[[], float], random: Random, address: Callable[[], str]) -> None:
        self.life = LIFE
        self._clock = clock
        self._random = random
        self._address = address
        self._key = _key()
        self._tokens: dict[str, tuple[float, str]] = {}

    def service_account(self) -> str:
        """The key, as the Cloud console gives it: JSON."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "simulated",
                "private_key_id": KEY_ID,
                "private_key": self._key,
                "client_email": EMAIL,
                "client_id": "100000000000000000000",
                "token_uri": self._address(),
            }
        )

    def token(self, request: Request) -> Answer:
        """The token endpoint."""
        form = request.form()
        if form.get("grant_type") != _GRANT:
            return _refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        signed = form.get("assertion", "")
        try:
            header = jwt.get_unverified_header(signed)
            claims = jwt.decode(
                signed,
                _public(self._key),
                algorithms=["RS256"],
                audience=self._address(),
                # By the vendor's clock, which may stand still.
                options={"verify_exp": False, "verify_iat": False, "require": ["iss", "aud", "iat", "exp"]},
            )
        except jwt.InvalidTokenError:
            return _refused("invalid_grant", "Invalid JWT Signature.")
        if header.get("kid") != KEY_ID or claims["iss"] != EMAIL:
            return _refused("invalid_grant", "Invalid grant: account not found")
        now = self._clock()
        if not claims["iat"] - 300 <= now <= claims["exp"] or claims["exp"] - claims["iat"] > 3_600:
            reason = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            return _refused("invalid_grant", reason)
        if not claims.get("scope"):
            return _refused("invalid_scope", "Empty or missing scope not allowed.")
        token = f"ya29.{self._random.getrandbits(160):040x}"
        self._tokens[token] = now + self.life, claims["scope"]
        return Answer(body={"access_token": token, "expires_in": self.life, "token_type": "Bearer"})

    def check(self, request: Request, scope: str) -> None:
        """Refuse a request without a good token of this scope."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        until, granted = self._tokens.get(token, (0.0, ""))
        if self._clock() >= until:
            message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            error = {"code": 401, "message": message, "status": "UNAUTHENTICATED"}
            raise Refusal(Answer(401, {"error": error}))
        if scope not in granted.split():
            message = "Request had insufficient authentication scopes."
            raise Refusal(Answer(403, {"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}))

    def expire(self) -> None:
        """End every token now."""
        self._tokens.clear()

    def dump(self) -> dict[str, Any]:
        """The key, as JSON."""
        return {"key": self._key}

    def load(self, state: Mapping[str, Any]) -> None:
        """Have the key that `dump` gave."""
        self._key = state["key"]
        self._tokens.clear()


@cache
def _key() -> str:
    # One for the whole process: to find one takes a while.
    return (
        rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _public(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.decode()


def _refused(error: str, description: str) -> Answer:
    return Answer(400, {"error": error, "error_description": description})
