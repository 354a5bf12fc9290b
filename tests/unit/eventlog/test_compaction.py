from dataclasses import dataclass

import pytest

from switchyard.api.errors import PermanentError
from switchyard.eventlog.compaction import due


@dataclass(frozen=True)
class File:
    rows: int
    level: int = 0


def sizes(files):
    return sorted(file.rows for file in due(files))


def test_nothing_is_due_while_few_files_are_uncompacted():
    assert due([File(10)] * 8 + [File(1, level=1)]) == []


def test_older_files_join_while_they_are_less_than_twice_as_large():
    young = [File(10)] * 9
    assert sizes([*young, File(179, 1), File(537, 2), File(10_000, 3)]) == [10] * 9 + [179, 537]
    assert sizes([*young, File(180, 1)]) == [10] * 9


def test_a_merge_that_would_lose_a_row_changes_nothing(hub, orders, monkeypatch):
    for start in range(0, 90, 10):
        hub.commit_file(orders(range(start, start + 10)))
    before = hub.files()
    monkeypatch.setattr("switchyard.eventlog.compaction._slices", lambda footers, files: iter([(0, 5)]))
    with pytest.raises(PermanentError, match="nothing was changed"):
        hub.log.compact()
    assert hub.files() == before
    assert len(hub.rows()) == 90
