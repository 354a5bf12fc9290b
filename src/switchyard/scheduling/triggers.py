"""Schedules as triggers: the only place that knows APScheduler, which has no types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from switchyard.config.schedule import Schedule, values

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_A_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


class Trigger(Protocol):
    """When the next time is. Instants are UTC without a zone."""

    def after(self, last: datetime) -> datetime:
        """The first time after `last`."""

    def since(self, last: datetime, now: datetime) -> datetime:
        """What counts as the last time where the clock says `now`: `last`, unless the clock was set back."""


class Interval(Trigger):
    """Every so often, from one time to the next."""

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def after(self, last: datetime) -> datetime:
        begun = last.replace(tzinfo=UTC)
        trigger = IntervalTrigger(seconds=round(self._every.total_seconds()), start_date=begun, timezone=UTC)
        return _naive(trigger.get_next_fire_time(begun, begun))

    def since(self, last: datetime, now: datetime) -> datetime:
        return min(last, now)


class Cron(Trigger):
    """At times of the day.

    A time that the clocks skip comes an hour later. One that comes twice counts once, unless the expression leaves the
    hour open: that goes by hours that pass.
    """

    def __init__(self, expression: str, zone: str) -> None:
        minute, hour, day, month, weekday = expression.split()
        self._every_hour = hour.startswith("*")
        self._zone = ZoneInfo(zone)
        self._trigger = CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_named(weekday), timezone=self._zone
        )

    def after(self, last: datetime) -> datetime:
        at = last.replace(tzinfo=UTC).astimezone(self._zone)
        while True:
            # Not by local time: adding to it would leave the second of two equal hours.
            at = (at.astimezone(UTC) + _INSTANT).astimezone(self._zone)
            at = self._trigger.get_next_fire_time(None, at)
            # A time that the clocks skip is no time of the day until it was taken there and back.
            local = at.astimezone(UTC).astimezone(self._zone)
            if self._every_hour or not local.fold:
                return _naive(at)

    def since(self, last: datetime, now: datetime) -> datetime:
        # Set back by an hour, what was done stays done; a clock that was wrong by days must not stop everything.
        return last if last - now <= _A_DAY else now


def trigger(schedule: Schedule, zone: str) -> Trigger:
    """A schedule's trigger; `zone` is that of the hub."""
    if schedule.every is not None:
        return Interval(schedule.every)
    if schedule.cron is None:
        raise AssertionError("a schedule has one of both")
    return Cron(schedule.cron, schedule.timezone or zone)


def _named(weekday: str) -> str:
    """Weekdays by name: APScheduler counts from Monday, cron from Sunday."""
    if weekday == "*":
        return weekday
    return ",".join(sorted({_WEEKDAYS[day % 7] for day in values(weekday, "weekday", 0, 7)}))


def _naive(at: Any) -> datetime:
    instant: datetime = at.astimezone(UTC)
    return instant.replace(tzinfo=None)
