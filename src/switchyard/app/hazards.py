"""Hazards of a store and of the work on it, each with its mend: looked for by `doctor`."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session, func, select

from switchyard.api.errors import TransientError
from switchyard.app.attention import SLOW, STUCK
from switchyard.app.health import Work, at_work, failures, leased, waiting, youngest
from switchyard.app.project import Project
from switchyard.app.status import store_file
from switchyard.store.clock import now
from switchyard.store.tables import JournalEvent

State = Literal["ok", "warn", "fail"]
_REMOTE = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "fuse.sshfs",
    "fuse.glusterfs", "fuse.s3fs", "fuse.rclone",
})  # fmt: skip
"""Kinds of file system on which several machines see the same files: locks and shared memory do not hold there."""
_UNFLUSHED = 4
"""Times `hub.flush_rows` that may wait in the journal: it is looked after every few minutes."""
_APART = timedelta(seconds=5)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was found, and how to mend it."""

    check: str
    state: State
    finding: str
    mend: str | None = None


def of_place(project: Project, mounts: str | None = None) -> Iterator[Finding]:
    """Whether the store's file is where SQLite may be.

    Args:
        mounts: what the system says of its mounted file systems, as in `/proc/mounts`.
    """
    if (store := store_file(project)) is None:
        return
    kind = file_system(store.resolve().parent, _mounts() if mounts is None else mounts)
    if kind in _REMOTE:
        finding = f"the SQLite store is on a network file system ({kind}), where it can be damaged"
        yield Finding("file system", "fail", finding, "put it on a local disk, or take a PostgreSQL store (hub.store)")
    elif kind is not None:
        yield Finding("file system", "ok", f"the store is on {kind}")


def file_system(folder: Path, mounts: str) -> str | None:
    """The kind of file system that a folder is on."""
    found: tuple[Path, str | None] = Path("/"), None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2:
            point = Path(fields[1].replace("\\040", " "))
            if folder.is_relative_to(point) and len(point.parts) >= len(found[0].parts):
                found = point, fields[2]
    return found[1]


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def of_store(project: Project, session: Session) -> Iterator[Finding]:
    """Whether the work on a store goes on as it should."""
    work = at_work(project.folder)
    yield _lease(project, session, work)
    yield _clock(session)
    yield from _inbox(project, session, work)
    yield _journal(project, session)
    yield from _failures(project, session)


def _lease(project: Project, session: Session, work: Work | None) -> Finding:
    found = leased(session)
    if found is None:
        return Finding("lease", "ok", "none was taken yet")
    holder, left = found
    host, folder = socket.gethostname(), str(project.folder.resolve())
    their_host, _, their_folder = holder.partition(":")
    if their_host != host and store_file(project) is not None and left > 0:
        finding = f"another machine ({their_host}) is at work on this SQLite store"
        return Finding("lease", "fail", finding, "stop one of them; several machines need a PostgreSQL store")
    if (their_host, their_folder) != (host, folder):
        state = f"is at work on this store ({holder})" if left > 0 else f"was the last at work here ({holder})"
        return Finding("lease", "warn" if left > 0 else "ok", f"another hub {state}", "one hub at a time works on it")
    if work is not None and left < 0:
        finding = f"process {work.process} has not renewed its lease for {-left:,.0f} s"
        return Finding(
            "lease", "fail", finding, "it stands still or does not reach the store: look into its log, restart"
        )
    return Finding("lease", "ok", f"held by process {work.process}" if work else "nobody holds it now")


def _clock(session: Session) -> Finding:
    """This clock beside that of a store on another machine."""
    if session.connection().dialect.name == "sqlite":
        return Finding("clocks", "ok", "there is one")
    theirs = session.connection().execute(text("SELECT clock_timestamp() AT TIME ZONE 'UTC'")).scalar_one()
    apart = abs(now() - theirs)
    if apart > _APART:
        finding = f"this clock and the store's differ by {apart.total_seconds():,.0f} s"
        return Finding("clocks", "warn", finding, "set them, and keep both by NTP")
    return Finding("clocks", "ok", "this clock and the store's agree")


def _inbox(project: Project, session: Session, work: Work | None) -> Iterator[Finding]:
    waits = waiting(project, session, store_file(project))
    for each in waits:
        finding = f"{each['rows']:,} deliveries to {each['connection']} wait since {each['oldest_at']}"
        if work is None:
            yield Finding("inbox", "warn", f"{finding}; nobody reads them", "switchyard serve")
        elif each["oldest_seconds"] > SLOW:
            state: State = "fail" if each["oldest_seconds"] > STUCK else "warn"
            yield Finding("inbox", state, finding, "switchyard status says what failed or is under way")
    if not waits:
        yield Finding("inbox", "ok", "nothing waits")


def _failures(project: Project, session: Session) -> Iterator[Finding]:
    """What failed when it was done last, and needs a person: an endpoint that is disabled, say."""
    for each in failures(project, youngest(session)):
        if each["exit_code"] != TransientError.exit_code:
            yield Finding("runs", "warn", f"{each['kind']} {each['name']} failed: {each['error']}", each["mend"])


def _journal(project: Project, session: Session) -> Finding:
    most = _UNFLUSHED * project.loaded.project.hub.flush_rows
    # Counted as far as it matters, and no further.
    some = select(JournalEvent.id).limit(most + 1).subquery()
    young = session.exec(select(func.count()).select_from(some)).one()
    if young <= most:
        return Finding("journal", "ok", f"{young:,} young events")
    mend = "any sync makes files of them; where serve runs, its log says why it does not (tidying_failed)"
    return Finding("journal", "warn", f"more than {most:,} young events are in no file yet; questions are slow", mend)
