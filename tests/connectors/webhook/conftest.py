from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.received import inbox

from switchyard.api import Page
from switchyard.api.receiving import Receiver
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.webhook import DELIVERIES, SOURCE

PLAIN = {"scheme": "shared_secret", "secrets": "a-long-random-secret"}

Read = Callable[..., list[Page]]


def receiver(**config: Any) -> Receiver:
    assert SOURCE.receiver is not None
    return SOURCE.receiver(SOURCE.config.model_validate(config))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads deliveries, of which a body alone is enough, by a configuration."""

    def reading(*deliveries: Any, per_table: int = 100, **config: Any) -> list[Page]:
        context = SimpleContext(tmp_path)
        rows = [each if isinstance(each, tuple) else (f"d{number}", {}, each) for number, each in enumerate(deliveries)]
        context.pushed = list(inbox(rows, per_table))
        source = SOURCE.build(SOURCE.config.model_validate(PLAIN | config), context)
        return list(source.read(DELIVERIES, None))

    return reading
