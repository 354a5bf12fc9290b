"""Forecasts: what the accounts were called today, what today's plan still needs, and whether the day's calls last."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from sqlmodel import Session, col, select

from switchyard.api.budget import Budget
from switchyard.api.connectors import Limits
from switchyard.api.errors import ConfigError
from switchyard.app.control import Answer
from switchyard.app.health import Following, instant
from switchyard.app.jobs import PROVE, Job, jobs, last_done
from switchyard.app.project import Project
from switchyard.app.shares import Shares
from switchyard.store import runs, tables
from switchyard.store.clock import now
from switchyard.store.tables import Run

Used: TypeAlias = Mapping[str, tuple[list[str], Limits]]

_DAYS = timedelta(days=3)
_RUNS = 20
"""So many of the last runs, of so many days at most, tell what one takes."""
_TIMES = 2_000
"""A plan of more runs a day is not counted out."""
_SETTLED = 3_600.0
"""Seconds of a day after which its pace says something."""


def budgets(project: Project, session: Session | None, following: Following | None) -> list[Answer]:
    """One answer per account that was called, which is named by its connections.

    `calls` were made today, by what for in `kinds`; `daily` are allowed, by the limits or by the vendor's word, and
    `left` are left (both None for no quota). `needs` is what syncs and proofs take until the day ends at `resets_at`,
    each run as much as its last ones took on average; `unknown` names those that have not run yet. `runs_out_at` is
    when no call is left if the day goes on at its pace so far, or at that of the plan where it is the faster; None
    where they last.
    """
    used_by = _accounts(project)
    found = []
    for row in session.exec(select(tables.AccountBudget)).all() if session else []:
        connections, limits = used_by.get(row.account, ([], Limits()))
        clock = Budget(limits)
        at, until = now(), clock.until()
        shares = Shares(row.state, limits, clock.today(), at.replace(tzinfo=UTC).timestamp())
        calls = shares.all_used().total() + shares.held(None).total()
        needs, unknown = _needs(project, session, connections, following, until)
        allowed = [limit for limit in (limits.daily, shares.daily) if limit is not None]
        daily = min(allowed, default=None)
        spent = calls + shares.foreign
        found.append(
            {
                "account": row.account,
                "connections": connections,
                "day": shares.day,
                "calls": calls,
                "kinds": dict(shares.all_kinds()),
                "elsewhere": shares.foreign,
                "daily": daily,
                "left": None if daily is None else max(daily - spent, 0),
                "needs": needs,
                "unknown": unknown,
                "runs_out_at": instant(_end(spent, daily, needs, at, until)),
                "resets_at": instant(until),
            }
        )
    return found


def _end(spent: int, daily: int | None, needs: int | None, at: datetime, until: datetime) -> datetime | None:
    """When no call is left, None where that is not today."""
    if daily is None:
        return None
    if spent >= daily:
        return at
    remaining = max((until - at).total_seconds(), 1.0)
    elapsed = max(timedelta(days=1).total_seconds() - remaining, _SETTLED)
    pace = max(spent / elapsed, (needs or 0) / remaining)
    seconds = (daily - spent) / pace if pace else remaining
    return at + timedelta(seconds=seconds) if seconds < remaining else None


def _needs(
    project: Project, session: Session | None, connections: Sequence[str], following: Following | None, until: datetime
) -> tuple[int | None, list[str]]:
    """Calls that the plan takes until then, and what of it has never run. None without a clock that knows schedules."""
    if session is None or following is None:
        return None, []
    audiences = project.loaded.project.audiences
    needs, unknown = 0.0, []
    for job in jobs(project):
        on = audiences[job.name].connection if job.kind == PROVE else job.name.partition("/")[0]
        if on not in connections:
            continue
        times = sum(1 for _ in _times(job, last_done(session, job), following, until))
        average = _average(session, "verify" if job.kind == PROVE else job.kind, job.name)
        if times and average is None:
            unknown.append(job.name)
        needs += times * (average or 0)
    return round(needs), unknown


def _times(job: Job, last: datetime | None, following: Following, until: datetime) -> Iterator[datetime]:
    at, begun = now(), last
    for _ in range(_TIMES):
        due = following(job.schedule, job.zone, begun) if begun else at
        if due >= until:
            return
        # What is overdue is done once, and goes on from there.
        begun = max(due, at)
        yield begun


def _average(session: Session, kind: str, name: str) -> float | None:
    """Calls that a run took."""
    done = select(Run.detail).where(Run.kind == kind, Run.name == name, Run.state == runs.DONE)
    recent = done.where(Run.started_at > now() - _DAYS).order_by(col(Run.id).desc()).limit(_RUNS)
    took = [(detail or {}).get("calls", 0) for detail in session.exec(recent)]
    return sum(took) / len(took) if took else None


def _accounts(project: Project) -> Used:
    found: dict[str, tuple[list[str], Limits]] = {}
    for name, connection in project.connections.items():
        with suppress(ConfigError, IndexError):
            family = project.registry.families(connection.connector)[0]
            spec = project.registry.connectors[connection.connector, family].spec
            config = project.config(name)
            limits = spec.limits(config) if spec.limits else Limits()
            account = spec.account(config) if spec.account else name
            found.setdefault(account, ([], limits))[0].append(name)
    return found
