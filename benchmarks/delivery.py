"""From one POS file to a proven list: `switchyard run` as a user starts it, and a stand-in for HubSpot beside it.

    python benchmarks/delivery.py [PEOPLE] [LIMITS]

By default 5,000 people and no limits, which takes seconds; the goal (30 s for everything) is stated for 100,000. LIMITS
is `none` or a tier such as `enterprise`, whose calls per window the stand-in then refuses beyond; the goal there is
1.05 times what the window makes these calls take at least, and not one 429.

Every person has one order of two lines, so that the list must hold exactly PEOPLE. The file is read, people resolved,
their segment evaluated, all of them created in the account and put on the list, and the list read back. Then nothing
has changed, and the command runs again. Phases are those of the run table; of the calls, from the first to the last
of each kind as they arrived: kinds may overlap. Processes: the command (its processor time is given) and the stand-in.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

PEOPLE, LIMITS = 5_000, "none"
WINDOW, CALLS = 10.0, {"free": 100, "starter": 100, "pro": 190, "enterprise": 190}
HEADER = "order_id,line_no,kind,sold_at,store_id,sku,quantity,price,customer_id,email,phone,first_name,last_name"
SETTINGS = """
hub: {{timezone: UTC, default_region: FR}}
connections:
  tills:
    connector: pos_csv
    config:
      folder: drop
      ready: rename
      formats: "%Y-%m-%d %H:%M"
      timezone: UTC
      columns: {{{columns}}}
  crm:
    connector: hubspot
    config: {{base_url: "{url}", token: pat-na1-simulator, tier: {limits}}}
audiences:
  buyers:
    segment: buyers
    connection: crm
    list: Buyers
    fields: {{email: email, firstname: first_name, lastname: last_name}}
"""


def main(people: int, limits: str) -> None:
    with tempfile.TemporaryDirectory() as name, hubspot(limits) as control:
        project = Path(name)
        lay_out(project, people, str(control.base_url).split("/_simulator")[0], limits)
        print(f"{people:,} people, limits: {limits}")
        first = run(project, control)
        proof = first["proof"]
        assert (proof["wanted"], proof["held"], proof["missing"], proof["extra"]) == (people, people, 0, 0), proof
        report(first)
        if limits != "none":
            against_limits(first["calls"], CALLS[limits])
        second = run(project, control)
        print(f"again, nothing having changed: {second['wall']:.1f} s, {len(second['calls'])} calls")


def lay_out(project: Path, people: int, url: str, limits: str) -> None:
    """A project folder with its file."""
    columns = ", ".join(f"{name}: {name}" for name in HEADER.split(",")).replace("line_no: ", "line_id: ")
    (project / "switchyard.yaml").write_text(SETTINGS.format(url=url, limits=limits, columns=columns))
    (project / "segments").mkdir()
    (project / "segments" / "buyers.yaml").write_text("segment: buyers\nwhere: did(order_completed)\n")
    (project / "drop").mkdir()
    random, start = np.random.default_rng(7), datetime.now() - timedelta(days=300)
    with (project / "drop" / "all.csv").open("w") as file:
        print(HEADER, file=file)
        for number, minute in enumerate(np.sort(random.integers(0, 290 * 1_440, people)).tolist()):
            sold = (start + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M")
            who = f"c{number},buyer{number}@example.com,+336{number:08d},First{number % 997},Last{number}"
            for line in (1, 2):
                price = f"{4 + number % 90}.50"
                print(f"o{number},{line},sale,{sold},s{number % 12},sku{number % 500},1,{price},{who}", file=file)


@contextmanager
def hubspot(limits: str) -> Iterator[httpx.Client]:
    """The stand-in as a process of its own, with these limits; gives a client of its control API."""
    process = subprocess.Popen([*command(), "simulate", "hubspot", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with httpx.Client(base_url=f"{url}/_simulator", timeout=60) as client:
            tier = None if limits == "none" else limits
            client.post("/settings", json={"tier": tier}).raise_for_status()
            yield client
    finally:
        process.terminate()
        process.wait()


def run(project: Path, control: httpx.Client) -> dict[str, Any]:
    """One `switchyard run`: seconds, phases, calls and the proof."""
    before = control.get("/calls").json()["last"]
    database = project / ".switchyard" / "store.db"
    known = query(database, "SELECT coalesce(max(id), 0) FROM run")[0][0] if database.exists() else 0
    used, started = os.times(), time.perf_counter()
    done = subprocess.run(
        [*command(), "--project", str(project), "run", "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    wall, now = time.perf_counter() - started, os.times()
    assert done.returncode == 0, done.stdout[-2_000:]
    (proof,) = query(database, "SELECT wanted, held, missing, extra, rejected FROM proof ORDER BY id DESC LIMIT 1")
    phases = query(
        database,
        "SELECT kind, (julianday(finished_at) - julianday(started_at)) * 86400 FROM run WHERE id > ? ORDER BY id",
        known,
    )
    return {
        "wall": wall,
        "processor": now.children_user + now.children_system - used.children_user - used.children_system,
        "phases": phases,
        "calls": control.get("/journal", params={"since": before, "limit": 10_000_000}).json()["calls"],
        "proof": dict(zip(("wanted", "held", "missing", "extra", "rejected"), proof, strict=True)),
    }


def report(found: dict[str, Any]) -> None:
    print(f"{'whole run':44} {found['wall']:7.1f} s   (of the processor {found['processor']:.1f} s)")
    for kind, seconds in found["phases"]:
        print(f"{'  ' + kind:44} {seconds:7.1f} s")
    kinds: dict[str, list[float]] = {}
    for call in found["calls"]:
        kinds.setdefault(f"{call['method']} {call['route']}", []).append(call["at"])
    for kind, at in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"    {kind[:56]:56} {len(at):6,} calls in {max(at) - min(at):6.1f} s")
    proof = found["proof"]
    print(f"proof: wanted {proof['wanted']:,}, held {proof['held']:,}, missing 0, extra 0")


def against_limits(calls: list[dict[str, Any]], window: int) -> None:
    """Elapsed beside what the rolling window makes the calls take, and refusals."""
    counted = [call["at"] for call in calls if not call["route"].endswith("/search")]
    elapsed, least = max(counted) - min(counted), WINDOW * ((len(counted) - 1) // window)
    refused = sum(call["status"] == 429 for call in calls)
    print(f"{len(counted):,} calls took {elapsed:.1f} s, at least {least:.0f} s: {refused} of 429", end="")
    print(f", {elapsed / least:.3f} times" if least else "")


def query(database: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def command() -> list[str]:
    return [str(Path(sys.executable).with_name("switchyard"))]


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else PEOPLE, given[1] if len(given) > 1 else LIMITS)
