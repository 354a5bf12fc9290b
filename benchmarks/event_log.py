"""The event log beside the physical limit: plain DuckDB over the same rows, in the same run.

    python benchmarks/event_log.py [EVENTS] [PEOPLE]

Prints ratios: times of one machine differ by the hour.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from sqlmodel import SQLModel

from switchyard.eventlog.log import EventLog
from switchyard.eventlog.seen import SeenIndex
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database

PAGE = 50_000
TYPES = {"channel": "text", "sku": "text", "total": "decimal"}
SEED = 7


@contextmanager
def timed(results: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    results[name] = results.get(name, 0.0) + time.perf_counter() - start


def page(connection: duckdb.DuckDBPyConnection, number: int, people: int) -> pa.Table:
    """One page of orders: random subjects, instants that go on with the pages."""
    return connection.execute(
        f"""
        SELECT unhex(md5(concat('{number}-', i))) AS _id,
            CAST(hash(i + {number * PAGE}) % {people} AS BIGINT) AS _subject,
            TIMESTAMP '2024-01-01' + to_seconds(CAST({number * PAGE} + i AS BIGINT)) AS _at, {number}::BIGINT AS _page,
            CASE hash(i) % 3 WHEN 0 THEN 'web' WHEN 1 THEN 'till' ELSE 'app' END AS channel,
            concat('sku-', hash(i * 7 + {number}) % 5000) AS sku,
            CAST(hash(i + 3) % 50000 / 100 AS DECIMAL(18, 4)) AS total
        FROM range({PAGE}) r(i)
        """
    ).to_arrow_table()


def load(folder: Path, events: int, people: int, results: dict[str, float]) -> tuple[EventLog, StoreCatalogue]:
    database = Database("sqlite:///store.db", folder)
    SQLModel.metadata.create_all(database.engine)
    catalogue = StoreCatalogue(database)
    log = EventLog(folder / "log", catalogue)
    log.open()
    connection = duckdb.connect()
    with database.write() as session:
        catalogue.register(session, "order_completed", TYPES)
    for number in range(events // PAGE):
        rows = page(connection, number, people)
        ids = rows["_id"].cast(pa.binary(16))
        rows = rows.set_column(0, "_id", ids)
        with timed(results, "seen"):
            log.seen(ids)
        with timed(results, "write"):
            entry = log.write("event", "order_completed", rows)
        with timed(results, "commit"), database.write() as session:
            catalogue.add(session, [entry])
        with timed(results, "remember"):
            log.remember(ids, number)
        with timed(results, "compact"):
            log.compact()
    connection.close()
    return log, catalogue


def best(times: int, action) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return min(taken)


def histories(log: EventLog, people: int) -> None:
    random = np.random.default_rng(SEED)
    connection = duckdb.connect()

    def history() -> None:
        subjects = pa.array(np.unique(random.integers(0, people, 200)))
        with log.snapshot(["order_completed"], subjects, memberships=False) as snapshot:
            snapshot.history("order_completed", subjects, {"total": "decimal"})

    def full_scan() -> None:
        with log.snapshot(memberships=False) as snapshot:
            snapshot.view(connection, "event", "order_completed", {"total": "decimal"}, "orders")
            connection.execute("SELECT _subject, sum(total), max(_at) FROM orders GROUP BY ALL").to_arrow_table()

    def point_scan() -> None:
        wanted = random.integers(0, people, 200).tolist()
        with log.snapshot(memberships=False) as snapshot:
            snapshot.view(connection, "event", "order_completed", {"total": "decimal"}, "orders")
            connection.execute("SELECT * FROM orders WHERE _subject IN (SELECT unnest(?))", [wanted]).to_arrow_table()

    ours, duck, full = best(7, history), best(3, point_scan), best(3, full_scan)
    print(f"history of 200 people: {ours * 1e3:.0f} ms; DuckDB without footers {duck / ours:.1f} times as long")
    print(f"aggregate per person over all: {full * 1e3:.0f} ms")


def seen_index(folder: Path, size: int) -> None:
    random = np.random.default_rng(SEED)
    index = SeenIndex(folder / "seen20")
    for number in range(size // 1_000_000):
        index.add(random.integers(0, 2**64, 1_000_000, np.uint64), number)
    many, few = random.integers(0, 2**64, 1_000_000, np.uint64), random.integers(0, 2**64, 200, np.uint64)
    bulk, single = best(3, lambda: index.find(many)), best(20, lambda: index.find(few))
    disk = sum(path.stat().st_size for path in (folder / "seen20").iterdir())
    print(
        f"seen-index of {len(index):,} ids: {1 / bulk:.1f} M look-ups/s, {single * 1e3:.2f} ms for 200, "
        f"{disk / len(index):.1f} bytes an id"
    )


def main(events: int, people: int) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder, results = Path(name), dict[str, float]()
        log, catalogue = load(folder, events, people, results)
        counts = log.statistics()["event", "order_completed"]
        print(
            f"{events:,} events in pages of {PAGE:,}: {counts.files} files, {counts.bytes / events:.1f} bytes an event"
        )
        for step, seconds in results.items():
            print(f"  {step}: {seconds:.1f} s, {events / seconds:,.0f} events/s")
        copied = duckdb.connect()
        for number in range(min(20, events // PAGE)):
            copied.register("rows", page(copied, number, people))
            with timed(results, "plain"):
                copied.execute(f"COPY (SELECT * FROM rows ORDER BY _subject, _at) TO '{folder}/plain{number}.parquet'")
        plain = results["plain"] / min(20, events // PAGE) * (events / PAGE)
        print(f"  DuckDB COPY of the same rows, sorted and not synced, takes {plain / results['write']:.2f} of write")
        histories(log, people)
        sample = page(duckdb.connect(), 3, people)["_id"].cast(pa.binary(16))
        print(f"confirming 200 old ids: {best(3, lambda: log.seen(sample.slice(0, 200))) * 1e3:.0f} ms")
        print(f"confirming 50,000 old ids: {best(2, lambda: log.seen(sample)) * 1e3:.0f} ms")
        print(f"opening: {best(2, lambda: reopened(folder, catalogue)):.2f} s")
        for path in (folder / "log" / "seen").iterdir():
            path.unlink()
        print(f"opening without the seen-index: {best(1, lambda: reopened(folder, catalogue)):.2f} s")
        seen_index(folder, 20_000_000)


def reopened(folder: Path, catalogue: StoreCatalogue) -> None:
    log = EventLog(folder / "log", catalogue)
    log.open()
    log.close()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3] or (10_000_000, 500_000)))
