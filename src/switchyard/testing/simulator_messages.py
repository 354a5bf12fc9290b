"""What a simulator receives and answers, and the patterns by which it finds the handler."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `body`: bytes as they are, a str as text/plain, None as no body, anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, str | None]:
        """The bytes of the body, and the content type that they have by default."""
        if self.body is None:
            return b"", None
        if isinstance(self.body, bytes):
            return self.body, "application/json;charset=utf-8"
        if isinstance(self.body, str):
            return self.body.encode(), "text/plain;charset=utf-8"
        return json.dumps(self.body, separators=(",", ":")).encode(), "application/json;charset=utf-8"


class Refusal(Exception):
    """Raised by a handler to answer something else than it would return."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


class Malformed(Exception):
    """The body of a request is not what its content type says."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole. `path` is as it was sent, percent-encoding included; `params` are decoded."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> QueryParams:
        """The query string's arguments."""
        return QueryParams(self.query)

    def json(self) -> Any:
        """The body as JSON. Raises Malformed."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Malformed("the body is not JSON") from error

    def form(self) -> dict[str, str]:
        """The body as a form; of a repeated field the last value. Raises Malformed."""
        try:
            return {name: values[-1] for name, values in parse_qs(self.body.decode("ascii")).items()}
        except ValueError as error:
            raise Malformed("the body is not a form") from error


Handler: TypeAlias = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path pattern such as `/lists/{list_id}`, with who answers it."""

    method: str
    pattern: str
    handler: Handler


class Router:
    """Finds the route of a request. A trailing slash makes no difference."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []

    def add(self, route: Route) -> None:
        """Add a route. Of two patterns that match, the one added first answers; fixed paths come before patterns."""
        if "{" not in route.pattern:
            self._fixed[route.method, route.pattern] = route
            return
        parts = re.split(r"\{(\w+)\}", route.pattern)
        regex = "".join(f"(?P<{part}>[^/]+)" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
        self._patterns.append((re.compile(regex), route))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and its decoded parameters, or None."""
        path = path.rstrip("/") or "/"
        if fixed := self._fixed.get((method, path)):
            return fixed, {}
        for regex, route in self._patterns:
            if route.method == method and (match := regex.fullmatch(path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


async def read_request(scope: Scope, receive: Receive) -> Request | None:
    """Read one ASGI request to its end; None where the caller went away before it."""
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("ascii", "replace"),
        query=scope["query_string"].decode("ascii", "replace"),
        headers=Headers(scope=scope),
        body=b"".join(chunks),
    )


async def send_answer(send: Send, answer: Answer, keep: int | None = None) -> bool:
    """Send the answer; with `keep`, only that many bytes of the body. Returns whether the body went out whole."""
    body, content_type = answer.encoded()
    headers = {"content-length": str(len(body))} if answer.status != 204 else {}
    if content_type:
        headers["content-type"] = content_type
    headers |= {name.lower(): value for name, value in answer.headers.items()}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    whole = keep is None or keep >= len(body)
    await send({"type": "http.response.body", "body": body if whole else body[:keep], "more_body": not whole})
    return whole
