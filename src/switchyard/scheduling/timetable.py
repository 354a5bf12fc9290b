"""The timetable: which job is due, by the clock as it is and by what was done."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from switchyard.app.jobs import Job
from switchyard.config.schedule import Schedule
from switchyard.scheduling.triggers import Trigger, trigger
from switchyard.store.clock import now

Clock = Callable[[], datetime]


@dataclass
class _Entry:
    """A job on the timetable. `last` is the time that was used up last; `due` follows it."""

    job: Job
    trigger: Trigger
    last: datetime
    due: datetime
    under_way: bool = False


class Timetable:
    """Which job is due. A job that is under way is not due, however long it takes; of times that were missed, by a long
    job, a hub that was down or a clock set forward, one is made up for. A clock set back repeats nothing.

    Args:
        clock: the instant, UTC without a zone.
        chance: a number from 0 to 1, for jitter.
    """

    def __init__(
        self,
        clock: Clock = now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._entries: dict[tuple[str, str], _Entry] = {}

    def plan(self, jobs: Mapping[Job, datetime | None]) -> None:
        """Take these jobs in the place of the ones before.

        Args:
            jobs: with the instant at which each was last begun, before which is no time of it; None for never: then
                an interval begins with it, and a time of the day is waited for.
        """
        now = self._clock()
        before, self._entries = self._entries, {}
        for job, begun in jobs.items():
            known = before.get((job.kind, job.name))
            if known and known.job == job:
                self._entries[job.kind, job.name] = known
                continue
            when = trigger(job.schedule, job.zone)
            last = now if begun is None else begun
            entry = _Entry(job, when, last, now)
            if begun is not None or job.schedule.cron is not None:
                self._follow(entry, last)
            self._entries[job.kind, job.name] = entry

    def due(self) -> Job | None:
        """The job that is due longest, None where none is."""
        now = self._clock()
        waiting = [entry for entry in self._entries.values() if not entry.under_way and self._at(entry, now) <= now]
        return min(waiting, key=lambda entry: entry.due).job if waiting else None

    def next(self) -> datetime | None:
        """When the next job that is not under way is due."""
        now = self._clock()
        return min((self._at(entry, now) for entry in self._entries.values() if not entry.under_way), default=None)

    def begun(self, kind: str, name: str) -> None:
        """A job was begun; whether it was due does not matter."""
        if entry := self._entries.get((kind, name)):
            entry.under_way = True
            self._follow(entry, self._clock())

    def ended(self, kind: str, name: str, again_in: float | None = None) -> None:
        """A job has ended; `again_in` seconds it is to be done again, whatever its schedule says."""
        if entry := self._entries.get((kind, name)):
            entry.under_way = False
            if again_in is not None:
                entry.due = self._clock() + timedelta(seconds=again_in)

    def _at(self, entry: _Entry, now: datetime) -> datetime:
        last = entry.trigger.since(entry.last, now)
        if last != entry.last:
            self._follow(entry, last)
        return entry.due

    def _follow(self, entry: _Entry, last: datetime) -> None:
        entry.last = last
        entry.due = entry.trigger.after(last) + self._put_off(entry.job.schedule)

    def _put_off(self, schedule: Schedule) -> timedelta:
        return (schedule.jitter or timedelta()) * self._chance()
