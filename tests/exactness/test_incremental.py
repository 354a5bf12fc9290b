"""Evaluating whom something changed gives what evaluating everybody gives, and both what the rules mean."""

from itertools import islice
from pathlib import Path

import pytest

from .comparison import Comparison
from .story import Story


def check(folder: Path, template: Path, story: Story, steps: int, least: int) -> None:
    comparison = Comparison(folder, template)
    found = list(islice(comparison.differences(story.steps(steps)), 20))
    assert not found, "\n".join(found)
    assert comparison.compared >= least, "too few memberships were compared"
    assert comparison.moves >= least // 20, "too few people moved"


@pytest.mark.parametrize("seed", range(2))
def test_changed_everybody_and_reference_agree(tmp_path: Path, sqlite_template: Path, seed: int) -> None:
    check(tmp_path, sqlite_template, Story(seed, people=750, rules=10), steps=6, least=50_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_they_agree_in_larger_worlds(tmp_path: Path, sqlite_template: Path, seed: int) -> None:
    check(tmp_path, sqlite_template, Story(seed, people=1_600, rules=12), steps=6, least=125_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 12))
def test_they_agree_over_many_short_steps(tmp_path: Path, sqlite_template: Path, seed: int) -> None:
    check(tmp_path, sqlite_template, Story(seed, people=40, rules=8), steps=40, least=10_000)
