"""A simulated instance at work, for the tests of the simulator itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from tests.connectors.marketo.official import Exchange, Swagger

from switchyard.testing.simulator import Answer, ManualClock, Request, Route
from switchyard_connectors.marketo.simulator import Account, MarketoSimulator
from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET

OFFICIAL = Path(__file__).resolve().parents[4] / "shared" / "specs" / "marketo"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
UNLIMITED = Account(limited=False)


class Watched(MarketoSimulator):
    """Remembers what it was asked and what it answered."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.exchanges: list[Exchange] = []

    def decorate(self, request: Request, route: Route, answer: Answer) -> Answer:
        answer = super().decorate(request, route, answer)
        self.exchanges.append(Exchange(request, answer))
        return answer


@dataclass
class Desk:
    """An instance, its clock, and somebody who is signed in."""

    simulator: Watched
    clock: ManualClock
    http: httpx.Client

    def sign_in(self, **credentials: str) -> dict[str, Any]:
        """Get a token, and use it from now on."""
        got = self.http.post("/identity/oauth/token", data={**CREDENTIALS, **credentials}).json()
        self.http.headers["Authorization"] = f"Bearer {got['access_token']}"
        return got

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        return self.http.get(path, params=params).json()

    def post(self, path: str, json: Any = None, **params: Any) -> dict[str, Any]:
        return self.http.post(path, json=json, params=params).json()

    def sync(self, *rows: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Sync leads: the verdicts."""
        return self.post("/rest/v1/leads.json", {"input": list(rows), **more})["result"]


@cache
def swagger() -> Swagger | None:
    return Swagger(OFFICIAL) if OFFICIAL.is_dir() else None


@contextmanager
def opened(account: Account = UNLIMITED, **options: Any) -> Iterator[Desk]:
    """An instance under a clock that is led by hand. Where the official description is at hand, everything said and
    answered is checked against it at the end.
    """
    clock = options.setdefault("clock", ManualClock())
    with Watched(account, **options) as simulator, httpx.Client(base_url=simulator.url) as http:
        desk = Desk(simulator, clock, http)
        desk.sign_in()
        yield desk
    if (official := swagger()) is not None:
        complaints = [each for exchange in simulator.exchanges for each in official.complaints(exchange)]
        assert not complaints, "\n".join(complaints)


def code(answer: dict[str, Any]) -> str:
    """The code of a failure."""
    assert answer["success"] is False, answer
    return answer["errors"][0]["code"]


def reason(verdict: dict[str, Any]) -> str:
    """Why a row was refused."""
    assert verdict["status"] == "skipped", verdict
    return verdict["reasons"][0]["code"]
