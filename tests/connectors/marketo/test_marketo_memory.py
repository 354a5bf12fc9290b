"""A million records are read in the memory that a hundred thousand take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from switchyard_connectors.marketo.simulator import Account, MarketoSimulator
from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET

READER = """
import resource, sys
from pathlib import Path
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.marketo import SOURCE

url, client, secret, since, stream, folder = sys.argv[1:]
config = SOURCE.config(base_url=url, client_id=client, client_secret=secret, since=since, extract=%r)
context = SimpleContext(Path(folder), limits=SOURCE.limits(config))
source = SOURCE.build(config, context)
rows = sum(len(page.records) for page in source.read(next(s for s in SOURCE.streams if s.name == stream), None))
context.close()
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
SLACK = 48 * 1024
"""Kilobytes by which the peaks of two readings may differ: buffers of files, of the allocator, of the CSV reader."""


def peak(simulator, folder, stream, extract="auto", since="2026-11-01"):
    """How many records a process of its own reads, and the most memory it took, in KB."""
    given = [simulator.url, CLIENT_ID, CLIENT_SECRET, since, stream, str(folder)]
    done = subprocess.run([sys.executable, "-c", READER % extract, *given], capture_output=True, text=True, check=True)
    rows, most = map(int, done.stdout.split())
    return rows, most


@pytest.mark.slow
def test_a_million_leads_take_the_memory_of_a_hundred_thousand(tmp_path):
    peaks = []
    for count in (100_000, 1_000_000):
        with MarketoSimulator(Account(limited=False), clock=lambda: 1_795_000_000.0) as simulator:
            simulator.extracts.refresh = 0
            simulator.extracts.bytes = 2**40
            simulator.seed(count, over=86_400)
            rows, most = peak(simulator, tmp_path, "leads")
            assert rows == count
            peaks.append(most)
    assert peaks[1] - peaks[0] < SLACK


@pytest.mark.slow
def test_a_million_activities_take_the_memory_of_a_hundred_thousand(tmp_path):
    peaks = []
    for count in (100_000, 1_000_000):
        with MarketoSimulator(Account(limited=False), clock=lambda: 1_795_000_000.0) as simulator:
            lead = simulator.people.create({"email": "a@x.example"}).id
            for _ in range(count):
                simulator.activities.record(10, lead)
            rows, most = peak(simulator, tmp_path, "activities", "none")
            assert rows == count
            peaks.append(most)
    assert peaks[1] - peaks[0] < SLACK
