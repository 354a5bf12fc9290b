"""Events: the files of the BigQuery export, read once per content, in columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api import ConfigError, Context, Cursor, Page, Reject, Stream
from switchyard.api.records import JSON, LINE
from switchyard_connectors.google_analytics.config import ExportFolder
from switchyard_connectors.google_analytics.export_files import ExportFile, Folder, KnownFiles
from switchyard_connectors.google_analytics.export_rows import Unreadable, json_rows, parquet_rows
from switchyard_connectors.google_analytics.streams import ITEM_NUMBERS, ITEM_TEXTS
from switchyard_connectors.google_analytics.tables import scratch

_log = logging.getLogger(__name__)


class ExportFiles:
    """Reads the drop folder. A file is known by its content, so that a table that was exported anew is read anew, and
    one that merely has another name is not; what was in it before is known by the events' keys.

    The cursor stands inside a file, or is None between files; which are done is told by marks.
    """

    def __init__(self, config: ExportFolder, context: Context) -> None:
        self._config = config
        self._context = context
        self._path = context.project / config.folder
        self._folder = Folder(self._path, config)
        self._query = _query(config)

    def check(self) -> None:
        """Raise ConfigError where the folder is missing."""
        if not self._path.is_dir():
            raise ConfigError(f"there is no folder {self._path}; create it or correct `folder`", key="events.folder")

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """Yield the events of all complete files that are not known yet; a file that the cursor stands in comes first.

        Raises:
            TransientError: the folder cannot be listed.
            PermanentError: a file may not be read.
        """
        files = self._folder.ready()
        known = KnownFiles(self._context.workspace / "export_files.json")
        begun = cursor or {}
        for file in sorted(files, key=lambda file: file.name != begun.get("file")):
            content = known.get(file) or self._folder.content(file)
            if content is None:
                continue
            known.put(file, content)
            marks = (content, f"{content}-refused")
            if not self._context.marked(stream.name, marks):
                stands = begun if begun.get("content") == content else {}
                yield from self._pages(file, content, int(str(stands.get("line", 0))))
        known.save(files)

    def _pages(self, file: ExportFile, content: str, line: int) -> Iterator[Page]:
        """The pages of one file behind this line. Each waits for the next one, so that the last completes the file."""
        waiting: Page | None = None
        try:
            for rows, rejects in self._rows(file, line):
                if waiting is not None:
                    yield waiting
                waiting = self._page(file, content, rows, rejects)
        except Unreadable as damage:
            if waiting is not None:
                yield waiting
            reject = Reject("file_refused", str(damage), {"file": file.name})
            yield Page([], None, (reject,), marks=(f"{content}-refused",), origin=file.name)
            return
        if waiting is None:
            waiting = Page([], None, origin=file.name)
        if self._folder.unchanged(file):
            yield Page(waiting.records, None, waiting.rejected, marks=(content,), origin=waiting.origin)
        else:
            # What was read is true of some moment of the file; by what it is now it is read again.
            yield waiting

    def _rows(self, file: ExportFile, line: int) -> Iterator[tuple[pa.Table, list[Reject]]]:
        path = self._folder.path(file)
        if file.parquet:
            for rows in parquet_rows(path, self._config.page_rows, line):
                yield rows, []
        else:
            yield from json_rows(path, self._config.page_rows, line)

    def _page(self, file: ExportFile, content: str, rows: pa.Table, rejects: Sequence[Reject]) -> Page:
        with scratch() as duck:
            events = duck.register("export", rows).execute(self._query).to_arrow_table()
        fate, events = events[_FATE], events.drop_columns([_FATE])
        records = events if pc.all(pc.equal(fate, _GIVEN)).as_py() else events.filter(pc.equal(fate, _GIVEN))
        untimed = events.filter(pc.equal(fate, _UNTIMED)).to_pylist()
        skipped = events.num_rows - records.num_rows - len(untimed)
        if skipped:
            _log.info("%s: %d events of people without consent are left out", file.name, skipped)
        bad = [Reject("no_time", "the event has no name or no time", _plain(row), line=row[LINE]) for row in untimed]
        last = max(rows[LINE][-1].as_py() if rows.num_rows else 0, max((each.line or 0 for each in rejects), default=0))
        cursor: Cursor = {"file": file.name, "content": content, "line": last}
        return Page(records, cursor, [*rejects, *bad], origin=file.name)


_FATE = "_fate"
_GIVEN, _SKIPPED, _UNTIMED = 0, 1, 2


def _plain(row: Mapping[str, Any]) -> JSON:
    return {name: str(value) for name, value in row.items() if value is not None and name != LINE}


def _text(name: str) -> str:
    """A parameter as text, whatever its type."""
    at = f"params_[list_position(keys, '{name.replace(chr(39), 2 * chr(39))}')]"
    return (
        f"coalesce({at}.value.string_value, CAST({at}.value.int_value AS VARCHAR), "
        f"CAST(coalesce({at}.value.double_value, {at}.value.float_value) AS VARCHAR))"
    )


def _whole(name: str) -> str:
    at = f"params_[list_position(keys, '{name}')].value"
    return f"coalesce({at}.int_value, TRY_CAST({at}.string_value AS BIGINT))"


def _money(*values: str) -> str:
    return f"TRY_CAST(coalesce({', '.join(values)}) AS DECIMAL(18, 4))"


def _number(name: str) -> str:
    at = f"params_[list_position(keys, '{name}')].value"
    return f"coalesce({at}.double_value, {at}.float_value, {at}.int_value, TRY_CAST({at}.string_value AS DOUBLE))"


def _named(params: str) -> str:
    """Parameters as a JSON object. Of two of one name, which no page should send, the first counts."""
    value = (
        "coalesce(to_json(each.value.string_value), to_json(each.value.int_value), to_json(each.value.double_value), "
        "to_json(each.value.float_value), 'null')"
    )
    pairs = f"list_transform({params}, lambda each: to_json(coalesce(each.key, '')) || ':' || {value})"
    return f"'{{' || list_aggregate({pairs}, 'string_agg', ',') || '}}'"


_NOT_SET = "nullif(nullif({0}, '(not set)'), '')"
_ITEM_SOURCES = {
    "sku": "item_id",
    "name": "item_name",
    "brand": "item_brand",
    "category": "item_category",
    "variant": "item_variant",
    "coupon": "coupon",
    "quantity": "quantity",
    "price": "price",
    "amount": "item_revenue",
}


def _items() -> str:
    texts = {name: _NOT_SET.format(f"item.{_ITEM_SOURCES[name]}") for name in ITEM_TEXTS}
    numbers = {name: f"TRY_CAST(item.{_ITEM_SOURCES[name]} AS DECIMAL(18, 4))" for name in ITEM_NUMBERS}
    fields = ", ".join(f"'{name}': {value}" for name, value in (texts | numbers).items())
    return f"list_transform(items, lambda item: {{{fields}}})"


_CAMPAIGN = {
    "source": ("collected_traffic_source.manual_source", _text("source"), "traffic_source.source"),
    "medium": ("collected_traffic_source.manual_medium", _text("medium"), "traffic_source.medium"),
    "campaign": ("collected_traffic_source.manual_campaign_name", _text("campaign"), "traffic_source.name"),
}


def _query(config: ExportFolder) -> str:
    """What makes records of rows. `event_id` is of what BigQuery keeps apart equal events by; an event without consent
    has no `user_pseudo_id`, and is known by the rest.
    """
    columns = {
        "event_id": """md5(concat_ws(chr(31), coalesce(user_pseudo_id, ''), event_timestamp, event_name,
            coalesce(event_bundle_sequence_id, -1), coalesce(batch_event_index, -1)))""",
        "event_name": "event_name",
        "event_at": "TRY(make_timestamp(event_timestamp))",
        "event_date": "CAST(try_strptime(event_date, '%Y%m%d') AS DATE)",
        "user_id": _NOT_SET.format("user_id"),
        "ga_client_id": _NOT_SET.format("user_pseudo_id"),
        "session_id": _whole("ga_session_id"),
        "session_number": _whole("ga_session_number"),
        "engagement_ms": _whole("engagement_time_msec"),
        "page_location": _text("page_location"),
        "page_title": _text("page_title"),
        "page_referrer": _text("page_referrer"),
        "form_id": _text("form_id"),
        **{name: _NOT_SET.format(f"coalesce({', '.join(places)})") for name, places in _CAMPAIGN.items()},
        "device_category": "device.category",
        "country": "geo.country",
        "city": "geo.city",
        "platform": "platform",
        "transaction_id": f"coalesce({_NOT_SET.format('ecommerce.transaction_id')}, {_text('transaction_id')})",
        "value": _money(_number("value"), "ecommerce.purchase_revenue", "ecommerce.refund_value"),
        "tax": _money(_number("tax"), "ecommerce.tax_value"),
        "shipping": _money(_number("shipping"), "ecommerce.shipping_value"),
        "currency": _text("currency"),
        "coupon": _text("coupon"),
        "quantity": "TRY_CAST(coalesce(ecommerce.total_item_quantity, list_sum(list_transform(items, lambda item: "
        "item.quantity))) AS DECIMAL(18, 4))",
        "items": _items(),
        "analytics_storage": "privacy_info.analytics_storage",
        "ads_storage": "privacy_info.ads_storage",
        "params": _named("event_params"),
        "user_properties": _named("user_properties"),
    }
    columns |= {name: _text(name) for name in config.params if name not in columns}
    listed = ", ".join(f'{sql} AS "{name.replace(chr(34), 2 * chr(34))}"' for name, sql in columns.items())
    nobody = "user_id IS NULL AND ga_client_id IS NULL" if config.consentless == "skip" else "false"
    return f"""
        SELECT *, CASE WHEN event_at IS NULL OR coalesce(event_name, '') = '' THEN {_UNTIMED}
            WHEN {nobody} THEN {_SKIPPED} ELSE {_GIVEN} END AS {_FATE}
        FROM (SELECT {listed}, {LINE} FROM (
            SELECT *, event_params AS params_, list_transform(event_params, lambda each: each.key) AS keys FROM export
        ))
    """  # noqa: S608  # expressions of our own, and names that are quoted
