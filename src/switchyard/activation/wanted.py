"""What an audience wants of its list, and how that differs from what the vendor confirmed."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.activation.members import LISTED, REJECTED, SAME_RECORD, SENT
from switchyard.api.errors import ConfigError
from switchyard.api.records import JSON
from switchyard.api.sinks import Member
from switchyard.config.models import Audience


@dataclass(frozen=True)
class Difference:
    """What would have to be done for the list to be the segment.

    Args:
        segment: how many are in the segment.
        skipped: profile → why it cannot be delivered.
        refused: how many the vendor refused, with nothing changed since.
        upsert, add, remove: as in `ListChanges`.
        digests: for each profile wanted, the digest of its fields.
        forgotten: profiles without a place on the list that are no longer wanted.
    """

    segment: int
    skipped: Mapping[int, str]
    refused: int
    upsert: Sequence[Member]
    add: Sequence[Member]
    remove: Sequence[Member]
    digests: Mapping[int, str]
    forgotten: Sequence[int]


def difference(
    connection: duckdb.DuckDBPyConnection, audience: Audience, held: pa.Table, columns: Mapping[str, str]
) -> Difference:
    """Compare a segment's members with the members the vendor confirmed.

    Args:
        connection: the working database.
        held: the members, as `members.held` gives them.
        columns: the columns of the working database's profiles.

    Raises:
        ConfigError: a field of the audience is no attribute, trait or kind of identifier.
    """
    fields = {audience.key: audience.fields.get(audience.key, audience.key)} | audience.fields
    for vendor, name in fields.items():
        if name not in columns:
            known = ", ".join(sorted(columns)) or "none yet"
            raise ConfigError(f"field '{vendor}' shows '{name}', which no mapping gives; there are: {known}")
    quoted = {vendor.replace("'", "''"): name for vendor, name in fields.items()}
    packed = ", ".join(f"'{vendor}': p.\"{name}\"" for vendor, name in sorted(quoted.items()))
    connection.register("held", held)
    steps = connection.execute(_wanted(fields[audience.key], packed) + _STEPS, [audience.segment])
    rows = steps.to_arrow_table()
    connection.unregister("held")
    return _difference(rows, audience.key)


def _wanted(key: str, packed: str) -> str:
    """Who is in the segment, with what they are recognised by and what the list shows of them."""
    return f"""
WITH wanted AS (
    SELECT m.profile_id, nullif(lower(trim(CAST(p."{key}" AS VARCHAR))), '') AS key,
        {{{packed}}} AS fields, md5(CAST(to_json({{{packed}}}) AS VARCHAR)) AS digest
    FROM membership m JOIN profile p USING (profile_id) WHERE m.segment = ?
)"""


_STEPS = f"""
, ranked AS (
    -- Two people with one key are one record at the vendor: the older profile has it.
    SELECT *, min(profile_id) OVER (PARTITION BY key) AS first FROM wanted
), joined AS (
    SELECT coalesce(w.profile_id, h.profile_id) AS profile_id, w.profile_id IS NOT NULL AS wanted, w.key, w.first,
        w.fields, w.digest, h.remote_id, h.state, h.digest AS confirmed, coalesce(h.code, '') AS code,
        w.key IS NOT NULL AND w.first = w.profile_id AS deliverable
    FROM ranked w FULL JOIN held h USING (profile_id)
)
SELECT *, CASE
    WHEN NOT deliverable AND state IS NULL THEN 'skip'
    WHEN NOT deliverable AND (remote_id IS NULL OR code = '{SAME_RECORD}') THEN 'forget'
    WHEN NOT deliverable AND remote_id IN (SELECT remote_id FROM joined WHERE deliverable) THEN 'forget'
    WHEN NOT deliverable THEN 'remove'
    WHEN state IS NULL THEN 'add'
    WHEN state = '{LISTED}' AND digest = confirmed THEN 'settled'
    WHEN state = '{LISTED}' THEN 'update'
    -- The second of two people with one record gets it when the first has gone.
    WHEN code = '{SAME_RECORD}' AND remote_id NOT IN (
        SELECT remote_id FROM joined WHERE deliverable AND remote_id IS NOT NULL AND code <> '{SAME_RECORD}'
    ) THEN 'add'
    WHEN state = '{REJECTED}' AND digest = confirmed THEN 'refused'
    WHEN state = '{SENT}' AND digest = confirmed AND remote_id IS NOT NULL THEN 'join'
    ELSE 'add' END AS step
FROM joined ORDER BY profile_id
"""


def _difference(rows: pa.Table, key: str) -> Difference:
    wanted = rows.filter(rows["wanted"])
    skipped = {
        row["profile_id"]: f"has no {key}" if row["key"] is None else f"has the same {key} as profile {row['first']}"
        for row in wanted.filter(pc.invert(wanted["deliverable"])).select(["profile_id", "key", "first"]).to_pylist()
    }
    upsert = [
        Member(str(row["profile_id"]), row["remote_id"], _fields(row["fields"]) | {key: row["key"]})
        for row in _step(rows, "add", "update")
    ]
    return Difference(
        segment=wanted.num_rows,
        skipped=skipped,
        refused=len(_step(rows, "refused")),
        upsert=upsert,
        add=[Member(str(row["profile_id"]), row["remote_id"]) for row in _step(rows, "add", "join")],
        remove=[Member(str(row["profile_id"]), row["remote_id"]) for row in _step(rows, "remove")],
        digests=dict(zip(wanted["profile_id"].to_pylist(), wanted["digest"].to_pylist(), strict=True)),
        forgotten=[row["profile_id"] for row in _step(rows, "forget")],
    )


def _step(rows: pa.Table, *steps: str) -> list[dict[str, Any]]:
    return rows.filter(pc.is_in(rows["step"], value_set=pa.array(steps))).to_pylist()


def _fields(values: Mapping[str, object]) -> dict[str, JSON]:
    return {name: _json(value) for name, value in values.items()}


def _json(value: object) -> JSON:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, list):
        return [_json(each) for each in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
