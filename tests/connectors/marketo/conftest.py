from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from switchyard.api import Cursor, ListChanges, ListReceipt, ListRef, Page, RemoteList, Stream
from switchyard.api.http import Budget, HttpClient, RetryPolicy
from switchyard.testing.bench import records_of
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.marketo import CAMPAIGNS, LISTS, SOURCE, MarketoConfig, windows
from switchyard_connectors.marketo.campaigns import MarketoCampaigns
from switchyard_connectors.marketo.simulator import Account, MarketoSimulator
from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET
from switchyard_connectors.marketo.sink import MarketoLists
from switchyard_connectors.marketo.source import MarketoSource
from switchyard_connectors.marketo.streams import asked_for

DAY = 86_400.0
INSTANCE = Account()


@dataclass(frozen=True)
class HubContext:
    """What the hub hands to a connector, without the hub. Waiting moves the clock and takes no time."""

    workspace: Path
    budget: Budget
    clients: list[HttpClient] = field(default_factory=list)
    connection: str = "crm"
    project: Path = Path()

    def http(
        self, base_url: str, *, bearer: str | Callable[[], str] | None = None, policy: RetryPolicy | None = None
    ) -> HttpClient:
        client = HttpClient(base_url, bearer=bearer, budget=self.budget, policy=policy or RetryPolicy())
        self.clients.append(client)
        return self.clients[-1]

    def marked(self, stream: str, marks: Collection[str]) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class Delivery:
    """Everything the receipts of one `apply` said, joined."""

    upserted: dict[str, str]
    added: frozenset[str]
    removed: frozenset[str]
    codes: dict[str, str]
    retryable: frozenset[str]
    tickets: list[str]

    @classmethod
    def of(cls, receipts: Collection[ListReceipt]) -> Delivery:
        verdicts = [(key, why) for receipt in receipts for key, why in receipt.rejected.items()]
        assert len({key for key, _ in verdicts}) == len(verdicts), "a key was rejected twice"
        return cls(
            upserted={key: value for receipt in receipts for key, value in receipt.upserted.items()},
            added=frozenset().union(*(receipt.added for receipt in receipts)),
            removed=frozenset().union(*(receipt.removed for receipt in receipts)),
            codes={key: why.code for key, why in verdicts},
            retryable=frozenset(key for key, why in verdicts if why.retryable),
            tickets=[receipt.ticket for receipt in receipts if receipt.ticket],
        )


@dataclass(frozen=True)
class Desk:
    """A simulator with the connector at work on it."""

    simulator: MarketoSimulator
    config: MarketoConfig
    context: HubContext
    clock: ManualClock

    def configured(self, **given: Any) -> Desk:
        """The same with other values in its configuration."""
        return replace(self, config=self.config.model_copy(update=given))

    @property
    def source(self) -> MarketoSource:
        return SOURCE.build(self.config, self.context)

    @property
    def sink(self) -> MarketoLists:
        return LISTS.build(self.config, self.context)

    @property
    def campaigns(self) -> MarketoCampaigns:
        return CAMPAIGNS.build(self.config, self.context)

    def stream(self, name: str) -> Stream:
        return next(each for each in (*SOURCE.streams, *asked_for(self.config)) if each.name == name)

    def pages(self, name: str, cursor: Cursor = None) -> list[Page]:
        return list(self.source.read(self.stream(name), cursor))

    def read(self, name: str, cursor: Cursor = None) -> tuple[list[dict[str, Any]], Cursor]:
        """The records of a stream behind a cursor, and the cursor behind them."""
        pages = self.pages(name, cursor)
        return [dict(record) for record in records_of(pages)], pages[-1].cursor if pages else cursor

    def ensure(
        self, sink: MarketoLists, name: str = "vip", fields: Collection[str] = ("email",), key_field: str = "email"
    ) -> ListRef:
        self.simulator.lists.named(name) or self.simulator.lists.add(name)
        return sink.ensure(RemoteList(name, key_field, tuple(fields)), None)

    def deliver(self, sink: MarketoLists, ref: ListRef, **parts: Any) -> Delivery:
        return Delivery.of(list(sink.apply(ref, ListChanges(id="1", **parts))))

    def polled(self, sink: MarketoLists, ref: ListRef, ticket: str) -> Delivery:
        return Delivery.of(list(sink.poll(ref, ticket)))

    def held(self, sink: MarketoLists, ref: ListRef) -> set[str]:
        return {row["remote_id"] for page in sink.members(ref, None) for row in page.records}

    def calls(self, action: Callable[[], Any]) -> list[str]:
        """The metered calls that an action made, as "METHOD route"."""
        before = self.simulator.journal.total
        action()
        made = [f"{call.method} {call.route}" for call in self.simulator.calls(since=before)]
        return [each for each in made if "/identity/" not in each]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time, of the simulator and of the connector: it moves by waiting alone."""
    clock = ManualClock()
    now = lambda: datetime.fromtimestamp(clock(), UTC).replace(tzinfo=None, microsecond=0)  # noqa: E731
    monkeypatch.setattr(windows, "now", now)
    return clock


@pytest.fixture
def open_desk(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Desk]]:
    """Open a desk: `account` for the simulator, the rest for the connector's configuration."""
    opened = contextlib.ExitStack()

    def open_one(account: Account = INSTANCE, **config: Any) -> Desk:
        simulator = opened.enter_context(MarketoSimulator(account, clock=clock))
        given = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "since": "2026-09-01", **config}
        checked = MarketoConfig(base_url=simulator.url, **given)
        budget = Budget(SOURCE.limits(checked), clock=clock, sleep=clock.advance, wall=clock)
        context = HubContext(tmp_path, budget)
        opened.callback(lambda: [client.close() for client in context.clients])
        return Desk(simulator, checked, context, clock)

    with opened:
        yield open_one


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()
