"""Several requests in one metered call to the Salesforce simulator (vendor documentation, Composite and Batch)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers

from switchyard.testing.simulator import Answer, Refusal, Request
from switchyard_connectors.salesforce.simulator_org import error, refusal
from switchyard_connectors.salesforce.simulator_records import Store

MOST, MOST_HEAVY = 25, 5
_HEAVY = re.compile(r"/services/data/[^/]+/(query|queryAll|composite/sobjects)(/|\?|$)")
_REFERENCE = re.compile(r"@\{(\w+)((?:\.\w+|\[\d+\])*)\}")
_HALTED = "PROCESSING_HALTED"


class Composite:
    """Takes requests apart.

    Args:
        answer: answers one of them as if it had come alone, without counting it.
    """

    def __init__(self, store: Store, answer: Callable[[Request], Answer]) -> None:
        self._store = store
        self._one = answer

    def composite(self, request: Request) -> Answer:
        """Up to 25 requests one after the other; a later one may use what an earlier one answered."""
        body = request.json()
        parts: Sequence[Mapping[str, Any]] = body.get("compositeRequest") or []
        _check(parts)
        done: dict[str, Answer] = {}
        with self._store.transaction() as roll_back:
            for part in parts:
                done[part["referenceId"]] = self._referring(part, done, request)
            if body.get("allOrNone") is True and any(each.status >= 400 for each in done.values()):
                roll_back()
                message = "The transaction was rolled back since another operation in the same transaction failed."
                done = {
                    name: each if each.status >= 400 else error(400, _HALTED, message) for name, each in done.items()
                }
        return Answer(
            body={
                "compositeResponse": [
                    {
                        "body": each.body,
                        "httpHeaders": dict(each.headers),
                        "httpStatusCode": each.status,
                        "referenceId": name,
                    }
                    for name, each in done.items()
                ]
            }
        )

    def batch(self, request: Request) -> Answer:
        """Up to 25 requests that know nothing of each other."""
        body = request.json()
        parts: Sequence[Mapping[str, Any]] = body.get("batchRequests") or []
        if not parts or len(parts) > MOST:
            raise refusal(400, "INVALID_BATCH_SIZE", f"between 1 and {MOST} requests are needed")
        results: list[dict[str, Any]] = []
        failed = False
        for part in parts:
            if failed and body.get("haltOnError"):
                answer = error(412, "BATCH_PROCESSING_HALTED", "Batch processing halted per request")
            else:
                url = part["url"] if part["url"].startswith("/") else f"/services/data/{part['url']}"
                answer = self._sub({**part, "url": url, "body": part.get("richInput")}, request)
            failed = failed or answer.status >= 400
            results.append({"statusCode": answer.status, "result": answer.body})
        return Answer(body={"hasErrors": failed, "results": results})

    def _referring(self, part: Mapping[str, Any], done: Mapping[str, Answer], request: Request) -> Answer:
        try:
            url = _REFERENCE.sub(lambda found: quote(str(_referred(found, done)), safe=","), part["url"])
            body = _filled(part.get("body"), done)
        except LookupError as problem:
            return error(400, _HALTED, f"Invalid reference specified. {problem.args[0]}")
        return self._sub({**part, "url": url, "body": body}, request)

    def _sub(self, part: Mapping[str, Any], request: Request) -> Answer:
        path, _, query = part["url"].partition("?")
        given = part.get("httpHeaders") or {}
        headers = Headers({**request.headers, **{name.lower(): str(value) for name, value in given.items()}})
        body = b"" if part.get("body") is None else json.dumps(part["body"]).encode()
        try:
            return self._one(Request(part["method"], path, query, headers, body))
        except Refusal as refused:
            return refused.answer


def _check(parts: Sequence[Mapping[str, Any]]) -> None:
    if not parts or len(parts) > MOST:
        raise refusal(400, "INVALID_INPUT", f"between 1 and {MOST} subrequests are needed")
    if len({part.get("referenceId") for part in parts}) < len(parts):
        raise refusal(400, "INVALID_INPUT", "every subrequest needs a referenceId of its own")
    if sum(1 for part in parts if _HEAVY.match(part["url"])) > MOST_HEAVY:
        raise refusal(400, "LIMIT_EXCEEDED", f"at most {MOST_HEAVY} subrequests may be queries or collections")


def _filled(body: Any, done: Mapping[str, Answer]) -> Any:
    """The body with what its references refer to."""
    if isinstance(body, str):
        whole = _REFERENCE.fullmatch(body)
        return _referred(whole, done) if whole else _REFERENCE.sub(lambda found: str(_referred(found, done)), body)
    if isinstance(body, list):
        return [_filled(each, done) for each in body]
    if isinstance(body, dict):
        return {name: _filled(each, done) for name, each in body.items()}
    return body


def _referred(found: re.Match[str], done: Mapping[str, Answer]) -> Any:
    name, path = found[1], found[2]
    if name not in done or done[name].status >= 400:
        raise LookupError(f"No value provided by {name}")
    value = done[name].body
    for step in re.findall(r"\w+", path):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, TypeError, ValueError) as problem:
            raise LookupError(f"No value for {path} found in {name}") from problem
    return value
