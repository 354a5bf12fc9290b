"""The kits, with the simulator as the vendor."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import httpx
import pytest

from switchyard.api import RemoteList, SourceSpec, Stream
from switchyard.testing.conformance import HOSTILE_RECORDS, ListSinkConformance, SourceConformance
from switchyard.testing.conformance.source_fixtures import Drift
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.salesforce import LISTS, SOURCE
from switchyard_connectors.salesforce.simulator import SalesforceSimulator
from switchyard_connectors.salesforce.simulator_schema import object_type
from switchyard_connectors.salesforce.simulator_writes import RowRule
from switchyard_connectors.salesforce.streams import STREAMS

from .conftest import SIGN_IN

_ENDLESS = 10**9
_EXHAUSTED = httpx.Response(
    403,
    json=[{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}],
    headers={"sforce-limit-info": "api-usage=100000/100000"},
)


def _filled(simulator: SalesforceSimulator, **fields: str) -> SalesforceSimulator:
    """Two objects with several pages, whose ends are in the middle of one stamp."""
    simulator.queries.page = 10
    for name, more in (("Contact", fields), ("Lead", {"Company": "Acme"})):
        for each in range(45):
            simulator.add(
                name, LastName=f"L{each}", Email=f"{each}@x.example", SystemModstamp=_stamp(each // 15), **more
            )
    return simulator


def _hostile(request: httpx.Request) -> httpx.Response:
    """An org whose contacts have fields and values that no administrator would give them."""
    path, query = request.url.path, request.url.params.get("q", "")
    if path.endswith("/token"):
        home = f"{request.url.scheme}://{request.url.netloc.decode()}"
        return httpx.Response(200, json={"access_token": "t", "instance_url": home})
    if path.endswith("/composite/batch"):
        names = ["Id", "SystemModstamp", *HOSTILE_RECORDS[0]]
        fields = [{"name": name, "type": "string", "filterable": True} for name in names]
        described = {"statusCode": 200, "result": {"fields": fields}}
        return httpx.Response(200, json={"results": [described] * len(json.loads(request.content)["batchRequests"])})
    records = [
        {"attributes": {}, "Id": f"003{each:015}", "SystemModstamp": _stamp(each), **record}
        for each, record in enumerate(HOSTILE_RECORDS)
    ]
    body = {"totalSize": len(records), "done": True, "records": [] if "COUNT()" in query else records}
    return httpx.Response(200, json=body)


def _stamp(second: int) -> str:
    return f"2026-01-02T03:04:{second:02}.000+0000"


class TestSalesforceSource(SourceConformance):
    @pytest.fixture
    def simulator(self) -> Iterator[SalesforceSimulator]:
        with SalesforceSimulator(clock=ManualClock()) as simulator:
            yield _filled(simulator)

    @pytest.fixture
    def spec(self) -> SourceSpec:
        return SOURCE

    @pytest.fixture
    def streams(self) -> list[Stream]:
        return [stream for stream in STREAMS if stream.name in ("contacts", "leads")]

    @pytest.fixture
    def config(self, simulator: SalesforceSimulator) -> dict[str, Any]:
        return {"base_url": simulator.url, **SIGN_IN}

    @pytest.fixture
    def exhausted(self) -> httpx.Response:
        return _EXHAUSTED

    @pytest.fixture
    def deleting(self, simulator: SalesforceSimulator) -> Any:
        """Two contacts go into the recycle bin; a lead is deleted for good, which no query shows."""

        def delete() -> dict[str, list[tuple[str]]]:
            first, second = [row["Id"] for row in simulator.store["Contact"].rows.values() if not row["IsDeleted"]][:2]
            lead = next(row["Id"] for row in simulator.store["Lead"].rows.values() if not row["IsDeleted"])
            simulator.life.delete(first)
            simulator.life.delete(second)
            simulator.life.hard_delete(lead)
            simulator.clock.advance(1_800)
            return {"contacts": [(first,), (second,)], "leads": [(lead,)]}

        return delete

    @pytest.fixture
    def drifted(self) -> Iterator[Drift]:
        with SalesforceSimulator() as simulator:
            table = simulator.store["Contact"]
            table.kind = object_type("Contact", "003", [f for name, f in table.kind.fields.items() if name != "Title"])
            simulator.add_field("Contact", "Fax__c")
            _filled(simulator, Fax__c="1")
            yield Drift({"base_url": simulator.url, **SIGN_IN}, gone="Title", new="Fax__c")

    @pytest.fixture
    def relinked(self) -> Any:
        def relink(answer: httpx.Response, url: str) -> httpx.Response:
            if b"nextRecordsUrl" not in answer.content:
                return answer
            return httpx.Response(answer.status_code, json=answer.json() | {"nextRecordsUrl": url})

        return relink

    @pytest.fixture
    def hostile(self) -> Any:
        return _hostile

    @pytest.fixture
    def empty(self) -> Iterator[dict[str, Any]]:
        with SalesforceSimulator() as simulator:
            yield {"base_url": simulator.url, **SIGN_IN}


class TestSalesforceBulkSource(TestSalesforceSource):
    """Everything is too much for queries."""

    @pytest.fixture
    def relinked(self) -> None:
        """There are locators, and no links."""

    @pytest.fixture
    def hostile(self) -> None:
        """A table's names are those that were asked for."""

    @pytest.fixture
    def config(self, simulator: SalesforceSimulator) -> dict[str, Any]:
        return {"base_url": simulator.url, "bulk_query_above": 0, "bulk_page": 10, **SIGN_IN}


class Owner:
    """The simulated org as its owner sees it. `key` is the field that the hub knows people by."""

    def __init__(self, simulator: SalesforceSimulator, key: str) -> None:
        self.simulator = simulator
        self._key = key

    def lists(self) -> Collection[str]:
        return [row["Id"] for row in self.simulator.store["Campaign"].rows.values() if not row["IsDeleted"]]

    def members(self, list_id: str) -> Collection[str]:
        return self.simulator.member_ids(list_id)

    def records(self) -> Mapping[str, Any]:
        rows = self.simulator.store["Contact"].rows.values()
        return {row["Id"]: row[self._key] for row in rows if not row["IsDeleted"]}

    def refuse(self, values: Collection[Any]) -> None:
        self._rule(values, "FIELD_CUSTOM_VALIDATION_EXCEPTION")

    def hesitate(self, values: Collection[Any]) -> None:
        self._rule(values, "UNABLE_TO_LOCK_ROW")

    def delete(self, list_id: str) -> None:
        self.simulator.writes.delete("Campaign", list_id)

    def work(self) -> None:
        self.simulator.jobs.wait = 0

    def _rule(self, values: Collection[Any], code: str) -> None:
        self.simulator.writes.rules[:] = [
            RowRule("Contact", code, "refused", {self._key: value}, _ENDLESS) for value in values
        ]


class TestSalesforceLists(ListSinkConformance):
    """Members are known by their address."""

    key = "Email"

    @pytest.fixture
    def remote(self) -> Iterator[Owner]:
        with SalesforceSimulator() as simulator:
            simulator.queries.page = 100
            yield Owner(simulator, self.key)

    @pytest.fixture
    def spec(self) -> Any:
        return LISTS

    @pytest.fixture
    def wanted(self) -> RemoteList:
        return RemoteList("Switchyard conformance", key_field=self.key)

    @pytest.fixture
    def config(self, remote: Owner) -> dict[str, Any]:
        return {"base_url": remote.simulator.url, "lock_retries": 1, "lock_wait": 0, **SIGN_IN}

    @pytest.fixture
    def exhausted(self) -> httpx.Response:
        return _EXHAUSTED


class TestSalesforceListsByExternalId(TestSalesforceLists):
    key = "Ext__c"

    @pytest.fixture
    def person(self) -> Any:
        return lambda number: {"Ext__c": f"kit-{number}", "LastName": "Kit"}


class TestSalesforceListsInBulk(TestSalesforceListsByExternalId):
    """All rows go through jobs, whose verdicts come later."""

    @pytest.fixture
    def bulk(self, remote: Owner) -> int:
        remote.simulator.jobs.wait = 3_600
        return 20

    @pytest.fixture
    def config(self, remote: Owner) -> dict[str, Any]:
        return {"base_url": remote.simulator.url, "lock_wait": 0, "bulk_ingest_above": 0, "concurrency": 1, **SIGN_IN}
