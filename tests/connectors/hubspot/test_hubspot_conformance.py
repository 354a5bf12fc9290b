"""The kit for list sinks, with the simulator as the vendor."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import httpx
import pytest

from switchyard.testing.conformance import ListSinkConformance
from switchyard.testing.simulator import Answer, Request
from switchyard_connectors.hubspot import switchyard_connectors
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC


class Portal:
    """The simulated account as its owner sees it."""

    def __init__(self, simulator: HubSpotSimulator) -> None:
        self.simulator = simulator
        self._late: Collection[str] = ()
        simulator.route("POST", "/crm/objects/2026-03/contacts/batch/upsert", self._upsert)

    def lists(self) -> Collection[str]:
        return [entry.id for entry in self.simulator.lists.lists.values() if entry.deleted is None]

    def members(self, list_id: str) -> Collection[str]:
        return [str(record_id) for record_id in self.simulator.lists.lists[list_id].members]

    def records(self) -> Mapping[str, str]:
        return {record_id: each.properties["email"] for record_id, each in self.simulator.contacts.records.items()}

    def refuse(self, values: Collection[str]) -> None:
        for value in values:
            self.simulator.contacts.block(value)

    def hesitate(self, values: Collection[str]) -> None:
        self._late = values

    def _upsert(self, request: Request) -> Answer:
        """What HubSpot upserts, without those over whom it hesitates: somebody else is creating them."""
        inputs = request.json()["inputs"]
        late = [row for row in inputs if row["id"] in self._late]
        rest = [row for row in inputs if row not in late]
        answer = self.simulator.contacts.batch_upsert(replace(request, body=json.dumps({"inputs": rest}).encode()))
        errors = [
            {
                "status": "error",
                "category": "CONFLICT",
                "message": "Contact already exists.",
                "context": {"objectWriteTraceId": [row["objectWriteTraceId"]]},
            }
            for row in late
        ]
        return Answer(207, answer.body | {"errors": [*answer.body.get("errors", ()), *errors]}) if errors else answer

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

    @pytest.fixture
    def exhausted(self):
        with HubSpotSimulator(Account(daily=0)) as simulator:
            return httpx.get(
                f"{simulator.url}/crm/lists/2026-03/1", headers={"authorization": f"Bearer {STATIC}"}, trust_env=False
            )


class TestHubSpotInSmallSteps(TestHubSpot):
    """One call after the other, and several of them to change the list."""

    @pytest.fixture
    def config(self, remote):
        return {"token": STATIC, "base_url": remote.simulator.url, "membership_batch": 100, "concurrency": 1}
