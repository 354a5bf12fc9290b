from typing import Any

from pydantic import BaseModel

from switchyard.api import ConnectorConfig, ListSinkSpec, SourceSpec, Stream
from switchyard.api.transforms import ProfileTransformSpec, RecordTransformSpec
from switchyard.config import project_schema


class TillConfig(ConnectorConfig):
    folder: str
    port: int = 1


class CrmConfig(ConnectorConfig):
    token: str


class TrimConfig(BaseModel):
    columns: list[str]


def _never(*_: Any) -> Any:
    raise AssertionError("a schema builds nothing")


CONNECTORS = (
    SourceSpec(name="till", config=TillConfig, build=_never, streams=(Stream("tickets", ("id",)),)),
    ListSinkSpec(name="crm", config=CrmConfig, build=_never),
)
TRANSFORMS = (
    RecordTransformSpec(name="trim", config=TrimConfig, build=_never),
    ProfileTransformSpec(
        name="rules",
        key="segment",
        build=_never,
        schema={"$schema": "x", "properties": {"segment": {"type": "string"}}},
    ),
)
SCHEMA = project_schema(CONNECTORS, TRANSFORMS)


def resolved(schema):
    """The schema with its references followed, so that a test reads as the schema does."""
    if isinstance(schema, list):
        return [resolved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    return {key: resolved(value) for key, value in schema.items() if key != "$defs"}


def named(section):
    """The schema of a section's entries, which names of the right form have and no others."""
    (entry,) = section["patternProperties"].values()
    assert section["additionalProperties"] is False
    return entry


def connection():
    return named(resolved(SCHEMA)["properties"]["connections"])


def test_a_connector_is_one_of_those_there_are():
    assert connection()["properties"]["connector"] == {"enum": ["crm", "till"]}


def test_a_connectors_name_decides_its_config_and_streams():
    by_name = {
        each["if"]["properties"]["connector"]["const"]: each["then"]["properties"] for each in connection()["allOf"]
    }
    assert by_name["crm"]["config"]["required"] == ["token"]
    assert by_name["till"]["config"]["required"] == ["folder"]
    assert by_name["till"]["streams"] == {"propertyNames": {"enum": ["tickets"]}}
    assert by_name["till"]["config"]["additionalProperties"] is False


def test_a_secret_may_stand_for_a_number():
    port = SCHEMA["$defs"]["TillConfig"]["properties"]["port"]
    assert [each["type"] for each in port["anyOf"]] == ["integer", "string"]


def test_transforms_are_known_by_name():
    stream = named(connection()["properties"]["streams"])
    assert list(stream["properties"]["transforms"]["properties"]) == ["trim"]


def test_unknown_keys_are_refused_everywhere_above():
    assert SCHEMA["$schema"].startswith("https://json-schema.org/")
    assert resolved(SCHEMA)["additionalProperties"] is False
    assert resolved(SCHEMA)["properties"]["hub"]["additionalProperties"] is False


def test_a_definition_is_one_of_the_profile_transforms():
    assert SCHEMA["$defs"]["definition"]["oneOf"] == [
        {"allOf": [{"required": ["segment"]}, {"properties": {"segment": {"type": "string"}}}]}
    ]


def test_no_reference_leads_nowhere():
    assert resolved(SCHEMA)["type"] == "object"


def test_without_plugins_there_is_still_a_schema():
    assert project_schema((), ())["$defs"]["Connection"]["properties"]["connector"] == {"enum": []}
