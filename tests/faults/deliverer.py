"""Run as `python deliverer.py`: each line of input, a job as JSON, is a process that delivers a project's lists.

It says the process's id, and when the process has ended its exit code and its answers: `{"code", "answers"}`; a process
that was killed has no answers. The imports, which take longer than a delivery, are paid once. No wait is waited out.

A job: `folder`; `simulator`, the address of its HubSpot; `now`, the instant in epoch seconds; `times`, how many
deliveries one after the other; `commit`, `[n, "before" | "after"]` to be killed at the n-th commit to the store. An
answer's `since` is the number of the last call that the simulator had before the delivery.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import duckdb  # noqa: F401  # for the children
import psycopg  # noqa: F401
import pyarrow.parquet  # noqa: F401
from sqlalchemy import event
from sqlalchemy.orm import Session
from waiting import deliver_by, paced_by

import switchyard_connectors.hubspot.sink
import switchyard_connectors.pos_csv.source  # noqa: F401
from switchyard.api.budget import Budget
from switchyard.app import audiences
from switchyard.app.hub import Hub
from switchyard.app.project import open_project
from switchyard.testing.simulator import ManualClock


def deliver(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of the deliveries."""
    if job.get("commit"):
        die_at_commit(*job["commit"])
    clock = ManualClock(job["now"])
    Budget.__init__.__kwdefaults__ = paced_by(clock)
    answers = []
    with Hub(open_project(Path(job["folder"]))) as hub:
        deliver_by(hub, clock)
        for _ in range(job.get("times", 1)):
            since = last_call(job["simulator"])
            answers += [{"since": since, **answer} for answer in audiences.deliver(hub)]
    return answers


def last_call(simulator: str) -> int:
    with urlopen(f"{simulator}/_simulator/calls") as answer:
        return int(json.load(answer)["last"])


def die_at_commit(number: int, moment: str) -> None:
    commits = count(1)

    def die(_: Session) -> None:
        if next(commits) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Session, f"{moment}_commit", die)


def in_child(work: Callable[[], object]) -> tuple[int, int]:
    """The process that does this work, and where to read the work's result as JSON."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    code = 70
    try:
        result = json.dumps(work(), default=str).encode()
        with os.fdopen(write, "wb") as pipe:
            pipe.write(result)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child, read = in_child(lambda job=job: deliver(job))
        print(child, flush=True)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "answers": json.loads(said) if said and not code else []}), flush=True)


if __name__ == "__main__":
    main()
