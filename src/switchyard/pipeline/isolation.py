"""Which records an expression fails on, so that only these are refused."""

import re
from collections.abc import Callable

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api.errors import ConfigError
from switchyard.api.records import Reject
from switchyard.pipeline.records import describe

Query = Callable[[str, pa.Table], pa.Table]
"""Runs a SELECT over `page`; raises duckdb.Error."""

EXPLAINED = 100
"""So many refused records of a page are told why in DuckDB's words, which takes a query each."""


def isolated(query: Query, select: str, fails: str, page: pa.Table) -> tuple[pa.Table, list[Reject]]:
    """What the SELECT gives for the records on which it does not fail, and the others, refused.

    Args:
        fails: the condition that it fails on a record.
    """
    try:
        failing = query(f"SELECT {fails} AS fails FROM page", page)["fails"]
        records = query(select, page.filter(pc.invert(failing)))
    except (duckdb.Error, ConfigError):
        # There are expressions that TRY does not take, random() for one.
        return _halved(query, select, page)
    return records, _refused(query, select, page.filter(failing))


def _halved(query: Query, select: str, page: pa.Table) -> tuple[pa.Table, list[Reject]]:
    try:
        return query(select, page), []
    except duckdb.Error:
        if page.num_rows <= 1:
            return query(select, page.slice(0, 0)), _refused(query, select, page)
    half = page.num_rows // 2
    first, rejected = _halved(query, select, page.slice(0, half))
    second, more = _halved(query, select, page.slice(half))
    return pa.concat_tables([first, second]), rejected + more


def _refused(query: Query, select: str, failing: pa.Table) -> list[Reject]:
    rejects: list[Reject] = []
    for at in range(min(failing.num_rows, EXPLAINED)):
        record = failing.slice(at, 1)
        try:
            query(select, record)
            reason = "the mapping fails on this record"
        except duckdb.Error as error:
            reason = f"the mapping fails on this record: {first_line(error)}"
        rejects += describe(record, "bad_value", reason)
    return rejects + describe(failing.slice(EXPLAINED), "bad_value", "the mapping fails on this record")


def first_line(error: Exception) -> str:
    """A DuckDB error without the picture of the statement, and without the values it quotes: they may be personal."""
    return _QUOTED.sub("'…'", str(error).split("\n", 1)[0])


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
