from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from switchyard.api import Cursor, ListChanges, ListReceipt, ListRef, Page, RemoteList, Stream
from switchyard.api.http import Budget
from switchyard.api.records import DELETED
from switchyard.testing.builders import SimpleContext
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot import SOURCE, HubSpotConfig, switchyard_connectors
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC
from switchyard_connectors.hubspot.sink import HubSpotLists
from switchyard_connectors.hubspot.source import HubSpot
from switchyard_connectors.hubspot.streams import streams_of

SPEC = switchyard_connectors()[0]
UNLIMITED = Account(tier=None)


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


@dataclass
class Library:
    """A simulator with a source at work on it."""

    simulator: HubSpotSimulator
    config: HubSpotConfig
    context: SimpleContext
    clock: ManualClock

    def stream(self, name: str = "contacts") -> Stream:
        return next(each for each in streams_of(self.config) if each.name == name)

    def pages(self, cursor: Cursor = None, stream: str = "contacts") -> Iterator[Page]:
        """The pages behind a cursor, by a source that was built anew."""
        return HubSpot(self.config, self.context, self.clock).read(self.stream(stream), cursor)

    def read(self, cursor: Cursor = None, stream: str = "contacts") -> list[Page]:
        """All pages behind a cursor."""
        return list(self.pages(cursor, stream))

    def sync(self, cursor: Cursor = None, stream: str = "contacts") -> tuple[list[dict[str, Any]], Cursor]:
        """All records behind a cursor, and the cursor behind them."""
        pages = self.read(cursor, stream)
        return [dict(record) for page in pages for record in page.records], pages[-1].cursor if pages else cursor

    def ids(self, cursor: Cursor = None, stream: str = "contacts") -> tuple[set[str], Cursor]:
        """The ids of the records that there are, and the cursor."""
        records, after = self.sync(cursor, stream)
        return {record["id"] for record in records if DELETED not in record}, after

    def add(self, count: int, **values: Any) -> list[str]:
        """Contacts p0, p1, … that searching finds by now: their ids."""
        people = [self.simulator.contacts.add({"email": f"p{each}@x.example", **values}) for each in range(count)]
        self.clock.advance(600)
        return [each.id for each in people]

    def assert_read(self, ids: Collection[str], cursor: Cursor = None) -> Cursor:
        """These contacts are read, and no others; gives the cursor behind them."""
        found, after = self.ids(cursor)
        assert found == set(ids)
        return after

    def calls(self, path: str, action: Callable[[], Any]) -> int:
        """How many calls whose path this expression finds an action made."""
        before = self.simulator.journal.total
        action()
        return self.simulator.count(None, path, since=before)


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
        context = SimpleContext(tmp_path)
        context.budget = Budget(SPEC.limits(checked), clock=clock, sleep=clock.advance, wall=clock)
        opened.callback(context.close)
        return Desk(simulator, SPEC.build(checked, context), clock)

    with opened:
        yield open_one


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


@pytest.fixture
def open_library(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Library]]:
    """Open a library: `account` for the simulator, the rest for the connector's configuration."""
    opened = contextlib.ExitStack()

    def open_one(account: Account = UNLIMITED, **config: Any) -> Library:
        simulator = opened.enter_context(HubSpotSimulator(account, clock=clock))
        if "oauth" not in config:
            config.setdefault("token", STATIC)
        config = {"tier": "none", "read": ("contacts",), "properties": {"contacts": ("firstname",)}, **config}
        context = SimpleContext(tmp_path)
        limits = SOURCE.limits(HubSpotConfig(base_url=simulator.url, **config))
        context.budget = Budget(limits, clock=clock, sleep=clock.advance, wall=clock)
        opened.callback(context.close)
        return Library(simulator, HubSpotConfig(base_url=simulator.url, **config), context, clock)

    with opened:
        yield open_one


@pytest.fixture
def library(open_library: Callable[..., Library]) -> Library:
    return open_library()
