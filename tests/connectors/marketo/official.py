"""Checks calls and answers against Marketo's official description of its API (Swagger 2.0)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jsonschema import Draft4Validator

from switchyard.testing.simulator import Answer, Request

FILES = ("swagger-mapi.json", "swagger-asset.json", "swagger-identity.json")


@dataclass(frozen=True)
class Gap:
    """Where the description differs from what Marketo sends and takes, as its documentation shows or as was recorded.

    Args:
        definition: of the description; every one whose name begins so, with a star at the end.
        optional: properties that it requires, and that may be missing.
        loose: properties whose values may be others.
    """

    definition: str
    why: str
    optional: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()

    def fill(self, name: str, definition: dict[str, Any]) -> None:
        """Change a definition of this name accordingly."""
        if name != self.definition and not (self.definition.endswith("*") and name.startswith(self.definition[:-1])):
            return
        required = [each for each in definition.pop("required", ()) if each not in self.optional]
        if required:
            definition["required"] = required
        for each in self.loose:
            if each in definition["properties"]:
                definition["properties"][each] = {}


_REQUEST_ONLY = ("activityDate", "activityTypeId", "attributes", "errors", "id", "leadId", "primaryAttributeValue")
GAPS = (
    Gap("ResponseOf*", "answers leave out what is empty", ("errors", "warnings", "result"), ("warnings",)),
    Gap("Attribute", "values of activities are texts, numbers and booleans, not objects", loose=("value",)),
    Gap("CustomActivity", "requests and answers share it; the status added is not in it", _REQUEST_ONLY, ("status",)),
    Gap("LeadChangeField", "values that were or became empty", ("newValue",), ("newValue", "oldValue")),
    Gap("ImportLeadResponse", "the answer to an upload has no counts yet", ("numOfLeadsProcessed",)),
    Gap("ObjectMetaData", "requires status and describes state", ("status",)),
    Gap("CustomObject", "requires of requests what the server gives", ("marketoGUID", "seq")),
    Gap("ProgramMemberData", "requires a property named like a placeholder", ("{fieldApiName}",)),
    Gap("ColumnHeaderNames", "a mapping of fields to names, not one of them", ("name", "value")),
    Gap("BrowseAllPrograms", "types in capital letters, a status only of events", loose=("status", "type")),
    Gap(
        "ProgramResponse",
        "as BrowseAllPrograms; costs and tags only where asked for",
        ("costs", "tags"),
        ("status", "type"),
    ),
    Gap("Campaign", "the answer to a request has its id only", ("createdAt", "name", "type", "updatedAt")),
    Gap("LeadFieldStatus", "does not know that a row may be skipped", loose=("status",)),
    Gap("Folder", "programs name their folder by value", ("id",)),
)
UNDESCRIBED = {
    ("DELETE", "/rest/v1/leads.json"): "the older form of leads/delete.json, still used by clients",
}
"""Paths that the description leaves out."""
READ_WITH_REASON = {
    "form bodies": "the forms of the asset API are described as one JSON body",
    "disguised reads": "with _method=GET, required parameters of the query are in the body",
    "either of two": "to remove from a list, body and id are both required; one of them is enough",
    "credentials": "client credentials may come as a form, which the documentation recommends",
    "files": "files are described as empty objects",
}
"""What else is not taken at its word: see `_parameters` and `_answer`."""


@dataclass(frozen=True)
class Exchange:
    """A call and its answer."""

    request: Request
    answer: Answer


class Definitions:
    """The definitions of one file, with the gaps filled."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self.definitions: dict[str, Any] = copy.deepcopy(dict(described))
        for name, definition in self.definitions.items():
            for gap in GAPS:
                gap.fill(name, definition)
        self._validators: dict[str, Draft4Validator] = {}

    def invalid(self, value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
        """What of a value is not as a schema says."""
        key = json.dumps(schema)
        if key not in self._validators:
            self._validators[key] = Draft4Validator({"definitions": self.definitions, "allOf": [schema]})
        for error in self._validators[key].iter_errors(value):
            yield f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"


class Swagger:
    """The description, with its gaps filled."""

    def __init__(self, folder: Path) -> None:
        self._operations: list[tuple[re.Pattern[str], str, Mapping[str, Any], Definitions]] = []
        for name in FILES:
            described = json.loads((folder / name).read_text(encoding="utf-8"))
            definitions = Definitions(described["definitions"])
            for path, methods in described["paths"].items():
                for method, operation in methods.items():
                    self._operations.append((_pattern(path), method.upper(), operation, definitions))
        # A fixed path is meant before one with a parameter.
        self._operations.sort(key=lambda each: each[0].pattern.count("[^/]+"))

    def complaints(self, exchange: Exchange) -> list[str]:
        """What of a call and its answer is not as described, in words; empty where all is."""
        request = exchange.request
        disguised = _values(request).get("_method") == ["GET"]
        found = self._operation("GET" if disguised else request.method, request.path)
        if found is None:
            undescribed = any(
                method == request.method and _pattern(path).fullmatch(request.path) for method, path in UNDESCRIBED
            )
            return [] if undescribed else [f"{request.method} {request.path} is not described"]
        problems = list(_answer(exchange.answer, *found))
        # What was refused may have been wrong on purpose.
        if not _refused(exchange.answer):
            problems += _parameters(request, *found)
        return [f"{request.method} {request.path}: {problem}" for problem in problems]

    def _operation(self, method: str, path: str) -> tuple[Mapping[str, Any], Definitions] | None:
        for regex, described, operation, definitions in self._operations:
            if described == method and regex.fullmatch(path):
                return operation, definitions
        return None


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", path))))


def _refused(answer: Answer) -> bool:
    return answer.status >= 400 or (isinstance(answer.body, dict) and answer.body.get("success") is False)


def _values(request: Request) -> dict[str, list[str]]:
    return {**_form(request), **parse_qs(request.query, keep_blank_values=True)}


def _form(request: Request) -> dict[str, list[str]]:
    kind = request.headers.get("content-type", "")
    return parse_qs(request.body.decode(), keep_blank_values=True) if kind.startswith("application/x-www-form") else {}


def _parameters(request: Request, operation: Mapping[str, Any], definitions: Definitions) -> Iterator[str]:
    described = {(each["in"], each["name"]): each for each in operation.get("parameters", ())}
    queried = {name: each for (place, name), each in described.items() if place == "query"}
    body = next((each for (place, _), each in described.items() if place == "body"), None)
    form, values = _form(request), _values(request)
    disguised = values.get("_method") == ["GET"]
    for name, given in parse_qs(request.query, keep_blank_values=True).items():
        if name == "_method":
            continue
        if name not in queried:
            yield f"the parameter {name} is not described"
        elif queried[name].get("type") == "integer" and not given[0].isdigit():
            yield f"the parameter {name} is no integer: {given[0]}"
    instead = disguised or body is not None
    for name, each in queried.items():
        if each.get("required") and name not in values and not instead:
            yield f"the parameter {name} is missing"
    if body is None and request.body and not form and not _is_file(described):
        yield "a body is not described"
    if body is not None and form and not disguised:
        yield from definitions.invalid({name: _as_json(each[-1]) for name, each in form.items()}, body["schema"])
    elif body is not None and request.body and not form:
        yield from definitions.invalid(json.loads(request.body), body["schema"])
    elif form and body is None and (unknown := form.keys() - queried.keys() - {"_method"}):
        yield f"the form fields {sorted(unknown)} are not described"


def _is_file(described: Mapping[tuple[str, str], Any]) -> bool:
    return any(place == "formData" for place, _ in described)


def _as_json(text: str) -> Any:
    try:
        return json.loads(text) if text.startswith("{") else text
    except ValueError:
        return text


def _answer(answer: Answer, operation: Mapping[str, Any], definitions: Definitions) -> Iterator[str]:
    if answer.status != 200 or not isinstance(answer.body, dict):
        return
    schema = operation["responses"]["200"]["schema"]
    if answer.body.get("success") is False:
        schema = _FAILURE
    yield from definitions.invalid(answer.body, schema)
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and (unknown := answer.body.keys() - definitions.definitions[name]["properties"].keys()):
        yield f"{name} does not describe {sorted(unknown)}"


_FAILURE = {
    "type": "object",
    "required": ["requestId", "success", "errors"],
    "properties": {"errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/Error"}}},
}
