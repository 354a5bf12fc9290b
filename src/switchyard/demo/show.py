"""What the demo prints."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from switchyard.demo.project import Project
from switchyard.demo.truth import Truth

SYNC = ("connection", "stream", "read", "mapped", "quarantined", "duplicates")
PEOPLE = ("subjects", "profiles", "merges", "shared_values")
SEGMENTS = ("segment", "members", "entered", "left")
AUDIENCES = ("audience", "list", "wanted", "held", "missing", "extra", "calls", "minimum")
CALLS = ("method", "route", "count")
PUSHED = ("sent", "who", "answer", "kept after", "on the list after")
PROOF = ("audience", "list", "wanted", "held", "missing", "extra")


def table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the rows' values of these keys; numbers stand to the right."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    values = [[row.get(column) for column in columns] for row in rows]
    for number, column in enumerate(columns):
        numeric = bool(values) and all(isinstance(row[number], int | float) for row in values)
        shown.add_column(column, justify="right" if numeric else "left")
    for row in values:
        shown.add_row(*(_text(value) for value in row))
    console.print(shown)


def against_truth(console: Console, truth: Truth, found: Mapping[str, int]) -> bool:
    """Print what was planted beside what was found, by the names of `Truth`; says whether all of it agrees."""
    planted = {
        "records": truth.records,
        "broken": len(truth.broken),
        "duplicates": truth.duplicates,
        "orders": truth.orders,
        "refunds": truth.refunds,
        "profiles": truth.profiles,
    }
    rows = [
        {"": name, "planted": count, "found": found[name], "agrees": "yes" if found[name] == count else "NO"}
        for name, count in planted.items()
        if name in found
    ]
    table(console, "Generated with known faults, so it can be checked", ("", "planted", "found", "agrees"), rows)
    return all(row["agrees"] == "yes" for row in rows)


def next_steps(console: Console, project: Project) -> None:
    """Print what to try in the folder that is left."""
    console.print(
        "\n[bold]What to try next[/bold], in this folder; first start HubSpot's stand-in in another terminal:"
    )
    lines = {
        "": "$ " + project.spelled(*project.simulate),
        "read a list back and compare": project.spelled("audiences", "verify", "vip"),
        "why rows are in quarantine": project.spelled("quarantine", "list"),
        "who is on a segment": project.spelled("segments", "members", "vip"),
        "one person": project.spelled("profiles", "find", "email=..."),
        "what a delivery would do": project.spelled("deliver", "vip", "--dry-run"),
        "everything once more": project.spelled("run"),
        "everything, all the time": project.spelled("serve"),
    }
    for what, command in lines.items():
        console.print(f"  {command:<70} [dim]{what}[/dim]", soft_wrap=True)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
