from collections import Counter

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchyard.api.errors import PermanentError
from switchyard.eventlog.log import Counts


def test_an_empty_log_answers(hub, ids):
    assert hub.rows() == []
    assert hub.rows(kind="membership", type="") == []
    assert hub.log.seen(ids(range(3))).tolist() == [False] * 3
    assert hub.log.statistics() == {}
    with hub.log.snapshot() as snapshot:
        assert snapshot.history("order_completed", pa.array([1])).num_rows == 0


def test_a_named_file_counts(hub, orders, plain):
    table = orders(range(1000))
    hub.commit_file(table)
    assert hub.rows() == plain(table)


def test_a_file_that_is_not_named_does_not_count(hub, orders, plain):
    hub.commit_file(orders(range(10)))
    hub.log.write("event", "order_completed", orders(range(10, 20)))
    assert hub.rows() == plain(orders(range(10)))


def test_journal_and_files_are_one(hub, orders, plain):
    hub.commit_file(orders(range(50)))
    hub.commit_rows(orders(range(50, 60)))
    assert hub.rows() == plain(orders(range(60)))


def test_events_and_memberships_stay_apart_by_type(hub, orders, changes, plain):
    hub.commit_file(orders(range(5)), type="order_completed")
    hub.commit_file(orders(range(5, 9)), type="order_refunded")
    hub.commit_file(changes(range(3)), kind="membership", type="")
    assert hub.rows("order_refunded") == plain(orders(range(5, 9)))
    assert hub.rows(kind="membership", type="") == plain(changes(range(3)))


def test_files_are_sorted_by_subject_and_instant(hub, orders):
    name = hub.commit_file(orders(list(reversed(range(500)))))
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT _subject, _at FROM read_parquet('{hub.folder / name}')").fetchall()
    assert rows == sorted(rows)


def test_a_name_with_an_underscore_cannot_be_a_property(hub, orders):
    table = orders(range(2)).append_column("_secret", pa.array([1, 2]))
    with pytest.raises(ValueError, match="_secret"):
        hub.log.write("event", "order_completed", table)


def test_flush_moves_rows_from_the_journal_to_a_file(hub, orders, changes, plain):
    hub.commit_rows(orders(range(30)))
    with hub.database.write() as session:
        hub.catalogue.journal_memberships(session, changes(range(4)))
    entries = hub.log.flush()
    assert sorted((entry.kind, entry.rows) for entry in entries) == [("event", 30), ("membership", 4)]
    assert hub.log.statistics()["event", "order_completed"].journal == 0
    assert hub.rows() == plain(orders(range(30)))
    assert hub.rows(kind="membership", type="") == plain(changes(range(4)))


def test_flush_leaves_types_below_the_threshold(hub, orders):
    hub.commit_rows(orders(range(30)))
    assert hub.log.flush(threshold=30) == []
    assert [entry.rows for entry in hub.log.flush(threshold=29)] == [30]


def test_a_property_that_came_later_is_missing_in_older_files_and_rows(hub, orders):
    hub.commit_file(orders(range(3)))
    hub.commit_rows(orders(range(3, 5)))
    with hub.database.write() as session:
        hub.catalogue.register(session, "order_completed", {"channel": "text"})
    later = orders(range(5, 7)).append_column("channel", pa.array(["web", "till"]))
    hub.commit_file(later)
    with hub.log.snapshot() as snapshot, duckdb.connect() as connection:
        snapshot.view(connection, "event", "order_completed", None, "orders")
        assert Counter(connection.execute("SELECT channel FROM orders").fetchall()) == {
            (None,): 5,
            ("web",): 1,
            ("till",): 1,
        }
        history = snapshot.history("order_completed", pa.array([4, 6]), {"channel": "text"})
        assert sorted(history["channel"].to_pylist(), key=str) == [None, "till"]


def test_items_may_grow(hub, orders):
    def items(fields, rows):
        shape = pa.list_(pa.struct(fields))
        return orders(range(len(rows))).append_column("items", pa.array(rows, shape))

    with hub.database.write() as session:
        hub.catalogue.register(session, "order_completed", {"items": "items(sku text)"})
    hub.commit_file(items([("sku", pa.string())], [[{"sku": "a"}]]))
    with hub.database.write() as session:
        grown = hub.catalogue.register(session, "order_completed", {"items": "items(price decimal, sku text)"})
    assert grown == {"items": "items(sku text, price decimal)"}
    hub.commit_rows(items([("sku", pa.string()), ("price", pa.decimal128(18, 4))], [[{"sku": "b", "price": 2}]]))
    with hub.log.snapshot() as snapshot, duckdb.connect() as connection:
        snapshot.view(connection, "event", "order_completed", None, "orders")
        found = connection.execute("SELECT items FROM orders").fetchall()
        history = snapshot.history("order_completed", pa.array([0]))
    assert sorted(found, key=str) == [([{"sku": "a", "price": None}],), ([{"sku": "b", "price": 2}],)]
    assert sorted(history["items"].to_pylist(), key=str) == [row for (row,) in sorted(found, key=str)]


@pytest.mark.parametrize("small", [0, 131_072])
def test_history_is_what_the_view_has_of_the_subjects(hub, monkeypatch, small, orders, plain, viewed):
    monkeypatch.setattr("switchyard.eventlog.relations.SMALL", small)
    hub.commit_file(orders(range(60_000)))
    hub.commit_file(orders(range(60_000, 60_500)))
    hub.commit_rows(orders(range(60_500, 60_600)))
    subjects = pa.array([99, 3, 3, 41, 1_000_000])
    with hub.log.snapshot() as snapshot:
        history = snapshot.history("order_completed", subjects)
        assert history.column_names == ["_id", "_subject", "_at", "_page", "coupon", "total"]
        wanted = [row for row in viewed(snapshot) if row[1] in (99, 3, 41)]
    assert plain(history) == wanted


@pytest.mark.parametrize("small", [0, 131_072])
def test_history_has_the_fixed_columns_asked_for(hub, monkeypatch, small, orders, plain):
    monkeypatch.setattr("switchyard.eventlog.relations.SMALL", small)
    hub.commit_file(orders(range(300)))
    hub.commit_rows(orders(range(300, 400)))
    with hub.log.snapshot() as snapshot:
        whole = snapshot.history("order_completed", pa.array([7]), {"total": "decimal"})
        some = snapshot.history("order_completed", pa.array([7]), {"total": "decimal"}, fixed=["_at"])
        assert some.column_names == ["_subject", "_at", "total"]
        assert plain(some) == plain(whole.select(some.column_names))
        assert some.num_rows == 4
        assert snapshot.history("order_completed", pa.array([101]), {}, fixed=[]).column_names == ["_subject"]


def test_a_snapshot_narrowed_to_subjects_has_their_history(hub, orders, plain):
    hub.commit_file(orders(range(300)))
    hub.commit_rows(orders(range(300, 500)))
    subjects = pa.array([5, 7])
    with hub.log.snapshot() as everything, hub.log.snapshot(["order_completed"], subjects, False) as narrow:
        assert narrow.journal("event", "order_completed").num_rows == 4
        assert plain(narrow.history("order_completed", subjects)) == plain(
            everything.history("order_completed", subjects)
        )


def test_a_snapshot_does_not_change_while_it_is_open(hub, orders, plain, viewed):
    for start in range(0, 90, 10):
        hub.commit_file(orders(range(start, start + 10)))
    hub.commit_rows(orders(range(90, 95)))
    before = hub.rows()
    with hub.log.snapshot() as snapshot:
        hub.commit_rows(orders(range(95, 99)))
        hub.log.flush()
        assert hub.log.compact() == 10
        assert viewed(snapshot) == before
        assert len(hub.files()) == 10
    assert len(hub.files()) == 1
    assert hub.rows() == plain(orders(range(99)))


def test_compaction_keeps_files_few_and_rows_once(hub, orders, plain):
    numbers = 0
    for _ in range(40):
        hub.commit_file(orders(range(numbers, numbers + 5)))
        numbers += 5
        hub.log.compact()
        assert hub.log.statistics()["event", "order_completed"].uncompacted <= 8
    assert hub.log.statistics()["event", "order_completed"].files <= 8 + 3
    assert hub.rows() == plain(orders(range(numbers)))
    assert len(hub.files()) == hub.log.statistics()["event", "order_completed"].files


def test_a_merge_in_slices_keeps_every_row(hub, monkeypatch, orders, plain):
    monkeypatch.setattr("switchyard.eventlog.compaction.SLICE_ROWS", 300)
    monkeypatch.setattr("switchyard.eventlog.files.GROUP_ROWS", 100)
    for start in range(0, 1800, 200):
        hub.commit_file(orders(range(start, start + 200)))
    assert hub.log.compact() == 9
    assert hub.rows() == plain(orders(range(1800)))


def test_statistics_count_files_rows_and_journal(hub, orders):
    hub.commit_file(orders(range(30)))
    hub.commit_rows(orders(range(30, 37)))
    size = (hub.folder / hub.files()[0]).stat().st_size
    assert hub.log.statistics() == {
        ("event", "order_completed"): Counts(files=1, rows=30, bytes=size, journal=7, uncompacted=1)
    }


def test_seen_finds_what_is_committed_and_nothing_else(hub, orders, ids):
    hub.commit_file(orders(range(100)))
    hub.commit_rows(orders(range(100, 110)))
    asked = ids([5, 500, 105, 600, 5])
    assert hub.log.seen(asked).tolist() == [True, False, True, False, True]


def test_seen_confirms_on_the_whole_id(hub, orders, ids):
    hub.commit_file(orders(range(10)))
    [known] = ids([3]).to_pylist()
    twin = pa.array([known[:8] + b"\0" * 8, known], pa.binary(16))
    assert hub.log.seen(twin).tolist() == [False, True]


def test_an_id_that_was_never_committed_is_not_seen(hub, orders, ids):
    hub.commit_file(orders(range(10)))
    hub.log.remember(ids([77]), page_id=1)
    assert hub.log.seen(ids([77])).tolist() == [False]


def test_seen_follows_rows_from_the_journal_through_files(hub, orders, ids):
    for page in range(10):
        hub.commit_rows(orders(range(page * 10, page * 10 + 10)))
        hub.log.flush()
        assert hub.log.seen(ids(range(page * 10 + 20))).sum() == page * 10 + 10
    hub.log.compact()
    assert hub.log.seen(ids(range(120))).sum() == 100


def test_the_same_page_twice_is_all_seen(hub, orders):
    page = orders(range(2_000))
    hub.commit_file(page)
    assert hub.log.seen(page["_id"]).all()
    assert hub.reopen().seen(page["_id"]).all()


def test_pages_out_of_order_are_refused(hub, ids):
    hub.log.remember(ids([1]), page_id=5)
    with pytest.raises(ValueError, match="order of commit"):
        hub.log.remember(ids([2]), page_id=4)


def test_discard_removes_a_file_unless_it_is_named(hub, orders):
    entry = hub.log.write("event", "order_completed", orders(range(3)))
    hub.log.discard([entry])
    assert hub.files() == []
    kept = hub.log.write("event", "order_completed", orders(range(3)))
    with hub.database.write() as session:
        hub.catalogue.add(session, [kept])
    hub.log.discard([kept])
    assert hub.files() == [kept.name]


def test_a_store_that_belongs_to_another_log_is_refused(hub, new_hub, orders):
    hub.commit_file(orders(range(3)))
    stranger = new_hub()
    stranger.folder = hub.folder
    with pytest.raises(PermanentError, match="knows nothing of the event log"):
        stranger.reopen()
    assert len(hub.files()) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.integers(1, 6)),
        st.tuples(st.just("file"), st.integers(1, 12)),
        st.tuples(st.sampled_from(["flush", "compact", "reopen", "twice"]), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_sequence_of_steps_keeps_every_row_once(new_hub, steps, orders, ids, plain):
    hub, count = new_hub(), 0
    for step, rows in steps:
        if step in ("rows", "file"):
            commit = hub.commit_rows if step == "rows" else hub.commit_file
            commit(orders(range(count, count + rows)))
            count += rows
        elif step == "twice" and count:
            again = orders(range(count))
            assert hub.log.seen(again["_id"]).all()
        elif step == "reopen":
            hub.reopen()
        elif step != "twice":
            getattr(hub.log, step)()
        assert len(hub.files()) == sum(counts.files for counts in hub.log.statistics().values())
    assert hub.rows() == plain(orders(range(count)))
    assert hub.log.seen(ids(range(count + 5))).tolist() == [True] * count + [False] * 5
