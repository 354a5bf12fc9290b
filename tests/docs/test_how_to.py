"""The how-to pages do what they say."""

import subprocess
import sys
from pathlib import Path

from tests.databases import Postgres

from .pages import DOCS, Reader, blocks

HOW_TO = DOCS / "how-to"


def test_write_a_connector(reader: Reader, tmp_path: Path) -> None:
    reader.follow(blocks(HOW_TO / "write-a-connector.md"))
    assert "acme.py" in installed(tmp_path)


def test_write_a_transform(reader: Reader) -> None:
    reader.follow(blocks(HOW_TO / "write-a-transform.md"))


def test_run_as_a_service(reader: Reader) -> None:
    reader.follow(blocks(HOW_TO / "run-as-a-service.md"))


def test_run_on_postgresql(reader: Reader, postgres: Postgres) -> None:
    reader.environment["STORE_URL"] = postgres.url(postgres.create())
    reader.follow(blocks(HOW_TO / "run-on-postgresql.md"))
    assert not (reader.folder / ".switchyard" / "store.db").exists()


def test_send_webhooks(reader: Reader) -> None:
    reader.follow(blocks(HOW_TO / "send-webhooks.md"))


def test_connect_hubspot(reader: Reader) -> None:
    reader.follow(blocks(HOW_TO / "connect-hubspot.md"))


def test_connect_salesforce(reader: Reader) -> None:
    reader.follow(blocks(HOW_TO / "connect-salesforce.md"))


def test_watch_the_hub(reader: Reader) -> None:
    reader.write("switchyard.yaml", "connections: {}\n")
    reader.follow(blocks(HOW_TO / "watch-the-hub.md"))


def installed(distribution: Path) -> set[str]:
    """The files that pip installs of a distribution, without a network."""
    site = distribution / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(site), str(distribution)]
    subprocess.run(pip, check=True)
    return {path.name for path in site.iterdir()}
