"""How a project stands, read from the store without the hub's lock."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect, make_url, text
from sqlmodel import Session, col, func, select

from switchyard.api.errors import ConfigError
from switchyard.app import forecast, health
from switchyard.app.attention import attention
from switchyard.app.control import Answer
from switchyard.app.health import Following, instant
from switchyard.app.project import Project
from switchyard.store import runs, schema
from switchyard.store.clock import now
from switchyard.store.database import Database
from switchyard.store.tables import Audience, Proof, Quarantine, Run, Stream

MEMBERS = "members."
"""Begins the names of an evaluation's counts that say how many are in a segment."""

PROVEN = ("wanted", "held", "missing", "extra", "settling", "rejected")
"""What a proof counts."""


def status(project: Project, following: Following | None = None) -> Answer:
    """What needs attention, the engine, what waits, schedules, failures, streams, segments, audiences, quarantine,
    budgets, and runs that were cut off.

    Args:
        following: to say when what is done by schedule is due.

    Raises:
        ConfigError: the store is of another version than this program.
        TransientError: the store cannot be reached.
    """
    with stored(project) as session:
        last = health.youngest(session)
        answer: Answer = {
            "folder": str(project.folder),
            "started": session is not None,
            "engine": _engine(project, session, last),
            "inbox": health.waiting(project, session, store_file(project)),
            "failures": health.failures(project, last),
            "schedules": list(health.schedules(project, session, following)),
            "connections": _connections(project, session),
            "quarantine": _quarantine(session),
            "segments": _segments(project, session),
            "audiences": _audiences(project, session),
            "budgets": forecast.budgets(project, session, following),
            "interrupted": [_run(run) for run in last.values() if run.state == runs.INTERRUPTED],
        }
    return {"attention": attention(answer)} | answer


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


def _engine(project: Project, session: Session | None, last: dict[tuple[str, str], Run]) -> Answer:
    """Who is the engine here and what it does, and whose lease it is."""
    work = health.at_work(project.folder)
    holder, left = (session and health.leased(session)) or (None, None)
    return {
        "process": work.process if work else None,
        "since": instant(work.since) if work else None,
        "doing": [_run(run) for run in last.values() if run.state == runs.RUNNING] if work else [],
        "holder": holder,
        "is_ours": holder == f"{socket.gethostname()}:{project.folder.resolve()}",
        "lease_seconds": None if left is None else round(left),
    }


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
        "committed_at": instant(committed),
        "age_seconds": round((now() - committed).total_seconds()) if committed else None,
        "last_run": _run(last) if last else None,
    }


def _run(run: Run) -> Answer:
    return {
        "id": run.id,
        "kind": run.kind,
        "name": run.name,
        "state": run.state,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
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
        "evaluated_at": instant(last.finished_at) if last else None,
        "segments": [
            {"segment": each.name, "members": counts.get(f"{MEMBERS}{each.name}")}
            for each in project.loaded.definitions
        ],
    }


def _audiences(project: Project, session: Session | None) -> list[Answer]:
    proven = proofs(session) if session else {}
    return [
        {
            "audience": name,
            "segment": audience.segment,
            "connection": audience.connection,
            "list": audience.list,
            "proof": _proof(proven.get(name)),
        }
        for name, audience in project.loaded.project.audiences.items()
    ]


def proofs(session: Session) -> dict[str, Proof]:
    """Audience → its last proof."""
    last = select(func.max(Proof.id)).group_by(col(Proof.audience_id))
    query = select(Audience.name, Proof).join(Proof, col(Proof.audience_id) == col(Audience.id))
    return dict(session.exec(query.where(col(Proof.id).in_(last))).all())


def _proof(proof: Proof | None) -> Answer | None:
    if proof is None:
        return None
    age = round((now() - proof.read_at).total_seconds())
    return {key: getattr(proof, key) for key in PROVEN} | {"read_at": instant(proof.read_at), "age_seconds": age}
