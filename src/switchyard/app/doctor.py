"""What may go wrong in a project, looked for without the hub's lock, each with its mend."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlmodel import Session, func, select

from switchyard.api.errors import SwitchyardError
from switchyard.app.hazards import Finding, of_place, of_store
from switchyard.app.health import at_work
from switchyard.app.project import Project, open_project
from switchyard.app.status import revision, store_file
from switchyard.store import schema
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.clock import now
from switchyard.store.database import Database
from switchyard.store.tables import Page

LITTLE, SCARCE = 5_000_000_000, 500_000_000
"""Bytes of free disk below which to warn, and to call it a failure."""
_SECRET_FILE = re.compile(r"\$\{file:([^{}]+)\}")


def examine(folder: Path) -> dict[str, Any]:
    """Run every check; those that need a sound configuration only where there is one.

    Returns:
        `{"checks": [{"check", "state", "finding", "mend"}], "healthy": bool}`; nothing that fails makes it unhealthy.
    """
    found = list(_findings(folder))
    return {"checks": [asdict(each) for each in found], "healthy": all(each.state != "fail" for each in found)}


def _findings(folder: Path) -> Iterator[Finding]:
    try:
        project = open_project(folder)
        project.check()
    except SwitchyardError as error:
        yield Finding("configuration", "fail", str(error), "mend it; `switchyard check` says all that is wrong")
        return
    yield Finding("configuration", "ok", "read and sound")
    yield from _plugins(project)
    yield _folder(project)
    yield from of_place(project)
    yield _disk(project)
    yield from _secrets(project)
    yield _clock(project)
    work = at_work(project.folder)
    yield Finding("engine", "ok", f"process {work.process} is at work" if work else "no process is at work")
    yield from _stored(project)


def _plugins(project: Project) -> Iterator[Finding]:
    broken = project.registry.plugins.broken
    for each in broken:
        yield Finding("plugins", "warn", f"{each.owner} cannot be loaded: {each.error}", "mend or uninstall it")
    if not broken:
        yield Finding("plugins", "ok", f"{len(project.registry.plugins.owners)} loaded")


def _folder(project: Project) -> Finding:
    """Try what the hub will do there, SQLite's log included: network file systems refuse one or the other."""
    mend = "give the hub a local folder that it may write"
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=project.folder) as trial:
            database = Database("sqlite:///trial.db", Path(trial))
            try:
                with database.read() as session:
                    mode = session.connection().exec_driver_sql("PRAGMA journal_mode").scalar()
                version = database.engine.dialect.loaded_dbapi.sqlite_version
                # A version that may lose commits gets one connection for everything; see `store.database`.
                safe = database.engine.pool.size() > 1  # type: ignore[attr-defined]  # a QueuePool
            finally:
                database.close()
    except (OSError, SwitchyardError) as error:
        return Finding("folder", "fail", f"{project.folder} cannot be written: {error}", mend)
    if mode != "wal":
        return Finding("folder", "fail", f"SQLite cannot keep its log here (journal mode {mode})", mend)
    if not safe:
        finding = f"SQLite {version} can lose commits when a checkpoint races one; the hub works round it, slower"
        return Finding("folder", "warn", finding, "install the wheel pysqlite3, or Python with SQLite 3.51.3")
    return Finding("folder", "ok", f"can be written; SQLite {version} with its log")


def _disk(project: Project) -> Finding:
    free = shutil.disk_usage(project.folder).free
    finding = f"{free / 1e9:,.1f} GB free"
    if free >= LITTLE:
        return Finding("disk", "ok", finding)
    return Finding("disk", "fail" if free < SCARCE else "warn", finding, "free some space; a full disk stops the hub")


def _secrets(project: Project) -> Iterator[Finding]:
    """Files that hold secrets, the store among them: nobody else should be able to read them."""
    settings = (project.folder / "switchyard.yaml").read_text(encoding="utf-8", errors="replace")
    named = [Path(name) for name in dict.fromkeys(_SECRET_FILE.findall(settings))]
    store = store_file(project)
    open_to_others = [
        path
        for path in [*(project.folder / each for each in named), *([store] if store else [])]
        if path.exists() and path.stat().st_mode & 0o077
    ]
    for path in open_to_others:
        yield Finding("secrets", "warn", f"others on this machine may read {path}", f"chmod 600 {path}")
    if not open_to_others:
        yield Finding("secrets", "ok", f"{len(named)} files named, none that others may read")


def _clock(project: Project) -> Finding:
    zone = project.loaded.project.hub.timezone
    return Finding("clock", "ok", f"{now():%Y-%m-%d %H:%M} UTC; days and dates are those of {zone}")


def _stored(project: Project) -> Iterator[Finding]:
    path = store_file(project)
    if path is not None and not path.exists():
        yield Finding("store", "ok", "none yet; the first command that works makes it")
        return
    try:
        database = Database(project.loaded.store_url, project.folder)
    except SwitchyardError as error:
        yield Finding("store", "fail", str(error), "correct `hub.store`")
        return
    try:
        with database.read() as session:
            yield _revision(session)
            if revision(session) != schema.revisions()[-1]:
                return
            yield _backwards(session)
            yield from of_store(project, session)
        yield _log(project, database)
    except SwitchyardError as error:
        yield Finding("store", "fail", project.loaded.secrets.redact(str(error)), "see the finding")
    finally:
        database.close()


def _revision(session: Session) -> Finding:
    known, found = schema.revisions(), revision(session)
    if found is None:
        return Finding("store", "ok", "empty; the first command that works makes its tables")
    if found == known[-1]:
        return Finding("store", "ok", f"at revision {found}")
    if found in known:
        return Finding(
            "store", "warn", f"at revision {found}, behind {known[-1]}", "the next command that works mends it"
        )
    return Finding("store", "fail", f"at revision {found}, written by a newer version", "install that version")


def _backwards(session: Session) -> Finding:
    last = session.exec(select(func.max(Page.committed_at))).one()
    at = now()
    if last is not None and last > at:
        finding = f"the clock stands before the last commit ({last:%Y-%m-%d %H:%M} UTC)"
        return Finding("commits", "fail", finding, "set the clock; what happened after it would count as to come")
    return Finding("commits", "ok", f"the last is of {last:%Y-%m-%d %H:%M} UTC" if last else "none yet")


def _log(project: Project, database: Database) -> Finding:
    """The files that the catalogue names, by their sizes."""
    catalogue = StoreCatalogue(database)
    wrong = _damaged(project.loaded.log, catalogue.files)
    if wrong:
        # An engine at work may have replaced them between the look at the store and the look at the folder.
        wrong &= _damaged(project.loaded.log, catalogue.files)
    if wrong:
        finding = f"{len(wrong)} files are missing or of the wrong size: {', '.join(sorted(wrong)[:5])}"
        return Finding("event log", "fail", finding, "restore them, or store and log together, from a backup")
    named = list(catalogue.files())
    size = sum(each.size for each in named)
    return Finding("event log", "ok", f"{len(named)} files, {size / 1e6:,.1f} MB")


def _damaged(folder: Path, files: Callable[[], Any]) -> set[str]:
    return {each.name for each in files() if _size(folder / each.name) != each.size}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
