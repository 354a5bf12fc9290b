"""What tests of several connectors use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from switchyard.api import Member


@pytest.fixture
def people() -> Callable[..., list[Member]]:
    """Members p0, p1, … with an address each, and more where asked for."""

    def make(count: int, start: int = 0, **fields: Any) -> list[Member]:
        return [
            Member(f"p{each}", fields={"email": f"p{each}@x.example", **fields}) for each in range(start, start + count)
        ]

    return make
