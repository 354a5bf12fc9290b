"""`python -m switchyard.demo [FOLDER]`: everything once, on a generated retailer and a stand-in for HubSpot."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from rich.console import Console
from rich.progress import Progress

from switchyard.demo import live, show
from switchyard.demo.project import DemoError, Project, fill, lay_out
from switchyard.demo.retailer import Retailer
from switchyard.demo.truth import Truth

_GUESTS = 6
"""People who buy online while the hub serves."""


def main() -> int:
    """Run the demo; gives the exit code."""
    asked = _arguments()
    console = Console()
    yesterday = datetime.now(ZoneInfo("Europe/Paris")).date() - timedelta(days=1)
    retailer = Retailer(asked.seed, asked.people, asked.days, asked.people * 12, last_day=yesterday)
    try:
        project = lay_out(asked.folder)
        truth = _generate(console, project, retailer)
        _run(console, project, truth)
    except DemoError as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        return error.code
    except KeyboardInterrupt:
        console.print("stopped; `make demo` starts over")
        return 130
    show.next_steps(console, project)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m switchyard.demo", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo"), help="made anew; default: demo")
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def _generate(console: Console, project: Project, retailer: Retailer) -> Truth:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Generating tickets", total=retailer.days)
        truth = fill(project, retailer, lambda done: progress.update(task, completed=done))
    console.print(
        f"[bold]{truth.files:,} files[/bold] with {truth.records:,} rows of {retailer.people:,} people in "
        f"{project.folder / 'drop'}, of which {len(truth.broken)} are broken and {truth.duplicates:,} sent twice"
    )
    return truth


def _run(console: Console, project: Project, truth: Truth) -> None:
    with project.hubspot() as control:
        with _step(console, project, "sync", "tills"):
            synced = project.call("sync", "tills")["syncs"]
        show.table(console, "Records", show.SYNC, synced)
        with _step(console, project, "evaluate"):
            evaluated = project.call("evaluate")
        show.table(console, "People", show.PEOPLE, [evaluated])
        show.table(console, "Segments", show.SEGMENTS, evaluated["segments"])
        with _step(console, project, "deliver"):
            delivered = project.call("deliver")["deliveries"]
        show.table(console, "Lists in HubSpot, read back", show.AUDIENCES, delivered)
        before = control.get("/calls").json()["last"]
        with _step(console, project, "run"):
            project.call("run")
        calls = control.get("/calls", params={"since": before}).json()["calls"]
        show.table(console, "HubSpot's calls in a second run, which has nothing to write", show.CALLS, calls)
        _live(console, project, control)
    totals = {key: sum(row[key] for row in synced) for key in ("read", "quarantined", "duplicates")}
    found = {"records": totals["read"], "broken": totals["quarantined"], "duplicates": totals["duplicates"]}
    if not show.against_truth(console, truth, found | {"profiles": evaluated["profiles"]}):
        raise DemoError(
            "what was found is not what was generated; this is a bug, please report it with the table above"
        )


def _live(console: Console, project: Project, control: httpx.Client) -> None:
    guests = live.guests(project, _GUESTS)
    with _step(console, project, "serve"), live.serving(project) as url:
        rows = list(live.pushed(project, url, control, guests))
        refused = live.forged(url)
        proof = live.proven(project)
    title = f"Pushed while the hub served: orders of {live.TOTAL}, which make VIPs"
    show.table(console, title, show.PUSHED, rows)
    console.print(f"an order that nobody signed was answered with {refused}, and changed nothing")
    show.table(console, "Their list, read back beside the hub that serves", show.PROOF, [proof])


@contextmanager
def _step(console: Console, project: Project, *arguments: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(f"$ {project.spelled(*arguments)}"):
        yield
    console.print(f"[dim]$ {project.spelled(*arguments)}  ({time.monotonic() - started:.1f} s)[/dim]", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
