"""What an audience wants of its list, and how that differs from what the vendor confirmed."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.activation.members import LOST, PLACED, REJECTED, RETRY, SAME_RECORD
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
        key_field: the vendor's field by which it recognises a person.
        rows: everybody wanted, with record, key and fields.
    """

    segment: int
    skipped: Mapping[int, str]
    refused: int
    upsert: Sequence[Member]
    add: Sequence[Member]
    remove: Sequence[Member]
    digests: Mapping[int, str]
    forgotten: Sequence[int]
    key_field: str
    rows: pa.Table

    def written(self, profiles: Sequence[int]) -> list[Member]:
        """Rows for an upsert of these people, whose records are looked for anew."""
        named = pc.is_in(self.rows["profile_id"], value_set=pa.array(profiles, pa.int64()))
        return _written(self.rows.filter(named), self.key_field)


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
    fields = audience.shown
    for vendor, name in fields.items():
        if name not in columns:
            known = ", ".join(sorted(columns)) or "none yet"
            raise ConfigError(f"field '{vendor}' shows '{name}', which no record has given yet; there are: {known}")
    quoted = {vendor.replace("'", "''"): name for vendor, name in fields.items()}
    packed = ", ".join(f"'{vendor}': p.\"{name}\"" for vendor, name in sorted(quoted.items()))
    connection.register("held", held)
    steps = connection.execute(
        _wanted(fields[audience.key], audience.key.replace("'", "''"), packed) + _STEPS, [audience.segment]
    )
    rows = steps.to_arrow_table()
    connection.unregister("held")
    return _difference(rows, audience.key)


def _wanted(key: str, vendors_key: str, packed: str) -> str:
    """Who is in the segment, with what they are recognised by and what the list shows of them."""
    return f"""
WITH wanted AS (
    SELECT m.profile_id, nullif(lower(trim(CAST(p."{key}" AS VARCHAR))), '') AS key,
        {{{packed}}} AS fields, md5('{vendors_key}' || CAST(to_json({{{packed}}}) AS VARCHAR)) AS digest
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
    WHEN NOT deliverable AND (remote_id IS NULL OR code = '{SAME_RECORD}' OR state = '{LOST}') THEN 'forget'
    WHEN NOT deliverable AND remote_id IN (SELECT remote_id FROM joined WHERE deliverable) THEN 'forget'
    WHEN NOT deliverable THEN 'remove'
    WHEN state IS NULL THEN 'add'
    WHEN state IN {PLACED} AND digest = confirmed THEN 'settled'
    WHEN state IN {PLACED} THEN 'update'
    -- The second of two people with one record gets it when the first has gone.
    WHEN code = '{SAME_RECORD}' AND remote_id NOT IN (
        SELECT remote_id FROM joined WHERE deliverable AND remote_id IS NOT NULL AND code <> '{SAME_RECORD}'
    ) THEN 'add'
    WHEN state = '{REJECTED}' AND digest = confirmed THEN 'refused'
    WHEN state <> '{RETRY}' AND digest = confirmed AND remote_id IS NOT NULL THEN 'join'
    ELSE 'add' END AS step
FROM joined ORDER BY profile_id
"""


def _difference(rows: pa.Table, key: str) -> Difference:
    wanted = rows.filter(rows["wanted"])
    skipped = {
        row["profile_id"]: f"has no {key}" if row["key"] is None else f"has the same {key} as profile {row['first']}"
        for row in wanted.filter(pc.invert(wanted["deliverable"])).select(["profile_id", "key", "first"]).to_pylist()
    }
    return Difference(
        segment=wanted.num_rows,
        skipped=skipped,
        refused=_step(rows, "refused").num_rows,
        upsert=_written(_step(rows, "add", "update"), key),
        add=_known(_step(rows, "add", "join")),
        remove=_known(_step(rows, "remove")),
        digests=dict(zip(wanted["profile_id"].to_pylist(), wanted["digest"].to_pylist(), strict=True)),
        forgotten=_step(rows, "forget")["profile_id"].to_pylist(),
        key_field=key,
        rows=wanted.select(["profile_id", "remote_id", "key", "fields"]),
    )


def _step(rows: pa.Table, *steps: str) -> pa.Table:
    return rows.filter(pc.is_in(rows["step"], value_set=pa.array(steps)))


def _known(rows: pa.Table) -> list[Member]:
    """Members by the vendor's id alone, where it is known."""
    return [
        Member(str(profile), remote_id)
        for profile, remote_id in zip(rows["profile_id"].to_pylist(), rows["remote_id"].to_pylist(), strict=True)
    ]


def _written(rows: pa.Table, key: str) -> list[Member]:
    """Members with what the vendor is to show of them."""
    fields = rows["fields"].combine_chunks()
    names = [field.name for field in fields.type]
    columns = [_values(fields.field(name)) for name in names]
    # The key as it was compared: two spellings of one address are one person.
    columns[names.index(key)] = rows["key"].to_pylist()
    listed = zip(rows["profile_id"].to_pylist(), rows["remote_id"].to_pylist(), *columns, strict=True)
    return [Member(str(row[0]), row[1], dict(zip(names, row[2:], strict=True))) for row in listed]


def _values(column: pa.Array) -> list[JSON]:
    values = column.to_pylist()
    return values if pa.types.is_string(column.type) else [_json(value) for value in values]


def _json(value: object) -> JSON:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, list):
        return [_json(each) for each in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
