"""The check against the official description finds what is not as described."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.datastructures import Headers
from tests.connectors.marketo.official import FILES, GAPS, UNDESCRIBED, Exchange, Swagger

from switchyard.testing.simulator import Answer, Request

pytestmark = pytest.mark.shared

TYPE_JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def official(shared_folder) -> Swagger:
    return Swagger(shared_folder / "specs" / "marketo")


def complaints(official: Swagger, method: str, target: str, body: Any = None, answer: Any = None) -> list[str]:
    path, _, query = target.partition("?")
    content = b"" if body is None else json.dumps(body).encode()
    given = {"requestId": "1#2", "success": True, "result": [], **(answer or {})}
    request = Request(method, path, query, Headers(TYPE_JSON), content)
    return official.complaints(Exchange(request, Answer(200, given)))


def test_what_is_described_has_no_complaints(official):
    assert complaints(official, "GET", "/rest/v1/leads.json?filterType=email&filterValues=a") == []
    assert complaints(official, "POST", "/rest/v1/leads.json", {"input": [{"email": "a"}]}) == []


@pytest.mark.parametrize(
    ("method", "target", "body", "answer", "part"),
    [
        ("GET", "/rest/v1/people.json", None, None, "not described"),
        ("PUT", "/rest/v1/leads.json", None, None, "not described"),
        ("GET", "/rest/v1/leads.json?filterType=email", None, None, "filterValues is missing"),
        ("GET", "/rest/v1/leads.json?filterType=email&filterValues=a&limit=3", None, None, "limit is not described"),
        ("GET", "/rest/v1/lists.json?batchSize=all", None, None, "no integer"),
        ("POST", "/rest/v1/leads.json", {"action": "upsert", "input": []}, None, "action"),
        ("POST", "/rest/v1/leads.json", {"rows": []}, None, "'input' is a required property"),
        ("POST", "/rest/v1/leads/delete.json", {"input": [{"email": "a"}]}, None, "'id' is a required property"),
        ("GET", "/rest/v1/lists.json", None, {"result": [{"id": "1101"}]}, "is not of type 'integer'"),
        ("GET", "/rest/v1/lists.json", None, {"requestId": None}, "requestId"),
        ("GET", "/rest/v1/lists.json", None, {"hasMore": True}, "hasMore"),
        ("GET", "/rest/v1/lists.json", None, {"success": False}, "errors"),
    ],
)
def test_what_is_not_as_described_is_told(official, method, target, body, answer, part):
    assert part in "\n".join(complaints(official, method, target, body, answer))


def test_every_known_gap_is_one(shared_folder):
    described: dict[str, Any] = {}
    paths: set[tuple[str, str]] = set()
    for file in FILES:
        content = json.loads((shared_folder / "specs" / "marketo" / file).read_text(encoding="utf-8"))
        described |= content["definitions"]
        paths |= {(method.upper(), path) for path, methods in content["paths"].items() for method in methods}
    for gap in GAPS:
        names = [name for name in described if name == gap.definition or name.startswith(gap.definition.rstrip("*"))]
        required = {each for name in names for each in described[name].get("required", ())}
        properties = {each for name in names for each in described[name].get("properties", ())}
        assert set(gap.optional) <= required, gap
        assert set(gap.loose) <= properties, gap
    assert not paths & UNDESCRIBED.keys()
