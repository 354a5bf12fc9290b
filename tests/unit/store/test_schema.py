"""Creating, upgrading and refusing stores."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import autogenerate
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from switchyard.api.errors import ConfigError, PermanentError
from switchyard.store import schema
from switchyard.store.database import Database
from switchyard.store.tables import Stream, StreamMark

SECOND = """
import os
import signal

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade() -> None:
    op.create_table("stopover", sa.Column("id", sa.Integer(), primary_key=True))
    recreate = "always" if op.get_context().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("stream", recreate=recreate) as stream:
        stream.add_column(sa.Column("colour", sa.String(), nullable=False, server_default="blue"))
    if os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
PREPARE = """
import sys
from pathlib import Path
from switchyard.store import schema
from switchyard.store.database import Database

schema.prepare(Database(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    opened = Database(empty_url)
    yield opened
    opened.close()


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The revisions of a later version: one more, which changes a table that others refer to."""
    folder = tmp_path / "100% newer"
    shutil.copytree(schema.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_stopover.py").write_text(SECOND)
    return folder


def table_names(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def add_stream(database: Database) -> None:
    with database.write() as session:
        session.add(Stream(id=1, connection="shop", name="orders", cursor={"at": 5}))
        session.flush()
        session.add(StreamMark(stream_id=1, mark="monday.csv"))


def test_a_new_store_has_every_table_at_the_newest_revision(empty: Database) -> None:
    schema.prepare(empty)
    assert table_names(empty) == {*SQLModel.metadata.tables, schema.VERSION_TABLE}
    assert rows(empty, f"SELECT version_num FROM {schema.VERSION_TABLE}") == [(schema.revisions()[-1],)]


def test_the_revisions_say_what_the_models_say(database: Database) -> None:
    options = {"compare_type": True, "version_table": schema.VERSION_TABLE}
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert autogenerate.compare_metadata(context, SQLModel.metadata) == []


def test_special_forms_of_tables_survive_the_revisions(database: Database) -> None:
    """What autogenerate does not compare: the predicate of a partial index, and WITHOUT ROWID."""
    if database.is_sqlite:
        forms = dict(rows(database, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
        assert str(forms["identifier"]).rstrip().endswith("WITHOUT ROWID")
    else:
        forms = dict(rows(database, "SELECT indexname, indexdef FROM pg_indexes"))
    assert "WHERE" in str(forms["subject_joined"])


def test_file_names_and_alembic_agree_on_the_line_of_revisions(empty: Database) -> None:
    with empty.engine.connect() as connection:
        script = ScriptDirectory.from_config(schema.configuration(connection))
    line = [revision.revision for revision in script.walk_revisions()]
    assert line[::-1] == schema.revisions()


def test_preparing_a_prepared_store_imports_no_alembic(database_url: str) -> None:
    code = f"{PREPARE}\nassert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, database_url, str(schema.MIGRATIONS)], check=True)


def test_an_older_store_is_upgraded_with_its_rows(database: Database, newer: Path) -> None:
    add_stream(database)
    schema.prepare(database, newer)
    assert rows(database, "SELECT connection, name, colour FROM stream") == [("shop", "orders", "blue")]
    assert rows(database, "SELECT stream_id, mark FROM stream_mark") == [(1, "monday.csv")]
    assert "stopover" in table_names(database)


def test_an_upgraded_store_still_enforces_references(database: Database, newer: Path) -> None:
    schema.prepare(database, newer)
    with pytest.raises(PermanentError), database.write() as session:
        session.add(StreamMark(stream_id=99, mark="nobody's"))


def test_a_kill_in_the_upgrade_leaves_the_old_store_and_a_restart_completes_it(
    database: Database, database_url: str, newer: Path
) -> None:
    add_stream(database)
    before = table_names(database)
    command = [sys.executable, "-c", PREPARE, database_url, str(newer)]
    killed = subprocess.run(command, env={"KILLED": "1"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert table_names(database) == before
    assert rows(database, f"SELECT version_num FROM {schema.VERSION_TABLE}") == [("0001",)]
    schema.prepare(database, newer)
    assert rows(database, "SELECT colour FROM stream") == [("blue",)]


def test_a_store_of_a_newer_version_is_refused_and_left_alone(database: Database, newer: Path) -> None:
    add_stream(database)
    schema.prepare(database, newer)
    before = rows(database, "SELECT * FROM stream"), table_names(database)
    with pytest.raises(ConfigError, match=r"revision 0002 .* up to 0001.* newer version"):
        schema.prepare(database)
    assert (rows(database, "SELECT * FROM stream"), table_names(database)) == before


def test_a_database_of_something_else_is_refused_and_left_alone(empty: Database) -> None:
    with empty.write() as session:
        session.connection().execute(text("CREATE TABLE run (distance integer)"))
    with pytest.raises(ConfigError, match=r"none of them is switchyard's \(run"):
        schema.prepare(empty)
    assert table_names(empty) == {"run"}


def test_programs_that_start_together_create_one_store(empty: Database, empty_url: str) -> None:
    command = [sys.executable, "-c", PREPARE, empty_url, str(schema.MIGRATIONS)]
    started = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert schema.VERSION_TABLE in table_names(empty)


def test_a_database_in_another_encoding_is_refused(postgres) -> None:
    postgres.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    latin = Database(postgres.url("latin"))
    try:
        with pytest.raises(ConfigError, match="encoding is LATIN1"):
            schema.prepare(latin)
    finally:
        latin.close()
        postgres.drop("latin")


def test_the_initial_revision_can_be_written_again(tmp_path: Path) -> None:
    """The command of the module `migrations` gives, byte for byte, the revision that is there."""
    from switchyard.store.migrations.__main__ import tidy, write

    folder = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    made = write("initial", folder)
    shutil.copy(Path(__file__).parents[3] / "pyproject.toml", tmp_path)
    tidy(made)
    assert made.read_text() == (schema.MIGRATIONS / "versions" / made.name).read_text()
