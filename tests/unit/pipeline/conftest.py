from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.projects import Spine

from switchyard.api import Stream

CONTACTS = Stream(name="contacts", key=("id",))
TICKETS = Stream(name="tickets", key=("id",), mode="append")


@pytest.fixture
def spine(tmp_path: Path, sqlite_template: Path) -> Iterator[Callable[..., Spine]]:
    """Open a spine; opened again, it finds what it left."""
    url = f"sqlite:///{tmp_path / 'spine.db'}"
    (tmp_path / "spine.db").write_bytes(sqlite_template.read_bytes())
    opened: list[Spine] = []

    def one(stream: Stream, mapping: dict[str, Any], **options: Any) -> Spine:
        opened.append(Spine(tmp_path, stream, mapping, url=url, **options))
        return opened[-1]

    yield one
    for each in opened:
        each.close()
