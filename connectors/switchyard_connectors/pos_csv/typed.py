"""Lines of text become records with typed columns; what cannot becomes rejects."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api import Reject
from switchyard.api.records import BYTE, LINE
from switchyard_connectors.pos_csv.config import FIELDS, PosCsvConfig
from switchyard_connectors.pos_csv.layout import Layout
from switchyard_connectors.pos_csv.lines import (
    LENGTH,
    OCCURRENCE,
    ORDER,
    START,
    column_name,
    filled,
    line_ids,
    numbered,
)
from switchyard_connectors.pos_csv.values import (
    INSTANT,
    MONEY,
    Instants,
    Numbers,
    clean_ids,
    damaged_ids,
    distinct,
    flags,
    trimmed,
)
from switchyard_connectors.pos_csv.zones import iana

_IDS = ("order_id", "line_id", "sku", "customer_id", "email", "phone", "loyalty_card", "store_id")
_NUMBERS = ("quantity", "price", "amount")
_TYPES = {"decimal": MONEY, "timestamp": INSTANT}
_MISSING = ("missing_value", "the value is missing")
_BAD_DATE = ("bad_date", "is not an instant by the declared formats, or lies outside 1900 to 2199")
_AMBIGUOUS = ("ambiguous_date", "fits two of the declared formats with different results; declare one")
_BAD_NUMBER = ("bad_number", "is not a number by the declared format with at most 14 digits and 4 decimals")
_TOO_LARGE = ("bad_number", "quantity times price has more than 14 digits")
_DAMAGED = ("damaged_id", "has been turned into a power of ten by a spreadsheet; export it as text")
_BAD_ZONE = ("bad_zone", "is in a time zone of an unknown name; say under `zones` which one it is")
_BAD_KIND = ("bad_kind", "is none of the values that `kinds` names")


class Verdicts:
    """The first thing that is wrong with each row."""

    def __init__(self, rows: int) -> None:
        self._codes = np.zeros(rows, np.int8)
        self._faults: list[tuple[str, str, str]] = [("", "", "")]

    def add(self, field: str, fault: tuple[str, str], where: NDArray[np.bool_]) -> None:
        if where.any():
            self._codes[where & (self._codes == 0)] = len(self._faults)
            self._faults.append((field, *fault))

    @property
    def good(self) -> NDArray[np.bool_]:
        return self._codes == 0

    def of(self, row: int) -> tuple[str, str, str]:
        """Field, code and reason."""
        return self._faults[self._codes[row]]


class Typing:
    """Types the lines of one file.

    Args:
        layout: which column plays which role.
        config: the formats.
        instants: reads instants.
        text_of: gives the text of a line by start and length in the private copy.
    """

    def __init__(
        self, layout: Layout, config: PosCsvConfig, instants: Instants, text_of: Callable[[int, int], str]
    ) -> None:
        self._layout = layout
        self._config = config
        self._instants = instants
        self._numbers = Numbers(config)
        self._text_of = text_of

    def page(self, table: pa.Table) -> tuple[pa.Table, list[Reject]]:
        """The records with `_line`, `_byte`, every role of `FIELDS` in turn, and what else the file holds."""
        table = filled(numbered(table), self._layout)
        verdicts = Verdicts(table.num_rows)
        columns: dict[str, pa.Array | pa.ChunkedArray] = {LINE: table[LINE], BYTE: table[BYTE]}
        found = self._texts(table, verdicts)
        found["sold_at"] = self._sold_at(table, verdicts)
        found |= self._amounts(table, verdicts)
        found["kind"] = self._kinds(table, found, verdicts)
        types = {"sold_at": INSTANT} | dict.fromkeys(_NUMBERS, MONEY)
        for role in FIELDS:
            columns[role] = found.get(role, pa.nulls(table.num_rows, types.get(role, pa.string())))
        for name in self._layout.kept:
            columns[name] = self._kept(name, table, verdicts)
        for name in self._config.types.keys() - columns.keys():
            columns[name] = pa.nulls(table.num_rows, _TYPES[self._config.types[name]])
        page = pa.table(columns)
        good = verdicts.good
        return (page, []) if good.all() else (page.filter(pa.array(good)), self._rejects(table, verdicts))

    def rejects(self, table: pa.Table, field: str, code: str, reason: str) -> list[Reject]:
        """All lines of a table of text as rejects."""
        verdicts = Verdicts(table.num_rows)
        verdicts.add(field, (code, reason), np.ones(table.num_rows, bool))
        return self._rejects(table, verdicts)

    def _rejects(self, table: pa.Table, verdicts: Verdicts) -> list[Reject]:
        rows = np.flatnonzero(~verdicts.good)
        names = [each for each in (LINE, BYTE, START, LENGTH, OCCURRENCE) if each in table.column_names]
        rejects = []
        for row, place in zip(rows.tolist(), table.select(names).take(rows).to_pylist(), strict=True):
            field, code, reason = verdicts.of(row)
            text = self._whole(table, row) if self._layout.filled else self._text_of(place[START], place[LENGTH])
            record = self._layout.record(text, place.get(OCCURRENCE))
            rejects.append(Reject(code, f"{field}: {reason}", record, line=place[LINE], byte=place[BYTE], field=field))
        return rejects

    def _whole(self, table: pa.Table, row: int) -> str:
        """A line as it would stand alone: with what the first line of its order says for all."""
        cells = [table[column_name(column)][row].as_py() or "" for column in range(self._layout.width)]
        delimiter, quote = chr(self._layout.grammar.delimiter), self._layout.grammar.quote
        if quote is None:
            return delimiter.join(cells)
        written = io.StringIO(newline="")
        csv.writer(written, delimiter=delimiter, quotechar=chr(quote), lineterminator="\n").writerow(cells)
        return written.getvalue().removesuffix("\n")

    def _kept(self, name: str, table: pa.Table, verdicts: Verdicts) -> pa.Array | pa.ChunkedArray:
        texts, kind = table[column_name(self._layout.kept[name])], self._config.types.get(name)
        if kind is None:
            return texts
        texts = trimmed(texts)
        if kind == "decimal":
            found, fault = distinct(texts, self._numbers), _BAD_NUMBER
        else:
            read, fault = self._read(texts, table, verdicts), _BAD_DATE
            verdicts.add(name, _AMBIGUOUS, flags(pc.struct_field(read, "ambiguous")))
            found = pc.struct_field(read, "at")
        verdicts.add(name, fault, flags(pc.and_(pc.is_null(found), pc.is_valid(texts))))
        return found

    def _texts(self, table: pa.Table, verdicts: Verdicts) -> dict[str, pa.Array | pa.ChunkedArray]:
        found: dict[str, pa.Array | pa.ChunkedArray] = {}
        for role, column in self._layout.roles.items():
            if role in _IDS:
                strip = role in self._config.strip_float_ids
                ids = table[ORDER] if role == "order_id" else clean_ids(table[column_name(column)], strip_float=strip)
                verdicts.add(role, _DAMAGED, damaged_ids(ids))
                found[role] = ids
            elif role in ("description", "first_name", "last_name"):
                found[role] = trimmed(table[column_name(column)])
        if "line_id" not in found:
            found["line_id"] = line_ids(table)
        for role in ("order_id", "line_id"):
            verdicts.add(role, _MISSING, flags(pc.is_null(found[role])))
        return found

    def _sold_at(self, table: pa.Table, verdicts: Verdicts) -> pa.Array:
        roles = self._layout.roles
        if "sold_at" in roles:
            texts = table[column_name(roles["sold_at"])]
        else:
            texts = trimmed(table[column_name(roles["date"])])
            if "time" in roles:
                texts = pc.binary_join_element_wise(texts, trimmed(table[column_name(roles["time"])]), " ")
        read = self._read(texts, table, verdicts)
        at, ambiguous = pc.struct_field(read, "at"), pc.struct_field(read, "ambiguous")
        verdicts.add("sold_at", _MISSING, flags(pc.is_null(texts)))
        verdicts.add("sold_at", _AMBIGUOUS, flags(ambiguous))
        verdicts.add("sold_at", _BAD_DATE, flags(pc.is_null(at)))
        return at

    def _read(self, texts: pa.ChunkedArray, table: pa.Table, verdicts: Verdicts) -> pa.Array:
        """Instants, each in the zone that its line names."""
        if "time_zone" not in self._layout.roles:
            return distinct(texts, self._instants)
        named = pc.dictionary_encode(trimmed(table[column_name(self._layout.roles["time_zone"])]).combine_chunks())
        codes = named.indices.fill_null(-1).to_numpy()
        parts = [distinct(texts, self._instants)]
        place, unknown, size = np.arange(len(codes)), np.zeros(len(codes), bool), len(codes)
        for code, name in enumerate(named.dictionary.to_pylist()):
            here, zone = codes == code, iana(name, self._config.zones)
            if zone is None:
                unknown |= here
            elif zone != self._config.timezone:
                parts.append(distinct(texts.filter(pa.array(here)), partial(self._instants, zone=zone)))
                place[here] = np.arange(size, size + len(parts[-1]))
                size += len(parts[-1])
        verdicts.add("sold_at", _BAD_ZONE, unknown)
        return pa.concat_arrays(parts).take(pa.array(place))

    def _amounts(self, table: pa.Table, verdicts: Verdicts) -> dict[str, pa.Array | pa.ChunkedArray]:
        found: dict[str, pa.Array | pa.ChunkedArray] = {}
        for role in _NUMBERS:
            if role in self._layout.roles:
                texts = trimmed(table[column_name(self._layout.roles[role])])
                found[role] = distinct(texts, self._numbers)
                verdicts.add(role, _BAD_NUMBER, flags(pc.and_(pc.is_null(found[role]), pc.is_valid(texts))))
        if "amount" not in found and "quantity" in found and "price" in found:
            exact = pc.multiply(found["quantity"], found["price"])
            large = flags(pc.greater_equal(pc.abs(exact), pa.scalar(10**14, pa.decimal128(37, 8))))
            verdicts.add("amount", _TOO_LARGE, large)
            rounded = pc.round(exact, ndigits=4, round_mode="half_towards_infinity")
            found["amount"] = pc.if_else(pa.array(large), None, rounded).cast(MONEY)
        return found

    def _kinds(
        self, table: pa.Table, found: dict[str, pa.Array | pa.ChunkedArray], verdicts: Verdicts
    ) -> pa.Array | pa.ChunkedArray:
        rows = table.num_rows
        none = np.zeros(rows, bool)
        refund, void = none, none
        if "kind" in self._layout.roles:
            kinds = self._config.kinds
            texts = pc.utf8_lower(trimmed(table[column_name(self._layout.roles["kind"])]))
            refund, void = _among(texts, kinds.refund), _among(texts, kinds.void)
            if kinds.sale is not None:
                other = ~(refund | void | _among(texts, kinds.sale)) & flags(pc.is_valid(texts))
                verdicts.add("kind", _BAD_KIND, other)
        # Where there is no quantity, the sign of the amount tells.
        quantity, amount = (found.get(role, pa.nulls(rows, MONEY)) for role in ("quantity", "amount"))
        refund = refund | flags(pc.less(pc.coalesce(quantity, amount), pa.scalar(0, MONEY)))
        choices = np.where(void, 2, np.where(refund, 1, 0))
        return pa.array(["sale", "refund", "void"]).take(pa.array(choices))


def _among(texts: pa.ChunkedArray, values: tuple[str, ...]) -> NDArray[np.bool_]:
    return flags(pc.is_in(texts, value_set=pa.array([value.strip().lower() for value in values], pa.string())))


def connection() -> duckdb.DuckDBPyConnection:
    """A database in memory that touches nothing outside."""
    return duckdb.connect(
        ":memory:", config={"threads": 1, "enable_external_access": False, "autoload_known_extensions": False}
    )
