"""The timetable by a real clock that is set, where libfaketime is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = [
    path
    for folder in (
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/aarch64-linux-gnu/faketime",
        "/usr/local/lib/faketime",
    )
    if (path := Path(folder) / "libfaketime.so.1").exists()
]
COUNT = """
import sys
from datetime import datetime, timedelta
from switchyard.app.jobs import Job
from switchyard.config.schedule import Schedule
from switchyard.scheduling.timetable import Timetable

table = Timetable()
job = Job("sync", "shop/orders", Schedule.model_validate({"cron": "30 2 * * *"}), "Europe/Paris")
table.plan({job: datetime.fromisoformat(sys.argv[1])})
runs = 0
while table.due():
    table.begun(job.kind, job.name)
    table.ended(job.kind, job.name)
    runs += 1
print(runs)
"""


@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")
@pytest.mark.parametrize(
    ("last", "now", "runs"),
    [
        ("2026-03-28T01:30:00", "2026-03-29 01:29:00", 0),
        ("2026-03-28T01:30:00", "2026-03-29 01:30:01", 1),
        ("2026-10-25T00:30:00", "2026-10-25 01:31:00", 0),
        ("2026-06-01T00:30:00", "2026-06-04 12:00:00", 1),
        ("2026-06-01T00:30:00", "2026-05-31 23:40:00", 0),
    ],
)
def test_runs_by_the_clock_of_the_system(last: str, now: str, runs: int) -> None:
    environment = os.environ | {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": f"@{now}", "TZ": "UTC"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT, last], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) == runs
