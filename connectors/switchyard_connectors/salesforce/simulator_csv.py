"""CSV as the Bulk API writes it: every value in quotation marks, null as an empty one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from switchyard_connectors.salesforce.simulator_fields import Column
from switchyard_connectors.salesforce.simulator_seeds import SeedRow
from switchyard_connectors.salesforce.simulator_select import Selection

DELIMITERS: Mapping[str, str] = {
    "BACKQUOTE": "`",
    "CARET": "^",
    "COMMA": ",",
    "PIPE": "|",
    "SEMICOLON": ";",
    "TAB": "\t",
}
ENDINGS: Mapping[str, str] = {"LF": "\n", "CRLF": "\r\n"}
_FLOATS = ("double", "currency")


def written(rows: Iterable[Sequence[str]], delimiter: str, ending: str) -> str:
    """Rows of texts as lines."""
    between = f'"{delimiter}"'
    lines = []
    for row in rows:
        line = f'"{between.join(row)}"'
        if line.count('"') != 2 * len(row):
            line = delimiter.join('"' + value.replace('"', '""') + '"' for value in row)
        lines.append(line)
    lines.append("")
    return ending.join(lines)


def rows_of(found: Selection, columns: Sequence[Column], start: int, stop: int) -> Iterator[Sequence[str]]:
    """The texts of the found rows from one place to another; those of seeded rows column by column."""
    plain = all(column.plain for column in columns)
    for run in found.runs(start, stop):
        if isinstance(run, tuple):
            seed, numbers = run
            if plain:
                yield from zip(*(_texts(column, seed.column(column.name, numbers)) for column in columns), strict=True)
                continue
            run = map(partial(SeedRow, seed), numbers)
        for row in run:
            yield [_text(column, column.read(row)) for column in columns]


def _texts(column: Column, values: list[Any]) -> list[str]:
    if all(type(value) is str for value in values[:1]) and column.field.kind != "datetime":
        return values
    return [_text(column, value) for value in values]


def _text(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if column.field.kind == "datetime":
        return f"{value[:-5]}Z"
    # Numbers of a scale of zero arrive with one all the same.
    return str(float(value)) if column.field.kind in _FLOATS else str(value)
