"""What a receiver needs of a project: its inbox, and nothing else of the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from switchyard.api.errors import ConfigError
from switchyard.app.project import Project
from switchyard.app.status import revision
from switchyard.store import schema
from switchyard.store.database import Database
from switchyard.store.inbox import Inbox


@contextmanager
def inbox(project: Project, is_alone: bool = False) -> Iterator[Inbox]:
    """The inbox of a project, by a connection of its own: what is received does not wait for the engine, nor does it
    end with the engine's lease.

    Args:
        is_alone: in a process without engine, on a store that the engine has made.

    Raises:
        ConfigError: on SQLite there is no receiver without an engine; or the store is not that of this version.
    """
    database = Database(project.loaded.store_url, project.folder)
    try:
        if is_alone:
            _require_shared(database)
        opened = Inbox(database)
        try:
            yield opened
        finally:
            opened.close()
    finally:
        database.close()


def _require_shared(database: Database) -> None:
    if database.is_sqlite:
        raise ConfigError("a receiver of its own needs a PostgreSQL store; on SQLite one `switchyard serve` does all")
    with database.read() as session:
        found = revision(session)
    if found != schema.revisions()[-1]:
        raise ConfigError(
            f"the store is at revision {found}, this program at {schema.revisions()[-1]}; first start the hub itself: "
            "switchyard serve"
        )
