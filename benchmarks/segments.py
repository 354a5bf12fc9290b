"""Three questions about everybody, beside the best hand-written DuckDB SQL for the same answer, in the same run.

    python benchmarks/segments.py [EVENTS] [PROFILES] [RUNS]

By default 1,000,000 events of 50,000 people, which takes seconds; the goal is stated for 10,000,000 of 500,000.

often      `count(order_completed, last 30 days) > 3 and sum(order_completed.total) > 500`, in the segment language
then       product_viewed, then order_completed within 7 days, in the last 180 days
then not   product_viewed, and no order_completed within 7 days, in the last 180 days

The two sequences are a profile transform of their own (`sequences.py`): the language reserves the word and does not
have it yet. Both sides read the same views of the same Parquet files and the same table of subjects, and write a table
with a row per profile. `truth` asks whether each profile is in the segment; `+ next` also when that may change, by the
same rule on both sides. What people write by hand names the instant as a constant; the compiled query takes it from
each profile, so that it serves catch-up as well. Rows are compared one by one.

`fifty` evaluates fifty definitions together, and each alone. Goals: 1.5 times the hand-written, 0.6 of the sum.
"""

import sys
from collections.abc import Sequence
from functools import partial

import duckdb
import ibis
from sequences import Sequences
from world import HEADER, NOW, Opened, Timing, World, alternated

from switchyard.api.transforms import Definition, ProfileTransform, Schema
from switchyard.evaluation.scope import WorkingScope
from switchyard.eventlog.snapshot import Snapshot
from switchyard_plugins.segmentation.transform import Segmentation

EVENTS, PROFILES, RUNS = 1_000_000, 50_000, 5
SCHEMA = Schema(
    attributes={"city": "text"},
    events={"order_completed": {"channel": "text", "sku": "text", "total": "decimal"}},
)
OFTEN = "count(order_completed, last 30 days) > 3 and sum(order_completed.total) > 500"
STEPS = {"first": "product_viewed", "second": "order_completed", "within": 7 * 86_400, "window": 180 * 86_400}
_AT = f"TIMESTAMP '{NOW}'"
_NEVER = "TIMESTAMP '2200-01-01'"

# Each answers for a whole table of people, as the hub needs it, not only for the members.
OFTEN_TRUTH = f"""
    WITH found AS (
        SELECT s.profile_id, count(*) FILTER (WHERE e._at > {_AT} - INTERVAL 30 DAY) AS orders, sum(e.total) AS spent
        FROM log_order_completed e JOIN subject_profile s ON s.subject_id = e._subject WHERE e._at <= {_AT} GROUP BY 1
    )
    SELECT profile_id, coalesce(orders > 3 AND spent > 500, false) AS value
    FROM profile LEFT JOIN found USING (profile_id)
"""
OFTEN_NEXT = f"""
    WITH found AS (
        SELECT s.profile_id, sum(e.total) FILTER (WHERE e._at <= {_AT}) AS spent,
            max(e._at, 4) FILTER (WHERE e._at > {_AT} - INTERVAL 30 DAY AND e._at <= {_AT}) AS newest,
            min(e._at) FILTER (WHERE e._at > {_AT}) AS coming
        FROM log_order_completed e JOIN subject_profile s ON s.subject_id = e._subject GROUP BY 1
    ), judged AS (
        SELECT profile_id, newest[4] IS NOT NULL AS often, coalesce(spent, 0) > 500 AS much,
            coalesce(coming, {_NEVER}) AS coming, coalesce(newest[4] + INTERVAL 30 DAY, {_NEVER}) AS leaves
        FROM profile LEFT JOIN found USING (profile_id)
    )
    SELECT profile_id, often AND much AS value, CASE WHEN often AND much THEN least(coming, leaves) ELSE greatest(
        CASE WHEN often THEN {_AT} ELSE least(coming, leaves) END, CASE WHEN much THEN {_AT} ELSE coming END
    ) END AS next_change FROM judged
"""
_SIDES = f"""
    WITH a AS (
        SELECT s.profile_id, e._at, e._id FROM log_product_viewed e JOIN subject_profile s ON s.subject_id = e._subject
        WHERE e._at > {_AT} - INTERVAL 180 DAY
    ), b AS (
        SELECT s.profile_id, e._at, e._id FROM log_order_completed e JOIN subject_profile s ON s.subject_id = e._subject
        WHERE e._at > {_AT} - INTERVAL 180 DAY
    ), coming AS (
        SELECT profile_id, min(_at) AS coming FROM (FROM a UNION ALL FROM b) WHERE _at > {_AT} GROUP BY 1
    )
"""
_THEN = f"""
    {_SIDES}, found AS (
        SELECT a.profile_id, max(a._at) AS newest, NULL::TIMESTAMP AS pending FROM a JOIN b
            ON a.profile_id = b.profile_id AND b._at <= a._at + INTERVAL 7 DAY
            AND (b._at > a._at OR b._at = a._at AND b._id > a._id)
        WHERE b._at <= {_AT} GROUP BY 1
    )
"""
_THEN_NOT = f"""
    {_SIDES}, asked AS (
        SELECT *, least(_at + INTERVAL 7 DAY, {_AT}) AS until FROM a WHERE _at <= {_AT}
    ), open AS (
        FROM asked ANTI JOIN b ON asked.profile_id = b.profile_id AND b._at > asked._at AND b._at <= asked.until
    ), found AS (
        SELECT profile_id, max(_at) FILTER (WHERE _at <= {_AT} - INTERVAL 7 DAY) AS newest,
            min(_at) FILTER (WHERE _at > {_AT} - INTERVAL 7 DAY) AS pending
        FROM open ANTI JOIN b ON open.profile_id = b.profile_id AND b._at = open._at AND b._id > open._id GROUP BY 1
    )
"""
_TRUTH = "SELECT profile_id, newest IS NOT NULL AS value FROM profile LEFT JOIN found USING (profile_id)"
_NEXT = f"""
    SELECT profile_id, newest IS NOT NULL AS value, least(
        coalesce(newest + INTERVAL 180 DAY, {_NEVER}), coalesce(pending + INTERVAL 7 DAY, {_NEVER}),
        coalesce(coming, {_NEVER})
    ) AS next_change FROM profile LEFT JOIN found USING (profile_id) LEFT JOIN coming USING (profile_id)
"""


def main(events: int, profiles: int, runs: int) -> None:
    orders = World({"order_completed": events}, profiles)
    journeys = World({"product_viewed": events // 2, "order_completed": events - events // 2}, profiles)
    with orders.opened() as world, world.log.snapshot(memberships=False) as snapshot:
        print(f"{events:,} events, {profiles:,} profiles\n{HEADER}    ratio wall   cpu  rows that differ")
        rule = Definition("often", {"segment": "often", "where": OFTEN})
        question(world, snapshot, rule, Segmentation(), (OFTEN_TRUTH, OFTEN_NEXT), runs)
        fifty(world, snapshot, max(1, runs // 2))
    with journeys.opened() as world, world.log.snapshot(memberships=False) as snapshot:
        for kind, found in (("then", _THEN), ("then_not", _THEN_NOT)):
            rule = Definition(kind, {"kind": kind, **STEPS})
            question(world, snapshot, rule, Sequences(), (found + _TRUTH, found + _NEXT), runs)


def question(
    world: Opened,
    snapshot: Snapshot,
    rule: Definition,
    transform: ProfileTransform,
    by_hand: tuple[str, str],
    runs: int,
) -> None:
    """Time one definition and its two hand-written forms, and compare what they answer."""
    connection = world.working.connection
    compiled = query(connection, snapshot, transform, [rule])
    for name, columns, peer in zip(("truth", "+ next"), ("value", "value, next_change"), by_hand, strict=True):
        ours = f"SELECT profile_id, {columns} FROM ({compiled})"
        timings = alternated(
            runs,
            ours=partial(answered, connection, "ours", ours),
            peer=partial(answered, connection, "peer", peer),
        )
        shown(f"{rule.name} {name}", timings["ours"])
        ratios = [getattr(timings["ours"], each) / getattr(timings["peer"], each) for each in ("least", "least_cpu")]
        different = connection.execute(
            "SELECT count(*) FROM (SELECT * FROM ours EXCEPT ALL FROM peer UNION ALL (FROM peer EXCEPT ALL FROM ours))"
        ).fetchone()
        assert different is not None
        print(f"{'  by hand':34} {timings['peer']}    {ratios[0]:10.2f} {ratios[1]:5.2f}  {different[0]}")


def fifty(world: Opened, snapshot: Snapshot, runs: int) -> None:
    """Fifty different definitions at once, beside each of them alone."""
    connection = world.working.connection
    rules = [Definition(f"s{number}", {"segment": f"s{number}", "where": text}) for number, text in enumerate(texts())]
    # The views of the last have what all of them read.
    alone = [query(connection, snapshot, Segmentation(), [rule]) for rule in rules]
    together = query(connection, snapshot, Segmentation(), rules)

    def each() -> None:
        for one in alone:
            answered(connection, "alone", one)

    timings = alternated(runs, each=each, together=partial(answered, connection, "ours", together))
    shown("fifty, each alone", timings["each"])
    ratios = [getattr(timings["together"], name) / getattr(timings["each"], name) for name in ("least", "least_cpu")]
    print(f"{'fifty together':34} {timings['together']}    {ratios[0]:10.2f} {ratios[1]:5.2f}")


def texts() -> list[str]:
    """Fifty rules of the kinds that people write, no two alike."""
    days, amounts, channels = (
        (7, 14, 30, 60, 90, 120, 180, 270, 365, 400),
        (200, 500, 1_000, 1_500, 3_000),
        ("web", "app"),
    )
    counts = [f"count(order_completed, last {length} days) >= {1 + length // 60}" for length in days]
    gone = [f"did(order_completed) and not did(order_completed, last {length + 1} days)" for length in days]
    spent = [f"sum(order_completed.total, last {length} days) > {5 * length}" for length in days]
    total = [f'sum(order_completed.total) > {amount} and city = "Lyon"' for amount in amounts]
    mean = [f"avg(order_completed.total) > {amount // 10} and count(order_completed) > 5" for amount in amounts]
    channel = [
        f'count(order_completed where channel = "{name}", last {length} days) >= 2'
        for name in channels
        for length in days[2:7]
    ]
    return counts + gone + spent + total + mean + channel


def query(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    transform: ProfileTransform,
    rules: Sequence[Definition],
) -> str:
    """The SQL of definitions over everybody, as the hub runs it."""
    program = transform.compile(rules, SCHEMA)
    scope = WorkingScope(connection, program.reads.values(), snapshot.types)
    scope.everybody(snapshot, NOW)
    return str(ibis.to_sql(program.evaluate(scope, [rule.name for rule in rules]), dialect="duckdb"))


def answered(connection: duckdb.DuckDBPyConnection, table: str, sql: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")


def shown(name: str, timing: Timing) -> None:
    print(f"{name:34} {timing}")


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:]), *(EVENTS, PROFILES, RUNS)[len(sys.argv) - 1 :])
