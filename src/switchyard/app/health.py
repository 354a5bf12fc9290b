"""How the work goes, as the store and the lock's file tell: the engine, what waits for it, schedules, failures."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sqlmodel import Session, col, func, select

from switchyard.api.receiving import read_up_to
from switchyard.app.control import FOLDER, Answer
from switchyard.app.jobs import Job, jobs, last_done
from switchyard.app.project import Project
from switchyard.config.schedule import Schedule
from switchyard.store import runs, tables
from switchyard.store.clock import now, stored_now
from switchyard.store.database import Database
from switchyard.store.leases import ENGINE
from switchyard.store.tables import Run

if TYPE_CHECKING:
    from switchyard.store.inbox import Depth

Following: TypeAlias = Callable[[Schedule, str, datetime], datetime]
"""(schedule, zone, instant) → the first time of the schedule behind the instant."""


@dataclass(frozen=True)
class Work:
    """The process that is the engine, and since when (UTC)."""

    process: int
    since: datetime


def at_work(folder: Path) -> Work | None:
    """Who is the engine now, on this machine."""
    # Taking the lock to see whether it is free would turn away whoever wants it at that moment.
    with suppress(OSError, ValueError):
        lock = folder / FOLDER / "hub.lock"
        process = int(lock.read_text(encoding="ascii"))
        os.kill(process, 0)
        # It is written once, by whoever takes it.
        return Work(process, datetime.fromtimestamp(lock.stat().st_mtime, UTC).replace(tzinfo=None))
    return None


def leased(session: Session) -> tuple[str, float] | None:
    """Who has the lease of the engine, and the seconds until it runs out, by the store's clock; below 0 it has."""
    row = session.get(tables.Lease, ENGINE)
    if row is None:
        return None
    return row.holder, (row.expires_at - stored_now(session)).total_seconds()


def youngest(session: Session | None) -> dict[tuple[str, str], Run]:
    """(kind, name) → the last run of it."""
    if session is None:
        return {}
    last = select(func.max(Run.id)).group_by(Run.kind, Run.name)
    found = session.exec(select(Run).where(col(Run.id).in_(last)).order_by(col(Run.id).desc()))
    return {(run.kind, run.name): run for run in found}


def configured(project: Project, run: Run) -> bool:
    """Whether a run is of something that the configuration still has."""
    if run.kind == "sync":
        connection, _, stream = run.name.partition("/")
        known = project.streams(connection) if connection in project.sources else ()
        return stream in {each.name for each in known}
    return run.kind == "evaluate" or run.name in project.loaded.project.audiences


def failures(project: Project, last: Mapping[tuple[str, str], Run]) -> list[Answer]:
    """What failed when it was done last, the youngest first."""
    return [
        {
            "kind": run.kind,
            "name": run.name,
            "failed_at": instant(run.finished_at),
            "error": run.error,
            "exit_code": (run.detail or {}).get("exit_code", 1),
            "mend": _mend(run),
        }
        for run in last.values()
        if run.state == runs.FAILED and configured(project, run)
    ]


def _mend(run: Run) -> str:
    connection, _, stream = run.name.partition("/")
    again = {
        "sync": f"switchyard sync {connection} --stream {stream}",
        "deliver": f"switchyard deliver {run.name}",
        "verify": f"switchyard audiences verify {run.name}",
        "evaluate": "switchyard evaluate",
    }.get(run.kind, "switchyard run")
    return {
        2: f"correct the configuration (switchyard check), then: {again}",
        3: f"renew the credentials, then: {again}",
        4: f"nothing is lost, and it is tried again; at once with: {again}",
    }.get((run.detail or {}).get("exit_code", 1), f"look into it, then: {again}")


def schedules(project: Project, session: Session | None, following: Following | None) -> Iterator[Answer]:
    """What is done by the clock: when it was begun last, and when it is to be begun next."""
    at = now()
    for job in jobs(project):
        last = last_done(session, job) if session else None
        due = _due(job, last, at, following)
        late = (at - due).total_seconds() if due and due < at else 0
        yield {
            "kind": job.kind,
            "name": job.name,
            "last_at": instant(last),
            "next_at": instant(due),
            "overdue_seconds": round(late),
        }


def _due(job: Job, last: datetime | None, at: datetime, following: Following | None) -> datetime | None:
    if following is None:
        return None
    if last is None and job.schedule.cron is None:
        return at
    return following(job.schedule, job.zone, last or at)


def waiting(project: Project, session: Session | None, store: Path | None) -> list[Answer]:
    """What was pushed and is not read yet.

    Args:
        store: the file of an SQLite store.
    """
    if session is None or all(spec.receiver is None for spec in project.sources.values()):
        return []
    # Imported late, for it loads Arrow: most of what looking at a project without pushes would take.
    from switchyard.store.inbox import FILE

    if store is not None and not store.with_name(FILE).exists():
        return []
    at = now()
    return [
        {
            "connection": name,
            "rows": depth.rows,
            "oldest_at": instant(depth.oldest),
            "oldest_seconds": round((at - depth.oldest).total_seconds()) if depth.oldest else None,
        }
        for name, depth in _depths(project, session).items()
        if depth.rows
    ]


def _depths(project: Project, session: Session) -> "dict[str, Depth]":
    from switchyard.store.inbox import Inbox

    read: dict[str, int] = {}
    for row in session.exec(select(tables.Stream)):
        if (upto := read_up_to(row.cursor)) is not None:
            # What all streams of a connection have read.
            read[row.connection] = min(upto, read.get(row.connection, upto))
    database = Database(project.loaded.store_url, project.folder)
    try:
        inbox = Inbox(database)
        try:
            return inbox.depths(read)
        finally:
            inbox.close()
    finally:
        database.close()


def instant(value: datetime | None) -> str | None:
    """An instant of the hub, as text."""
    return f"{value.isoformat()}Z" if value else None


LATE = timedelta(minutes=5)
"""What is overdue for so long is not about to be done."""
