import asyncio
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from switchyard.api.errors import TransientError
from switchyard.app.logs import NAMES, NUMBERS
from switchyard.server.metrics import Metrics, of_accounts, of_engine, of_receiver
from switchyard.store.inbox import Depth

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "watch-the-hub.md"


class Engine:
    def fault(self) -> str | None:
        return None

    def depths(self) -> dict[str, Depth]:
        return {"shop": Depth(3, datetime.now(UTC).replace(tzinfo=None))}

    def next(self) -> dict[str, datetime | None]:
        return {"time": datetime(2026, 1, 1), "schedule": None}


def told() -> Metrics:
    metrics = Metrics()
    metrics.committed(7)
    metrics.observe("evaluated", lag=0.2, entered=1)
    metrics.observe("evaluated", entered=1)
    metrics.observe("delivered", audience="buyers", lag=0.4)
    counts = {"read": 9, "mapped": 6, "quarantined": 2, "duplicates": 1}
    metrics.watch("switchyard_run_finished", {"kind": "sync", "name": "till/lines", "counts": counts, "error": None})
    metrics.watch("switchyard_run_finished", {"kind": "deliver", "name": "buyers", "counts": {}, "error": "no"})
    metrics.watch("switchyard_membership_changed", {"segment": "buyers", "entered": 5, "left": 0})
    budget: Any = SimpleNamespace(connections=["crm", "other"], made=4, used={"default": 40}, left=lambda: 60)
    app: Any = SimpleNamespace(answers=Counter({("shop", 200): 2, ("shop", 0): 1}))
    metrics.ask(lambda: of_engine(Engine()))
    metrics.ask(lambda: of_accounts(lambda: [budget]))
    metrics.ask(lambda: of_receiver(app, lambda: 5))
    return metrics


def test_what_was_told_and_asked_is_read():
    text = told().text().decode()
    for line in (
        "switchyard_commit_rows_sum 7.0",
        "switchyard_evaluated_lag_seconds_count 1.0",
        'switchyard_delivered_lag_seconds_bucket{audience="buyers",le="0.5"} 1.0',
        'switchyard_records_total{connection="till",outcome="quarantined",stream="lines"} 2.0',
        'switchyard_records_total{connection="till",outcome="duplicate",stream="lines"} 1.0',
        'switchyard_runs_total{kind="deliver",name="buyers",outcome="failed"} 1.0',
        'switchyard_segment_moves_total{direction="entered",segment="buyers"} 5.0',
        "switchyard_engine_up 1.0",
        'switchyard_inbox_rows{connection="shop"} 3.0',
        'switchyard_calls_total{account="crm"} 4.0',
        'switchyard_quota_left{account="crm"} 60.0',
        'switchyard_requests_total{connection="shop",status="gone"} 1.0',
        "switchyard_uncommitted_rows 5.0",
    ):
        assert line in text.splitlines()


def test_a_store_that_is_away_costs_its_own_part_only():
    def away() -> Any:
        raise TransientError("the store is away")

    metrics = told()
    metrics.ask(away)
    assert "switchyard_engine_up 1.0" in metrics.text().decode()


def test_it_is_read_at_one_path_and_there_is_nothing_elsewhere():
    def asked(path: str, method: str = "GET") -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": path, "method": method}
        asyncio.run(told()(scope, lambda: None, send))  # type: ignore[arg-type]
        return int(sent[0]["status"])

    assert [asked("/metrics"), asked("/metrics", "POST"), asked("/people/ann")] == [200, 404, 404]


def test_the_page_names_every_metric_and_every_key_of_the_log():
    page = PAGE.read_text()
    for family in re.findall(r"# TYPE (switchyard_\w+) ", told().text().decode()):
        assert f"`{family}`" in page or family.endswith("_created")
    for key in NAMES | NUMBERS:
        assert f"`{key}`" in page
