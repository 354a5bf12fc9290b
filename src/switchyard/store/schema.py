"""Which tables a store has: created, brought up to date, or refused.

The revisions are files `NNNN_what.py` in `migrations/versions`, in one line of descent; `NNNN` is the revision's id.
A new one, and the first one again while no release holds it, is written by `python -m switchyard.store.migrations`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from switchyard.api.errors import ConfigError, PermanentError
from switchyard.store.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")
VERSION_TABLE = "switchyard_version"
_LOCK = 0x5357_5943
"""Key of PostgreSQL's advisory lock, so that two programs do not change one store's tables at once."""


def prepare(database: Database, migrations: Path = MIGRATIONS) -> None:
    """Bring the store's tables to the newest revision, creating them in an empty database.

    All of it is one transaction: after a crash the store is as it was, and the next start does it again.

    Raises:
        ConfigError: the store was written by a newer version, or the database holds something else; nothing changed.
        TransientError: the store is not available; nothing changed.
    """
    known = revisions(migrations)
    with database.guarded(), database.engine.connect() as connection:
        found = _revision(connection)
        if found == known[-1]:
            return
        connection.rollback()
        with _changing(connection, database.is_sqlite):
            # Another program may have been here between the look and the lock.
            found = _revision(connection)
            if found != known[-1]:
                _check(connection, found, known)
                _upgrade(connection, migrations)


def revisions(migrations: Path = MIGRATIONS) -> list[str]:
    """The ids of the revisions there are, oldest first."""
    return sorted(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*.py"))


def configuration(connection: Connection, migrations: Path = MIGRATIONS) -> "Config":
    """Alembic's configuration for `migrations/env.py`, working on this connection and its transaction."""
    # Takes half of a start's time, and most starts find nothing to do.
    from alembic.config import Config

    config = Config()
    # A '%' starts an interpolation.
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


@contextmanager
def _changing(connection: Connection, is_sqlite: bool) -> Iterator[None]:
    """A transaction that may change tables."""
    if not is_sqlite:
        with connection.begin():
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = '60s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield
        return
    # A table is changed by building it anew and dropping the old one, which would delete what refers to its rows.
    # This switch does nothing within a transaction, so it goes to the driver, before SQLAlchemy begins one.
    driver = connection.connection.cursor()
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            yield
            if connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
                raise PermanentError("rows of the store refer to rows that are missing; restore it from a backup")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
        driver.close()


def _check(connection: Connection, found: str | None, known: list[str]) -> None:
    if found is not None:
        if found not in known:
            raise ConfigError(
                f"the store is at revision {found} and this version of switchyard knows revisions up to {known[-1]}: "
                "it was written by a newer version; install that one"
            )
        return
    if tables := inspect(connection).get_table_names():
        raise ConfigError(
            f"the database holds tables and none of them is switchyard's ({', '.join(sorted(tables)[:3])}, …); "
            "give the store an empty database"
        )
    if connection.dialect.name == "postgresql":
        encoding = connection.execute(text("SHOW server_encoding")).scalar()
        if encoding != "UTF8":
            raise ConfigError(f"the database's encoding is {encoding}; create it with ENCODING 'UTF8'")


def _upgrade(connection: Connection, migrations: Path) -> None:
    from alembic import command

    command.upgrade(configuration(connection, migrations), "head")
