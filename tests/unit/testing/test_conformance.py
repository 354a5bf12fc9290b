"""The kits have teeth: each check is failed by connectors that break its promise, and by no other check."""

import runpy
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from switchyard.testing.conformance import ListSinkConformance, SinkConformance, SourceConformance

HERE = Path(__file__).parent
KITS = {
    "kit_sources": SourceConformance,
    "kit_source_faults": SourceConformance,
    "kit_sinks": ListSinkConformance,
    "kit_sink_faults": ListSinkConformance,
    "kit_sink_jobs": ListSinkConformance,
    "kit_feeds": SinkConformance,
}


class Outcomes:
    """A pytest plugin: (kit, class) → outcome → its checks."""

    def __init__(self) -> None:
        self.checks: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, name, check = report.nodeid.split("::")
        if report.when == "call" or report.outcome != "passed":
            self.checks[Path(file).stem, name][report.outcome].add(check)


def variants(kit: str) -> list[Any]:
    return [value for name, value in runpy.run_path(str(HERE / f"{kit}.py")).items() if name.startswith("Test")]


VARIANTS = [(kit, variant) for kit in KITS for variant in variants(kit)]
BROKEN = [(kit, variant) for kit, variant in VARIANTS if variant.fails]
CORRECT = [(kit, variant) for kit, variant in VARIANTS if not variant.fails]


def checks(kit: Any) -> set[str]:
    return {name for name in dir(kit) if name.startswith("test_")}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    collected = Outcomes()
    files = [str(HERE / f"{kit}.py") for kit in KITS]
    alone = ["-o", "addopts=", "--import-mode=importlib", "--noconftest", "-p", "no:cacheprovider", "-p", "no:terminal"]
    # Nobody reads how it fails, and a folder of its own has no leftovers of other runs to clear away.
    quick = ["--assert=plain", f"--basetemp={tmp_path_factory.mktemp('kits') / 'tmp'}"]
    pytest.main([*files, *alone, *quick], plugins=[collected])
    return collected


@pytest.mark.parametrize(("kit", "variant"), CORRECT, ids=[variant.__name__ for _, variant in CORRECT])
def test_a_correct_connector_passes_every_check_that_is_about_it(kit: str, variant: Any, outcomes: Outcomes) -> None:
    found = outcomes.checks[kit, variant.__name__]
    assert found["failed"] == set()
    assert found["skipped"] == variant.skips
    assert found["passed"] == checks(KITS[kit]) - variant.skips


@pytest.mark.parametrize(("kit", "variant"), BROKEN, ids=[variant.__name__ for _, variant in BROKEN])
def test_a_broken_connector_fails_the_check_of_its_promise_and_no_other(
    kit: str, variant: Any, outcomes: Outcomes
) -> None:
    assert outcomes.checks[kit, variant.__name__]["failed"] == {variant.fails}


# In order: the processes of a parallel run must agree about it.
@pytest.mark.parametrize("kit", list(dict.fromkeys(KITS.values())), ids=lambda kit: kit.__name__)
def test_every_check_has_a_connector_that_fails_it(kit: Any) -> None:
    assert {variant.fails for name, variant in BROKEN if KITS[name] is kit} == checks(kit)
