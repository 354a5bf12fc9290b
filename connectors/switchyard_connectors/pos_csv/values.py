"""Texts become numbers, instants and ids by the declared formats; what does not fit is NULL, never guessed.

Everything here works on the distinct texts of a column: receipts repeat their instants, prices and quantities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api import ConfigError
from switchyard_connectors.pos_csv.config import PosCsvConfig

MONEY = pa.decimal128(18, 4)
INSTANT = pa.timestamp("us")

_TIMES = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M")
_LOCAL = (*(f"%Y-%m-%d{between}{time}" for between in " T" for time in _TIMES), "%Y-%m-%d")
_ZONED = tuple(f"%Y-%m-%d{between}{time}{zone}" for between in " T" for time in _TIMES for zone in ("%z", " %z", "Z"))
_PLAIN = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d$"
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(2200, 1, 1)

# What spreadsheets make of a long number: 4.00638E+12. Its digits are gone.
_DAMAGED = r"^\d([.,]\d+)?[eE]\+\d+$"


def distinct(column: pa.ChunkedArray, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Convert the distinct values of a column and spread the results over its rows."""
    encoded = pc.dictionary_encode(column)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().chunk(0)
    return convert(encoded.dictionary).take(encoded.indices)


def trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without blanks at either end; NULL where nothing is left."""
    column = pc.ascii_trim_whitespace(column)
    empty = pc.equal(column, "")
    return pc.if_else(empty, None, column) if pc.any(empty).as_py() else column


def clean_ids(column: pa.ChunkedArray, *, strip_float: bool) -> pa.ChunkedArray:
    """Ids as text: trimmed, without the guards by which exporters keep spreadsheets from reading them as numbers or
    formulas (`'007`, `="007"`), and, where asked for, without the `.0` of a float.
    """
    column = trimmed(column)
    if pc.any(pc.starts_with(column, "'")).as_py():
        column = pc.replace_substring_regex(column, r"^'([-=+@0-9])", r"\1")
    if pc.any(pc.starts_with(column, '="')).as_py():
        column = pc.replace_substring_regex(column, r'(?s)^="(.*)"$', r"\1")
    if strip_float:
        column = pc.replace_substring_regex(column, r"^(\d+)\.0+$", r"\1")
    return column


def damaged_ids(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which ids a spreadsheet has turned into a power of ten."""
    if not pc.any(pc.match_substring(column, "+")).as_py():
        return np.zeros(len(column), bool)
    return flags(pc.match_substring_regex(column, _DAMAGED))


def flags(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """A boolean column as a numpy array, NULL as False."""
    result: NDArray[np.bool_] = np.asarray(pc.fill_null(column, False))
    return result


class Numbers:
    """Reads decimal numbers. Four decimals at most: a fifth would have to be rounded away."""

    def __init__(self, config: PosCsvConfig) -> None:
        whole = r"\d+"
        if config.thousands:
            whole = rf"(?:\d+|\d{{1,3}}(?:\Q{config.thousands}\E\d{{3}})+)"
        point = rf"\Q{config.decimal}\E"
        self._shape = rf"^[-+]?(?:{whole}(?:{point}(?:\d{{1,4}}0*)?)?|{point}\d{{1,4}}0*)$"
        self._config = config

    def __call__(self, texts: pa.Array) -> pa.Array:
        """decimal(18,4), NULL for what is not a number by the declared format."""
        texts = pc.utf8_trim_whitespace(texts)
        texts = pc.replace_substring_regex(texts, r"^\(([^-+].*)\)$", r"-\1")
        if currency := self._config.currency:
            texts = pc.replace_substring_regex(texts, rf"^([-+]?)\s*\Q{currency}\E\s*", r"\1")
            texts = pc.replace_substring_regex(texts, rf"\s*\Q{currency}\E$", "")
        texts = pc.if_else(pc.match_substring_regex(texts, self._shape), texts, None)
        if self._config.thousands:
            texts = pc.replace_substring(texts, self._config.thousands, "")
        if self._config.decimal == ",":
            texts = pc.replace_substring(texts, ",", ".")
        texts = pc.replace_substring_regex(texts, r"^([-+]?)0+(\d)", r"\1\2")
        texts = pc.if_else(pc.match_substring_regex(texts, r"^[-+]?\d{0,14}(?:\.|$)"), texts, None)
        return texts.cast(pa.decimal128(38, 19)).cast(MONEY)


class Instants:
    """Reads instants as UTC without a zone.

    A format without an offset is local time in the configured zone: of a time that the autumn change repeats, the
    first is meant; a time that the spring change skips counts as the moment of the change.

    Raises:
        ConfigError: a format is not one of DuckDB's `strptime`, or the machine has no time zone database.
    """

    def __init__(self, config: PosCsvConfig, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck
        self._zone = config.timezone
        self._declared = bool(config.formats)
        self._formats: list[tuple[Sequence[str], bool]] = (
            [((each,), "%z" in each) for each in config.formats]
            if config.formats
            else [(_LOCAL, False), (_ZONED, True)]
        )
        try:
            self(pa.array(["2000-01-01"]))
        except duckdb.Error as error:
            raise ConfigError(f"not a date format: {', '.join(config.formats)}", key="formats") from error
        except pa.ArrowInvalid as error:
            raise ConfigError(f"no time zone database knows {self._zone}; install tzdata", key="timezone") from error

    def __call__(self, texts: pa.Array, zone: str | None = None) -> pa.Array:
        """A struct array: `at` (timestamp, NULL where no format fits) and `ambiguous` (two formats fit and differ).

        Args:
            zone: the IANA name of the zone of local times, where it is not the configured one.
        """
        zone = zone or self._zone
        # DuckDB reads "infinity" and "epoch" under any format.
        texts = pc.if_else(pc.match_substring_regex(texts, r"\d"), texts, None)
        result = pa.nulls(len(texts), INSTANT)
        ambiguous = np.zeros(len(texts), bool)
        for formats, zoned in self._formats:
            # Declared formats may contradict each other; those of ISO 8601 exclude each other.
            left = texts if self._declared else pc.if_else(pc.is_null(result), texts, None)
            if left.null_count == len(left):
                continue
            read = self._read(left, formats, None if zoned else zone)
            ambiguous |= flags(pc.not_equal(result, read))
            result = pc.coalesce(result, read)
        return pa.StructArray.from_arrays([result, pa.array(ambiguous)], ["at", "ambiguous"])

    def _read(self, texts: pa.Array, formats: Sequence[str], zone: str | None) -> pa.Array:
        read = self._parsed(texts, formats)
        inside = pc.and_(pc.greater_equal(read, pa.scalar(_EARLIEST)), pc.less(read, pa.scalar(_LATEST)))
        read = pc.if_else(inside, read, None).cast(INSTANT)
        if zone in (None, "UTC"):
            return read
        return pc.assume_timezone(read, zone, ambiguous="earliest", nonexistent="latest").cast(INSTANT)

    def _parsed(self, texts: pa.Array, formats: Sequence[str]) -> pa.Array:
        if formats is _LOCAL and pc.all(pc.match_substring_regex(texts, _PLAIN)).as_py():
            # The commonest form by far, for which Arrow needs a fraction of the time.
            with suppress(pa.ArrowInvalid):
                return texts.cast(INSTANT)
        self._duck.register("texts", pa.table({"text": texts}))
        # A format with an offset gives a TIMESTAMPTZ, the others a TIMESTAMP; microseconds are the same for both.
        query = "SELECT make_timestamp(epoch_us(try_strptime(text, $formats))) AS at FROM texts"
        read = self._duck.execute(query, {"formats": list(formats)}).to_arrow_table()["at"].combine_chunks()
        self._duck.unregister("texts")
        return read
