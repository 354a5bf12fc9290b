"""The how-to pages do what they say."""

from .pages import DOCS, Reader, blocks

HOW_TO = DOCS / "how-to"


def test_write_a_connector(reader: Reader) -> None:
    reader.follow(blocks(HOW_TO / "write-a-connector.md"))
