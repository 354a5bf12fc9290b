"""What a monitoring system reads at `/metrics`: counts, lags and levels, in Prometheus' text format.

Labels are names of the configuration, states and statuses, and nothing else: what people send cannot become one.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from switchyard.api.errors import SwitchyardError
from switchyard.app.accounts import AccountBudget
from switchyard.app.status import PROVEN, proofs
from switchyard.server.protocol import code
from switchyard.server.receiver import Receive, ReceiverApp, Scope, Send
from switchyard.store.clock import now
from switchyard.store.database import Database
from switchyard.store.inbox import Depth

PATH = "/metrics"
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
_LAGS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3_600, 14_400)
_OUTCOMES = ("mapped", "quarantined", "duplicates")
_WHAT = {0: "gone"}
"""Statuses that are none."""


class Engine(Protocol):
    """What is asked of an engine, in any thread."""

    def fault(self) -> str | None:
        """Why it does not do its work now."""

    def depths(self) -> Mapping[str, Depth]:
        """Connection → what waits."""

    def next(self) -> Mapping[str, datetime | None]:
        """What → when it is due."""


class Metrics:
    """Counts what it is told, and asks for the rest when it is read. May be told in any thread.

    As an ASGI application it answers at `PATH`, and elsewhere that there is nothing.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._commits = Histogram(
            "switchyard_commit_rows", "Deliveries in one commit of the inbox", buckets=_ROWS, registry=registry
        )
        self._evaluated = Histogram(
            "switchyard_evaluated_lag_seconds",
            "From the first of some events that came to the commit of who entered and left by them",
            buckets=_LAGS, registry=registry,
        )  # fmt: skip
        self._delivered = Histogram(
            "switchyard_delivered_lag_seconds",
            "From the first of some events that came to the vendor's answers to what they change on a list",
            ["audience"], buckets=_LAGS, registry=registry,
        )  # fmt: skip
        self._runs = Counter("switchyard_runs", "Runs that ended", ["kind", "name", "outcome"], registry=registry)
        self._records = Counter(
            "switchyard_records", "Records read, by what became of them", ["connection", "stream", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._moves = Counter(
            "switchyard_segment_moves", "People who entered or left", ["segment", "direction"], registry=registry
        )

    def observe(self, event: str, **facts: Any) -> None:
        """An `Observer` of the engine."""
        lag = facts.get("lag")
        if lag is not None and event == "evaluated":
            self._evaluated.observe(lag)
        elif lag is not None and event == "delivered":
            self._delivered.labels(facts["audience"]).observe(lag)

    def watch(self, hook: str, arguments: Mapping[str, Any]) -> None:
        """A watcher of the registry of plugins: all runs, those of commands too."""
        if hook == "switchyard_run_finished":
            kind, name = arguments["kind"], arguments["name"]
            self._runs.labels(kind, name, "failed" if arguments["error"] else "done").inc()
            if kind == "sync":
                connection, _, stream = name.partition("/")
                for outcome in _OUTCOMES:
                    count = arguments["counts"].get(outcome, 0)
                    self._records.labels(connection, stream, outcome.removesuffix("s")).inc(count)
        elif hook == "switchyard_membership_changed":
            for direction in ("entered", "left"):
                self._moves.labels(arguments["segment"], direction).inc(arguments[direction])

    def committed(self, rows: int) -> None:
        """A commit of the inbox."""
        self._commits.observe(rows)

    def ask(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Have these read at every look; what the store does not tell at the moment is left out."""
        self._registry.register(_Asked(collect))

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, kind, body = 200, _TEXT, b""
        if scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
            status, kind = 404, b"application/json"
            body = json.dumps({"code": code(404), "message": "nobody receives here"}).encode()
        else:
            # It asks the store, for which nobody who sends shall wait.
            body = await asyncio.to_thread(self.text)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class _Asked(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        with suppress(SwitchyardError):
            yield from self._collect()

    def describe(self) -> Iterable[Metric]:
        # Otherwise it would be asked as soon as it is registered.
        return ()


def of_receiver(app: ReceiverApp, waiting: Callable[[], int]) -> Iterator[Metric]:
    """What a receiver counts: requests, and deliveries that wait for the disk."""
    requests = CounterMetricFamily("switchyard_requests", "Answers, by who was meant", labels=["connection", "status"])
    for (who, status), count in app.answers.copy().items():
        requests.add_metric([who, _WHAT.get(status, str(status))], count)
    yield requests
    yield GaugeMetricFamily("switchyard_uncommitted_rows", "Deliveries that wait for the disk", value=waiting())


def of_engine(engine: Engine) -> Iterator[Metric]:
    """Whether the engine works, what waits for it, and when it has something to do."""
    is_up = engine.fault() is None
    yield GaugeMetricFamily("switchyard_engine_up", "1 where the engine works and holds its lease", value=int(is_up))
    due = GaugeMetricFamily("switchyard_next_due_timestamp_seconds", "What is due next by the clock", labels=["what"])
    for what, at in engine.next().items():
        if at is not None:
            due.add_metric([what], at.replace(tzinfo=UTC).timestamp())
    yield due
    rows = GaugeMetricFamily("switchyard_inbox_rows", "Deliveries that wait to be read", labels=["connection"])
    oldest = GaugeMetricFamily("switchyard_inbox_oldest_seconds", "Since when the first waits", labels=["connection"])
    for connection, depth in engine.depths().items():
        rows.add_metric([connection], depth.rows)
        oldest.add_metric([connection], _age(depth.oldest))
    yield rows
    yield oldest


def of_accounts(budgets: Callable[[], Iterable[AccountBudget]]) -> Iterator[Metric]:
    """What was called, and what the day still allows. An account goes by the name of the first connection to it."""
    calls = CounterMetricFamily("switchyard_calls", "Calls to the account", labels=["account"])
    used = GaugeMetricFamily("switchyard_quota_used", "Calls of the account's day", labels=["account"])
    left = GaugeMetricFamily("switchyard_quota_left", "Calls that its quota still allows today", labels=["account"])
    for budget in budgets():
        account = [budget.connections[0]]
        calls.add_metric(account, budget.made)
        used.add_metric(account, sum(budget.used.values()))
        if (remaining := budget.left()) is not None:
            left.add_metric(account, remaining)
    yield calls
    yield used
    yield left


def of_lists(database: Database, audiences: Callable[[], Iterable[str]]) -> Iterator[Metric]:
    """The last proof of every list."""
    people = GaugeMetricFamily("switchyard_audience_people", "As last proven", labels=["audience", "state"])
    read = GaugeMetricFamily("switchyard_audience_proven_timestamp_seconds", "When it was", labels=["audience"])
    with database.read() as session:
        found = proofs(session)
    for audience in audiences():
        if proof := found.get(audience):
            read.add_metric([audience], proof.read_at.replace(tzinfo=UTC).timestamp())
            for state in PROVEN:
                people.add_metric([audience, state], getattr(proof, state))
    yield people
    yield read


def _age(since: datetime | None) -> float:
    return max((now() - since).total_seconds(), 0.0) if since else 0.0
