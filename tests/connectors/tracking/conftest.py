from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.received import inbox, incoming

from switchyard.api import Page
from switchyard.api.receiving import Incoming, Receiver
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.tracking import EVENTS, SOURCE

KEY = "wk_website_1"
CONFIG: Mapping[str, Any] = {"write_keys": [KEY]}


def receiver(*keys: str) -> Receiver:
    assert SOURCE.receiver is not None
    return SOURCE.receiver(SOURCE.config.model_validate({"write_keys": keys or KEY}))


def basic(key: str = KEY + ":") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(key.encode()).decode()}


def call(name: str, body: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Incoming:
    """A call with the write key in the header, unless other headers are given."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    url = f"https://hub.example.com/v1/{name}"
    return incoming(text, basic() if headers is None else headers, url=url, **more)


Read = Callable[..., Page]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads calls: (name, body)."""

    def reading(*calls: tuple[str, Any]) -> Page:
        context = SimpleContext(tmp_path)
        context.pushed = list(inbox([(f"d{n}", {"call": name}, body) for n, (name, body) in enumerate(calls)]))
        (page,) = SOURCE.build(SOURCE.config.model_validate(CONFIG), context).read(EVENTS, None)
        return page

    return reading
