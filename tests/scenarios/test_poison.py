"""One unreadable line in a million."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.projects import rows_of, shop

from switchyard.demo.retailer import Retailer
from switchyard.store.tables import Quarantine

POISON = 734_211
LOAD = """
import resource, sys
from pathlib import Path
from switchyard.app.hub import Hub
from switchyard.app.project import open_project
from switchyard.app.syncs import sync_all
with Hub(open_project(Path(sys.argv[1]))) as hub:
    (answer,) = sync_all(hub)
assert "error" not in answer, answer
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(answer["read"], answer["mapped"], answer["quarantined"], peak)
"""


@pytest.mark.slow
def test_a_poison_row_among_a_million(tmp_path: Path):
    folder = shop(tmp_path / "shop")
    truth = Retailer(seed=3, people=150_000, days=30, lines=999_999).write_file(folder.drop / "all.csv", POISON)
    command = [sys.executable, "-c", LOAD, str(folder.path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
    read, mapped, quarantined, peak = map(int, output.split())
    print(f"1,000,000 lines: peak memory {peak} MB")
    assert (read, mapped, quarantined) == (1_000_000, 999_999, 1)
    with folder.hub() as hub:
        (row,) = rows_of(hub.database, Quarantine)
    (broken,) = truth.broken
    assert (row.origin, row.line, row.code) == ("all.csv", broken.line, "bad_number")
