"""A million rows are read in the memory that a few pages take."""

from __future__ import annotations

import json
import subprocess
import sys
from math import ceil
from pathlib import Path

import pytest

from switchyard_connectors.google_analytics.simulator import GoogleAnalyticsSimulator, Property

from .conftest import settings

MILLION = 1_000_000
READING = Path(__file__).with_name("reading.py")


def _read(folder, config, stream):
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, str(READING), str(folder), stream]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def simulator():
    with GoogleAnalyticsSimulator(Property(events=0)) as simulator:
        yield simulator


@pytest.mark.slow
def test_a_report_of_a_million_rows(simulator, tmp_path):
    simulator.seed(MILLION, users=40_000, pages=20_000, days=4)
    report = {"name": "people", "dimensions": ["pagePath", "dateHour", "country"], "metrics": ["eventCount"]}
    config = settings(simulator) | {"reports": [report]}
    read = _read(tmp_path, config, "people")
    calls = simulator.count(path="runReport")
    assert read["rows"] == simulator.events.ask("SELECT count(*) FROM result")[0][0] > 900_000
    assert calls == ceil(read["rows"] / 250_000)
    assert read["most"] < 1.25 * read["settled"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "json"])
def test_a_table_of_a_million_events(simulator, tmp_path, form):
    simulator.seed(MILLION, users=50_000, days=1)
    simulator.export(tmp_path, form=form)
    read = _read(tmp_path, {"events": {"folder": str(tmp_path), "stable_seconds": 0}}, "events")
    assert read["rows"] == simulator.events.ask("SELECT count(*) FROM seen WHERE consent")[0][0] > 950_000
    assert read["pages"] > 19
    assert read["most"] < 1.25 * read["settled"]
