"""Reads deliveries from the inbox: a record for each, or for each item of an array in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from switchyard.api import Context, Cursor, Page, Reject, Stream
from switchyard.api.received import documents, kept
from switchyard.api.receiving import read_up_to, standing
from switchyard.api.records import BYTE, LINE
from switchyard_connectors.webhook.config import WebhookConfig

ENVELOPE = ("record_id", "delivery_id", "received_at", "headers", "body")
"""Fields of every record; fields of the body that are called like one of them are reached through `body`."""
MOST_FIELDS = 500
"""Fields of a page's bodies that become fields of its records: the most frequent. The others are reached through
`body`; a body with random keys must not make a table of a hundred thousand columns.
"""
_LONGEST_NAME = 200
_RESERVED = frozenset({*ENVELOPE, LINE, BYTE, "_row", "_source"})
_INSTANT = pa.timestamp("us")


class Webhook:
    """The source. The cursor is the sequence number of the last delivery read.

    Every field is text: what JSON has as a text as it is, everything else as its JSON. So a mapping means the same
    whatever a sender thinks of its types today.
    """

    def __init__(self, config: WebhookConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._duck = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        self._duck.execute("SET TimeZone = 'UTC'")

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:  # noqa: ARG002  # there is one stream
        """Yield what came behind `cursor`, a page for each table of the inbox."""
        for rows in self._context.inbox(read_up_to(cursor)):
            records, rejects = self._records(rows)
            yield Page(records, standing(rows["sequence"][-1].as_py()), rejects)

    def replay(self, stream: Stream, rejects: Sequence[Reject], origin: str | None) -> Page:  # noqa: ARG002
        """Read rejected deliveries by the present configuration."""
        old = [each.record for each in rejects if isinstance(each.record, dict)]
        rows = pa.table(
            {
                "sequence": pa.array(range(len(old)), pa.int64()),
                "received_at": pa.array([each.get("received_at") for each in old], pa.string()).cast(_INSTANT),
                "id": pa.array([each.get("delivery") for each in old], pa.string()),
                "headers": pa.array([each.get("headers") for each in old], pa.string()),
                "body": pa.array([str(each.get("body")).encode() for each in old], pa.binary()),
            }
        )
        records, refused = self._records(rows)
        return Page(records, None, refused, origin=origin)

    def _records(self, rows: pa.Table) -> tuple[pa.Table, list[Reject]]:
        rows, rejects = documents(self._duck, rows)
        self._duck.register("delivery", rows)
        if (at := self._config.records_at) is not None:
            rejects += self._without(at)
            self._duck.register("item", self._duck.execute(_ITEMS, {"at": at}).to_arrow_table())
        else:
            self._duck.register("item", self._duck.execute(_WHOLE).to_arrow_table())
        names = [name for (name,) in self._duck.execute(_NAMES, {"most": MOST_FIELDS}).fetchall()]
        return self._duck.execute(_select(_usable(names), self._config.named_by)).to_arrow_table(), rejects

    def _without(self, at: str) -> list[Reject]:
        """The deliveries in which nothing stands where records should."""
        rows = self._duck.execute(_WITHOUT, {"at": at}).to_arrow_table().to_pylist()
        reason = f"there is nothing at {at or 'the root'} in the body; correct `records`, and replay"
        return [
            Reject(
                "no_records",
                reason,
                kept(row["id"], row["body"], headers=row["headers"], received_at=row["received_at"]),
                byte=0,
                field="records",
            )
            for row in rows
        ]


_WHOLE = "SELECT id, received_at, headers, body, 0 AS number FROM delivery"
_ITEMS = """
SELECT id, received_at, headers, unnest(items) AS body, unnest(range(len(items))) AS number
FROM (
    SELECT id, received_at, headers,
        CASE json_type(found) WHEN 'ARRAY' THEN json_extract(found, '$[*]') ELSE [found] END AS items
    FROM (SELECT id, received_at, headers, json_extract(body, $at) AS found FROM delivery)
    WHERE found IS NOT NULL
)
"""
_WITHOUT = "SELECT id, received_at, headers, body FROM delivery WHERE json_extract(body, $at) IS NULL"
_NAMES = """
SELECT name FROM (SELECT unnest(json_keys(body)) AS name FROM item WHERE json_type(body) = 'OBJECT')
GROUP BY name ORDER BY count(*) DESC, name LIMIT $most
"""


def _usable(names: Sequence[str]) -> list[str]:
    """Names that a field can have, in an order that does not depend on the page; of two that differ in case only,
    which are one to DuckDB, the more frequent.
    """
    found: dict[str, str] = {}
    for name in names:
        if name.isprintable() and 0 < len(name) <= _LONGEST_NAME and name.lower() not in _RESERVED:
            found.setdefault(name.lower(), name)
    return sorted(found.values())


def _select(names: Sequence[str], named_by: Sequence[str]) -> str:
    """The query for the records."""
    place = "id || '/' || number"
    named = f"json_extract_string(body, {_texts(named_by)})"
    parts = f"{named}[1]" if len(named_by) == 1 else f"CAST(to_json({named}) AS VARCHAR)"
    unnamed = f"len(list_filter({named}, lambda part: part IS NOT NULL)) = 0"
    record_id = f"CASE WHEN {unnamed} THEN {place} ELSE {parts} END" if named_by else place
    fields = "".join(f', fields[{at}] AS "{_doubled(name, chr(34))}"' for at, name in enumerate(names, 1))
    found = f"json_extract_string(body, {_texts([_pointer(name) for name in names])})"
    return f"""
        SELECT {record_id} AS record_id, id AS delivery_id, received_at, headers, CAST(body AS VARCHAR) AS body{fields}
        FROM (SELECT *, CASE WHEN json_type(body) = 'OBJECT' THEN {found} END AS fields FROM item)
    """  # noqa: S608  # names and pointers are quoted; bound pointers would be read anew for every record


def _texts(values: Sequence[str]) -> str:
    """A list of texts in SQL."""
    listed = ", ".join("'" + _doubled(value, "'") + "'" for value in values)
    return f"[{listed}]::VARCHAR[]"


def _doubled(text: str, quote: str) -> str:
    return text.replace(quote, quote * 2)


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")
