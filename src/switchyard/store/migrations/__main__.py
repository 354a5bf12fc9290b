"""Writes a revision: what `switchyard.store.tables` says and the newest revision does not.

`python -m switchyard.store.migrations add_something` adds one; `python -m switchyard.store.migrations initial` writes
the first one anew, for as long as no release holds it. Read what was written: a rename looks like a loss.
"""

import subprocess
import sys
from pathlib import Path

from alembic import command

from switchyard.store.database import Database
from switchyard.store.schema import MIGRATIONS, configuration, prepare, revisions


def write(message: str, migrations: Path = MIGRATIONS) -> Path:
    """Write the next revision, named by `message` in snake_case, and give its path."""
    if message == "initial":
        for path in (migrations / "versions").glob("0001_*.py"):
            path.unlink()
    known = revisions(migrations)
    number = f"{len(known) + 1:04}"
    database = Database("sqlite://")
    try:
        if known:
            prepare(database, migrations)
        with database.engine.connect() as connection:
            config = configuration(connection, migrations)
            config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
            config.attributes["changes"] = bool(known)
            command.revision(config, message, autogenerate=True, rev_id=number)
    finally:
        database.close()
    made = migrations / "versions" / f"{number}_{message}.py"
    lines = made.read_text().splitlines(keepends=True)
    made.write_text("".join(line for line in lines if "# ###" not in line))
    return made


def tidy(path: Path) -> None:
    """Give the file the project's format."""
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "--quiet", path], check=True)  # noqa: S603  # our own tool on our own file


if __name__ == "__main__":
    made = write(sys.argv[1])
    tidy(made)
    sys.stdout.write(f"{made}\n")
