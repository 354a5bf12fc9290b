"""Reading a span of time by bulk extract: window by window, each a job, each page with the place to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from switchyard.api import Cursor, Page, TransientError
from switchyard.api.records import JSON
from switchyard_connectors.marketo.exported import parts
from switchyard_connectors.marketo.exports import Exports, Extract, JobLost

_SECOND = timedelta(seconds=1)
SPAN = timedelta(days=31) - _SECOND
"""The longest window: a job takes 31 days (help/bulk-extract), of which a second is that of the window before."""
AHEAD = 6
"""Jobs of one stream at once. Marketo works at two, and ten may wait, of all who use the instance."""
_KEPT = timedelta(days=6)
"""How long a job is gone on with: its file is kept for seven days."""
_LOOK_BACK = timedelta(minutes=5)
_MOMENT = timedelta(hours=1)
_SETTLED = timedelta(seconds=60)
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Place: TypeAlias = "dict[str, JSON]"
"""Where a span stands: {"at": instant up to which everything is read}, and while there are jobs, "jobs": one for each
window from there on, the first being read: {"id", "to": end of its window, "made": when it was created, "rows": how
many of its rows are read}.
"""
_Job: TypeAlias = "dict[str, Any]"


def text_of(instant: datetime) -> str:
    """An instant (UTC) as Marketo takes it: whole seconds."""
    return instant.strftime(_FORMAT)


def instant_of(text: str) -> datetime:
    """The instant (UTC without a zone) that `text_of` wrote."""
    return datetime.strptime(text, _FORMAT)


def now() -> datetime:
    """The instant, UTC without a zone, in whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def midnight_of(day: date) -> str:
    """The beginning of a day."""
    return text_of(datetime.combine(day, time.min))


def end_of(place: Mapping[str, JSON]) -> datetime:
    """Where a span is to end: now, or where its last job ends, if that is a moment ago, as after a restart: what came
    since is for the next run, which is sooner done than a job more.
    """
    given = place.get("jobs")
    last = given[-1] if isinstance(given, list) and given else None
    to = instant_of(str(last["to"])) if isinstance(last, dict) else now()
    return to if to > now() - _MOMENT else now()


def looking_back(place: Mapping[str, JSON], since: str) -> Place:
    """A place from which what showed late is read as well: the spans of two runs overlap a little."""
    if place.get("jobs"):
        return dict(place)
    return {"at": max(since, text_of(instant_of(str(place["at"])) - _LOOK_BACK))}


def read(
    exports: Exports, extract: Extract, place: Mapping[str, JSON], end: datetime, cursor: Callable[[Place], Cursor]
) -> Iterator[Page]:
    """Everything of the span from `place` until `end`; one job alone where the extract has no window.

    A page without records comes once jobs exist, so that a killed run goes on with them.

    Args:
        cursor: the cursor for a place.
    """
    at, jobs = str(place["at"]), _usable(exports, place)
    fresh: set[str] = set()
    while jobs or instant_of(at) < end:
        if new := _missing(exports, extract, at, jobs, end):
            jobs = [*jobs, *new]
            fresh |= {job["id"] for job in new}
            yield _told(jobs, cursor({"at": at, "jobs": [*jobs]}))
            exports.queue(extract, [job["id"] for job in new])
        first = jobs[0]
        try:
            # A status that was asked for, or made, less than a minute ago is the old one.
            file = exports.fetch(extract, first["id"], is_young=now() - instant_of(first["made"]) < _SETTLED)
        except JobLost:
            exports.drop(first["id"])
            if first["id"] in fresh:
                raise TransientError("a bulk extract job of Marketo failed; the next run makes another") from None
            jobs = [_made(exports, extract, at, first["to"]), *jobs[1:]]
            fresh.add(jobs[0]["id"])
            yield _told(jobs, cursor({"at": at, "jobs": [*jobs]}))
            exports.queue(extract, [jobs[0]["id"]])
            continue
        yield from _rows(file, jobs, at, f"/bulk/v1/{extract.path}/export", cursor)
        exports.drop(first["id"])
        at, jobs = first["to"], jobs[1:]
        if extract.window is None:
            return


def _usable(exports: Exports, place: Mapping[str, JSON]) -> list[_Job]:
    """The jobs of a place, none where Marketo may have thrown their files away."""
    given = place.get("jobs")
    jobs: list[_Job] = [dict(job) for job in given if isinstance(job, dict)] if isinstance(given, list) else []
    if all(instant_of(job["made"]) >= now() - _KEPT for job in jobs):
        return jobs
    for job in jobs:
        exports.drop(job["id"])
    return []


def _missing(exports: Exports, extract: Extract, at: str, jobs: Sequence[_Job], end: datetime) -> list[_Job]:
    """Jobs for the windows behind those that have one, as many as may be."""
    new: list[_Job] = []
    start = instant_of(jobs[-1]["to"] if jobs else at)
    while start < end and len(jobs) + len(new) < (AHEAD if extract.window else 1):
        to = min(start + SPAN, end) if extract.window else end
        try:
            new.append(_made(exports, extract, text_of(start), text_of(to)))
        except TransientError:
            # What there is can be read meanwhile.
            if jobs or new:
                break
            raise
        start = to
    return new


def _made(exports: Exports, extract: Extract, at: str, to: str) -> _Job:
    # Nobody says whether an end is part of its window: each begins with the last second of the one before.
    start, end = (text_of(instant_of(each) - _SECOND) for each in (at, to))
    return {"id": exports.create(extract, start, end), "to": to, "made": text_of(now()), "rows": 0}


def _told(jobs: Sequence[_Job], cursor: Cursor) -> Page:
    """A page for whoever waits: its origin is what is shown until the next one."""
    what = "a bulk extract" if len(jobs) == 1 else f"{len(jobs)} bulk extracts"
    return Page([], cursor, origin=f"waiting for {what}, looked at once a minute")


def _rows(
    file: Path | None, jobs: Sequence[_Job], at: str, origin: str, cursor: Callable[[Place], Cursor]
) -> Iterator[Page]:
    """The rows of the first job; the last page says that its window is done."""
    held: Page | None = None
    first, *rest = jobs
    rows = first["rows"]
    for table, rejects in parts(file, rows) if file else ():
        if held is not None:
            yield held
        rows += table.num_rows
        place: Place = {"at": at, "jobs": [{**first, "rows": rows}, *rest]}
        held = Page(table, cursor(place), rejected=rejects, origin=origin)
    done = cursor({"at": first["to"], "jobs": [*rest]} if rest else {"at": first["to"]})
    yield Page(held.records, done, rejected=held.rejected, origin=origin) if held else Page(_NOTHING, done)


_NOTHING: pa.Table = pa.table({"_line": pa.array([], pa.int64())})
