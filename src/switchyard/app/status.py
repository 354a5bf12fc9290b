"""How a project stands, read from the store without the hub's lock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, make_url, text
from sqlmodel import Session, col, func, select

from switchyard.api.errors import ConfigError
from switchyard.app.project import Project
from switchyard.store import runs, schema
from switchyard.store.database import Database
from switchyard.store.tables import AccountBudget, Audience, Proof, Quarantine, Run, Stream

Answer = dict[str, Any]
MEMBERS = "members."
"""Begins the names of an evaluation's counts that say how many are in a segment."""


def status(project: Project) -> Answer:
    """Streams, segments, audiences, quarantine, budgets, and runs that were cut off.

    Raises:
        ConfigError: the store is of another version than this program.
        TransientError: the store cannot be reached.
    """
    answer: Answer = {"folder": str(project.folder), "engine": engine(project.folder)}
    with stored(project) as session:
        return answer | {
            "started": session is not None,
            "connections": _connections(project, session),
            "quarantine": _quarantine(session),
            "segments": _segments(project, session),
            "audiences": _audiences(project, session),
            "budgets": _budgets(session),
            "interrupted": _interrupted(session),
        }


@contextmanager
def stored(project: Project) -> Iterator[Session | None]:
    """The store for reading, and None where there is none yet: looking does not make one.

    Raises:
        ConfigError: it is of another version than this program.
    """
    if (path := store_file(project)) is not None and not path.exists():
        yield None
        return
    database = Database(project.loaded.store_url, project.folder)
    try:
        with database.read() as session:
            found = revision(session)
            if found is not None and found != schema.revisions()[-1]:
                raise ConfigError(
                    f"the store is at revision {found}, this program at {schema.revisions()[-1]}; any command that "
                    "works on it brings an older one up, and a newer one needs the newer program"
                )
            yield session if found is not None else None
    finally:
        database.close()


def store_file(project: Project) -> Path | None:
    """The file of an SQLite store."""
    url = make_url(project.loaded.store_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def revision(session: Session) -> str | None:
    """Which tables the store has, None for none."""
    connection = session.connection()
    if not inspect(connection).has_table(schema.VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {schema.VERSION_TABLE}")).scalar()  # noqa: S608
    return None if found is None else str(found)


def engine(folder: Path) -> int | None:
    """The process that is the engine now."""
    # Taking the lock to see whether it is free would turn away whoever wants it at that moment.
    with suppress(OSError, ValueError):
        process = int((folder / ".switchyard" / "hub.lock").read_text(encoding="ascii"))
        os.kill(process, 0)
        return process
    return None


def _connections(project: Project, session: Session | None) -> list[Answer]:
    known = {(row.connection, row.name): row for row in session.exec(select(Stream))} if session else {}
    return [
        {
            "connection": name,
            "connector": connection.connector,
            "streams": [
                _stream(session, f"{name}/{stream.name}", known.get((name, stream.name)))
                for stream in (project.streams(name) if name in project.sources else ())
            ],
        }
        for name, connection in project.connections.items()
    ]


def _stream(session: Session | None, name: str, row: Stream | None) -> Answer:
    committed = row.updated_at if row else None
    query = select(Run).where(Run.kind == "sync", Run.name == name).order_by(col(Run.id).desc())
    last = session.exec(query).first() if session else None
    return {
        "stream": name.partition("/")[2],
        "committed_at": _instant(committed),
        "age_seconds": round((_now() - committed).total_seconds()) if committed else None,
        "last_run": _run(last) if last else None,
    }


def _run(run: Run) -> Answer:
    return {
        "id": run.id,
        "kind": run.kind,
        "name": run.name,
        "state": run.state,
        "started_at": _instant(run.started_at),
        "finished_at": _instant(run.finished_at),
        "read": run.read,
        "mapped": run.mapped,
        "quarantined": run.quarantined,
        "duplicates": run.duplicate,
        "error": run.error,
    }


def _quarantine(session: Session | None) -> list[Answer]:
    # `store.quarantine` counts too, and loads Arrow for it: most of what this command would take.
    query = (
        select(Stream.connection, Stream.name, Quarantine.code, func.count())
        .join(Stream, col(Stream.id) == col(Quarantine.stream_id))
        .where(Quarantine.state == "waiting")
        .group_by(Stream.connection, Stream.name, Quarantine.code)
        .order_by(Stream.connection, Stream.name, Quarantine.code)
    )
    rows = session.exec(query).all() if session else []
    return [{"connection": c, "stream": s, "code": code, "waiting": waiting} for c, s, code, waiting in rows]


def _segments(project: Project, session: Session | None) -> Answer:
    """The sizes that the last evaluation found; they are kept with its run."""
    done = select(Run).where(Run.kind == "evaluate", Run.state == runs.DONE).order_by(col(Run.id).desc())
    last = session.exec(done).first() if session else None
    counts = (last.detail if last else None) or {}
    return {
        "evaluated_at": _instant(last.finished_at) if last else None,
        "segments": [
            {"segment": each.name, "members": counts.get(f"{MEMBERS}{each.name}")}
            for each in project.loaded.definitions
        ],
    }


def _audiences(project: Project, session: Session | None) -> list[Answer]:
    return [
        {
            "audience": name,
            "segment": audience.segment,
            "connection": audience.connection,
            "list": audience.list,
            "proof": _proof(session, name) if session else None,
        }
        for name, audience in project.loaded.project.audiences.items()
    ]


def _proof(session: Session, audience: str) -> Answer | None:
    query = (
        select(Proof)
        .join(Audience, col(Audience.id) == col(Proof.audience_id))
        .where(Audience.name == audience)
        .order_by(col(Proof.id).desc())
    )
    proof = session.exec(query).first()
    if proof is None:
        return None
    counted = {key: getattr(proof, key) for key in ("wanted", "held", "missing", "extra", "settling", "rejected")}
    return counted | {"read_at": _instant(proof.read_at)}


def _budgets(session: Session | None) -> list[Answer]:
    rows = session.exec(select(AccountBudget)).all() if session else []
    return [
        {"account": row.account, "day": row.state.get("day"), "calls": sum(row.state.get("used", {}).values())}
        for row in rows
    ]


def _interrupted(session: Session | None) -> list[Answer]:
    """The youngest runs that were cut off and had no successor of their name yet."""
    if session is None:
        return []
    query = select(Run).order_by(col(Run.id).desc()).limit(200)
    youngest: dict[tuple[str, str], Run] = {}
    for run in session.exec(query):
        youngest.setdefault((run.kind, run.name), run)
    return [_run(run) for run in youngest.values() if run.state == runs.INTERRUPTED]


def _instant(value: datetime | None) -> str | None:
    return f"{value.isoformat()}Z" if value else None


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
