"""Calls to one HubSpot account: signed in, and with HubSpot's way of saying no."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Unpack

import httpx

from switchyard.api import Context, TransientError
from switchyard.api.http import CachedToken, Options, json_of
from switchyard_connectors.hubspot.config import AccountConfig
from switchyard_connectors.hubspot.oauth import TokenEndpoint
from switchyard_connectors.hubspot.paths import PATHS
from switchyard_connectors.hubspot.refusals import classify


class Account:
    """Every call of a connection goes through here, so that all share one token and one way of renewing it."""

    def __init__(self, config: AccountConfig, context: Context) -> None:
        self.paths = PATHS[config.api]
        self._classify = classify(config.time_zone, lambda: datetime.now(UTC))
        bearer: str | CachedToken
        if config.oauth is not None:
            client, address = context.http(config.base_url), (config.base_url, self.paths.oauth)
            bearer = CachedToken(TokenEndpoint(client, address, config.oauth, context.workspace / "oauth").fetch)
        else:
            bearer = config.token.get_secret_value() if config.token else ""
        self._http = context.http(config.base_url, bearer=bearer)

    def get(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """See `HttpClient.get`."""
        options.setdefault("classify", self._classify)
        return self._http.get(path, **options)

    def post(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """See `HttpClient.post`."""
        options.setdefault("classify", self._classify)
        return self._http.post(path, **options)

    def put(self, path: str, **options: Unpack[Options]) -> httpx.Response:
        """See `HttpClient.put`."""
        options.setdefault("classify", self._classify)
        return self._http.put(path, **options)

    def found(self, path: str, **options: Unpack[Options]) -> Mapping[str, Any]:
        """The object that a GET answers."""
        return object_of(self.get(path, **options))

    def asked(self, path: str, **options: Unpack[Options]) -> Mapping[str, Any]:
        """The object that a POST answers which only reads, and may therefore be repeated."""
        options.setdefault("repeatable", True)
        return object_of(self.post(path, **options))


def object_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of an answer.

    Raises:
        TransientError: it is something else, as what stands between HubSpot and here may say.
    """
    body = json_of(answer)
    if not isinstance(body, dict):
        raise TransientError(f"{answer.request.method} on HubSpot answered JSON that is no object")
    return body


def next_after(body: Mapping[str, Any]) -> str | None:
    """The token of the next page, None at the end."""
    after = ((body.get("paging") or {}).get("next") or {}).get("after")
    return None if after is None else str(after)
