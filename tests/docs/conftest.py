import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pages import Reader, reading


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody who follows a page, in an empty folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with reading(tmp_path, port) as reader:
        yield reader
