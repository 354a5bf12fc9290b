"""The store's database: SQLite (one writer, WAL, every commit synced) or PostgreSQL."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, PendingRollbackError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlmodel import Session

from switchyard.api.errors import ConfigError, PermanentError, SwitchyardError, TransientError

T = TypeVar("T")

ATTEMPTS = 6
_SAFE_SQLITE = (3, 51, 3)
"""First version without the WAL-reset bug, which loses commits when a checkpoint races a commit of another
connection (sqlite.org/wal.html#walresetbug). Two older lines carry the mend too.
"""
_MENDED = {(3, 50): 7, (3, 44): 6}
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=10000",
    "foreign_keys=ON",
    "secure_delete=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "cache_size=-65536",
    "temp_store=MEMORY",
    # The log of a bulk load would otherwise keep its greatest size for ever.
    "journal_size_limit=67108864",
)
_POSTGRES_SETTINGS = """
    SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                      WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
           set_config('statement_timeout', '5min', false),
           set_config('lock_timeout', '10s', false),
           set_config('idle_in_transaction_session_timeout', '10min', false),
           set_config('timezone', 'UTC', false)
"""

_TAKEN_BACK = frozenset(["08", "40", "53", "57", "55P03", "25P03"])
"""SQLSTATEs and their classes after which the same transaction may go through: connection lost, deadlock and
serialisation failure, too many connections, server stopped, lock timeout, idle too long.
"""


class Database:
    """Opens transactions. One process writes to a store at a time (`hub.lock`); readers may be many.

    What goes wrong comes out as an error of the hub's own, whose text names the kind of fault and never a value of a
    row: texts of drivers do (PostgreSQL quotes the key that is there twice).

    Args:
        url: `sqlite:///path` (relative to `project`) or `postgresql://…`.
        project: the folder relative paths start at.

    Raises:
        ConfigError: the url names no database the hub can use.
    """

    guard: Callable[[Session], None] | None = None
    """Asked in every writing transaction before it commits; what it raises takes the transaction back."""

    def __init__(self, url: str, project: Path = Path()) -> None:
        self.engine = _engine(url, project)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One writing transaction: commits at the end of the block, rolls back where it raises.

        Raises:
            TransientError: the database cannot be reached, stayed locked, or took the transaction back. Nothing was
                written, unless the connection was lost in the very commit: then nobody knows.
            PermanentError: the database refused a row, or is damaged; nothing was written.
        """
        with self._session({}) as session:
            yield session
            if self.guard is not None:
                self.guard(session)
            session.commit()

    def transact(self, work: Callable[[Session], T]) -> T:
        """Do `work` in a writing transaction, and again from its start where the database took it back (deadlock,
        serialisation failure), stayed locked, or lost the connection.

        `work` must leave one effect however often it is done, also where an earlier commit went through and only its
        answer was lost.

        Raises:
            TransientError, PermanentError: as `write`, after the last attempt.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        def once() -> T:
            with self.write() as session:
                return work(session)

        return Retrying(
            retry=retry_if_exception_type(_Interrupted),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            reraise=True,
        )(once)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One reading transaction: everything in it sees the same instant of the store, and nothing can be written.

        Raises:
            TransientError, PermanentError: as `write`.
        """
        postgres = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._session({"switchyard_reads": True} if self.is_sqlite else postgres) as session:
            yield session

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Translate the errors of the driver and of SQLAlchemy that the block raises, as `write` and `read` do."""
        # Bulk statements go to the driver itself, so its errors come without SQLAlchemy's wrapping.
        faults = (StatementError, PendingRollbackError, PoolTimeout, self.engine.dialect.loaded_dbapi.Error)
        try:
            yield
        except faults as error:
            # The cause's text may hold values: it must not come along into a traceback.
            raise _translated(error) from None
        except UnicodeEncodeError:
            raise PermanentError("the store was given a text with half a character (a lone surrogate)") from None

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _session(self, options: dict[str, Any]) -> Iterator[Session]:
        with (
            self.guarded(),
            self.engine.connect().execution_options(**options) as connection,
            Session(connection) as session,
        ):
            yield session


class _Interrupted(TransientError):
    """The same transaction may go through when it is done again from its start."""


def _translated(error: Exception) -> SwitchyardError:
    if isinstance(error, PoolTimeout):
        return TransientError("every connection to the store is in use; is a transaction opened within another?")
    original = error.orig if isinstance(error, DBAPIError) else error
    kind = type(original).__name__
    if isinstance(name := getattr(original, "sqlite_errorname", None), str):
        return _sqlite_fault(name, str(original))
    if hasattr(original, "sqlstate"):
        return _postgres_fault(original)
    return PermanentError(f"the store refused a statement ({kind})")


def _sqlite_fault(name: str, text: str) -> SwitchyardError:
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _Interrupted("the store is locked by another program; close it, or try again")
    if name == "SQLITE_FULL":
        return TransientError("the disk of the store is full; free some space")
    if name.startswith("SQLITE_IOERR"):
        return PermanentError(f"the disk of the store fails ({name}); stop the hub and check the disk")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return PermanentError(f"the store's file is damaged or not a database ({name}); restore it from a backup")
    if name.startswith("SQLITE_CANTOPEN"):
        return PermanentError("the store's file cannot be opened; check its folder and the rights on it")
    # SQLite's texts name tables and columns, never values, when a constraint fails.
    detail = text if name.startswith("SQLITE_CONSTRAINT") else name
    return PermanentError(f"the store refused a statement ({detail})")


def _postgres_fault(error: Any) -> SwitchyardError:
    state, kind = error.sqlstate, type(error).__name__
    if state is None and kind == "OperationalError":
        # The connection itself: libpq names hosts, databases and roles, there is no row yet.
        reason = " ".join(str(error).split())
        return _Interrupted(f"the store cannot be reached: {reason}")
    if state == "53100":
        return TransientError("the disk of the store is full; free some space")
    if state == "57014":
        return TransientError("a statement of the store took longer than five minutes")
    if state in _TAKEN_BACK or str(state)[:2] in _TAKEN_BACK:
        return _Interrupted(f"the store took the transaction back ({kind}); try again")
    where = ".".join(part for part in (error.diag.table_name, error.diag.constraint_name) if part)
    return PermanentError(f"the store refused a statement ({kind}{': ' + where if where else ''})")


def _engine(url: str, project: Path) -> Engine:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError("the store's url cannot be read; use sqlite:///… or postgresql://…") from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.query:
            raise ConfigError("the url of an SQLite store takes no options; leave out what follows the '?'")
        named = parsed.database and parsed.database != ":memory:"
        return _sqlite(project / str(parsed.database) if named else None)
    if parsed.get_backend_name() == "postgresql":
        return _postgres(parsed.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"no store speaks '{parsed.get_backend_name()}'; use sqlite:///… or postgresql://…")


def _postgres(url: Any) -> Engine:
    given = {"application_name": "switchyard", "connect_timeout": 10, "client_encoding": "utf8"}
    try:
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=given)
    except ModuleNotFoundError:
        raise ConfigError("a PostgreSQL store needs 'pip install switchyard-hub[postgres]'") from None

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # Not by libpq's `options`: connection poolers refuse them.
        connection.autocommit = True
        connection.execute(_POSTGRES_SETTINGS)
        connection.autocommit = False

    return engine


def _sqlite(path: Path | None) -> Engine:
    module = _sqlite_module()
    # A version with the bug gets one connection for everything, so that no checkpoint can race a commit. In memory
    # a second connection would be a second, empty store.
    single = path is None or not _is_safe(module.sqlite_version)
    if path is not None:
        _create(path)
    engine = create_engine(
        "sqlite://" if path is None else f"sqlite:///{path}",
        module=module,
        poolclass=QueuePool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "isolation_level": None},
        pool_size=1 if single else 5,
        max_overflow=0 if single else 5,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reads = connection.get_execution_options().get("switchyard_reads", False)
        connection.exec_driver_sql(f"PRAGMA query_only={int(reads)}")
        # A deferred transaction that reads first gets SQLITE_BUSY at its first write, whatever the timeout.
        connection.exec_driver_sql("BEGIN DEFERRED" if reads else "BEGIN IMMEDIATE")

    return engine


def _is_safe(version: str) -> bool:
    major, minor, patch = (int(part) for part in version.split("."))
    return (major, minor, patch) >= _SAFE_SQLITE or patch >= _MENDED.get((major, minor), 1_000)


def _create(path: Path) -> None:
    """Make a new store's file and folder, for the owner's eyes only; the log beside it takes over the file's mode."""
    if path.exists():
        return
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
        # SQLite syncs the folder its file stands in, but not that folder's own entry.
        above = os.open(path.parent.parent, os.O_RDONLY)
        try:
            os.fsync(above)
        finally:
            os.close(above)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _sqlite_module() -> Any:
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        import sqlite3 as dbapi2
    return dbapi2
