import errno
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchyard.api.errors import PermanentError, TransientError
from switchyard.eventlog.files import GROUP_ROWS, LogFolder


def written(folder, table, kind="event", type="order_completed"):
    with folder.writer(kind, type, table.schema, table.num_rows) as writer:
        writer.write(table)
    return writer.entry()


@pytest.fixture
def folder(tmp_path):
    return LogFolder(tmp_path)


def test_an_entry_describes_its_file(folder, orders):
    entry = written(folder, orders(range(120), page=9))
    assert (entry.kind, entry.type, entry.rows, entry.last_page_id, entry.level) == (
        "event",
        "order_completed",
        120,
        9,
        0,
    )
    assert (entry.min_subject, entry.max_subject) == (0, 99)
    assert entry.max_at_us - entry.min_at_us == 119 * 60_000_000
    assert entry.size == folder.path(entry.name).stat().st_size
    metadata = pq.read_metadata(folder.path(entry.name)).metadata
    own = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"switchyard.")}
    assert own == {
        "switchyard.kind": "event",
        "switchyard.type": "order_completed",
        "switchyard.rows": "120",
        "switchyard.format": "1",
    }


def test_names_are_ordered_by_time_and_lie_below_their_type(folder, monkeypatch, orders):
    moments = iter((1_000_000_000, 2_000_000_000))
    monkeypatch.setattr("switchyard.eventlog.files.time.time_ns", lambda: next(moments))
    first, second = (written(folder, orders(range(1))).name for _ in range(2))
    assert first < second
    assert first.startswith("event/order_completed/")
    assert first.endswith(".parquet")


@pytest.mark.parametrize("type", ["../../etc", "a/b", "..", "with 'quotes' and [brackets]", "é"])
def test_no_event_type_leads_out_of_the_folder(folder, type, orders):
    entry = written(folder, orders(range(1)), type=type)
    path = folder.path(entry.name)
    assert path.resolve().parent.parent == (folder.root / "event").resolve()
    assert path.is_file()


@pytest.mark.parametrize("rows", [1, GROUP_ROWS, GROUP_ROWS + 1, 3 * GROUP_ROWS - 5])
def test_row_groups_are_of_about_one_size(folder, rows, orders):
    table = pa.concat_tables([orders(range(1))] * rows)
    with folder.writer("event", "t", table.schema, rows) as writer:
        for start in range(0, rows, 10_000):
            writer.write(table.slice(start, 10_000))
    metadata = pq.read_metadata(folder.path(writer.entry().name))
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sum(sizes) == rows
    assert max(sizes) <= GROUP_ROWS
    assert max(sizes) - min(sizes) < len(sizes)


def test_no_personal_value_stands_outside_the_data_pages(folder, orders):
    table = orders(range(400)).append_column("city", pa.array(["Kettlebrook"] * 400))
    data = folder.path(written(folder, table).name).read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length :]
    assert b"x.org" not in footer
    assert b"Kettlebrook" not in footer
    metadata = pq.read_metadata(pa.BufferReader(data))
    columns = [metadata.row_group(0).column(place) for place in range(metadata.num_columns)]
    assert {c.path_in_schema for c in columns if c.is_stats_set} == {"_subject", "_at", "_page"}
    assert all(not c.has_column_index and not c.has_offset_index for c in columns)


def test_memberships_have_statistics_on_profile_and_instant_only(folder, changes):
    entry = written(folder, changes(range(20)), kind="membership", type="")
    group = pq.read_metadata(folder.path(entry.name)).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    assert {c.path_in_schema for c in columns if c.is_stats_set} == {"profile_id", "at"}
    assert (entry.min_subject, entry.max_subject, entry.last_page_id) == (0, 19, 0)


def test_nothing_is_left_of_a_file_whose_writing_failed(folder, orders):
    with pytest.raises(RuntimeError), folder.writer("event", "t", orders(range(1)).schema, 1):
        raise RuntimeError
    assert folder.unlisted(()) == []


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(errno.ENOSPC, TransientError, "free some space"), (errno.EIO, PermanentError, "could not be written")],
)
def test_a_failing_disk_is_told_apart_from_a_full_one(folder, monkeypatch, number, error, message, orders):
    def fail(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("switchyard.eventlog.files.os.fsync", fail)
    with pytest.raises(error, match=message):
        written(folder, orders(range(1)))
    assert folder.unlisted(()) == []


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(folder, monkeypatch, orders):
    written(folder, orders(range(1)))
    steps = []
    sync, rename = os.fsync, type(folder.root).rename
    monkeypatch.setattr("switchyard.eventlog.files.os.fsync", lambda handle: (steps.append("sync"), sync(handle)))
    monkeypatch.setattr(type(folder.root), "rename", lambda path, new: (steps.append("rename"), rename(path, new))[1])
    written(folder, orders(range(1)))
    assert steps == ["sync", "rename", "sync"]
