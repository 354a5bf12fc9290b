"""Lines from quarantine, read again without the files that they came in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from switchyard.api import Page, Reject
from switchyard.api.records import BYTE, JSON, LINE
from switchyard_connectors.pos_csv.config import FileRefused, PosCsvConfig
from switchyard_connectors.pos_csv.layout import Layout, arranged
from switchyard_connectors.pos_csv.lines import DIGEST, OCCURRENCE, START, STRAY, chunk
from switchyard_connectors.pos_csv.scan import STRAY_LIMIT, Block, Grammar, Place, scan
from switchyard_connectors.pos_csv.typed import Typing
from switchyard_connectors.pos_csv.values import Instants

_IN_VAIN = {
    "order_split": "the rest of the order was given without this line; put the file into the folder again, "
    "sorted by order",
    "file_refused": "a file is no line; mend it or the configuration, and the next sync reads it",
    "nul_byte": "the line holds a NUL byte; put the file into the folder again without it",
}
_UNPLACED = 1_000_000
"""From here on lines are numbered that could not be told apart in their file, so that they take the id of no other."""
_NO_LINE = "the record is not the text of a line with its header; put the file into the folder again"
_NOT_ONE_LINE = ("not_one_line", "with the quotes as they are declared now, the text is not one whole line")


@dataclass(frozen=True, slots=True)
class _Line:
    """What `Layout.record` kept."""

    text: str
    columns: tuple[str, ...]
    delimiter: str
    occurrence: int | None


def replayed(rejects: Sequence[Reject], config: PosCsvConfig, instants: Instants) -> Page:
    """Read lines by the present configuration.

    A line whose occurrence was not recorded (it was none that could be read) is numbered among the equal ones that
    are given with it.

    Returns:
        A page whose lines stand where they stood in their file. What stays refused keeps its record and its place.
    """
    lines = [None if reject.code in _IN_VAIN else _line(reject.record) for reject in rejects]
    occurrences, tables = _occurrences(lines, _UNPLACED if config.preset else 0), []
    refused: dict[int, Reject] = {}
    alike: defaultdict[tuple[tuple[str, ...], str], dict[int, bytes]] = defaultdict(dict)
    for number, line in enumerate(lines):
        if line is None:
            reject = rejects[number]
            refused[number] = replace(reject, reason=_IN_VAIN.get(reject.code, _NO_LINE))
        else:
            alike[line.columns, line.delimiter][number] = line.text.encode()
    for (columns, delimiter), texts in alike.items():
        try:
            described = arranged(columns, delimiter, config)
        except FileRefused as refusal:
            reason = f"{refusal.reason}; correct `columns` or `extra`"
            refused |= {number: replace(rejects[number], code="bad_header", reason=reason) for number in texts}
            continue
        table, faults = _read(texts, occurrences, described, config, instants)
        tables.append(table)
        for number, fault in faults.items():
            refused[number] = replace(rejects[number], code=fault.code, reason=fault.reason, field=fault.field)
    records = _placed(pa.concat_tables(tables, promote_options="default"), rejects) if tables else []
    return Page(records, None, rejected=[refused[number] for number in sorted(refused)])


def _line(record: JSON) -> _Line | None:
    match record:
        case {"text": str(text), "columns": [*columns], "delimiter": str(delimiter), **more}:
            occurrence = more.get("occurrence")
            return _Line(text, tuple(map(str, columns)), delimiter, occurrence if isinstance(occurrence, int) else None)
    return None


def _occurrences(lines: Sequence[_Line | None], unplaced: int) -> list[int]:
    seen: Counter[str] = Counter()
    numbers = []
    for line in lines:
        seen[line.text if line else ""] += 1
        numbers.append((line and line.occurrence) or unplaced + seen[line.text if line else ""])
    return numbers


def _read(
    texts: Mapping[int, bytes], occurrences: Sequence[int], layout: Layout, config: PosCsvConfig, instants: Instants
) -> tuple[pa.Table, Mapping[int, Reject]]:
    """The records, and those refused again by their number. The number stands for line and byte in both."""
    refused: dict[int, Reject] = {}
    block = _block(texts.values(), layout.grammar)
    if block.records.strays > STRAY_LIMIT or not _is_lines(block, texts.values()):
        # Some text leads astray those behind it: each is looked at alone.
        faults = {number: _fault(text, layout.grammar) for number, text in texts.items()}
        refused = {number: Reject(*fault, None) for number, fault in faults.items() if fault}
        texts = {number: text for number, text in texts.items() if number not in refused}
        block = _block(texts.values(), layout.grammar)
    numbers, starts = np.fromiter(texts, np.int64, len(texts)), block.records.start
    found = chunk(block, layout, config, np.append(starts, len(block.data)))
    refused |= {int(numbers[np.searchsorted(starts, each.byte or 0)]): each for each in found.rejects}
    of_rows = numbers[np.searchsorted(starts, found.table[START].to_numpy())]
    table = _replaced(_replaced(found.table, LINE, of_rows), BYTE, of_rows)
    if DIGEST in table.column_names:
        table = table.append_column(OCCURRENCE, pa.array(np.array(occurrences)[of_rows]))

    def text_of(start: int, length: int) -> str:
        return block.data[start : start + length].decode()

    page, rejects = Typing(layout, config, instants, text_of).page(table)
    return page, refused | {each.line: each for each in rejects if each.line is not None}


def _block(texts: Iterable[bytes], grammar: Grammar) -> Block:
    """The texts, one after the other."""
    data = b"".join(text + b"\n" for text in texts)
    return Block(data, Place(0, 1), scan(data, grammar, final=True))


def _is_lines(block: Block, texts: Collection[bytes]) -> bool:
    return np.array_equal(block.records.end, np.cumsum([len(text) + 1 for text in texts]) - 1)


def _fault(text: bytes, grammar: Grammar) -> tuple[str, str] | None:
    block = _block([text], grammar)
    if not _is_lines(block, [text]):
        return _NOT_ONE_LINE
    return STRAY if block.records.strays else None


def _placed(table: pa.Table, rejects: Sequence[Reject]) -> pa.Table:
    """The rows in the rejects' order, at the rejects' places."""
    table = table.sort_by(LINE)
    of_rows = table[LINE].to_numpy()
    for name, places in ((LINE, [each.line for each in rejects]), (BYTE, [each.byte for each in rejects])):
        table = _replaced(table, name, pa.array(places, pa.int64()).take(pa.array(of_rows)))
    return table


def _replaced(table: pa.Table, name: str, values: pa.Array | NDArray[np.int64]) -> pa.Table:
    column = values if isinstance(values, pa.Array) else pa.array(values)
    return table.set_column(table.column_names.index(name), name, column)
