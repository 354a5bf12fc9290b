"""Syncs: sources read into the store and the log."""

from dataclasses import asdict

from sqlmodel import select

from switchyard.api.connectors import Stream
from switchyard.api.errors import ConfigError, SwitchyardError
from switchyard.api.priorities import Priority, priority
from switchyard.api.receiving import read_up_to
from switchyard.app.control import Answer, Progress
from switchyard.app.failing import coded, failure, said
from switchyard.app.hub import Hub
from switchyard.pipeline.intake import Counts
from switchyard.pipeline.sync import Stretch, sync
from switchyard.store import names, runs, tables


def sync_connection(
    hub: Hub, connection: str, stream: str | None = None, full: bool = False, progress: Progress = lambda *_: None
) -> list[Answer]:
    """Sync one stream of a connection, or all: from where each was left, or with `full` from the beginning.

    A stream that fails does not keep the others from their turn; its answer holds the error.
    """
    if connection not in hub.project.sources:
        hub.project.connection(connection)
        raise ConfigError(f"connection '{connection}' has nothing to read; its connector is no source")
    streams = hub.project.streams(connection)
    if stream is not None:
        chosen = [each for each in streams if each.name == stream]
        if not chosen:
            known = ", ".join(each.name for each in streams) or "none"
            raise ConfigError(f"connection '{connection}' has no stream '{stream}'; known: {known}")
        streams = chosen
    return [_sync(hub, connection, each, full, progress) for each in streams]


def sync_all(hub: Hub, progress: Progress = lambda *_: None) -> list[Answer]:
    """Sync every stream of every connection that is a source."""
    return [answer for name in hub.project.sources for answer in sync_connection(hub, name, progress=progress)]


def drained(hub: Hub, connection: str) -> int:
    """The row of the inbox up to which every stream that is pushed to has committed what it read; 0 for none."""
    wanted = {each.name for each in hub.project.pushed(connection)}
    with hub.database.read() as session:
        rows = session.exec(select(tables.Stream).where(tables.Stream.connection == connection)).all()
        cursors = [row.cursor for row in rows if row.name in wanted]
    return min((read_up_to(cursor) or 0 for cursor in cursors), default=0) if len(cursors) == len(wanted) else 0


def _sync(hub: Hub, connection: str, stream: Stream, full: bool, progress: Progress) -> Answer:
    name = f"{connection}/{stream.name}"
    mapper = hub.mapper(connection, stream)
    with hub.database.write() as session:
        row = names.stream(session, connection, stream.name)
        stream_id, cursor = row.id, None if full else row.cursor
        run_id = runs.started(session, "sync", name)
    hub.project.registry.observe("switchyard_run_started", kind="sync", name=name)
    counts, last = Counts(), None
    error: Exception | None = None
    # Who reads from the beginning has time.
    kind = Priority.SYNC if cursor else Priority.BACKFILL

    def count(done: Counts, origin: str | None) -> None:
        nonlocal counts, last
        counts, last = done, origin
        tell()

    def tell() -> None:
        progress(name, {"read": counts.read, "origin": last})

    try:
        with priority(kind) as calls, hub.source(connection, full) as source:
            sync(hub.intake, Stretch(source, mapper, run_id, stream_id, cursor), count, meanwhile=tell)
    except Exception as failed:
        error = failed
    why = said(hub, error) if error else None
    spent = coded(error) | ({"calls": calls.made} if calls.made else {})
    with hub.database.write() as session:
        runs.finished(session, run_id, spent, runs.FAILED if error else runs.DONE, why)
    counted = _named(counts)
    hub.project.registry.observe("switchyard_run_finished", kind="sync", name=name, counts=counted, error=why)
    answer = {"connection": connection, "stream": stream.name, **counted}
    if error is None:
        return answer
    if not isinstance(error, SwitchyardError):
        raise error
    return answer | failure(hub, error)


def _named(counts: Counts) -> Answer:
    values = asdict(counts)
    return {"duplicates" if name == "duplicate" else name: value for name, value in values.items()}
