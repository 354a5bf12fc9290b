"""The marker `shared`: skipped without the real data, failed when it skips beside it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MARKED = """
import pytest

pytestmark = pytest.mark.shared

def test_reads(shared_folder):
    assert shared_folder.is_dir()

def test_skips():
    pytest.skip("cannot be bothered")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    assert False
"""


@pytest.fixture
def outcome(tmp_path: Path):
    """Run the tests above in a project of their own and give pytest's closing line."""

    def run() -> str:
        project = tmp_path / "project"
        (project / "tests").mkdir(parents=True)
        (project / "pytest.ini").write_text("[pytest]\nmarkers = shared\naddopts = -p no:cacheprovider\n")
        shutil.copy(Path(__file__).parents[1] / "conftest.py", project / "tests")
        (project / "tests" / "test_marked.py").write_text(MARKED)
        alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        command = [sys.executable, "-m", "pytest", "-q", "tests"]
        done = subprocess.run(command, cwd=project, env=alone, capture_output=True, text=True, check=False)
        return done.stdout.strip().splitlines()[-1].split(" in ")[0]

    return run


def test_without_the_data_marked_tests_are_skipped(outcome) -> None:
    assert outcome() == "3 skipped"


def test_beside_the_data_a_skip_is_a_failure(outcome, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    assert outcome() == "1 failed, 1 passed, 1 xfailed"
