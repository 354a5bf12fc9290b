from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switchyard.api import ListChanges, ListReceipt, ListRef, Member, RemoteList
from switchyard.api.http import Budget, HttpClient
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot import HubSpotConfig, switchyard_connectors
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC
from switchyard_connectors.hubspot.sink import HubSpotLists

SPEC = switchyard_connectors()[0]
UNLIMITED = Account(tier=None)


@dataclass(frozen=True)
class HubContext:
    """What the hub hands to a connector, without the hub. Waiting moves the clock and takes no time."""

    workspace: Path
    budget: Budget
    clients: list[HttpClient] = field(default_factory=list)
    connection: str = "crm"
    project: Path = Path()

    def http(self, base_url: str, *, bearer: str | Callable[[], str] | None = None) -> HttpClient:
        self.clients.append(HttpClient(base_url, bearer=bearer, budget=self.budget))
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
    receipts: tuple[ListReceipt, ...]


@dataclass(frozen=True)
class Desk:
    """A simulator with a sink at work on it."""

    simulator: HubSpotSimulator
    sink: HubSpotLists
    clock: ManualClock

    def ensure(self, name: str = "vip", fields: Collection[str] = ("email",), key_field: str = "email") -> ListRef:
        return self.sink.ensure(RemoteList(name, key_field, tuple(fields)), None)

    def deliver(self, ref: ListRef, **parts: Any) -> Delivery:
        receipts = tuple(self.sink.apply(ref, ListChanges(id="1", **parts)))
        verdicts = [(key, why) for receipt in receipts for key, why in receipt.rejected.items()]
        assert len({key for key, _ in verdicts}) == len(verdicts), "a key was rejected twice"
        return Delivery(
            upserted={key: value for receipt in receipts for key, value in receipt.upserted.items()},
            added=frozenset().union(*(receipt.added for receipt in receipts)),
            removed=frozenset().union(*(receipt.removed for receipt in receipts)),
            codes={key: why.code for key, why in verdicts},
            retryable=frozenset(key for key, why in verdicts if why.retryable),
            receipts=receipts,
        )

    def held(self, ref: ListRef) -> set[str]:
        return {row["remote_id"] for page in self.sink.members(ref, None) for row in page.records}

    def calls(self, action: Callable[[], Any]) -> list[str]:
        """The calls that an action made, as "METHOD route"."""
        before = self.simulator.journal.total
        action()
        return [f"{call.method} {call.route}" for call in self.simulator.calls(since=before)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_desk(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Desk]]:
    """Open a desk: `account` for the simulator, the rest for the connector's configuration."""
    opened = contextlib.ExitStack()

    def open_one(account: Account = UNLIMITED, **config: Any) -> Desk:
        simulator = opened.enter_context(HubSpotSimulator(account, clock=clock))
        if "oauth" not in config:
            config.setdefault("token", STATIC)
        checked = HubSpotConfig(base_url=simulator.url, **config)
        budget = Budget(SPEC.limits(checked), clock=clock, sleep=clock.advance, wall=clock)
        context = HubContext(tmp_path, budget)
        desk = Desk(simulator, SPEC.build(checked, context), clock)
        for client in context.clients:
            opened.callback(client.close)
        return desk

    with opened:
        yield open_one


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


@pytest.fixture
def people() -> Callable[..., list[Member]]:
    """Members p0, p1, … with an address each, and a name where asked for."""

    def make(count: int, start: int = 0, **fields: Any) -> list[Member]:
        return [
            Member(f"p{each}", fields={"email": f"p{each}@x.example", **fields}) for each in range(start, start + count)
        ]

    return make
