"""Runs the rules on Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import reduce
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api import ConfigError, Reject
from switchyard_plugins.quality.rules import QualityConfig, Range, Rule, Value

ROW = "_row"

# What mail servers accept in practice: no quoted local parts, at least one dot in the domain, letters of any script.
_EMAIL = (
    r"[\p{L}\p{N}!#$%&'*+/=?^_`{|}~-]+(?:\.[\p{L}\p{N}!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+[\p{L}\p{N}-]*[\p{L}][\p{L}\p{N}-]*"
)
# The longest address that fits SMTP's path of 256 with its two angle brackets (RFC 5321, 4.5.3.1.3).
_EMAIL_LENGTH = 254
_DAY = r"\d{4}-\d{2}-\d{2}"

Test: TypeAlias = Callable[[Any], Any]
"""A column → a boolean array: true where the value fails. Null counts as false."""


@dataclass(frozen=True, slots=True)
class _Check:
    column: str
    code: str
    reason: str
    on_failure: str
    flag: str
    fails: Test


class Quality:
    """The record transform. Rejects have the codes `missing`, `bad_format`, `out_of_range` and `not_allowed`."""

    def __init__(self, config: QualityConfig) -> None:
        self._checks = [
            check for column, rules in config.root.items() for rule in rules for check in _checks(column, rule)
        ]

    def apply(self, page: pa.Table) -> tuple[pa.Table, Sequence[Reject]]:
        """See `RecordTransform.apply`. A reject's record is its `_row`.

        Raises:
            ConfigError: a rule names a column that the page has not, or does not fit the column's type.
        """
        rejects: list[Reject] = []
        for check in self._checks:
            failed = self._failed(page, check)
            if check.on_failure == "flag":
                page = _flagged(page, check.flag, failed)
            elif pc.any(failed).as_py():
                if check.on_failure == "quarantine":
                    rows = page.column(ROW).filter(failed).to_pylist()
                    rejects += [Reject(check.code, check.reason, row, field=check.column) for row in rows]
                    page = page.filter(pc.invert(failed))
                else:
                    column = page.column(check.column)
                    kept = pc.if_else(failed, pa.scalar(None, column.type), column)
                    page = _with_column(page, check.column, kept)
        return page, rejects

    def _failed(self, page: pa.Table, check: _Check) -> Any:
        if check.column not in page.column_names:
            known = [name for name in page.column_names if not name.rpartition(".")[2].startswith("_")]
            near = get_close_matches(check.column, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"quality has a rule for a column that no mapping fills; {hint}", key=check.column)
        column = page.column(check.column)
        try:
            failed = pc.fill_null(check.fails(column), False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, InvalidOperation, ValueError) as error:
            # The cause may show a value of the column.
            message = f"the rule '{check.reason}' does not fit a column of type {column.type}"
            raise ConfigError(message, key=check.column) from error
        if check.code == "missing" and (present := _event_present(page, check.column)) is not None:
            failed = pc.and_(failed, present)
        return failed


def _event_present(page: pa.Table, column: str) -> Any:
    """Where the record gives the event whose property `column` is; None for other columns."""
    event = column.rpartition(".")[0]
    return page.column(f"{event}._when") if f"{event}._when" in page.column_names else None


def _flagged(page: pa.Table, name: str, failed: Any) -> pa.Table:
    if name in page.column_names:
        failed = pc.or_(page.column(name), failed)
    return _with_column(page, name, failed)


def _with_column(page: pa.Table, name: str, values: Any) -> pa.Table:
    if name in page.column_names:
        return page.set_column(page.column_names.index(name), name, values)
    return page.append_column(name, values)


def _checks(column: str, rule: Rule) -> list[_Check]:
    label = rule.name or column.partition(".")[2].replace(".", "_") or column
    found: list[tuple[str, str, Test]] = []
    if rule.required:
        found.append(("missing", "is missing", _is_missing))
    if rule.format is not None:
        named = rule.format in ("email", "date")
        reason = f"is no {rule.format}" if named else f"does not match {rule.format}"
        found.append(("bad_format", reason, _format(column, rule.format)))
    if rule.range is not None:
        found.append(("out_of_range", f"is not {_range_text(rule.range)}", _outside(rule.range)))
    if rule.one_of is not None:
        found.append(("not_allowed", "is none of the allowed values", _not_in(rule.one_of)))
    return [
        _Check(column, code, f"{column} {reason}", rule.on_failure, f"flag.{label}", test)
        for code, reason, test in found
    ]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_missing(column: Any) -> Any:
    missing = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    if _is_text(column.type):
        return pc.or_kleene(missing, pc.equal(pc.utf8_trim_whitespace(column), ""))
    if pa.types.is_list(column.type):
        return pc.or_kleene(missing, pc.equal(pc.list_value_length(column), 0))
    return missing


def _format(column: str, wanted: str) -> Test:
    if wanted == "date":
        return _no_date
    pattern = rf"\A(?:{_EMAIL if wanted == 'email' else wanted})\z"
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"'{wanted}' is no regular expression of RE2", key=column) from error

    def fails(values: Any) -> Any:
        failed = pc.invert(pc.match_substring_regex(values, pattern))
        return pc.or_(failed, pc.greater(pc.utf8_length(values), _EMAIL_LENGTH)) if wanted == "email" else failed

    return fails


def _no_date(column: Any) -> Any:
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        return pa.chunked_array([pa.repeat(pa.scalar(False), len(column))])
    # Days repeat, and parsing them is slow.
    days = pc.unique(column)
    shaped = pc.match_substring_regex(days, rf"\A{_DAY}\z")
    parsed = pc.strptime(days, format="%Y-%m-%d", unit="s", error_is_null=True)
    # strptime takes 30 February for 1 March, so the text has to come back.
    real = pc.fill_null(pc.equal(pc.strftime(parsed, format="%Y-%m-%d"), days), False)
    wrong = days.filter(pc.fill_null(pc.invert(pc.and_(shaped, real)), False))
    return pc.is_in(column, value_set=wrong)


def _outside(wanted: Range) -> Test:
    def fails(column: Any) -> Any:
        sides = []
        if wanted.min is not None:
            sides.append(pc.less(column, _scalar(wanted.min, column.type)))
        if wanted.max is not None:
            sides.append(pc.greater(column, _scalar(wanted.max, column.type)))
        return reduce(pc.or_, sides)

    return fails


def _not_in(allowed: Sequence[Value]) -> Test:
    def fails(column: Any) -> Any:
        kind = column.type
        values = [str(each) if _is_text(kind) else _scalar(each, kind).as_py() for each in allowed]
        # A cast refuses 0.5 for a column of integers, where an array of that type would be made of it.
        return pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(values).cast(kind))))

    return fails


def _scalar(value: Value, kind: pa.DataType) -> pa.Scalar:
    """The value as a scalar that compares with a column of this type.

    Raises:
        ValueError: it has no meaning there: a number for a column of texts, a text for a column of numbers.
    """
    if pa.types.is_decimal(kind) and not isinstance(value, str):
        return pa.scalar(Decimal(str(value)))
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not isinstance(value, str):
        return pa.scalar(value)
    if pa.types.is_timestamp(kind) and isinstance(value, str):
        return pa.scalar(datetime.fromisoformat(value), kind)
    if pa.types.is_date(kind) and isinstance(value, str):
        return pa.scalar(date.fromisoformat(value), kind)
    raise ValueError(f"{type(value).__name__} does not compare with {kind}")


def _range_text(wanted: Range) -> str:
    if wanted.min is None:
        return f"at most {wanted.max}"
    return f"at least {wanted.min}" if wanted.max is None else f"between {wanted.min} and {wanted.max}"
