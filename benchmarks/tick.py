"""A tick: 200 people changed, and their definitions are evaluated anew; how long by the size of the log.

    python benchmarks/tick.py [EVENTS[,EVENTS…]] [PROFILES[,PROFILES…]] [CHANGED] [TICKS]

By default 100,000 and 1,000,000 events of 25,000 people, which takes seconds; the goal (150 ms, and not twice that for
ten times the log) is stated for `10000000,100000000 500000`. The log is one large file and as many small ones as may
wait for compaction. Each tick is a page with one new order of each of the changed people, committed before the clock
starts, and then `Evaluation.run` with five definitions on orders, up to its commit to the store.

`history` alone is what `Snapshot.history` takes for as many people, with and without the ids. Phases are as they lie in
each other: `fetch` holds `history`. Prints the most memory of the process too.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path

import numpy as np
import pyarrow as pa
from world import HEADER, LAST_PAGE, NOW, PROPERTIES, Opened, Timing, World, alternated, events, memory, processor

from switchyard.api.transforms import Definition
from switchyard.evaluation.compiled import Authored, Compiled
from switchyard.evaluation.evaluation import Evaluation, Vocabulary
from switchyard.evaluation.scope import WorkingScope
from switchyard.evaluation.standing import Standing
from switchyard.evaluation.walk import Walk
from switchyard.evaluation.working import WorkingDatabase
from switchyard.eventlog.snapshot import Snapshot
from switchyard.store import bulk, runs
from switchyard.store.tables import Page
from switchyard_plugins.segmentation.transform import Segmentation

DEFAULTS = ("100000,1000000", "25000", "200", "15")
RULES = (
    "count(order_completed, last 30 days) > 3 and sum(order_completed.total) > 500",
    "sum(order_completed.total, last 365 days) > 1500",
    "did(order_completed) and not did(order_completed, last 60 days)",
    'count(order_completed where channel = "web", last 90 days) >= 2',
    'avg(order_completed.total) > 200 and city = "Lyon"',
)
PHASES: dict[str, Callable[..., object]] = {
    "profiles": WorkingDatabase.refresh,
    "fetch": WorkingScope.touched,
    "history": Snapshot.history,
    "definitions": Compiled.evaluate,
    "moves": Walk.moves,
    "timers": Standing.time,
    "memberships": Standing.move,
    "sizes": Standing.sizes,
    "store": Evaluation._commit,
    "task": Evaluation._task,
    "compile": Evaluation.compiled,
}


def main(sizes: list[int], profiles: list[int], changed: int, ticks: int) -> None:
    print(HEADER)
    least: list[Timing] = []
    for size, people in zip(sizes, profiles if len(profiles) > 1 else profiles * len(sizes), strict=True):
        world = World({"order_completed": size}, people)
        print(f"{size:,} events, {people:,} profiles")
        with tempfile.TemporaryDirectory(dir=_beside(world)) as folder, world.opened(Path(folder) / "w") as opened:
            history(opened, world, changed, ticks)
            least.append(tick(opened, world, changed, ticks))
    for size, taken in zip(sizes[1:], least[1:], strict=True):
        wall, used = taken.least / least[0].least, taken.least_cpu / least[0].least_cpu
        print(f"{size:,} events take {wall:.2f} times as long as {sizes[0]:,}, {used:.2f} of the processor")
    print(f"most memory {memory():.1f} GB")


def history(opened: Opened, world: World, changed: int, runs: int) -> None:
    random = np.random.default_rng(1)
    with opened.log.snapshot(["order_completed"], pa.array([0]), memberships=False) as snapshot:

        def fetched(fixed: list[str] | None) -> None:
            people = pa.array(np.unique(random.integers(1, world.subjects, changed)))
            snapshot.history("order_completed", people, {"channel": "text", "total": "decimal"}, fixed)

        found = alternated(runs, ids=partial(fetched, None), plain=partial(fetched, ["_at", "_page"]))
    print(f"{f'  history of {changed}':34} {found['plain']}")
    print(f"{'    with ids':34} {found['ids']}")


def tick(opened: Opened, world: World, changed: int, ticks: int) -> Timing:
    """Time ticks, and print them with their phases."""
    now = [NOW]
    evaluation = Evaluation(opened.database, opened.log, opened.working, Vocabulary(), lambda: now[0])
    rules = [Definition(f"s{number}", {"segment": f"s{number}", "where": rule}) for number, rule in enumerate(RULES)]
    authored = [Authored("segmentation", Segmentation(), rules)]
    first = Timing()
    first.run(lambda: evaluation.run(_run(opened), authored))
    print(f"{'  everybody, once':34} {first}")
    random, whole, phases = np.random.default_rng(2), Timing(), dict[str, Timing]()
    for number in range(ticks):
        now[0] += timedelta(seconds=1)
        _commit(opened, world, random, changed, LAST_PAGE + 1 + number)
        run = _run(opened)
        with _traced() as spent:
            whole.run(lambda run=run: evaluation.run(run, authored))
        for name, (seconds, used) in spent.items():
            phases.setdefault(name, Timing()).wall.append(seconds)
            phases[name].processor.append(used)
    print(f"{f'  tick of {changed}':34} {whole}")
    for name, timing in phases.items():
        print(f"{f'    {name}':34} {timing}")
    return whole


def _commit(opened: Opened, world: World, random: np.random.Generator, changed: int, page: int) -> None:
    """A page with an order of each of some people, as intake leaves it."""
    people = np.unique(random.integers(1, world.profiles + 1, changed))
    orders = events(random, len(people), 1, 2, page).set_column(1, "_subject", pa.array(people))
    at = pa.array(np.full(len(people), np.datetime64(NOW - timedelta(seconds=len(people))))).cast(pa.timestamp("us"))
    orders = orders.set_column(2, "_at", at)
    run = _run(opened)
    with opened.database.write() as session:
        opened.catalogue.register(session, "order_completed", PROPERTIES)
        opened.catalogue.journal_events(session, "order_completed", orders)
        counts = {"read": len(people), "mapped": len(people), "quarantined": 0, "duplicate": 0}
        changed_people = bulk.packed(pa.array(people))
        session.add(Page(id=page, run_id=run, stream_id=1, committed_at=NOW, changed=changed_people, **counts))
    opened.log.remember(orders["_id"], page)


def _run(opened: Opened) -> int:
    with opened.database.write() as session:
        return runs.started(session, "evaluate", "all")


@contextmanager
def _traced() -> Iterator[dict[str, tuple[float, float]]]:
    """Seconds by phase inside the block: by the clock, and of the processor."""
    spent: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def timed(name: str, method: Callable[..., object]) -> Callable[..., object]:
        @wraps(method)
        def call(*arguments: object, **named: object) -> object:
            started, before = time.perf_counter(), processor()
            try:
                return method(*arguments, **named)
            finally:
                wall, used = spent[name]
                spent[name] = (wall + time.perf_counter() - started, used + processor() - before)

        return call

    homes = {name: _home(method) for name, method in PHASES.items()}
    for name, method in PHASES.items():
        setattr(homes[name], method.__name__, timed(name, method))
    try:
        yield spent
    finally:
        for name, method in PHASES.items():
            setattr(homes[name], method.__name__, method)


def _home(method: Callable[..., object]) -> type:
    """The class that a method was taken from."""
    return getattr(sys.modules[method.__module__], method.__qualname__.split(".")[0])


def _beside(world: World) -> Path:
    """A folder on the disk of the world, so that its files can be linked."""
    world.folder.parent.mkdir(parents=True, exist_ok=True)
    return world.folder.parent


if __name__ == "__main__":
    given = (*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :])
    events_listed, profiles_listed = ([int(text) for text in listed.split(",")] for listed in given[:2])
    main(events_listed, profiles_listed, int(given[2]), int(given[3]))
