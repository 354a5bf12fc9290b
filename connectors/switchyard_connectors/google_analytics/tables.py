"""Answers of the Data API as tables, without an object per row, and where tables are computed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from switchyard.api import TransientError

_VALUES = pa.list_(pa.struct([("value", pa.string())]))
_STATUS = pa.struct([("consumed", pa.int64()), ("remaining", pa.int64())])
_QUOTAS = ("tokensPerDay", "tokensPerHour", "tokensPerProjectPerHour")
_SCHEMA = pa.schema(
    [
        ("rows", pa.list_(pa.struct([("dimensionValues", _VALUES), ("metricValues", _VALUES)]))),
        ("audienceRows", pa.list_(pa.struct([("dimensionValues", _VALUES)]))),
        ("rowCount", pa.int64()),
        (
            "metadata",
            pa.struct(
                [
                    ("timeZone", pa.string()),
                    ("dataLossFromOtherRow", pa.bool_()),
                    ("subjectToThresholding", pa.bool_()),
                    ("emptyReason", pa.string()),
                    (
                        "samplingMetadatas",
                        pa.list_(pa.struct([("samplesReadCount", pa.string()), ("samplingSpaceSize", pa.string())])),
                    ),
                    ("dataTruncationReasons", pa.list_(pa.struct([("dataTruncationReason", pa.string())]))),
                ]
            ),
        ),
        ("propertyQuota", pa.struct([(name, _STATUS) for name in _QUOTAS])),
    ]
)


def scratch() -> duckdb.DuckDBPyConnection:
    """A DuckDB for one page. One for all pages keeps tens of megabytes more with each of them (DuckDB 1.5)."""
    return duckdb.connect(config={"threads": 1})


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of rows.

    Args:
        rows: texts, in columns `d0`, `d1`, … for dimensions and `m0`, `m1`, … for metrics.
        total: rows of the whole result, over all pages.
        metadata: what the answer says of its own quality and time zone.
        quota: `propertyQuota`.
    """

    rows: pa.Table
    total: int
    metadata: dict[str, Any]
    quota: dict[str, Any]


def parsed(body: bytes, dimensions: int, metrics: int = 0, rows: str = "rows") -> Answer:
    """The answer to a report or an audience query, asked for so many dimensions and metrics.

    Raises:
        TransientError: it is none: cut short, or something else than was asked for.
    """
    try:
        whole = pj.read_json(
            pa.BufferReader(body),
            # One object, which spans lines where it is printed for people.
            read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=_SCHEMA, newlines_in_values=True, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid as error:
        raise TransientError("Google Analytics answered something that is no page of rows") from error
    if whole.num_rows != 1:
        raise TransientError("Google Analytics answered something that is no page of rows")
    cells = pc.list_flatten(whole[rows]).combine_chunks()
    columns = _columns(cells, "dimensionValues", dimensions, "d")
    if metrics:
        columns |= _columns(cells, "metricValues", metrics, "m")
    head = whole.select(["rowCount", "metadata", "propertyQuota"]).to_pylist()[0]
    quota = {name: status for name, status in (head["propertyQuota"] or {}).items() if status is not None}
    return Answer(pa.table(columns), head["rowCount"] or 0, head["metadata"] or {}, quota)


def _columns(rows: pa.StructArray, part: str, count: int, prefix: str) -> dict[str, pa.Array]:
    values = pc.list_flatten(pc.struct_field(rows, [part]))
    texts = pc.struct_field(values, ["value"]) if len(values) else pa.array([], pa.string())
    if len(texts) != len(rows) * count:
        raise TransientError("Google Analytics answered rows of another shape than was asked for")
    # An empty text is left out of an answer.
    texts = pc.fill_null(texts, "")
    return {f"{prefix}{at}": texts.take(np.arange(at, len(texts), count)) for at in range(count)}
