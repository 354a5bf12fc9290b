"""Power lost around the commit of a big page, whose events are a file: all of the page, or nothing of it, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.canonical import dump
from tests.projects import Spine

from switchyard.api import Stream
from switchyard.api.errors import PermanentError
from switchyard.eventlog.log import EventLog
from switchyard.store.tables import LogFile, Subject
from switchyard.store.tables import Stream as StreamRow

TICKETS = Stream(name="tickets", key=("id",), mode="append")
MAPPING = {
    "subject": "who",
    "observed_at": "CAST(seen AS TIMESTAMP)",
    "identifiers": {"card": "who"},
    "events": {"bought": {"properties": {"paid": "CAST(paid AS DECIMAL(18,4))"}}},
}
PAGE = [{"id": str(n), "who": f"w{n % 7}", "seen": "2026-01-01", "paid": str(n)} for n in range(40)]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def start(tmp_path: Path, database_url: str) -> Iterator[Callable[[], Spine]]:
    """Start the process anew; what it held in memory before is gone."""
    spines: list[Spine] = []

    def one() -> Spine:
        if spines:
            spines.pop().close()
        spines.append(Spine(tmp_path, TICKETS, MAPPING, url=database_url, file_rows=10))
        return spines[-1]

    yield one
    if spines:
        spines.pop().close()


def cursor(spine: Spine):
    (row,) = spine.rows(StreamRow)
    return row.cursor


def files(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "log").rglob("*.parquet")}


def dies(*_: object, **__: object) -> None:
    raise Killed


def test_killed_after_the_file_and_before_the_commit(start, tmp_path, monkeypatch):
    spine = start()
    with monkeypatch.context() as patched:
        patched.setattr(spine.intake, "_write", dies)
        patched.setattr(EventLog, "discard", dies)  # a dead process cleans nothing up
        with pytest.raises(Killed):
            spine.feed(PAGE, cursor={"page": 1})
        spine.intake.close()  # the file may still be under way beside the transaction
    assert files(tmp_path), "the file was written"
    assert spine.rows(LogFile) == []
    spine = start()
    assert files(tmp_path) == set()
    assert (cursor(spine), spine.rows(Subject), spine.events("bought")) == (None, [], [])
    assert spine.feed(PAGE, cursor={"page": 1}).mapped == 40
    assert len(spine.events("bought")) == 40


def test_killed_after_the_commit_and_before_it_is_remembered(start, monkeypatch):
    spine = start()
    with monkeypatch.context() as patched:
        patched.setattr(EventLog, "remember", dies)
        with pytest.raises(Killed):
            spine.feed(PAGE, cursor={"page": 1})
    spine = start()
    assert cursor(spine) == {"page": 1}
    again = spine.feed(PAGE, cursor={"page": 1})
    assert (again.mapped, again.duplicate) == (0, 40)
    assert len(spine.events("bought")) == 40


def test_a_transaction_that_fails_leaves_no_file_and_no_trace(start, tmp_path, monkeypatch):
    spine = start()
    with monkeypatch.context() as patched:
        patched.setattr("switchyard.pipeline.intake.quarantine.put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            spine.feed(PAGE, cursor={"page": 1})
    assert files(tmp_path) == set()
    assert (cursor(spine), spine.rows(Subject)) == (None, [])
    assert spine.feed(PAGE, cursor={"page": 1}).mapped == 40


def test_the_same_page_twice_is_there_once(start):
    spine = start()
    spine.feed(PAGE)
    once = dump(spine.database, spine.log)
    assert spine.feed(PAGE).duplicate == 40
    spine = start()
    assert spine.feed(list(reversed(PAGE))).duplicate == 40
    twice = dump(spine.database, spine.log)
    for part in once.keys() - {"counts"}:
        assert twice[part] == once[part], part


DAMAGE = {
    "missing": Path.unlink,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "other content": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_stops_the_start_and_is_named(start, tmp_path, damage):
    spine = start()
    spine.feed(PAGE)
    (name,) = files(tmp_path)
    (path,) = (tmp_path / "log").rglob(name)
    whole = path.read_bytes()
    damage(path)
    log = EventLog(tmp_path / "log", spine.log._catalogue)
    with pytest.raises(PermanentError, match=name.removesuffix(".parquet")):
        log.open()
    path.write_bytes(whole)
    assert len(start().events("bought")) == 40
