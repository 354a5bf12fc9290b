"""What all pages have in common: nothing on them goes untested, and every link leads somewhere."""

import ast
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchyard.app.checking import check
from switchyard.app.project import Project
from switchyard.config import load
from switchyard.config.models import Project as ProjectModel
from switchyard.plugins import Registry, load_plugins

from .pages import DOCS, ROOT, Block, as_pattern, blocks, pages, words

EXECUTED = [
    ROOT / "README.md",
    *(DOCS / "how-to").glob("write-a-*.md"),
    DOCS / "how-to" / "run-on-postgresql.md",
    DOCS / "how-to" / "watch-the-hub.md",
    DOCS / "how-to" / "run-as-a-service.md",
    DOCS / "how-to" / "send-webhooks.md",
    DOCS / "how-to" / "connect-hubspot.md",
    DOCS / "how-to" / "connect-salesforce.md",
    DOCS / "tutorial" / "first-exact-list.md",
]
"""Pages that a test follows from top to bottom."""
TAUGHT = [page for page in pages() if page.parent.name in ("tutorial", "how-to") or page.name == "README.md"]
NAMES = [str(page.relative_to(ROOT)) for page in pages()]


def written(*languages: str) -> list[Block]:
    """The blocks of these languages on the pages that teach, but those that say why not."""
    return [b for page in TAUGHT for b in blocks(page) if b.language in languages and b.use[0] != "not run"]


@pytest.mark.parametrize("page", pages(), ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(there), f"{link}: that page has no such heading"


@pytest.mark.parametrize("page", pages()[1:], ids=NAMES[1:])
def test_every_page_is_in_the_index(page: Path) -> None:
    index = DOCS / "decisions" / "README.md" if page.parent.name == "decisions" else DOCS / "index.md"
    listed = {(index.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", index.read_text())}
    assert page in listed or page == DOCS / "index.md" or page == DOCS / "decisions" / "README.md"


def test_every_comment_above_a_block_is_understood() -> None:
    for page in pages():
        for block in blocks(page):
            what, argument = block.use
            assert what in ("", "file", "second terminal", "exit", "not run"), f"{block}: {what}"
            assert argument or what in ("", "second terminal"), f"{block}: {what} of what?"


def test_every_console_block_is_on_a_page_that_is_followed() -> None:
    for block in written("console"):
        assert block.page in EXECUTED, f"{block}: nobody types this; say why with <!-- not run: … -->"


@pytest.mark.parametrize("block", written("python"), ids=str)
def test_code_is_a_file_that_parses(block: Block) -> None:
    assert block.page in EXECUTED
    assert block.use[0] == "file", f"{block}: code that no file holds is run by nobody"
    ast.parse(block.text)


@pytest.mark.parametrize("block", written("toml"), ids=str)
def test_toml_parses(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("page", [page for page in TAUGHT if page not in EXECUTED], ids=lambda page: page.stem)
def test_settings_are_valid(page: Path) -> None:
    """A block that begins further right stands where its indentation says, in place of what was there before."""
    registry = Registry(load_plugins(environ={"SWITCHYARD_PLUGINS": "off"}))
    whole: dict[str, Any] = {}
    for block in blocks(page):
        if block.language != "yaml":
            continue
        given = yaml.safe_load(textwrap.dedent(block.text))
        depth = len(block.text) - len(block.text.lstrip(" "))
        if depth == 0 and not given.keys() & ProjectModel.model_fields.keys():
            assert given.keys() & set(registry.definition_keys), f"{block}: neither settings nor a definition"
            continue
        whole = given if depth == 0 else laid_into(whole, depth, given)
        for connection in ProjectModel.model_validate(whole).connections.values():
            registry.config_model(connection.connector).model_validate(connection.config)


def laid_into(whole: dict[str, Any], depth: int, given: dict[str, Any]) -> dict[str, Any]:
    ((name, connection),) = list(whole["connections"].items())
    return {"connections": {name: connection | (given if depth == 4 else {"config": given})}}


def test_the_readme_shows_the_files_of_the_minimal_configuration() -> None:
    shown = [block.text for block in blocks(ROOT / "README.md") if block.language == "yaml"]
    files = ("switchyard.yaml", "segments/regulars.yaml")
    assert shown == [(ROOT / "config" / "minimal" / file).read_text(encoding="utf-8") for file in files]
    assert len(shown[0].splitlines()) == 10


def test_the_minimal_configuration_loads_and_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-na1-never-sent")
    folder = ROOT / "config" / "minimal"
    registry = Registry(load_plugins(folder))
    loaded = load(folder, registry.resolve_secret, registry.definition_keys)
    found = check(Project(loaded, registry))
    assert (found["segments"], found["audiences"]) == (["regulars"], ["regulars"])


def test_the_picture_is_small_and_needs_nothing_else() -> None:
    picture = (DOCS / "data-flow.svg").read_text(encoding="utf-8")
    assert len(picture.encode()) <= 8_192
    assert re.findall(r"https?://[^\"]+", picture) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize(
    ("shown", "real", "agrees"),
    [
        ("read 7\n", "read 7\n", True),
        ("read 7\n", "read 71\n", False),
        ("read 7\n", "more\nread 7\n", False),
        ("at …Z\n", "at 2026-01-01Z\n", True),
        ("│ …   │ 1 │\n", "│ 2026-01-01 │ 1 │\n", True),
        ("│ …   │ 1 │\n", "│ 2026-01-01 │ 2 │\n", False),
        ("…\nlast\n", "one\ntwo\nlast\n", True),
        ("first\n…\n", "first\n", True),
        ("first\n…\n", "second\n", False),
        ("┏━━━━┓\n│  1 │\n", "┏━━━━━┓\n│ 1   │\n", True),
        ("│ 1 1 │\n", "│ 11 │\n", False),
    ],
)
def test_an_output_agrees_or_not(shown: str, real: str, agrees: bool) -> None:
    assert bool(re.fullmatch(as_pattern(shown), words(real))) is agrees


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
