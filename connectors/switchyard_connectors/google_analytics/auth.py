"""Sign-in as a service account: a signed assertion is exchanged for an access token."""

from __future__ import annotations

import json
from pathlib import Path

from switchyard.api import AuthError, ConfigError, Context, PermanentError
from switchyard.api.http import CachedToken, HttpClient, json_of
from switchyard.api.tokens import assertion
from switchyard_connectors.google_analytics.config import ServiceAccount
from switchyard_connectors.google_analytics.quota import Wall

READ = "https://www.googleapis.com/auth/analytics.readonly"
EDIT = "https://www.googleapis.com/auth/analytics.edit"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_HOUR = 3_600
"""The longest life of an assertion, seconds (developers.google.com/identity/protocols/oauth2/service-account)."""
_USED = 0.8
"""The part of a token's life in which it is used."""


class TokenEndpoint:
    """Fetches access tokens for `CachedToken`.

    Args:
        client: a client of the token endpoint, without a bearer.
        url: the endpoint's address, which is also whom the assertion is for. Never the one that a key names: a key
            must not decide where its own signature is sent.
        account: the parsed key: `client_email`, `private_key`, `private_key_id`.
        scope: what the token may do.
        now: the time, UTC with a zone.
    """

    def __init__(self, client: HttpClient, url: str, account: dict[str, str], scope: str, now: Wall) -> None:
        self._client = client
        self._url = url
        self._account = account
        self._scope = scope
        self._now = now

    def fetch(self) -> tuple[str, float]:
        """An access token, and the seconds for which to use it: four fifths of its life.

        Raises:
            AuthError: Google refuses the service account.
        """
        issued = int(self._now().timestamp())
        claims = {
            "iss": self._account["client_email"],
            "scope": self._scope,
            "aud": self._url,
            "iat": issued,
            "exp": issued + _HOUR,
        }
        signed = assertion(claims, self._account["private_key"], self._account.get("private_key_id"))
        form = {"grant_type": _GRANT, "assertion": signed}
        answer = self._client.post(self._url, form=form, repeatable=True, accept=(400, 401, 403))
        if not answer.is_success:
            raise AuthError(
                f"Google refuses the service account ({answer.status_code}); is its key still listed in the Cloud "
                "console, and is the clock right"
            )
        body = json_of(answer)
        try:
            return str(body["access_token"]), _USED * float(body["expires_in"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise PermanentError("Google's token endpoint answered without a token") from None


def bearer(account: ServiceAccount, sign_in_url: str, scope: str, context: Context, now: Wall) -> CachedToken:
    """Who gives access tokens for the service account.

    Raises:
        ConfigError: its key cannot be read.
    """
    client = context.http(sign_in_url.rpartition("/")[0])
    endpoint = TokenEndpoint(client, sign_in_url, parsed_key(account, context.project), scope, now)
    return CachedToken(endpoint.fetch, margin=0.0)


def parsed_key(account: ServiceAccount, project: Path) -> dict[str, str]:
    """The key as Google's console gives it.

    Raises:
        ConfigError: there is no such file, or it is no service account's key.
    """
    if account.key_file is not None:
        try:
            text = (project / account.key_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read the service account's key {account.key_file} ({type(error).__name__})", key="key_file"
            ) from None
    else:
        text = account.key.get_secret_value() if account.key else ""
    try:
        key = json.loads(text)
        found = {name: key[name] for name in ("client_email", "private_key")}
        found |= {"private_key_id": key["private_key_id"]} if key.get("private_key_id") else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        # What is wrong may stand right beside the private key.
        found = {}
    if not found or not all(isinstance(value, str) and value for value in found.values()):
        raise ConfigError(
            "the service account's key is not what the Cloud console gives: a JSON object with client_email and "
            "private_key",
            key="service_account",
        )
    return found
