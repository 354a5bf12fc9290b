"""JSON Schema of a definition's file, for editors; the checks proper are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NULLS: Final = ("no match", "match")

SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Segment",
    "type": "object",
    "required": ["segment", "where"],
    "additionalProperties": False,
    "properties": {
        "segment": {"type": "string", "description": "The segment's name."},
        "name": {"type": "string", "description": "What people call it."},
        "description": {"type": "string"},
        "where": {"$ref": "#/$defs/condition"},
        "nulls": {"enum": list(NULLS), "description": "What a comparison with a missing value gives."},
        "timezone": {"type": "string", "description": "Zone of dates in the rule, as in Europe/Paris."},
        "enter": {"type": "object", "properties": {"max_delay": {"type": "string"}}},
        "leave": {"type": "object", "properties": {"min_stay": {"type": "string"}}},
        "everybody": {"type": "boolean", "description": "The rule may select people of whom nothing is known."},
    },
    "$defs": {
        "conditions": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/condition"}},
        "condition": {
            "oneOf": [
                {"type": "string"},
                *(
                    {
                        "type": "object",
                        "required": [shape],
                        "additionalProperties": False,
                        "properties": {shape: {"$ref": f"#/$defs/{inner}"}},
                    }
                    for shape, inner in {
                        "all": "conditions",
                        "any": "conditions",
                        "none": "conditions",
                        "not": "condition",
                    }.items()
                ),
                {
                    "type": "object",
                    "required": ["did"],
                    "additionalProperties": False,
                    "properties": {
                        "did": {"type": "string"},
                        "where": {"$ref": "#/$defs/condition"},
                        "times": {"type": "string", "pattern": "^(=|!=|<|<=|>|>=) *[0-9]+$"},
                        "last": {"type": "string"},
                        "between": {"type": "string"},
                    },
                },
            ]
        },
    },
}
