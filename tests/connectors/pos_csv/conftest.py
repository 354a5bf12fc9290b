from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from switchyard.api import Cursor, Page, Source
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.pos_csv import LINES, switchyard_connectors

SPEC = switchyard_connectors()[0]
HEADER = "order_id,sold_at,sku,quantity,price"


class Shop:
    """A drop folder, and a hub that commits every page."""

    def __init__(self, root: Path) -> None:
        self.context = SimpleContext(root)
        self.folder = root / "drop"
        self.folder.mkdir()

    def drop(self, name: str, content: str | bytes, *, seconds_old: float = 60) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        then = path.stat().st_mtime - seconds_old
        os.utime(path, (then, then))
        return path

    def source(self, **config: Any) -> Source:
        return SPEC.build(
            SPEC.config.model_validate({"folder": "drop", "stable_seconds": 0.05, **config}), self.context
        )

    def sync(self, cursor: Cursor = None, **config: Any) -> list[Page]:
        pages = list(self.source(**config).read(LINES, cursor))
        for page in pages:
            self.context.commit("lines", page)
        return pages

    def rows(self, *lines: str, header: str = HEADER, **config: Any) -> list[dict[str, Any]]:
        """The records of one file of these lines, none of which is rejected."""
        pages = self.sync_lines(*lines, header=header, **config)
        assert self.rejects_of(pages) == []
        return self.rows_of(pages)

    def rejects(self, *lines: str, header: str = HEADER, **config: Any) -> list[tuple[str, str | None, int | None]]:
        """Code, field and line of every reject of one file of these lines."""
        return self.rejects_of(self.sync_lines(*lines, header=header, **config))

    def refusal(self, content: str | bytes, **config: Any) -> tuple[str, int | None, int | None]:
        """Reason, line and byte by which a file of this content is refused, and nothing of it given."""
        self.drop("till.csv", content)
        (page,) = self.sync(**config)
        (reject,) = page.rejected
        assert (len(page.records), page.cursor, reject.code) == (0, None, "file_refused")
        assert reject.record == {"file": "till.csv"}
        return reject.reason, reject.line, reject.byte

    def sync_lines(self, *lines: str, header: str = HEADER, **config: Any) -> list[Page]:
        self.drop("till.csv", "".join(f"{line}\n" for line in (header, *lines)))
        return self.sync(**config)

    @staticmethod
    def rows_of(pages: Sequence[Page]) -> list[dict[str, Any]]:
        """All records, as dicts."""
        return [row for page in pages if len(page.records) for row in page.records.to_pylist()]

    @staticmethod
    def rejects_of(pages: Sequence[Page]) -> list[tuple[str, str | None, int | None]]:
        """Code, field and line of every reject."""
        return [(reject.code, reject.field, reject.line) for page in pages for reject in page.rejected]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture(scope="session")
def open_shop() -> type[Shop]:
    """For tests of many examples, each of which needs a folder of its own."""
    return Shop
