from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from switchyard.config.environment import PREFIX
from switchyard.config.models import Hub

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a project: the text of `switchyard.yaml`, and of files under `segments/` by name."""
    for name in Hub.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name}".upper(), raising=False)

    def project(text: str = "", **segments: str) -> Path:
        (tmp_path / "switchyard.yaml").write_text(dedent(text))
        for name, body in segments.items():
            (tmp_path / "segments").mkdir(exist_ok=True)
            (tmp_path / "segments" / f"{name}.yaml").write_text(dedent(body))
        return tmp_path

    return project
