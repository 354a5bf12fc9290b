"""Google's discovery documents as JSON schemas, to judge requests and answers by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema


class Discovery:
    """The methods of some APIs, and what their messages are like.

    Args:
        documents: parsed discovery documents.
    """

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self._methods: list[_Method] = []
        for document in documents:
            schemas = {name: _strict(each) for name, each in document["schemas"].items()}
            self._methods += [_Method(method, schemas) for method in _methods(document)]

    @classmethod
    @cache
    def of(cls, folder: Path) -> Discovery:
        """The documents of the Data API, and of the one method that deletes."""
        data = json.loads((folder / "analyticsdata.v1beta.json").read_text())
        deletion = json.loads((folder / "analyticsadmin.v1alpha.submitUserDeletion.extract.json").read_text())
        return cls(data, {"methods": {"submit": deletion["method"]}, "schemas": deletion["schemas"]})

    def described(self, method: str, path: str) -> bool:
        """Whether a call is one of a method."""
        return any(each.is_called(method, path) for each in self._methods)

    def faults(self, method: str, path: str, request: bytes, answer: bytes) -> list[str]:
        """What is wrong with a call that is one of a method, and with its answer."""
        found = [each for each in self._methods if each.is_called(method, path)]
        return [f"{method} {path}: {fault}" for each in found for fault in each.faults(request, answer)]


class _Method:
    def __init__(self, described: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
        self._verb = described["httpMethod"]
        self._path = re.compile("/" + re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(described["flatPath"])))
        self._sides = {
            side: jsonschema.Draft202012Validator({"$defs": schemas, "$ref": f"#/$defs/{described[side]['$ref']}"})
            for side in ("request", "response")
            if side in described
        }

    def is_called(self, method: str, path: str) -> bool:
        return method == self._verb and self._path.fullmatch(path) is not None

    def faults(self, request: bytes, answer: bytes) -> Iterator[str]:
        for side, body in (("request", request), ("response", answer)):
            if side in self._sides:
                for error in self._sides[side].iter_errors(json.loads(body or b"{}")):
                    yield f"{side} {error.json_path}: {error.message[:200]}"


def _methods(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _strict(described: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of a discovery document as a JSON schema in which nothing unnamed may stand."""
    if "$ref" in described:
        return {"$ref": f"#/$defs/{described['$ref']}"}
    schema: dict[str, Any] = {} if described.get("type") in (None, "any") else {"type": described["type"]}
    if "enum" in described:
        schema["enum"] = described["enum"]
    if described.get("format") in ("int64", "uint64"):
        schema["pattern"] = r"^-?\d+$"
    if "items" in described:
        schema["items"] = _strict(described["items"])
    if described.get("type") == "object":
        schema["properties"] = {name: _strict(each) for name, each in described.get("properties", {}).items()}
        more = described.get("additionalProperties")
        schema["additionalProperties"] = _strict(more) if more else False
    return schema
