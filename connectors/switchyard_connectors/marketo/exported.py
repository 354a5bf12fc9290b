"""Files of bulk extract: CSV read in columns, in bounded memory, every value as text."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.csv as pc

from switchyard.api import PermanentError, Reject

Part: TypeAlias = "tuple[pa.Table, list[Reject]]"
"""Some rows of a file, and what among them is no row."""

_BLOCK = 2 * 2**20
"""Bytes that are parsed at once; no row is longer."""
_ROWS = 50_000
"""Rows of a table: enough that the hub keeps them as a file of its own."""
_BYTES = 32 * 2**20
"""Bytes of a table at most, where rows are long, and those of one block."""
_JUNK = b"\0\r"


def parts(file: Path, skip: int) -> Iterator[Part]:
    """The rows of a file behind the first `skip`, in tables of some 50,000 each.

    Marketo writes `null` for no value, and NUL and carriage returns among the text, which are left out. Line ends and
    U+2028 within quotes belong to their value.

    Raises:
        PermanentError: the file is no CSV.
    """
    with file.open("rb") as raw:
        header = _header(raw)
        if not header or not raw.peek(1):
            return
        broken: list[Reject] = []

        def refuse(row: pc.InvalidRow) -> str:
            reason = f"the row has {row.actual_columns} columns, and the header {row.expected_columns}"
            broken.append(Reject("column_count", reason, row.text))
            return "skip"

        try:
            with _opened(raw, header, refuse) as reader:
                held: list[pa.RecordBatch] = []
                for batch in reader:
                    passed = min(skip, batch.num_rows)
                    skip -= passed
                    held += [batch.slice(passed)]
                    if passed and passed == batch.num_rows:
                        broken.clear()
                    if sum(each.num_rows for each in held) >= _ROWS or sum(each.nbytes for each in held) >= _BYTES:
                        yield _table(reader.schema, held, broken)
                if broken or any(each.num_rows for each in held):
                    yield _table(reader.schema, held, broken)
        except pa.ArrowInvalid as error:
            raise PermanentError(f"the file of a Marketo job is no CSV ({type(error).__name__})") from None


def _table(schema: pa.Schema, held: list[pa.RecordBatch], broken: list[Reject]) -> Part:
    """What was held, which is let go of."""
    part = pa.Table.from_batches(held, schema), list(broken)
    held.clear()
    broken.clear()
    return part


def _opened(raw: io.BufferedReader, header: list[str], refuse: Callable[[pc.InvalidRow], str]) -> pc.CSVStreamingReader:
    return pc.open_csv(
        pa.PythonFile(_Cleaned(raw), mode="r"),
        read_options=pc.ReadOptions(block_size=_BLOCK, column_names=header, use_threads=False),
        parse_options=pc.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            null_values=["null"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _header(raw: io.BufferedReader) -> list[str]:
    """The names of the columns; the file stands behind them."""
    line = raw.readline().translate(None, _JUNK + b"\n").removeprefix(b"\xef\xbb\xbf")
    return next(csv.reader([line.decode("utf-8", "replace")]), [])


class _Cleaned(io.RawIOBase):
    """A file without the bytes that are no part of what it says. What is no UTF-8 is read as U+FFFD."""

    def __init__(self, raw: io.BufferedReader) -> None:
        super().__init__()
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while data := self._raw.read(size):
            if clean := self._decoder.decode(data.translate(None, _JUNK)).encode():
                return clean
        return self._decoder.decode(b"", final=True).encode()
