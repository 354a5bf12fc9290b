"""The header line: which delimiter, and which column plays which role."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from switchyard.api.records import JSON
from switchyard_connectors.pos_csv.config import FIELDS, ROLES, FileRefused, PosCsvConfig, Role
from switchyard_connectors.pos_csv.scan import Grammar, Place, scan
from switchyard_connectors.pos_csv.snapshot import Text

_DELIMITERS = (",", ";", "\t", "|")
_TOP = Place(0, 1)
_HEADER = 1 << 10
"""Bytes to look for a header in at first."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of one file are written.

    Args:
        grammar: delimiter and quote.
        headers: of every column.
        roles: role → its column, from 0.
        kept: name in the page → its column, for all that has no role.
        first: where the first line after the header begins.
        identity: columns by which the lines of an order are told apart, where they have no id; None: by all.
        filled: columns that an order has on its first line only.
    """

    grammar: Grammar
    headers: Sequence[str]
    roles: Mapping[str, int]
    kept: Mapping[str, int]
    first: Place
    identity: Sequence[int] | None = None
    filled: Sequence[int] = ()

    @property
    def width(self) -> int:
        """Columns of every line."""
        return len(self.headers)

    def record(self, text: str, occurrence: int | None = None) -> dict[str, JSON]:
        """A line for quarantine, with all that it takes to read it again without its file.

        Args:
            text: the line as it stood.
            occurrence: its number among the lines of the same text, from 1, where its id depends on it.
        """
        header: dict[str, JSON] = {"columns": list(self.headers), "delimiter": chr(self.grammar.delimiter)}
        return {"text": text, **header} | ({} if occurrence is None else {"occurrence": occurrence})


def layout(text: Text, config: PosCsvConfig) -> Layout:
    """Read the header. A delimiter that is not declared is the one under which the header has every required name.

    Raises:
        FileRefused: there is no header, a required header is missing, two headers are the same, or the delimiter is
            not clear.
    """
    candidates = (config.delimiter,) if config.delimiter else _DELIMITERS
    found = {delimiter: _header(text, delimiter, config) for delimiter in candidates}
    fitting = [delimiter for delimiter, (headers, _) in found.items() if not _missing(headers, config)]
    if len(fitting) > 1:
        raise FileRefused(f"the delimiter is not clear: {' or '.join(map(repr, fitting))}; declare `delimiter`", line=1)
    best = fitting[0] if fitting else max(found, key=lambda delimiter: len(found[delimiter][0]))
    headers, first = found[best]
    return arranged(headers, best, config, first)


def arranged(headers: Sequence[str], delimiter: str, config: PosCsvConfig, first: Place = _TOP) -> Layout:
    """The layout of lines under these headers.

    Raises:
        FileRefused: a required header is missing, or two headers are the same.
    """
    if missing := _missing(headers, config):
        raise FileRefused(f"the header has no column {' and no column '.join(missing)}", line=1)
    roles = _roles(headers, config)
    grammar = Grammar(ord(delimiter), ord(config.quote) if config.quote else None)
    found = Layout(grammar, headers, roles, _kept(headers, roles, config), first)
    if (preset := config.described) is None:
        return found
    identity = None if preset.identity is None else _present(headers, preset.identity)
    return replace(found, identity=identity, filled=_present(headers, preset.filled))


def snake_case(header: str) -> str:
    """A header as a column name: `CustomerID` becomes customer_id, `Qty (kg)` qty_kg."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", header)
    name = re.sub(r"\W+", "_", spaced).strip("_").lower()
    name = re.sub(r"__+", "_", name)
    return f"n{name}" if name[:1].isdigit() else name


def _header(text: Text, delimiter: str, config: PosCsvConfig) -> tuple[list[str], Place]:
    grammar = Grammar(ord(delimiter), ord(config.quote) if config.quote else None)
    # Under a wrong delimiter all quotes look stray, which is slow to find out of more than a header.
    for size in (_HEADER, _HEADER << 4, config.max_record_bytes + 2):
        text.file.seek(text.start)
        data = text.file.read(size)
        records = scan(data, grammar, final=len(data) < size)
        filled = np.flatnonzero(records.end > records.start)
        if len(filled):
            break
    else:
        raise FileRefused("the file has no header line", line=1, byte=0)
    index = int(filled[0])
    line = data[records.start[index] : records.end[index]].decode("utf-8")
    cells = (
        next(csv.reader([line], delimiter=delimiter, quotechar=config.quote)) if config.quote else line.split(delimiter)
    )
    behind = index + 1 < len(records.start)
    byte = int(records.start[index + 1]) if behind else records.consumed
    lines = int(records.line[index + 1]) if behind else records.lines
    return _renamed(cells, config), Place(text.start + byte, 1 + lines)


def _fold(header: str) -> str:
    return header.strip().casefold()


def _renamed(cells: Sequence[str], config: PosCsvConfig) -> list[str]:
    """The headers, those that have had other names under the newest."""
    aliases = {_fold(old): new for old, new in (config.described.aliases if config.described else {}).items()}
    return [aliases.get(_fold(cell), cell.strip()) for cell in cells]


def _present(headers: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The columns of those of the wanted headers that there are."""
    columns = {_fold(header): index for index, header in enumerate(headers)}
    return [columns[_fold(header)] for header in wanted if _fold(header) in columns]


def _named(headers: Sequence[str], config: PosCsvConfig) -> Mapping[Role, str]:
    """The header of every role that is configured, or that the preset finds."""
    preset = config.described
    if preset is None:
        return config.columns
    present = {_fold(header) for header in headers}
    found = {
        role: header for role, header in preset.columns.items() if _fold(header) in present or role in preset.required
    }
    for given, instead in (("sold_at", ("date", "time", "time_zone")), ("date", ("sold_at",))):
        if given in config.columns:
            found = {role: header for role, header in found.items() if role not in instead}
    return {**cast(Mapping[Role, str], found), **config.columns}


def _missing(headers: Sequence[str], config: PosCsvConfig) -> list[str]:
    present, named = {_fold(header) for header in headers}, _named(headers, config)
    wanted = [*named.values(), *config.extra.values()]
    if "order_id" not in named:
        wanted.append("order_id")
    if not {"sold_at", "date"} & named.keys() and "date" not in present:
        wanted.append("sold_at")
    return [repr(header) for header in dict.fromkeys(wanted) if _fold(header) not in present]


def _roles(headers: Sequence[str], config: PosCsvConfig) -> dict[str, int]:
    columns = {_fold(header): index for index, header in enumerate(headers)}
    doubled = [name for name, count in Counter(map(_fold, headers)).items() if count > 1 and name]
    if doubled:
        raise FileRefused(f"the header names {', '.join(map(repr, doubled))} more than once", line=1)
    named = _named(headers, config)
    roles = {role: columns[_fold(header)] for role, header in named.items()}
    # A role that is not configured belongs to the header of its own name, unless that header has another use. What
    # another vendor calls so may be something else, and a zone is looked for only where one is declared.
    used = {_fold(header) for header in [*named.values(), *config.extra.values()]}
    for role in ROLES if config.preset is None else ():
        if role not in roles and role in columns and role not in used and role != "time_zone":
            roles[role] = columns[role]
    if "date" in named or "sold_at" not in roles:
        roles.pop("sold_at", None)
    else:
        roles.pop("date", None)
        roles.pop("time", None)
    return {str(role): column for role, column in roles.items()}


def _kept(headers: Sequence[str], roles: Mapping[str, int], config: PosCsvConfig) -> dict[str, int]:
    names = {**(config.described.names if config.described else {}), **config.extra}
    named = {_fold(header): name for name, header in names.items()}
    kept: dict[str, int] = {}
    for column, header in enumerate(headers):
        if column in roles.values() and _fold(header) not in named:
            continue
        name = named.get(_fold(header)) or snake_case(header) or f"column_{column + 1}"
        if name in kept or name in FIELDS:
            what = "the role of that name" if name in FIELDS else "another column"
            raise FileRefused(f"header {header!r} would be {name}, as is {what}; name it under `extra`", line=1)
        kept[name] = column
    return kept
