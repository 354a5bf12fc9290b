from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.received import inbox

from switchyard.api import Context, Source, SourceSpec
from switchyard.testing.builders import SimpleContext
from switchyard.testing.conformance import SourceConformance
from switchyard_connectors.tracking import SOURCE

_INBOXES: Mapping[str, list[Any]] = {
    "wk_some_calls": [{"userId": "u", "messageId": f"m{number}", "name": str(number // 2)} for number in range(7)],
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
