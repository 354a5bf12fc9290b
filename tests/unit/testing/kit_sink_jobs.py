"""A correct list sink whose vendor works off big changes as jobs, and for every check of `list_jobs` one that breaks
just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.unit.testing.crm import Crm, Kit, Lists

from switchyard.api import ListChanges, ListReceipt, ListRef, Rejection

BULK = 20


class Factory(Crm):
    """The vendor, with jobs that write records and put them on a list."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, dict[str, Any]] = {}

    def work(self) -> None:
        for job in self._jobs.values():
            job["verdicts"] = [self._write(row, known=True) for row in job["rows"]]
            self._lists[job["list"]][1].extend(verdict["id"] for verdict in job["verdicts"] if "id" in verdict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        match [request.method, *request.url.path.strip("/").split("/")]:
            case ["POST", "jobs"]:
                job = str(len(self._jobs))
                self._jobs[job] = {**json.loads(request.content), "verdicts": None}
                return httpx.Response(200, json={"id": job})
            case ["GET", "jobs", job]:
                return httpx.Response(200, json=self._jobs.get(job, {"verdicts": []}))
            case ["DELETE", "jobs", job]:
                del self._jobs[job]
                return httpx.Response(200, json={})
        return super().answer(request)


class Jobs(Lists):
    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        if len(changes.upsert) < BULK:
            yield from super().apply(ref, changes)
            return
        rows = [member.fields for member in changes.upsert]
        job = self.call("POST", "/jobs", json={"list": ref.id, "rows": rows})["id"]
        yield ListReceipt(ticket=json.dumps([job, [member.key for member in changes.upsert]]))

    def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
        job, keys = json.loads(ticket)
        verdicts = self.call("GET", f"/jobs/{job}")["verdicts"]
        yield ListReceipt(ticket=ticket) if verdicts is None else self.receipt(dict(zip(keys, verdicts, strict=False)))

    def receipt(self, verdicts: dict[str, dict[str, str]]) -> ListReceipt:
        written = {key: verdict["id"] for key, verdict in verdicts.items() if "id" in verdict}
        refused = {
            key: Rejection(verdict["error"], "said so") for key, verdict in verdicts.items() if "error" in verdict
        }
        return ListReceipt(upserted=written, added=frozenset(written), rejected=refused)


class Bulk(Kit):
    build = Jobs

    @pytest.fixture
    def remote(self) -> Factory:
        return Factory()

    @pytest.fixture
    def bulk(self) -> int:
        return BULK


class TestCorrectWithJobs(Bulk):
    skips = frozenset()


class TestHasNoWordOnWhoWasRefused(Bulk):
    fails = "test_a_ticket_becomes_a_verdict_for_every_row"

    class build(Jobs):  # noqa: N801
        def receipt(self, verdicts: dict[str, dict[str, str]]) -> ListReceipt:
            return super().receipt({key: verdict for key, verdict in verdicts.items() if "id" in verdict})


class TestConfirmsWhatWasOnlyAccepted(Bulk):
    fails = "test_a_ticket_becomes_a_verdict_for_every_row"

    class build(Jobs):  # noqa: N801
        def receipt(self, verdicts: dict[str, dict[str, str]]) -> ListReceipt:
            return super().receipt({key: {"id": verdict.get("id", "R?")} for key, verdict in verdicts.items()})


class TestDropsTheTicketTooSoon(Bulk):
    fails = "test_a_ticket_is_kept_while_the_vendor_works"

    class build(Jobs):  # noqa: N801
        def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
            return (receipt for receipt in super().poll(ref, ticket) if not receipt.ticket)


class TestGivesItsVerdictsOnce(Bulk):
    fails = "test_a_ticket_may_be_asked_twice"

    class build(Jobs):  # noqa: N801
        def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
            for receipt in super().poll(ref, ticket):
                if receipt.upserted:
                    self.call("DELETE", f"/jobs/{json.loads(ticket)[0]}")
                yield receipt
