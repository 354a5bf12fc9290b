"""The tutorial, typed as a reader would type it: every command, its exit code and its output."""

from .pages import DOCS, Reader, blocks


def test_first_exact_list(reader: Reader) -> None:
    reader.follow(blocks(DOCS / "tutorial" / "first-exact-list.md"))
