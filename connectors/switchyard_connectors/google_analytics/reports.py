"""Reports: read by days, days that may still change read again, and what is gone of them told."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api import ConfigError, Cursor, Page, Reject, TransientError
from switchyard.api.http import HttpClient
from switchyard.api.records import DELETED, JSON
from switchyard_connectors.google_analytics.config import DATE, GoogleAnalyticsConfig, Report, field_name
from switchyard_connectors.google_analytics.quota import Verdicts, Wall, refuse_if_spent
from switchyard_connectors.google_analytics.report_progress import ReportProgress
from switchyard_connectors.google_analytics.snapshots import Snapshots
from switchyard_connectors.google_analytics.streams import metric_type
from switchyard_connectors.google_analytics.tables import Answer, parsed, scratch

_log = logging.getLogger(__name__)
_FIRST = date(2015, 8, 14)
"""No property has data of before (the earliest day that the Data API takes)."""
_PATIENCE = 3
"""How often a range is begun anew because its rows changed while they were read."""
_SQL = {"integer": "BIGINT", "decimal": "DECIMAL(18, 4)", "number": "DOUBLE"}
_DAY = timedelta(days=1)
_BODY = 60 * 2**20
_ROW, _DIMENSION, _METRIC = 48, 48, 24
"""Bytes of an answer, and what a row, a dimension and a metric take of it."""


class Restated(Exception):
    """The rows of a range changed between two pages of it."""


class Reports:
    """Reads the reports of one property.

    Args:
        config: which property, and what of its quota to leave.
        http: a client of the Data API.
        workspace: where to keep what was given.
        now: the time, UTC with a zone.
    """

    def __init__(self, config: GoogleAnalyticsConfig, http: HttpClient, workspace: Path, now: Wall) -> None:
        self._config = config
        self._http = http
        self._workspace = workspace
        self._now = now

    def read(self, report: Report, cursor: Cursor) -> Iterator[Page]:
        """Yield the rows of all days up to yesterday behind the cursor, and of the days before it that may have
        changed; then, as deleted, the rows of these days that are not there any more.

        Raises:
            ConfigError: the report's dimensions are not those of the cursor, or the time zone is not the property's.
            QuotaExhausted: the property's tokens are used up; the next run goes on.
        """
        progress = ReportProgress.of(report, cursor)
        identity = ["row_id", "date", *(field_name(each) for each in report.dimensions[1:])]
        snapshots = Snapshots(self._workspace / "reports" / report.name, identity)
        snapshots.sweep([*progress.kept, *progress.fresh])
        yesterday = self._now().astimezone(ZoneInfo(self._config.time_zone)).date() - _DAY
        while True:
            if progress.begin is None:
                start = report.start or _FIRST
                if progress.through is not None:
                    start = max(start, progress.through - (report.reread_days - 1) * _DAY)
                if start > yesterday:
                    return
                progress.start(start, yesterday)
            yield from self._run(report, progress, snapshots)
            if progress.end >= yesterday:
                return

    def _run(self, report: Report, progress: ReportProgress, snapshots: Snapshots) -> Iterator[Page]:
        patience = _PATIENCE
        while progress.next <= progress.end:
            last = progress.end
            if report.days_per_request is not None:
                last = min(last, progress.next + (report.days_per_request - 1) * _DAY)
            try:
                yield from self._range(report, progress, last, snapshots)
            except Restated:
                patience -= 1
                if not patience:
                    raise TransientError(f"the report {report.name} changes while it is read") from None
        assert progress.begin is not None  # noqa: S101  # a run is under way
        since = f"date >= DATE '{progress.begin}'"
        for rows in snapshots.gone(progress.kept, progress.fresh, since):
            rows = rows.append_column("report", pa.repeat(report.name, rows.num_rows))
            rows = rows.append_column(DELETED, pa.repeat(True, rows.num_rows))
            yield Page(rows, progress.cursor(), origin=f"{report.name}: gone from the days read again")
        progress.finish()
        yield Page([], progress.cursor())

    def _range(self, report: Report, progress: ReportProgress, last: date, snapshots: Snapshots) -> Iterator[Page]:
        """The rows of the days from `progress.next` to `last`, page by page. A day that a page does not complete is
        committed with the page that does.
        """
        first, offset, total = progress.next, 0, None
        open_day: list[pa.Table] = []
        while True:
            answer = self._ask(report, first, last, offset)
            if total is not None and answer.total != total:
                raise Restated
            total, offset = answer.total, offset + answer.rows.num_rows
            if not answer.rows.num_rows and offset < total:
                raise TransientError(f"Google Analytics counts {total} rows of {report.name} and gives {offset}")
            records, rejects = self._records(report, answer)
            whole = offset >= total
            if whole:
                progress.next = last + _DAY
            elif records.num_rows:
                progress.next = records["date"][-1].as_py()
            held = pa.concat_tables([*open_day, records])
            complete = pc.less(held["date"], pa.scalar(progress.next))
            watched = _watched(report, progress, held["date"])
            open_day = [held.filter(pc.invert(complete))]
            progress.fresh += snapshots.keep(held.filter(pc.and_(complete, watched)))
            # Given, and perhaps not there any more when the day is read from its beginning by a later run.
            progress.kept += snapshots.keep(held.filter(pc.and_(pc.invert(complete), watched)))
            yield Page(records, progress.cursor(), rejects, origin=_origin(report, first, last, answer))
            if whole:
                return
            refuse_if_spent(answer.quota, self._config.quota, Verdicts(self._now))

    def _ask(self, report: Report, first: date, last: date, offset: int) -> Answer:
        body: dict[str, JSON] = {
            "dimensions": [{"name": name} for name in report.dimensions],
            "metrics": [{"name": name} for name in report.metrics],
            "dateRanges": [{"startDate": first.isoformat(), "endDate": last.isoformat()}],
            # Pages are cut by position, so that nothing but a total order makes them the parts of one whole.
            "orderBys": [{"dimension": {"dimensionName": name}} for name in report.dimensions],
            "limit": str(min(self._config.page_rows, _fitting(report))),
            "offset": str(offset),
            "keepEmptyRows": False,
            "returnPropertyQuota": True,
        }
        if report.filter is not None:
            body["dimensionFilter"] = report.filter
        answer = self._http.post(
            f"/v1beta/properties/{self._config.property}:runReport",
            json=body,
            params={"prettyPrint": "false"},
            repeatable=True,
            classify=Verdicts(self._now),
        )
        found = parsed(answer.content, len(report.dimensions), len(report.metrics))
        zone = found.metadata.get("timeZone")
        if zone and zone != self._config.time_zone:
            raise ConfigError(f"the property counts its days in {zone}; set `time_zone: {zone}`", key="time_zone")
        return found

    def _records(self, report: Report, answer: Answer) -> tuple[pa.Table, Sequence[Reject]]:
        names = [field_name(each) for each in report.dimensions[1:]]
        identity = ", ".join(f"d{at}" for at in range(len(report.dimensions)))
        dimensions = "".join(f', d{at} AS "{name}"' for at, name in enumerate(names, start=1))
        metrics = "".join(
            f", CAST(nullif(m{at}, '') AS {_SQL[metric_type(name)]}) AS \"{field_name(name)}\""
            for at, name in enumerate(report.metrics)
        )
        quality = ", ".join(f"{value} AS {name}" for name, value in _quality(answer).items())
        query = f"""
            SELECT md5(concat_ws(chr(31), '{report.name}', {identity})) AS row_id, '{report.name}' AS report,
                CAST(try_strptime(d0, '%Y%m%d') AS DATE) AS {DATE}{dimensions}{metrics}, {quality}
            FROM answer
        """  # noqa: S608  # names that the configuration's model lets through, and numbers
        with scratch() as duck:
            records = duck.register("answer", answer.rows).execute(query).to_arrow_table()
        if not records["date"].null_count:
            return records, ()
        undated = records.filter(pc.is_null(records["date"])).drop_columns([DATE]).to_pylist()
        reason = "the row has no day; it cannot be read again or replaced"
        rejects = [Reject("no_day", reason, {name: str(value) for name, value in row.items()}) for row in undated]
        return records.filter(pc.is_valid(records["date"])), rejects


def _fitting(report: Report) -> int:
    """Rows of which an answer fits into what the client takes, with texts of 30 characters on the average."""
    return _BODY // (_ROW + _DIMENSION * len(report.dimensions) + _METRIC * len(report.metrics))


def _watched(report: Report, progress: ReportProgress, days: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which days' rows are kept: those that were read before, to tell what is gone, and those to be read again."""
    young = pc.greater(days, pa.scalar(progress.end - report.reread_days * _DAY))
    return young if progress.through is None else pc.or_(young, pc.less_equal(days, pa.scalar(progress.through)))


def _quality(answer: Answer) -> dict[str, str]:
    """What the answer says of its own exactness, as SQL. `sampled` is the part of the events that was looked at."""
    said = answer.metadata
    samples = said.get("samplingMetadatas") or []
    looked_at = sum(int(each.get("samplesReadCount") or 0) for each in samples)
    there = sum(int(each.get("samplingSpaceSize") or 0) for each in samples)
    return {
        "thresholded": "true" if said.get("subjectToThresholding") else "false",
        "other_row": "true" if said.get("dataLossFromOtherRow") else "false",
        "sampled": f"CAST({looked_at / there} AS DOUBLE)" if there else "CAST(NULL AS DOUBLE)",
    }


def _origin(report: Report, first: date, last: date, answer: Answer) -> str:
    """Where a page comes from, and what is wrong with it; the latter is logged too."""
    quality = _quality(answer)
    flaws = []
    if quality["thresholded"] == "true":
        flaws.append("thresholded: rows about few people may be missing")
    if quality["other_row"] == "true":
        flaws.append("rare values are rolled up into (other)")
    if "NULL" not in quality["sampled"]:
        flaws.append("sampled: give `days_per_request` a lower number")
    if answer.metadata.get("dataTruncationReasons"):
        flaws.append("truncated")
    origin = f"{report.name}: {first} to {last}"
    if not flaws:
        return origin
    _log.warning("%s is not exact: %s", origin, "; ".join(flaws))
    return f"{origin} ({'; '.join(flaws)})"
