from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.received import inbox

from switchyard.api import Context, Source, SourceSpec
from switchyard.testing.builders import SimpleContext
from switchyard.testing.conformance import HOSTILE_RECORDS, Drift, SourceConformance
from switchyard_connectors.tracking import SOURCE

_INBOXES: Mapping[str, list[Any]] = {
    "wk_some_calls": [
        {"userId": "u", "messageId": f"m{number}", "name": str(number // 2), "context": {"app": "x"}}
        for number in range(7)
    ],
    "wk_new_shapes": [
        {"userId": "u", "messageId": f"m{number}", "category": "shoes", "context": {"app": [number]}}
        for number in range(7)
    ],
    "wk_no_calls_": [],
}


def _build(config: Any, context: Context) -> Source:
    """The connector with an inbox of its own; its write key says which one."""
    assert isinstance(context, SimpleContext)
    bodies = _INBOXES[config.write_keys[0].get_secret_value()]
    calls = [(f"d{number}", {"call": "page"}, body) for number, body in enumerate(bodies)]
    context.pushed = list(inbox(calls, per_table=3))
    return SOURCE.build(config, context)


class TestTracking(SourceConformance):
    @pytest.fixture
    def spec(self) -> SourceSpec:
        return replace(SOURCE, build=_build)

    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return {"write_keys": "wk_some_calls"}

    @pytest.fixture
    def empty(self) -> dict[str, Any]:
        return {"write_keys": "wk_no_calls_"}

    @pytest.fixture
    def drifted(self) -> Drift:
        return Drift({"write_keys": "wk_new_shapes"}, gone="name", new="category", retyped="context")


def test_odd_but_legal_values_come_through_as_they_are(tmp_path: Path) -> None:
    """They stand in a call's properties, which are JSON: the kit's own check is for sources whose fields are theirs."""
    context = SimpleContext(tmp_path)
    body = {"userId": "u", "properties": HOSTILE_RECORDS[0]}
    context.pushed = list(inbox([("d", {"call": "page"}, body)]))
    (page,) = SOURCE.build(SOURCE.config.model_validate({"write_keys": "wk_some_calls"}), context).read(
        SOURCE.streams[0], None
    )
    (record,) = page.records.to_pylist()
    assert json.loads(record["properties"]) == HOSTILE_RECORDS[0]
    assert not page.rejected
