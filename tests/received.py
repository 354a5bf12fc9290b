"""Requests as they come in, and what was accepted of them as a source reads it: without a server, without a store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict

NOON = datetime(2024, 5, 1, 12)
"""When the first delivery came; each further one came a second later."""


def incoming(
    body: bytes | str = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    at: datetime = NOON,
    method: str = "POST",
    url: str = "https://hub.example.com/hooks/shop",
) -> Incoming:
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    return Incoming(method, url, lowered, body.encode() if isinstance(body, str) else body, at)


def status(verdict: Verdict) -> int:
    return verdict.status if isinstance(verdict, Refused) else 200


def accepted(verdict: Verdict) -> Accepted:
    assert isinstance(verdict, Accepted)
    return verdict


def inbox(deliveries: Sequence[tuple[str, Mapping[str, str], Any]], per_table: int = 100) -> Iterator[pa.Table]:
    """Tables as `Context.inbox` yields them, of deliveries (id, headers, body); a body that is no text becomes JSON."""
    rows = range(len(deliveries))
    table = pa.table(
        {
            # Sequence numbers ascend with gaps.
            "sequence": pa.array([7 + 3 * row for row in rows], pa.int64()),
            "received_at": pa.array([NOON + timedelta(seconds=row) for row in rows], pa.timestamp("us")),
            "id": pa.array([name for name, _, _ in deliveries], pa.string()),
            "headers": pa.array([json.dumps(dict(headers)) for _, headers, _ in deliveries], pa.string()),
            "body": pa.array([_bytes(body) for _, _, body in deliveries], pa.binary()),
        }
    )
    for start in range(0, table.num_rows, per_table):
        yield table.slice(start, per_table)


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
