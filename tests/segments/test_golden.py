"""Spellings, canonical texts, sentences and errors, as pairs in text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from switchyard.api.errors import SegmentError
from switchyard.api.transforms import Definition, Schema
from switchyard_plugins.segmentation.transform import Segmentation

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Schema(
    attributes={
        "city": "text",
        "country": "text",
        "points": "integer",
        "credit": "decimal",
        "joined": "timestamp",
        "birthday": "date",
        "interests": "list",
    },
    events={"order": {"total": "decimal", "channel": "text"}, "view": {}},
    segments=frozenset({"staff"}),
)


def golden(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((GOLDEN / name).read_text())
    return found


@pytest.mark.parametrize("pair", golden("rules.yaml"), ids=lambda pair: pair["text"])
def test_spelling_canonical_text_and_sentence(pair: dict[str, Any]) -> None:
    language = Segmentation()
    definition = Definition("under_test", {"segment": "under_test", "where": pair["where"]})
    assert language.canonical(definition) == pair["text"]
    assert language.explain(definition) == pair["sentence"]
    assert language.canonical(Definition("again", {"where": pair["text"]})) == pair["text"]


@pytest.mark.parametrize("case", golden("errors.yaml"), ids=lambda case: str(case["body"]))
def test_what_is_wrong_is_refused_where_it_stands(case: dict[str, Any]) -> None:
    definition = Definition("under_test", case["body"], file="segments/under_test.yaml")
    with pytest.raises(SegmentError) as caught:
        Segmentation().compile([definition], SCHEMA)
    error = caught.value
    assert error.message == case["message"]
    assert [error.key, error.line, error.column] == case["at"]
    assert error.file == "segments/under_test.yaml"
    if "expected" in case:
        assert list(error.expected) == case["expected"]
