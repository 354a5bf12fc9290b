"""Run as `python loader.py PROJECT [fork|command]`: for each line of input starts a process that syncs the project,
says its id, and when it has ended its exit code.

With `fork`, as without a word, the imports, which take longer than the load, are paid once; with `command` each process
is `switchyard sync tills` itself.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import duckdb  # noqa: F401  # for the children
import psycopg  # noqa: F401
import pyarrow.csv
import pyarrow.parquet  # noqa: F401
import scipy.sparse.csgraph  # noqa: F401
import sqlmodel  # noqa: F401

import switchyard_connectors.pos_csv.source  # noqa: F401
from switchyard.app.hub import Hub
from switchyard.app.project import open_project
from switchyard.app.syncs import sync_all


def load(folder: Path) -> int:
    """Sync everything; 0 where all went well."""
    try:
        with Hub(open_project(folder)) as hub:
            return int(any("error" in answer for answer in sync_all(hub)))
    except BaseException:
        traceback.print_exc()
        return 70


def become_command(folder: Path) -> NoReturn:
    """Go on as the command, whose answer nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.execv(sys.executable, [sys.executable, "-m", "switchyard.cli", "--project", str(folder), "sync", "tills"])


def main() -> None:
    folder = Path(sys.argv[1])
    is_command = sys.argv[2:] == ["command"]
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            if is_command:
                become_command(folder)
            os._exit(load(folder))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
