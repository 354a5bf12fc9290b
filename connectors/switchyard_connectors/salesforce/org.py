"""One org: versioned paths, its clock, queries of any length, and several requests in one metered call."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx

from switchyard.api import Context, PermanentError, TransientError
from switchyard.api.http import HttpClient, json_of
from switchyard.api.records import JSON
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.config import SalesforceConfig
from switchyard_connectors.salesforce.oauth import Session, SignIn
from switchyard_connectors.salesforce.refusals import PASSING, ApiError, api_error, classify, first_error, usage

IN_ONE_CALL = 5
"""Queries and collections that one composite call may hold (vendor documentation, composite)."""
CLIENT = "switchyard"
"""How the hub's own writes are marked, so that change events of them can be told (`changeOrigin`)."""
_LONGEST_URL = 12_000
"""Bytes of a query in a URL: with path and headers 16,384 are allowed, and answered with 414 or 431 beyond."""
IDS_AT_ONCE = 1_000
"""Ids of one query: their records are one page."""
_PAGE = 2_000
_REFERENCE = "@{"

Body: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One answer within that of a composite call."""

    status: int
    body: Any


class Org:
    """Calls to one org. May be used from many threads."""

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        self.path = f"/services/data/{config.version}"
        self.version = config.version
        self._context = context
        self._sign_in = SignIn(config, context.http(config.base_url), context.workspace / "oauth")
        self._connecting = threading.Lock()
        self._client: HttpClient | None = None
        self._classify = classify(lambda: datetime.now(UTC).replace(tzinfo=None))
        self._seen_at: datetime | None = None

    def session(self) -> Session:
        """As whom the connection is signed in."""
        return self._sign_in.session()

    @property
    def now(self) -> datetime | None:
        """The org's own time as its newest answer gave it, UTC without a zone; None while none did."""
        return self._seen_at

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call; `path` starts below the version, or is one that Salesforce gave.

        Raises:
            ApiError: Salesforce refused it, with its code.
            PermanentError: the path leads to another host.
        """
        options["headers"] = {"sforce-call-options": f"client={CLIENT}"} | options.get("headers", {})
        answer = self._http().request(method, self._absolute(path), classify=self._classify, usage=usage, **options)
        self._look_at(answer.headers)
        return answer

    def get(self, path: str, **options: Any) -> Any:
        """The JSON that a GET answers."""
        return json_of(self.request("GET", path, **options))

    def download(self, path: str, file: Path, **options: Any) -> httpx.Headers:
        """Fetch a result file; see `HttpClient.download`."""
        headers = self._http().download(
            self._absolute(path), file, headers={"accept": "text/csv"}, classify=self._classify, usage=usage, **options
        )
        self._look_at(headers)
        return headers

    def query(self, query: str, *, deleted: bool = False) -> Iterator[Body]:
        """The pages of a query: bodies with `records` as they came, numbers as text.

        Args:
            deleted: whether records in the recycle bin, and archived ones, are looked at too.

        Raises:
            ApiError: INVALID_QUERY_LOCATOR where Salesforce has forgotten how far this reading was.
        """
        resource = "queryAll" if deleted else "query"
        encoded = f"{self.path}/{resource}?q={quote(query, safe='')}"
        options: Any = {"headers": {"sforce-query-options": f"batchSize={_PAGE}"}}
        if len(encoded) <= _LONGEST_URL:
            page = _exact(self.request("GET", encoded, **options))
        else:
            page = checked(self.together([get(encoded)], exact=True)[0])
        yield from self.onward(page)

    def onward(self, page: Any) -> Iterator[Body]:
        """A page of a query's answer, and those behind it."""
        options: Any = {"headers": {"sforce-query-options": f"batchSize={_PAGE}"}}
        seen: set[str] = set()
        while True:
            yield _records(page)
            if page["done"]:
                return
            following = str(page["nextRecordsUrl"])
            if following in seen:
                raise PermanentError("a query's answer leads from page to page in a circle")
            seen.add(following)
            page = _exact(self.request("GET", following, **options))

    def count(self, query: str, *, deleted: bool = False) -> int:
        """What a `SELECT COUNT()` counts."""
        return int(next(self.query(query, deleted=deleted)).get("totalSize") or 0)

    def by_ids(self, name: str, fields: Sequence[str], ids: Sequence[str], *, deleted: bool) -> Iterator[Body]:
        """Those of some records that a query shows, 5,000 to a call.

        Args:
            deleted: whether it shows those in the recycle bin.
        """
        resource = "queryAll" if deleted else "query"
        conditions = (f"Id IN {soql.listed(part)}" for part in soql.chunks(ids, IDS_AT_ONCE))
        queries = [soql.select(fields, name, (each,)) for each in conditions]
        for start in range(0, len(queries), IN_ONE_CALL):
            urls = [f"{self.path}/{resource}?q={quote(each, safe='')}" for each in queries[start : start + IN_ONE_CALL]]
            for answer in self.together([get(url) for url in urls]):
                for page in self.onward(checked(answer)):
                    yield from page["records"]

    def together(self, parts: Sequence[Body], *, repeatable: bool = True, exact: bool = False) -> list[Part]:
        """Several requests as one metered call; their answers, in their order: see `checked`.

        In the body of a composite call `@{…}` stands for another answer, and nothing escapes it: where a value holds
        it, each request is a call of its own.
        """
        if any(_REFERENCE in json.dumps(part["body"]) for part in parts if "body" in part):
            return [self._alone(part, repeatable=repeatable) for part in parts]
        named = [{**part, "referenceId": f"r{number}"} for number, part in enumerate(parts)]
        body: JSON = {"allOrNone": False, "collateSubrequests": False, "compositeRequest": named}  # type: ignore[dict-item]
        answer = self.request("POST", "composite", json=body, repeatable=repeatable)
        found = (_exact(answer) if exact else json_of(answer)).get("compositeResponse")
        if not isinstance(found, list) or len(found) != len(parts):
            raise TransientError("Salesforce's composite answer does not fit the question")
        return [Part(int(each.get("httpStatusCode") or 0), each.get("body")) for each in found]

    def _alone(self, part: Body, *, repeatable: bool) -> Part:
        headers = part.get("httpHeaders") or {}
        try:
            answer = self.request(
                part["method"], part["url"], json=part.get("body"), headers=headers, repeatable=repeatable
            )
        except ApiError as error:
            return Part(error.status, [{"errorCode": error.code, "message": str(error)}])
        return Part(answer.status_code, json_of(answer))

    def _http(self) -> HttpClient:
        """The client of the instance, which is known once the connection has signed in."""
        with self._connecting:
            if self._client is None:
                self._client = self._context.http(self.session().instance_url, bearer=self._sign_in.bearer)
            return self._client

    def _absolute(self, path: str) -> str:
        if "://" in path or path.startswith("/"):
            return path
        return path if path.startswith("services/") else f"{self.path}/{path}"

    def _look_at(self, headers: httpx.Headers) -> None:
        try:
            at = parsedate_to_datetime(headers["date"])
        except (KeyError, ValueError):
            return
        self._seen_at = at.astimezone(UTC).replace(tzinfo=None)


def get(url: str) -> Body:
    """A GET within a composite call."""
    return {"method": "GET", "url": url}


def checked(part: Part) -> Any:
    """The body of one answer of several.

    Raises:
        ApiError: this request was refused as a whole.
        TransientError: it may succeed later.
    """
    if 200 <= part.status <= 300:
        return part.body
    code, _ = first_error(part.body)
    said = f"a part of a composite call to Salesforce answered {part.status}"
    if part.status >= 500 or code in PASSING:
        raise TransientError(f"{said} {code}".rstrip())
    raise api_error(said, code or "UNKNOWN", status=part.status)


def _records(page: Any) -> Body:
    """The page, where it is one and says whether there is more."""
    if not isinstance(page, dict) or not isinstance(page.get("records"), list):
        raise TransientError("Salesforce answered a query with something else")
    done, following = page.get("done"), page.get("nextRecordsUrl")
    if done is not True and (done is not False or not isinstance(following, str)):
        raise TransientError("Salesforce does not say where a query goes on")
    return page


def _exact(answer: httpx.Response) -> Any:
    """JSON whose numbers stay the text they were: a double holds neither every id nor every amount."""
    try:
        return json.loads(answer.content, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return json_of(answer)
