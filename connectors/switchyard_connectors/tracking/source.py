"""Reads calls from the inbox and takes batches apart: a record for each event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from switchyard.api import Context, Cursor, Page, Reject, Stream
from switchyard.api.received import documents, kept
from switchyard.api.receiving import read_up_to, standing
from switchyard_connectors.tracking.config import TrackingConfig
from switchyard_connectors.tracking.receiver import KINDS, MAX_EVENT

REASONS: Mapping[str, str] = {
    "no_event": "the event is no JSON object",
    "too_large": f"the event is larger than {MAX_EVENT:,} bytes",
    "unknown_type": f"the event's type is none of {', '.join(KINDS)}",
    "no_user_anon_id": "the event has neither a userId nor an anonymousId",
    "no_previous_id": "an alias needs a userId and a previousId",
    "no_event_name": "a track call needs the event's name in `event`",
    "no_group_id": "a group call needs a groupId",
    "bad_timestamp": "the event's timestamp is no instant of ISO 8601 between 1900 and 2199",
}
"""Code → why an event that came in an accepted call is no record."""


class Tracking:
    """The source. The cursor is the sequence number of the last call read."""

    def __init__(self, config: TrackingConfig, context: Context) -> None:  # noqa: ARG002  # keys are the receiver's
        self._context = context
        self._duck = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        self._duck.execute("SET TimeZone = 'UTC'")

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:  # noqa: ARG002  # there is one stream
        """Yield what came behind `cursor`, a page for each table of the inbox."""
        for rows in self._context.inbox(read_up_to(cursor)):
            calls, rejects = documents(self._duck, rows)
            self._duck.register("accepted", calls)
            events = self._duck.execute(_EVENTS).to_arrow_table()
            self._duck.register("event", events)
            records = self._duck.execute(_RECORDS).to_arrow_table()
            if records.num_rows < events.num_rows:
                rejects += [_reject(row) for row in self._duck.execute(_FAULTY).to_arrow_table().to_pylist()]
            yield Page(records, standing(rows["sequence"][-1].as_py()), rejects)


def _reject(row: Mapping[str, Any]) -> Reject:
    record = kept(row["delivery"], row["item"], call=row["call"], received_at=row["received_at"])
    return Reject(row["fault"], REASONS[row["fault"]], record)


_FIELDS = (
    *("messageId", "userId", "anonymousId", "previousId", "groupId", "traits", "properties", "context", "integrations"),
    *("type", "event", "name", "category", "channel", "timestamp", "originalTimestamp", "sentAt"),
)
_PATHS = [f"/{name}" for name in _FIELDS]
_MEANINGLESS = ("", "null", "undefined", "nan", "[object object]")
"""What JavaScript makes of a missing id when it is put into a text."""


def _text(name: str) -> str:
    return f"nullif(texts[{_FIELDS.index(name) + 1}], '')"


def _id(name: str) -> str:
    """A text or a number: an object as an id would be everybody's."""
    at = _FIELDS.index(name) + 1
    fits = f"kinds[{at}] NOT IN ('OBJECT', 'ARRAY', 'BOOLEAN') AND lower(trim(texts[{at}])) NOT IN {_MEANINGLESS}"
    return f"CASE WHEN {fits} THEN trim(texts[{at}]) END"


def _object(name: str) -> str:
    at = _FIELDS.index(name) + 1
    return f"CASE WHEN kinds[{at}] = 'OBJECT' THEN texts[{at}] END"


def _merged(name: str, batch: int) -> str:
    """What the event says laid over what its batch says for all events."""
    return f"""CASE
        WHEN batch[{batch}][1] <> '{{' OR batch[{batch}] IS NULL THEN {_object(name)}
        WHEN kinds[{_FIELDS.index(name) + 1}] = 'OBJECT'
        THEN json_merge_patch(batch[{batch}], texts[{_FIELDS.index(name) + 1}])::VARCHAR
        ELSE batch[{batch}]
    END"""


def _instant(text: str) -> str:
    return f"TRY_CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS TIMESTAMP)"


_KNOWN = "BETWEEN TIMESTAMP '1900-01-01' AND TIMESTAMP '2199-12-31'"

# Every event with what is wrong with it.
_EVENTS = f"""
WITH apart AS (
    SELECT sequence, id AS delivery, received_at, call, batch, unnest(items) AS item, unnest(range(len(items))) AS place
    FROM (
        SELECT *, headers ->> 'call' AS call,
            CASE WHEN call = 'batch' THEN json_extract_string(body, ['/context', '/integrations', '/sentAt']) END
                AS batch,
            CASE WHEN call = 'batch' THEN json_extract(body, '$.batch[*]') ELSE [body::JSON] END AS items
        FROM accepted
    )
), taken AS (
    SELECT *, json_extract_string(item, {_PATHS}) AS texts, json_type(item, {_PATHS}) AS kinds
    FROM (SELECT *, json_type(item) = 'OBJECT' AS whole FROM apart)
), named AS (
    SELECT sequence, place, delivery, received_at, call, item, whole, texts, kinds,
        CASE WHEN call = 'batch' THEN {_text("type")} ELSE call END AS type,
        {_id("messageId")} AS message_id,
        {_id("userId")} AS user_id,
        {_id("anonymousId")} AS anonymous_id,
        {_id("previousId")} AS previous_id,
        {_id("groupId")} AS group_id,
        nullif(trim({_text("event")}), '') AS event,
        coalesce({_text("originalTimestamp")}, {_text("timestamp")}) AS said,
        {_instant("said")} AS said_at,
        {_instant(f"coalesce({_text('sentAt')}, batch[3])")} AS sent,
        {_merged("context", 1)} AS context,
        {_merged("integrations", 2)} AS integrations
    FROM taken
)
SELECT *,
    CASE
        WHEN NOT whole THEN 'no_event'
        WHEN strlen(item::VARCHAR) > {MAX_EVENT} THEN 'too_large'
        WHEN type IS NULL OR type NOT IN {KINDS} THEN 'unknown_type'
        WHEN type = 'alias' AND (user_id IS NULL OR previous_id IS NULL) THEN 'no_previous_id'
        WHEN type <> 'alias' AND user_id IS NULL AND anonymous_id IS NULL THEN 'no_user_anon_id'
        WHEN type = 'track' AND event IS NULL THEN 'no_event_name'
        WHEN type = 'group' AND group_id IS NULL THEN 'no_group_id'
        WHEN said IS NOT NULL AND (said_at IS NULL OR said_at NOT {_KNOWN}) THEN 'bad_timestamp'
    END AS fault
FROM named
"""  # noqa: S608  # constants of this module

_FAULTY = """
SELECT delivery, received_at, call, fault,
    CASE WHEN whole THEN json_merge_patch(item, '{"writeKey": null}') ELSE item END::VARCHAR AS item
FROM event WHERE fault IS NOT NULL
"""

# ASCII that is neither letter nor digit. Classes of all of Unicode take milliseconds to compile, for every page.
_BETWEEN = "[\\x00-/:-@\\[-`{-\\x7f]+"

# A sender's clock may be wrong, but it is equally wrong when an event happens and when it is sent.
_RECORDS = f"""
SELECT
    coalesce(message_id, md5(concat_ws(chr(31), delivery, place, item))) AS message_id,
    type, user_id, anonymous_id, previous_id, group_id, event,
    trim(regexp_replace(lower(regexp_replace(event, '([a-z0-9])([A-Z])', '\\1_\\2', 'g')), '{_BETWEEN}', '_', 'g'), '_')
        AS event_type,
    {_text("name")} AS name, {_text("category")} AS category, {_text("channel")} AS channel,
    coalesce(CASE WHEN sent_at IS NULL THEN said_at ELSE received_at - (sent_at - said_at) END, received_at)
        AS timestamp,
    said_at AS original_timestamp, sent_at, received_at,
    CASE
        WHEN type = 'identify' THEN {_object("traits")}
        WHEN json_type(context, '/traits') = 'OBJECT' THEN context ->> 'traits'
    END AS traits,
    CASE WHEN type = 'group' THEN {_object("traits")} END AS group_traits,
    {_object("properties")} AS properties, context, integrations
FROM (SELECT *, CASE WHEN sent {_KNOWN} THEN sent END AS sent_at FROM event WHERE fault IS NULL)
ORDER BY sequence, place
"""  # noqa: S608  # constants of this module
