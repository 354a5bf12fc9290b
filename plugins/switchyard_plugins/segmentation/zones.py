"""Local dates as UTC instants: when a day begins in a zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir

_FIRST: Final = date(1970, 1, 1)
_LAST: Final = date(2200, 1, 1)


def instant(local: datetime | date, zone: str) -> datetime:
    """UTC without a zone. A date is its midnight; a local time that a clock shows twice is the first of the two."""
    if isinstance(local, datetime):
        aware = local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))
    else:
        aware = datetime(local.year, local.month, local.day, tzinfo=ZoneInfo(zone))
    return aware.astimezone(UTC).replace(tzinfo=None)


def next_day(day: date) -> date:
    """The day after, for the end of `day`."""
    return day + timedelta(days=1)


def midnight(day: ir.DateValue, zone: str) -> ir.TimestampValue:
    """The UTC instant at which `day` begins in the zone.

    Portable: no engine's own zone tables, but a search tree over the days on which the zone's offset changes.
    """
    return day.cast("timestamp(6)") - _offset(day, _runs(zone))


def _offset(day: ir.DateValue, runs: Sequence[tuple[date, int]]) -> ir.IntervalValue:
    if len(runs) == 1:
        return ibis.interval(seconds=runs[0][1])
    half = len(runs) // 2
    return ibis.ifelse(day < runs[half][0], _offset(day, runs[:half]), _offset(day, runs[half:]))


@cache
def _runs(zone: str) -> Sequence[tuple[date, int]]:
    """First day and offset (seconds) of every stretch of days whose midnights have one offset, 1970 to 2200."""
    info = ZoneInfo(zone)
    runs: list[tuple[date, int]] = []
    for number in range((_LAST - _FIRST).days):
        day = _FIRST + timedelta(days=number)
        offset = datetime(day.year, day.month, day.day, tzinfo=info).utcoffset() or timedelta()
        if not runs or runs[-1][1] != offset.total_seconds():
            runs.append((day, int(offset.total_seconds())))
    return runs
