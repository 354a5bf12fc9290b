"""JSON Schema of a project's files, joined from the hub's models and those of connectors and transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from switchyard.api.connectors import ConnectorSpec, SourceSpec
from switchyard.api.transforms import ProfileTransformSpec, RecordTransformSpec, TransformSpec
from switchyard.config.models import Connection, Project, StreamConfig

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$\{[a-z][a-z0-9_]*:[^{}]*\}"}
_Schema = dict[str, Any]


def project_schema(connectors: Sequence[ConnectorSpec], transforms: Sequence[TransformSpec]) -> _Schema:
    """The schema of `switchyard.yaml`. `#/$defs/definition` in it is the schema of a file under `segments/`."""
    records = [spec for spec in transforms if isinstance(spec, RecordTransformSpec)]
    models: list[type[BaseModel]] = [Project, Connection, StreamConfig]
    models += dict.fromkeys([*(spec.config for spec in connectors), *(spec.config for spec in records)])
    refs, schema = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    places = {model: refs[(model, "validation")] for model in models}
    defs: dict[str, _Schema] = schema["$defs"]

    def body(model: type[BaseModel]) -> _Schema:
        return defs[places[model]["$ref"].rpartition("/")[2]]

    for model in dict.fromkeys(spec.config for spec in connectors):
        _allow_references(body(model))
    connection = body(Connection)
    connection["properties"]["connector"] = {"enum": sorted({spec.name for spec in connectors})}
    connection["allOf"] = [_when(spec, places[spec.config]) for spec in connectors]
    body(StreamConfig)["properties"]["transforms"] = {
        "type": "object",
        "properties": {spec.name: {"anyOf": [places[spec.config], {"type": "null"}]} for spec in records},
        "additionalProperties": False,
    }
    _refuse_bad_names(defs)
    defs["definition"] = definition_schema(transforms)
    return {"$schema": _DIALECT, "title": "switchyard.yaml", **places[Project], "$defs": defs}


def definition_schema(transforms: Sequence[TransformSpec]) -> _Schema:
    """The schema of a file under `segments/`: one alternative per profile transform."""
    specs = [spec for spec in transforms if isinstance(spec, ProfileTransformSpec)]
    return {
        "type": "object",
        "oneOf": [{"allOf": [{"required": [spec.key]}, _plain(spec.schema)]} for spec in specs],
    }


def _when(spec: ConnectorSpec, config: Mapping[str, Any]) -> _Schema:
    then: _Schema = {"config": config}
    if isinstance(spec, SourceSpec) and spec.objects is None:
        then["streams"] = {"propertyNames": {"enum": [stream.name for stream in spec.streams]}}
    condition = {"properties": {"connector": {"const": spec.name}}, "required": ["connector"]}
    return {"if": condition, "then": {"properties": then}}


def _allow_references(config: _Schema) -> None:
    """A secret reference may stand where the model wants a number or a boolean."""
    for name, body in config.get("properties", {}).items():
        if body.get("type") in ("integer", "number", "boolean"):
            config["properties"][name] = {"anyOf": [body, _REFERENCE]}


def _refuse_bad_names(schema: Any) -> None:
    """Pydantic describes the keys that fit a pattern, and says nothing of the others."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for inner in schema.values():
            _refuse_bad_names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _refuse_bad_names(inner)


def _plain(schema: Mapping[str, Any]) -> _Schema:
    # A schema inside a schema keeps no dialect of its own.
    return {key: value for key, value in schema.items() if key != "$schema"}
