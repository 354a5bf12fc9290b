from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from switchyard.api import Cursor, ListChanges, ListReceipt, ListRef, Member, Page, RemoteList, Stream
from switchyard.testing.bench import records_of
from switchyard.testing.builders import SimpleContext
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.salesforce import SOURCE
from switchyard_connectors.salesforce.config import SalesforceConfig
from switchyard_connectors.salesforce.oauth import SESSIONS
from switchyard_connectors.salesforce.simulator import Account, SalesforceSimulator
from switchyard_connectors.salesforce.simulator_auth import App
from switchyard_connectors.salesforce.sink import SalesforceLists
from switchyard_connectors.salesforce.source import Salesforce
from switchyard_connectors.salesforce.streams import OBJECTS, STREAMS

APP = App()
SIGN_IN: dict[str, Any] = {"client_credentials": {"client_id": APP.client_id, "client_secret": APP.client_secret}}


@dataclass(frozen=True)
class Delivery:
    """Everything the receipts of one `apply` said, joined."""

    upserted: dict[str, str]
    added: frozenset[str]
    removed: frozenset[str]
    codes: dict[str, str]
    retryable: frozenset[str]
    tickets: tuple[str, ...]

    @classmethod
    def of(cls, receipts: Iterable[ListReceipt]) -> Delivery:
        receipts = list(receipts)
        verdicts = [(key, why) for receipt in receipts for key, why in receipt.rejected.items()]
        assert len({key for key, _ in verdicts}) == len(verdicts), "a key was rejected twice"
        return cls(
            upserted={key: value for receipt in receipts for key, value in receipt.upserted.items()},
            added=frozenset().union(*(receipt.added for receipt in receipts)),
            removed=frozenset().union(*(receipt.removed for receipt in receipts)),
            codes={key: why.code for key, why in verdicts},
            retryable=frozenset(key for key, why in verdicts if why.retryable),
            tickets=tuple(receipt.ticket for receipt in receipts if receipt.ticket),
        )


class Desk:
    """A simulator with a source and a sink at work on it. Waiting moves the clock and takes no time."""

    def __init__(self, simulator: SalesforceSimulator, clock: ManualClock, folder: Path, config: dict[str, Any]):
        self.simulator = simulator
        self.clock = clock
        self.folder = folder
        self.waits: list[float] = []
        self.config = SalesforceConfig(**{"base_url": simulator.url} | ({} if _signs_in(config) else SIGN_IN) | config)
        self.contexts: list[SimpleContext] = []
        self._source: Salesforce | None = None
        self._sink: SalesforceLists | None = None

    @property
    def source(self) -> Salesforce:
        if self._source is None:
            self._source = Salesforce(self.config, self.context(), clock=self.clock, wait=self.wait)
        return self._source

    @property
    def sink(self) -> SalesforceLists:
        if self._sink is None:
            self._sink = SalesforceLists(self.config, self.context(), wait=self.wait)
        return self._sink

    @property
    def inbox(self) -> list[Any]:
        _ = self.source
        return self.contexts[-1].pushed

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    def restart(self) -> None:
        """As if the process had been killed."""
        self._source = self._sink = None
        SESSIONS.forget()

    def pages(self, stream: Stream | str = "Contact", cursor: Cursor = None) -> Iterator[Page]:
        named = stream if isinstance(stream, Stream) else next(s for s in STREAMS if OBJECTS[s.name] == stream)
        return self.source.read(named, cursor)

    def read(self, stream: Stream | str = "Contact", cursor: Cursor = None) -> tuple[list[dict[str, Any]], Cursor]:
        """All records behind the cursor, and the last cursor."""
        pages = list(self.pages(stream, cursor))
        return [dict(record) for record in records_of(pages)], pages[-1].cursor if pages else cursor

    def ids(self, stream: Stream | str = "Contact", cursor: Cursor = None) -> list[str]:
        return [record["Id"] for record in self.read(stream, cursor)[0]]

    def ensure(self, name: str = "vip", fields: Collection[str] = ("Email",), key_field: str = "Email") -> ListRef:
        return self.sink.ensure(RemoteList(name, key_field, tuple(fields)), None)

    def deliver(self, ref: ListRef, **parts: Any) -> Delivery:
        return Delivery.of(self.sink.apply(ref, ListChanges(id="1", **parts)))

    def polled(self, ref: ListRef, ticket: str) -> list[ListReceipt]:
        """All receipts of a ticket, until it is settled."""
        receipts: list[ListReceipt] = []
        for _ in range(20):
            receipts += self.sink.poll(ref, ticket)
            if receipts[-1].ticket is None:
                return receipts
            self.clock.advance(30)
        raise AssertionError("a ticket was never settled")

    def held(self, ref: ListRef) -> set[str]:
        return {row["remote_id"] for page in self.sink.members(ref, None) for row in page.records}

    def calls(self, action: Callable[[], Any]) -> list[str]:
        """The metered calls that an action made, as "METHOD route"."""
        before = self.simulator.journal.total
        action()
        return [
            f"{call.method} {call.route.removeprefix('/services/data/{version}/')}"
            for call in self.simulator.calls(since=before)
            if "oauth2" not in call.route
        ]

    def sent(self, route: str, method: str | None = None) -> list[Any]:
        """The bodies of the calls whose path has this in it."""
        return [call.json() for call in self.simulator.calls(method, route)]

    def context(self) -> SimpleContext:
        context = SimpleContext(self.folder, limits=SOURCE.limits(self.config))
        self.contexts.append(context)
        return context


def _signs_in(config: dict[str, Any]) -> bool:
    return bool({"client_credentials", "jwt", "refresh"} & config.keys())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_desk(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Desk]]:
    """Open a desk: `account` for the simulator, the rest for the connector's configuration."""
    with contextlib.ExitStack() as opened:

        def open_one(account: Account | None = None, **config: Any) -> Desk:
            simulator = opened.enter_context(SalesforceSimulator(account or Account(), clock=clock))
            desk = Desk(simulator, clock, tmp_path, config)
            opened.callback(lambda: [context.close() for context in desk.contexts])
            return desk

        yield open_one


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


@pytest.fixture
def people() -> Callable[..., list[Member]]:
    """Members p0, p1, … with an address each, and further fields where asked for."""

    def make(count: int, start: int = 0, **fields: Any) -> list[Member]:
        return [
            Member(f"p{each}", fields={"Email": f"p{each}@x.example", **fields}) for each in range(start, start + count)
        ]

    return make


@pytest.fixture
def contacts(desk: Desk) -> Callable[..., list[str]]:
    """Contacts made by hand; those made together share a stamp."""
    return partial(add_contacts, desk)


def add_contacts(desk: Desk, count: int, start: int = 0, **fields: Any) -> list[str]:
    return [
        desk.simulator.add("Contact", LastName=f"L{each}", Email=f"c{each}@x.example", **fields)
        for each in range(start, start + count)
    ]
