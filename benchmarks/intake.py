"""From one POS file to profiles and events, durable, against DuckDB copying the same file to Parquet.

    python benchmarks/intake.py [LINES] [PEOPLE] [RUNS]

Each run does both, one after the other, each in a process of its own, and gives the ratio of the pair: machines are
shared and noisy. DuckDB resolves nobody, keeps no cursor and syncs nothing; it is the physical limit of reading such a
file here. Prints wall and processor seconds, lines a second, peak memory, and the ratio (goal: at least 0.25).

Where `dlt` is installed in the interpreter named by DLT_PYTHON, its paths are measured once on the same file.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINES, PEOPLE, RUNS = 1_000_000, 150_000, 3


def main(lines: int, people: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = _project(Path(folder), lines, people)
        file = project / "drop" / "all.csv"
        print(
            f"{lines:,} lines of {people:,} people, {file.stat().st_size / 2**20:.0f} MB, {os.cpu_count()} processors"
        )
        ratios = []
        for _ in range(runs):
            shutil.rmtree(project / ".switchyard", ignore_errors=True)
            copy, hub = _measured("copy", file), _measured("hub", project)
            ratios.append(copy["wall"] / hub["wall"])
            for name, figures in (("DuckDB COPY", copy), ("switchyard", hub)):
                print(
                    f"{name:12} {figures['wall']:6.2f} s wall {figures['cpu']:6.2f} s cpu "
                    f"{lines / figures['wall']:>10,.0f} lines/s {figures['memory']:>6.0f} MB"
                )
            print(f"ratio {ratios[-1]:.2f}")
        print(f"median ratio {statistics.median(ratios):.2f}")
        if python := os.environ.get("DLT_PYTHON"):
            for path in ("arrow", "default"):
                figures = _measured("dlt", file, path, python=python)
                print(
                    f"dlt {path:8} {figures['wall']:6.2f} s wall, {figures['lines'] / figures['wall']:>10,.0f} lines/s"
                )


def _project(folder: Path, lines: int, people: int) -> Path:
    from switchyard.demo.project import lay_out
    from switchyard.demo.retailer import Retailer

    project = lay_out(folder / "shop").folder
    (project / "drop").mkdir(exist_ok=True)
    Retailer(people=people, lines=lines).write_file(project / "drop" / "all.csv")
    return project


def _measured(what: str, *arguments: Path | str, python: str = sys.executable) -> dict[str, float]:
    command = [python, __file__, f"--{what}", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _report(started: float, **more: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"wall": time.perf_counter() - started, "cpu": used.ru_utime + used.ru_stime}
    print(json.dumps(figures | {"memory": used.ru_maxrss / 1024} | more))


def _copy(file: str) -> None:
    import duckdb

    connection = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        connection.execute(f"COPY (FROM read_csv('{file}')) TO '{folder}/all.parquet' (FORMAT parquet)")
        _report(started)


def _hub(project: str) -> None:
    from switchyard.app.hub import Hub
    from switchyard.app.project import open_project
    from switchyard.app.syncs import sync_connection

    with Hub(open_project(Path(project))) as hub:
        started = time.perf_counter()
        (answer,) = sync_connection(hub, "tills")
        assert answer["read"] == answer["mapped"] and "error" not in answer, answer
        _report(started)


def _dlt(file: str, path: str) -> None:
    """dlt's load of the file into a folder of Parquet files: as Arrow tables, or record by record (a tenth of it)."""
    import csv

    import dlt
    import pyarrow.csv

    os.environ["DESTINATION__FILESYSTEM__BUCKET_URL"] = tempfile.mkdtemp()
    pipeline = dlt.pipeline(f"intake_{path}", destination="filesystem", pipelines_dir=tempfile.mkdtemp())
    started = time.perf_counter()
    if path == "arrow":
        quoted = pyarrow.csv.ParseOptions(newlines_in_values=True)
        table = pyarrow.csv.read_csv(file, parse_options=quoted)
        pipeline.run(table, table_name="lines", loader_file_format="parquet")
        _report(started, lines=table.num_rows)
        return
    with Path(file).open(encoding="utf-8", newline="") as stream:
        records = [record for record, _ in zip(csv.DictReader(stream), range(100_000), strict=False)]
        pipeline.run(records, table_name="lines", loader_file_format="parquet")
    _report(started, lines=len(records))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--copy", file]:
            _copy(file)
        case ["--hub", project]:
            _hub(project)
        case ["--dlt", file, path]:
            _dlt(file, path)
        case given:
            main(*(int(text) for text in given), *(LINES, PEOPLE, RUNS)[len(given) :])
