"""The way to one Marketo instance: its token, its envelopes, its pages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import urlencode

import httpx

from switchyard.api import AuthError, Context, PermanentError, TransientError
from switchyard.api.answers import template
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import CachedToken, HttpClient, Options, RetryPolicy, json_of
from switchyard_connectors.marketo.config import IDENTITY, MarketoConfig
from switchyard_connectors.marketo.envelope import Envelope, Judge

BATCH = 300
"""Records of one call, read or written (help/rest-api)."""
REFUSED_TOKEN = ("1001", "1003")
"""Codes for a token of a page that was kept for too long."""
_MARGIN = 60.0
_LONGEST_URI = 7_000
"""Bytes of a query that surely fit a URI, of which Marketo takes 8 KB."""
_NOT_READY = 20.0
_PATIENCE = RetryPolicy(read=100.0, attempt=150.0, deadline=600.0)
"""Marketo itself gives up an upsert after 90 seconds (help/leads)."""


class Marketo:
    """Calls to one instance, each judged by its envelope. May be used from many threads."""

    def __init__(self, config: MarketoConfig, context: Context) -> None:
        token = CachedToken(Identity(context.http(config.base_url), config).fetch, margin=_MARGIN)
        self._http = context.http(config.base_url, bearer=token, policy=_PATIENCE)

    def call(
        self,
        method: str,
        path: str,
        *,
        expected: Collection[str] = (),
        once: bool = False,
        **options: Unpack[Options],
    ) -> Envelope:
        """Make a call.

        Args:
            expected: codes of errors that come back in the envelope.
            once: whether the call must not be made again where its outcome is unknown.
            options: see `Options`.

        Raises:
            PermanentError: any code that no other error stands for.
        """
        repeatable = not once and bool(options.get("repeatable", method != "POST"))
        judge = Judge(f"{method} {template(path)}", expected, once, repeatable)
        options |= {"judge": judge, "repeatable": repeatable}
        self._http.request(method, path, **options)
        return judge.envelope

    def get(self, path: str, *, expected: Collection[str] = (), **options: Unpack[Options]) -> Envelope:
        """GET; see `call`."""
        return self.call("GET", path, expected=expected, **options)

    def pages(
        self, path: str, params: Mapping[str, Any], *, expected: Collection[str] = (), token: str | None = None
    ) -> Iterator[Envelope]:
        """The pages of a GET that is paged by tokens, until one has none. One with an expected error is the last.

        Raises:
            PermanentError: a page leads to one before it.
        """
        seen = {token}
        while True:
            page = self.get(path, params={**params, "batchSize": BATCH, "nextPageToken": token}, expected=expected)
            yield page
            if page.token is None or page.code is not None:
                return
            if page.token in seen:
                raise PermanentError(f"GET {template(path)} leads from page to page in a circle")
            token = page.token
            seen.add(token)

    def pages_from(self, path: str, params: Mapping[str, Any], token: str | None) -> Iterator[Envelope]:
        """The pages behind a kept token; all of them where Marketo does not know it any more."""
        for page in self.pages(path, params, expected=REFUSED_TOKEN if token else (), token=token):
            if page.code is not None:
                yield from self.pages(path, params)
                return
            yield page

    def leads(self, field: str, values: Sequence[str], fields: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """The leads that have one of at most 300 values in a field; one value may find several, or none.

        Whoever cannot be asked for is not found.
        """
        values = [value for value in values if can_be_asked_for(value)]
        if not values:
            return
        query: dict[str, Any] = {
            "filterType": field,
            "filterValues": ",".join(values),
            "fields": ",".join(fields),
            "batchSize": BATCH,
        }
        path, seen = "/rest/v1/leads.json", set[str]()
        while True:
            if len(urlencode(query)) <= _LONGEST_URI:
                page = self.get(path, params=query)
            else:
                # What does not fit a URI goes into the body, and is no less a reading.
                page = self.call("POST", path, params={"_method": "GET"}, form=query, repeatable=True)
            yield from page.result
            if page.token is None:
                return
            if page.token in seen:
                raise PermanentError(f"GET {path} leads from page to page in a circle")
            seen.add(page.token)
            query["nextPageToken"] = page.token

    def download(self, path: str, file: Path) -> None:
        """GET a file; one that is not there yet is asked for again, a few times."""
        judge = Judge(f"GET {template(path)}")

        def of_json(answer: httpx.Response) -> SwitchyardError | None:
            return judge(answer) if "json" in answer.headers.get("content-type", "") else None

        # The checksum is that of the plain bytes, and Marketo does not compress bulk files.
        self._http.download(path, file, headers={"accept-encoding": "identity"}, judge=of_json, classify=_not_ready)


class Identity:
    """Asks for access tokens: for an hour, or for what is left of the one that others were given already."""

    def __init__(self, client: HttpClient, config: MarketoConfig) -> None:
        self._client = client
        self._config = config

    def fetch(self) -> tuple[str, float]:
        """A token and the seconds it is good for.

        Raises:
            AuthError: Marketo refuses the client.
        """
        # In the body: what stands in a URL is logged on the way.
        form = {
            "grant_type": "client_credentials",
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret.get_secret_value(),
        }
        judge = Judge("POST /identity/oauth/token")

        def of_failure(answer: httpx.Response) -> SwitchyardError | None:
            # What stands before all services answers in their envelope.
            return judge(answer) if b'"success"' in answer.content else None

        answer = self._client.post(
            "/identity/oauth/token",
            form=form,
            repeatable=True,
            accept=(400, 401),
            bucket=IDENTITY,
            judge=of_failure,
        )
        if not answer.is_success:
            raise AuthError(
                f"Marketo refuses client_id or client_secret ({answer.status_code}); look at the LaunchPoint service"
            )
        body = json_of(answer)
        try:
            return str(body["access_token"]), float(body["expires_in"])
        except (KeyError, TypeError, ValueError):
            raise TransientError("Marketo's identity service answered without a token") from None


def can_be_asked_for(value: str) -> bool:
    """Whether leads can be found by a value: several are separated by commas, and there is no way to write one."""
    return "," not in value


def _not_ready(answer: httpx.Response) -> SwitchyardError | None:
    """A job may say that it is completed before its file is there."""
    if answer.status_code == httpx.codes.NOT_FOUND:
        return TransientError("Marketo has no file of the job yet", retry_after=_NOT_READY)
    return None
