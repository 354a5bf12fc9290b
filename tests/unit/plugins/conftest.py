"""Real plugins in real places: files of a project, and distributions on the path."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

HEADER = """\
from switchyard.api import ConfigError, ConnectorConfig, ListSinkSpec, SinkSpec, SourceSpec, Stream, hookimpl
from switchyard.api.transforms import ProfileTransformSpec, RecordTransformSpec

def build(config, context):
    raise AssertionError("listing builds nothing")

class Config(ConnectorConfig):
    pass

"""


@pytest.fixture
def drop_in(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file into the project's `plugins/` folder; gives the project."""

    def write(name: str, body: str) -> Path:
        (tmp_path / "plugins").mkdir(exist_ok=True)
        (tmp_path / "plugins" / f"{name}.py").write_text(HEADER + dedent(body))
        return tmp_path

    return write


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a distribution with one module and one entry point on the path."""

    def install(name: str, module: str, body: str, *, version: str = "1.0", entry: str | None = None) -> None:
        folder = tmp_path / "site" / name
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[switchyard]\n{entry or module} = {module}\n")
        (folder / f"{module}.py").write_text(HEADER + dedent(body))
        monkeypatch.syspath_prepend(folder)

    return install
