"""Files of the BigQuery export: both formats, restated tables, streaming tables, people without consent."""

from __future__ import annotations

import gzip
import json
import os
from decimal import Decimal

import pytest

from switchyard.api import ConfigError
from switchyard.config.mapping import merge_mapping
from switchyard.pipeline.mapping import Mapper
from switchyard.pipeline.plan import compile_mapping
from switchyard_connectors.google_analytics.streams import EVENT_STREAM

from .conftest import rows


@pytest.fixture
def read(desk):
    """Sync the events of the drop folder."""
    return lambda pages=None, **more: desk.sync("events", pages, events=_folder(desk, **more))


def _folder(desk, **more):
    return {"folder": str(desk.folder), "stable_seconds": 0, **more}


def _line(**columns):
    event = {"event_date": "20260921", "event_timestamp": "1789982400000001", "event_name": "page_view"}
    return json.dumps({**event, "user_pseudo_id": "1.1", **columns})


def _drop(desk, *lines, name="events_20260921.json"):
    (desk.folder / name).write_text("".join(f"{line}\n" for line in lines))


def _params(**values):
    return [{"key": key, "value": {"string_value": value}} for key, value in values.items()]


def _mapped(page):
    return Mapper(compile_mapping("ga", EVENT_STREAM, merge_mapping(EVENT_STREAM.mapping))).map(page).records


def test_both_formats_give_the_same_events(desk, read):
    desk.simulator.export(desk.folder, form="parquet")
    parquet = rows(read())
    desk.cursors.clear()
    desk.restart()
    (desk.folder / f"events_{desk.simulator.day(1).replace('-', '')}.parquet").unlink()
    desk.simulator.export(desk.folder, form="json")
    assert rows(read()) == parquet
    counted = desk.simulator.events.ask(f"SELECT count(*) FROM seen WHERE consent AND day = '{desk.simulator.day(1)}'")
    assert len(parquet) == counted[0][0] > 50
    assert len({row["event_id"] for row in parquet}) == len(parquet)


def test_a_purchase_is_an_order_with_its_items(desk, read):
    desk.simulator.export(desk.folder)
    records = _mapped(read()[0]).to_pylist()
    orders = [row for row in records if row["event.order_completed._when"]]
    expected = desk.simulator.events.ask(
        "SELECT transaction_id, value FROM seen WHERE name = 'purchase' AND consent AND day = ?",
        [desk.simulator.day(1)],
    )
    told = {(row["event.order_completed.order_id"], row["event.order_completed.total"]) for row in orders}
    assert told == {(order, Decimal(value)) for order, value in expected}
    items = orders[0]["event.order_completed.items"]
    assert [(item["quantity"], item["category"], item["brand"]) for item in items] == [(1, "things", None)]
    assert items[0]["sku"].startswith("SKU")
    seen = {row["event.page_viewed.url"] for row in records if row["event.page_viewed._when"]}
    assert seen and all(url.startswith("https://shop.example/page/") for url in seen)
    kinds = {name.split(".")[1] for row in records for name, value in row.items() if name.endswith("_when") and value}
    assert kinds == {"page_viewed", "product_viewed", "product_added", "checkout_started", "order_completed", "tracked"}
    assert all(sum(bool(row[name]) for name in row if name.endswith("._when")) == 1 for row in records)


def test_who_signed_in_has_both_ids(desk, read):
    _drop(desk, _line(user_id="u1"), _line(event_timestamp="5", user_id=""), _line(event_timestamp="6", user_id=None))
    assert [(row["user_id"], row["ga_client_id"]) for row in rows(read())] == [
        ("u1", "1.1"),
        (None, "1.1"),
        (None, "1.1"),
    ]


def test_events_without_consent_name_nobody(desk, read):
    anonymous = _line(user_pseudo_id=None, privacy_info={"analytics_storage": "No"})
    _drop(desk, _line(), anonymous)
    assert [row["ga_client_id"] for row in rows(read())] == ["1.1"]
    desk.restart()
    (kept,) = read(consentless="keep")
    assert [(row["ga_client_id"], row["analytics_storage"]) for row in rows([kept])] == [("1.1", None), (None, "No")]
    assert _mapped(kept)["_subject"].null_count == 0


def test_a_file_that_stays_is_read_once(desk, read):
    desk.simulator.export(desk.folder)
    assert rows(read())
    assert read() == []
    copy = desk.folder / "events_20260101.parquet"
    os.link(next(desk.folder.glob("events_2026*.parquet")), copy)
    assert read() == []


def test_a_table_exported_anew_is_read_anew(desk, read):
    _drop(desk, _line())
    first = rows(read())
    _drop(desk, _line(), _line(event_timestamp="1789982400000002"))
    second = rows(read())
    assert len(second) == 2
    # The hub knows the one it has by its key.
    assert first[0]["event_id"] in {row["event_id"] for row in second}


def test_the_streaming_table_is_read_until_the_day_s_own_is_there(desk, read):
    _drop(desk, _line(), name="events_intraday_20260921.json")
    early = rows(read())
    _drop(desk, _line(), _line(event_timestamp="1789982400000002"))
    late = read()
    assert {page.origin for page in late} == {"events_20260921.json"}
    ids = {row["event_id"] for row in rows(late)}
    assert early[0]["event_id"] in ids
    assert len(ids) == 2


def test_the_streaming_table_can_be_left_alone(desk, read):
    _drop(desk, _line(), name="events_intraday_20260921.json")
    assert read(intraday=False) == []


def test_a_killed_run_goes_on_inside_the_file(desk, read):
    for form in ("parquet", "json"):
        for old in desk.folder.iterdir():
            old.unlink()
        desk.simulator.export(desk.folder, form=form)
        whole = rows(read())
        desk.restart()
        parts = []
        while not (parts and parts[-1].marks):
            parts += read(pages=1, page_rows=30)
        assert rows(parts) == whole
        assert len(parts) == -(-(whole[-1]["_line"]) // 30)
        desk.restart()


def test_a_line_that_is_no_json_is_refused_by_itself(desk, read):
    _drop(desk, _line(), '{"event_name": "cut', "[]", "", _line(event_timestamp="7"), _line(event_timestamp=None))
    pages = read()
    assert [row["_line"] for row in rows(pages)] == [1, 5]
    rejects = [(reject.code, reject.line) for page in pages for reject in page.rejected]
    assert rejects == [("no_json", 2), ("no_json", 3), ("no_time", 6)]


def test_a_damaged_file_is_refused_whole(desk, read):
    (desk.folder / "events_20260921.parquet").write_bytes(b"PAR1 and nothing")
    (desk.folder / "events_20260922.json.gz").write_bytes(gzip.compress(_line().encode())[:-6])
    rejects = [(page.origin, reject.code) for page in read() for reject in page.rejected]
    assert rejects == [("events_20260921.parquet", "file_refused"), ("events_20260922.json.gz", "file_refused")]
    assert read() == []


def test_files_that_are_not_whole_or_no_export_are_left_alone(desk, read):
    for name in ("events_20260921.json.part", ".events_20260921.json", "users_20260921.json", "events_2026.json"):
        _drop(desk, _line(), name=name)
    (desk.folder / "events_20260922.json").symlink_to(desk.folder / "events_20260921.json.part")
    assert read() == []


def test_parts_and_packed_files_are_read_too(desk, read):
    (desk.folder / "events_20260921-000000000001.json.gz").write_bytes(gzip.compress(f"{_line()}\n".encode()))
    _drop(desk, _line(event_timestamp="9"), name="events_20260921000000000000.jsonl")
    assert len(rows(read())) == 2


def test_older_and_newer_schemas_are_one(desk, read):
    _drop(
        desk,
        _line(brand_new={"deep": [1]}, batch_event_index="3"),
        '{"event_name": "x", "event_timestamp": 1, "user_id": 7}',
    )
    first, second = rows(read())
    assert first["event_id"] != second["event_id"]
    assert (second["user_id"], second["params"], second["items"]) == ("7", None, None)


def test_parameters_become_columns_where_asked_for(desk, read):
    _drop(desk, _line(event_params=_params(**{"method": "mail", "name with spaces": "x", "page_title": "Zoë 🧑🏽‍🚀"})))
    (row,) = rows(read(params=["method", "name with spaces"]))
    assert (row["method"], row["name with spaces"], row["page_title"]) == ("mail", "x", "Zoë 🧑🏽‍🚀")
    assert json.loads(row["params"])["method"] == "mail"


def test_a_repeated_parameter_and_odd_numbers_break_nothing(desk, read):
    huge = {"key": "value", "value": {"double_value": 1e300}}
    _drop(desk, _line(event_params=[*_params(method="a"), *_params(method="b"), huge], event_timestamp="12"))
    (row,) = rows(read(params=["method"]))
    assert (row["method"], row["value"]) == ("a", None)


def test_a_missing_folder_is_named(desk):
    desk.folder.rmdir()
    with pytest.raises(ConfigError, match="folder"):
        desk.source(events=_folder(desk)).check()


def test_lists_as_bigquery_wraps_them_are_unwrapped(desk, read):
    desk.simulator.events.run(
        f"""COPY (SELECT '20260921' AS event_date, 12::BIGINT AS event_timestamp, 'login' AS event_name, '1.1' AS
            user_pseudo_id, {{'list': [{{'element': {{'key': 'method', 'value': {{'string_value': 'mail'}}}}}}]}}
            AS event_params) TO '{desk.folder}/events_20260921.parquet' (FORMAT parquet)"""
    )
    assert [row["method"] for row in rows(read(params=["method"]))] == ["mail"]
