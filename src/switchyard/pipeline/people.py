"""The people of a page: whom its records are about, what identifies them, what is said of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api.records import DELETED, LINE
from switchyard.config.models import Identity
from switchyard.identity.normalise import blocked, normalised
from switchyard.pipeline.mapping import Mapped
from switchyard.pipeline.plan import OBSERVED, SUBJECT, Plan
from switchyard.pipeline.records import ROW, SOURCE

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class People:
    """The subjects of some mapped records.

    Args:
        keys: their keys, unique, ascending.
        of: for each record, the position of its subject in `keys`.
        claims: `subject` (position), `kind_id`, `value`, `line`, `source` (which of the pages): each value of each
            subject once.
        gone: which of them the last of their records calls deleted.
    """

    keys: pa.Array
    of: Positions
    claims: pa.Table
    gone: NDArray[np.bool_]


@dataclass(frozen=True)
class Rules:
    """How identifiers are read: the rules of each kind, and the country of phone numbers that carry none."""

    identity: Identity
    default_region: str | None = None


def people(mapped: Mapped, plan: Plan, rules: Rules, kinds: Mapping[str, int]) -> People:
    """Find the subjects of mapped records and what identifies them, normalised, without blocked values."""
    records = mapped.records
    encoded = records[SUBJECT].combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    of = rank[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, np.int64)
    place = mapped.page.select([each for each in (SOURCE, LINE) if each in mapped.page.column_names]).take(records[ROW])
    claims = [_NO_CLAIMS]
    for kind, identifier in plan.mapping.identifiers.items():
        raw = records[f"identifier.{kind}"].combine_chunks().dictionary_encode()
        region = identifier.region or rules.default_region
        values = normalised(kind, pa.chunked_array([raw.dictionary]), region, plan.connection)
        values = blocked(kind, values, rules.identity.rule(kind).blocked, region, plan.connection)
        claims.append(_claims(of, raw.indices, values.combine_chunks(), kinds[kind], place))
    gone = np.zeros(len(order), np.bool_)
    if DELETED in records.column_names:
        # Of several records of one subject the last is the one that stays.
        gone[of] = records[DELETED].to_numpy()
    return People(encoded.dictionary.take(order), of, pa.concat_tables(claims), gone)


_NO_CLAIMS = pa.schema(
    [
        ("subject", pa.int64()),
        ("kind_id", pa.int64()),
        ("value", pa.string()),
        ("line", pa.int64()),
        ("source", pa.int64()),
    ]
).empty_table()


def _claims(of: Positions, codes: pa.Array, values: pa.Array, kind: int, place: pa.Table) -> pa.Table:
    """Each (subject, value) once, at the first record that says so. Different spellings of one value are one value."""
    spelled = values.dictionary_encode()
    code = pc.fill_null(spelled.indices.take(codes), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    said = np.flatnonzero(code >= 0)
    pairs, first = np.unique(of[said] * max(len(spelled.dictionary), 1) + code[said], return_index=True)
    at = pa.array(said[first])
    there = place.take(at)
    return pa.table(
        {
            "subject": pa.array(of[said[first]]),
            "kind_id": pa.array(np.full(len(pairs), kind, np.int64)),
            "value": spelled.dictionary.take(pa.array(code[said[first]])),
            "line": there[LINE] if LINE in there.column_names else pa.nulls(len(pairs), pa.int64()),
            "source": there[SOURCE],
        }
    )


def documents(
    connection: duckdb.DuckDBPyConnection,
    mapped: Mapped,
    found: People,
    stored: pa.ChunkedArray,
    now_us: int,
    *,
    whole: bool = False,
) -> pa.Array:
    """What the sources say of each subject, newest first: JSON name → [value, microseconds], NULL where nothing.

    Args:
        stored: per subject, the document the store holds, or NULL.
        now_us: the instant of records that carry none.
        whole: whether a record takes back what it has no value for; one that was deleted takes back everything.
    """
    records = mapped.records
    names = [name for name in records.column_names if name.startswith("attribute.")]
    takes_back = whole or DELETED in records.column_names
    if not names:
        return pa.nulls(len(found.keys), pa.string())
    observed = pc.fill_null(records[OBSERVED], now_us).to_numpy().astype(np.int64)
    rank = np.empty(len(observed), np.int64)
    rank[np.argsort(observed, kind="stable")] = np.arange(len(observed))
    said = records.select(names).append_column("s", pa.array(found.of))
    said = said.append_column("observed", pa.array(observed)).append_column("rank", pa.array(rank))
    if takes_back:
        gone = records[DELETED] if DELETED in records.column_names else pa.nulls(len(observed), pa.bool_())
        said = said.append_column("gone", pc.fill_null(gone, False))
    connection.register("said", said)
    connection.register("stored", pa.table({"s": np.arange(len(found.keys)), "document": stored.combine_chunks()}))
    source = "valid" if takes_back else "said"
    newest = " UNION ALL ".join(
        f"SELECT s, '{name.removeprefix('attribute.')}' AS name, arg_max(to_json(\"{name}\"), rank) AS value, "
        f'arg_max(observed, rank) AS observed, 1 AS new FROM {source} WHERE "{name}" IS NOT NULL GROUP BY s'
        for name in names
    )
    before = (_WHOLE if whole else _PARTIAL) if takes_back else _KEPT
    rows = connection.execute(f"WITH {before}, newest AS ({newest}) {_DOCUMENTS}").to_arrow_table()
    connection.unregister("said")
    connection.unregister("stored")
    position = pc.index_in(pa.array(np.arange(len(found.keys))), rows["s"].combine_chunks())
    return rows["document"].combine_chunks().take(position)


_HELD = """
    SELECT s, j.key AS name, j.value -> '$[0]' AS value, CAST(j.value -> '$[1]' AS BIGINT) AS observed, 0 AS new
    FROM (FROM stored WHERE document IS NOT NULL) d, json_each(d.document) j
"""
_KEPT = f"""
held AS ({_HELD}), emptied AS (SELECT s FROM stored WHERE false)
"""
_TURNED = """
turned AS (
    -- Of each subject the last record that takes back what was said before.
    SELECT s, max(rank) AS rank FROM ({turning}) GROUP BY s
), valid AS (
    SELECT said.* FROM said {join} JOIN turned USING (s) WHERE NOT gone AND said.rank >= coalesce(turned.rank, 0)
), held AS (
    FROM before ANTI JOIN turned USING (s)
), emptied AS (
    FROM turned SEMI JOIN (FROM stored WHERE document IS NOT NULL) USING (s)
)
"""
_PARTIAL = f"before AS ({_HELD}), {_TURNED.format(turning='FROM said WHERE gone', join='LEFT')}"
# A record that is older than what is held says nothing.
_NEWER = """
    SELECT said.* FROM said LEFT JOIN (SELECT s, max(observed) AS version FROM before GROUP BY s) USING (s)
    WHERE gone OR observed >= coalesce(version, observed)
"""
_WHOLE = f"before AS ({_HELD}), {_TURNED.format(turning=_NEWER, join='')}"
_DOCUMENTS = """
, every AS (FROM newest UNION ALL FROM held), winning AS (
    -- Of two values of one instant the one that came later wins.
    SELECT s, name, arg_max(value, observed * 2 + new) AS value, max(observed) AS observed FROM every GROUP BY s, name
), written AS (
    SELECT s, string_agg(to_json(name) || ':' || json_array(value, observed), ',' ORDER BY name) AS members
    FROM winning GROUP BY s
)
SELECT s, '{' || coalesce(members, '') || '}' AS document FROM written FULL JOIN emptied USING (s) ORDER BY s
"""
