"""The kit for list sinks, with the simulator as the vendor."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest

from switchyard.testing.conformance import ListSinkConformance
from switchyard_connectors.hubspot import switchyard_connectors
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC


class Portal:
    """The simulated account as its owner sees it."""

    def __init__(self, simulator: HubSpotSimulator) -> None:
        self.simulator = simulator

    def lists(self) -> Collection[str]:
        return [entry.id for entry in self.simulator.lists.lists.values() if entry.deleted is None]

    def members(self, list_id: str) -> Collection[str]:
        return [str(record_id) for record_id in self.simulator.lists.lists[list_id].members]

    def records(self) -> Collection[str]:
        return list(self.simulator.contacts.records)

    def calls(self) -> int:
        return self.simulator.journal.total

    def refuse(self, value: str) -> None:
        self.simulator.contacts.block(value)

    def delete(self, list_id: str) -> None:
        self.simulator.lists.remove(list_id)


class TestHubSpot(ListSinkConformance):
    @pytest.fixture
    def remote(self) -> Iterator[Portal]:
        with HubSpotSimulator(Account(tier=None)) as simulator:
            yield Portal(simulator)

    @pytest.fixture
    def spec(self):
        return switchyard_connectors()[0]

    @pytest.fixture
    def config(self, remote):
        return {"token": STATIC, "base_url": remote.simulator.url}
