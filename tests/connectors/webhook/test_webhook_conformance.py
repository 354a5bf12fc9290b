from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.received import inbox

from switchyard.api import Context, Source, SourceSpec
from switchyard.testing.builders import SimpleContext
from switchyard.testing.conformance import HOSTILE_RECORDS, Drift, SourceConformance
from switchyard_connectors.webhook import SOURCE

from .conftest import PLAIN

_INBOXES: Mapping[str, list[Any]] = {
    "x-some": [{"id": number, "same": number // 2, "old": "x"} for number in range(7)],
    "x-drifted": [{"id": number, "same": ["text"], "new": 1.5} for number in range(7)],
    "x-hostile": list(HOSTILE_RECORDS),
    "x-none": [],
}


def _build(config: Any, context: Context) -> Source:
    """The connector with an inbox of its own; which one is said by a header that it keeps."""
    assert isinstance(context, SimpleContext)
    bodies = _INBOXES[config.keep_headers[0]]
    context.pushed = list(inbox([(f"d{number}", {}, body) for number, body in enumerate(bodies)], per_table=3))
    return SOURCE.build(config, context)


class TestWebhook(SourceConformance):
    @pytest.fixture
    def spec(self) -> SourceSpec:
        return replace(SOURCE, build=_build)

    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return PLAIN | {"keep_headers": "x-some"}

    @pytest.fixture
    def empty(self) -> dict[str, Any]:
        return PLAIN | {"keep_headers": "x-none"}

    @pytest.fixture
    def drifted(self) -> Drift:
        return Drift(PLAIN | {"keep_headers": "x-drifted"}, gone="old", new="new", retyped="same")

    @pytest.fixture
    def hostile(self) -> dict[str, Any]:
        return PLAIN | {"keep_headers": "x-hostile"}
