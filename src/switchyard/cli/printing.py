"""What a person sees: tables and lines by Rich. What comes from outside is never taken for markup or for control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 200
"""Columns where output goes to no terminal: a pipe has no right margin."""


def console(stream: TextIO) -> Console:
    from rich.console import Console

    class Outlet(Console):
        def on_broken_pipe(self) -> None:
            # Rich would end the process, with its own exit code.
            raise BrokenPipeError

    made = Outlet(file=stream, highlight=False, markup=False, emoji=False)
    return made if made.is_terminal else Outlet(file=stream, highlight=False, markup=False, emoji=False, width=_WIDTH)


def table(to: Console, title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the rows' values of these keys, numbers to the right. A column in which nobody has a value is left out."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        to.print(Text(f"{title}: none"))
        return
    # As the table's own title it would be wrapped to the width of the table.
    to.print(Text(title, style="bold"))
    shown = Table()
    kept = [column for column in columns if any(row.get(column) is not None for row in rows)]
    for column in kept:
        numeric = all(_is_number(row.get(column)) or row.get(column) is None for row in rows)
        shown.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(text(row.get(column))) for column in kept))
    to.print(shown)


def facts(to: Console, values: Mapping[str, Any]) -> None:
    """Print a line per value; what is missing is left out."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if value is not None:
            line(to, f"{name:<{width}}  {text(value)}")


def line(to: Console, content: str) -> None:
    to.print(harmless(content), soft_wrap=True)


def text(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(text(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(each)}" for name, each in value.items())
    return harmless(str(value))


def harmless(content: str) -> str:
    """The text with control characters spelled out: a record may hold the codes by which a terminal is steered."""
    if content.isprintable():
        return content
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in content)


def progress_line(name: str, done: Mapping[str, Any]) -> str:
    """`tills/lines  12,000 read  2024-01-03.csv`."""
    from rich.markup import escape

    parts = [name, *(f"{text(value)} {key}" for key, value in done.items() if key != "origin")]
    return escape("  ".join([*parts, harmless(done.get("origin") or "")]).rstrip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
