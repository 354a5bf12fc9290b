"""A stranger's distribution, installed as anybody's, works through the same door as what comes with the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOREIGN = Path(__file__).parents[1] / "foreign"

LIST = """
import json
from switchyard.plugins import Registry, load_plugins

registry = Registry(load_plugins())
print(json.dumps({
    "connectors": {name: str(each.owner) for (name, _), each in registry.connectors.items()},
    "transforms": {name: str(each.owner) for name, each in registry.transforms.items()},
    "keys": registry.definition_keys,
    "broken": [each.error for each in registry.plugins.broken if each.owner.plugin == "foreign_example"],
}))
"""

READ = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from switchyard.plugins import Registry, load_plugins

spec = Registry(load_plugins()).source("jsonl")
source = spec.build(spec.config(folder="in", page_rows=2), SimpleNamespace(project=Path(sys.argv[1])))
cursor = json.loads(sys.argv[2])
for page in source.read(spec.streams[0], cursor):
    print(json.dumps([list(page.records), page.cursor, [each.line for each in page.rejected]]))
"""

EVALUATE = """
import json
import ibis, pyarrow as pa
from datetime import datetime
from switchyard.api.transforms import Definition, Schema
from switchyard.plugins import Registry, load_plugins

backend = ibis.duckdb.connect()
now = datetime(2024, 1, 10)
times = [datetime(2024, 1, 1), now, datetime(2024, 1, 11)]
orders = {"profile_id": [1, 1, 2], "at": times, "event_id": [b"a", b"b", b"c"]}

class Everybody:
    profiles = backend.create_table("p", pa.table({"profile_id": [1, 2, 3], "at": [now] * 3}))
    def events(self, event_type):
        return {"order_completed": backend.create_table("o", pa.table(orders))}[event_type]

transform = Registry(load_plugins()).profile_transform("toy_segment").build()
program = transform.compile([Definition("two", {"min_orders": 2}), Definition("one", {"min_orders": 1})], Schema())
rows = program.evaluate(Everybody(), ["two", "one"]).to_pyarrow().to_pylist()
print(json.dumps(sorted([row["definition"], row["profile_id"], row["value"], str(row["next_change"])] for row in rows)))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which pip has installed the foreign distribution, without a network."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    pip += ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder), str(FOREIGN)]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return folder


def run(script: str, site: Path, *arguments: str, **environment: str) -> list:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")}
    command = [sys.executable, "-c", script, *arguments]
    environ |= {"PYTHONPATH": str(site)} | environment
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_the_registry_lists_it_with_its_owner(site):
    (listed,) = run(LIST, site)
    owner = "'foreign_example' (switchyard-foreign-example 1.2.3)"
    assert listed["broken"] == []
    assert listed["connectors"]["jsonl"] == owner
    assert (listed["transforms"]["trim"], listed["transforms"]["toy_segments"]) == (owner, owner)
    assert "toy_segment" in listed["keys"]


def test_off_leaves_it_out(site):
    (listed,) = run(LIST, site, SWITCHYARD_PLUGINS="off")
    assert "jsonl" not in listed["connectors"]
    assert "toy_segment" not in listed["keys"]


def test_its_source_reads_on_where_it_stopped(site, tmp_path):
    (tmp_path / "in").mkdir()
    lines = ['{"id": 1}', "broken", '{"id": 2}', "[1]", '{"id": 3}']
    (tmp_path / "in" / "a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "in" / "b.jsonl").write_text('{"id": 4}\n{"id": 5')
    pages = run(READ, site, str(tmp_path), "null")
    assert pages == [
        [[{"id": 1}], {"file": "a.jsonl", "lines": 2}, [2]],
        [[{"id": 2}], {"file": "a.jsonl", "lines": 4}, [4]],
        [[{"id": 3}], {"file": "a.jsonl", "lines": 5}, []],
        [[{"id": 4}], {"file": "b.jsonl", "lines": 1}, []],
    ]
    for index, page in enumerate(pages):
        assert run(READ, site, str(tmp_path), json.dumps(page[1])) == pages[index + 1 :]


def test_its_segments_are_evaluated_like_ours(site):
    (rows,) = run(EVALUATE, site)
    never, due = "2200-01-01 00:00:00", "2024-01-11 00:00:00"
    assert rows == [
        ["one", 1, True, never], ["one", 2, False, due], ["one", 3, False, never],
        ["two", 1, True, never], ["two", 2, False, due], ["two", 3, False, never],
    ]  # fmt: skip
