"""What the tests of exactness share."""

import pytest

from .hub import SharedCompiled


@pytest.fixture(autouse=True)
def _compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hubs of a comparison, and one that was restarted, share what is compiled of the same definitions."""
    monkeypatch.setattr("switchyard.evaluation.evaluation.Compiled", SharedCompiled())


@pytest.fixture(autouse=True)
def _long_pasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late events are followed however long it takes, so that each has one right instant."""
    monkeypatch.setattr("switchyard.evaluation.walk.PAST_ROUNDS", 10_000)
