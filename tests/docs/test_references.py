"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from switchyard.cli.reference import commands, pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], (
        "run: python -m switchyard.cli.reference docs/reference"
    )


def test_every_command_has_its_section() -> None:
    page = pages()["cli.md"]
    for name, _ in commands():
        assert f"## switchyard {name}\n" in page
