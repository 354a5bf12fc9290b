"""A client of the simulator that knows no more than HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

import httpx

from switchyard.testing.simulator import ManualClock
from switchyard_connectors.salesforce.simulator import Account, SalesforceSimulator
from switchyard_connectors.salesforce.simulator_routes import TOKEN

ROOT = "/services/data/v62.0"
Row = dict[str, Any]


class Client:
    """Signed in to a simulator whose clock stands still."""

    def __init__(self, simulator: SalesforceSimulator, clock: ManualClock) -> None:
        self.simulator = simulator
        self.clock = clock
        self.http = httpx.Client(base_url=simulator.url, timeout=30.0)
        self.sign_in()

    def token(self, **form: str) -> httpx.Response:
        return self.http.post(TOKEN, data=form)

    def sign_in(self) -> None:
        answer = self.token(
            grant_type="client_credentials", client_id="simulator-app", client_secret="simulator-app-password"
        )
        self.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str, headers: Mapping[str, str] | None = None, **params: Any) -> httpx.Response:
        return self.http.get(_url(path), params=params or None, headers=headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.http.post(_url(path), json=body, headers=headers)

    def patch(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.http.patch(_url(path), json=body, headers=headers)

    def delete(self, path: str, **params: Any) -> httpx.Response:
        return self.http.delete(_url(path), params=params or None)

    def asked(self, query: str, *, deleted: bool = False, **headers: str) -> httpx.Response:
        """The first page of a query."""
        return self.get("/queryAll" if deleted else "/query", headers=headers, q=query)

    def rows(self, query: str, *, deleted: bool = False) -> list[Row]:
        """All rows of a query, without their attributes."""
        answer = self.asked(query, deleted=deleted).json()
        found = answer["records"]
        while not answer["done"]:
            answer = self.get(answer["nextRecordsUrl"]).json()
            found += answer["records"]
        return [{name: value for name, value in row.items() if name != "attributes"} for row in found]

    def values(self, query: str, *, deleted: bool = False) -> list[Any]:
        """The values of a query for one field."""
        return [next(iter(row.values())) for row in self.rows(query, deleted=deleted)]

    def arrival(self) -> Event:
        """Is set when the next call has arrived."""
        arrived = Event()
        self.simulator.at_call(self.simulator.journal.total + 1, arrived.set)
        return arrived

    def ingest(self, content: str, **job: str) -> str:
        """Upload rows and let them be processed: the job's id."""
        made = self.post("/jobs/ingest", {"lineEnding": "LF", **job}).json()
        answer = self.http.put(f"/{made['contentUrl']}", content=content.encode(), headers={"content-type": "text/csv"})
        assert answer.status_code == 201
        assert self.patch(f"/jobs/ingest/{made['id']}", {"state": "UploadComplete"}).status_code == 200
        return str(made["id"])

    def results(self, job: str, which: str) -> list[dict[str, str]]:
        """The rows of one result of an ingest job."""
        return table(self.get(f"/jobs/ingest/{job}/{which}").text)


@contextmanager
def signed_in(account: Account | None = None, **options: Any) -> Iterator[Client]:
    """A client of a simulator of its own."""
    clock = ManualClock()
    with SalesforceSimulator(account or Account(), clock=clock, **options) as simulator:
        client = Client(simulator, clock)
        with closing(client.http):
            yield client


def records(name: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The body of a collection."""
    return {"records": [{"attributes": {"type": name}, **row} for row in rows]}


def codes(answer: httpx.Response) -> list[str | None]:
    """What a collection answered per row: None for success, else the code."""
    return [None if row["success"] else row["errors"][0]["statusCode"] for row in answer.json()]


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status of an error, and its code."""
    return answer.status_code, answer.json()[0]["errorCode"]


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _url(path: str) -> str:
    return path if path.startswith("/services") else f"{ROOT}{path}"
