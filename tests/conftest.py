"""What every test may use."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
_ABSENT = f"the real data is not here: there is no folder {SHARED.name} beside the project"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real data beside the project."""
    if not SHARED.is_dir():
        pytest.skip(_ABSENT)
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason=_ABSENT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Where the real data is, a test of it that skips all the same is a failure: nobody reads skips."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("shared") and SHARED.is_dir():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"marked shared, and skipped although the real data is here: {reason}"
    return report


pytest_plugins = ["tests.databases"] if Path(__file__).with_name("databases.py").exists() else []
