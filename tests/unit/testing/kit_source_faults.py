"""A correct little source whose vendor deletes, drifts, counts calls and sends links, and for every check of
`source_faults` sources that break just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.unit.testing.kit_sources import SHOP, Kit, Rows, Shop, shop

from switchyard.api import Cursor, Page, PermanentError, QuotaExhausted, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import json_of, pages
from switchyard.testing.conformance import Drift

PEOPLE = [{**row, "city": "Lyon", "age": 30} for row in SHOP["people"]]
DRIFTED = [{**row, "age": "thirty", "shoe": 42} for row in SHOP["people"]]


class Counted(Shop):
    def rows(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Rows]:
        for body in pages(self.http, path, query, onward=lambda body: body["more"], classify=self.classify):
            if body["rows"]:
                yield body["rows"]

    def exports(self, cursor: Cursor) -> Iterator[Page]:
        jobs = json_of(self.http.get("/exports", classify=self.classify))["jobs"]
        for job in sorted(set(jobs) - self.context.marked("exports", jobs)):
            answer = self.http.get("/exports", params={"job": job}, classify=self.classify)
            yield Page(json_of(answer)["rows"], None, marks=[job])

    def classify(self, answer: httpx.Response) -> SwitchyardError | None:
        return (
            QuotaExhausted("over", until=datetime(2100, 1, 1)) if answer.status_code == 429 and over(answer) else None
        )


def over(answer: httpx.Response) -> bool:
    return b"daily" in answer.content


class Faults(Kit):
    build = Counted

    @pytest.fixture
    def data(self) -> dict[str, Rows]:
        return copy.deepcopy({**SHOP, "people": PEOPLE})

    @pytest.fixture
    def api(self, data: dict[str, Rows]) -> Callable[[httpx.Request], httpx.Response]:
        return shop(data)

    @pytest.fixture
    def exhausted(self) -> httpx.Response:
        return httpx.Response(429, json={"over": "daily"})

    @pytest.fixture
    def deleting(self, data: dict[str, Rows]) -> Callable[[], Mapping[str, Any]]:
        def delete() -> Mapping[str, Any]:
            gone = data["people"].pop(1)
            data["people"].append({"id": gone["id"], "at": "2026-03-09T00:00:00", "_deleted": True})
            return {"people": [(gone["id"],)]}

        return delete

    @pytest.fixture
    def drifted(self) -> Drift:
        return Drift(shop({**SHOP, "people": DRIFTED}), gone="city", new="shoe", retyped="age")

    @pytest.fixture
    def relinked(self) -> Callable[[httpx.Response, str], httpx.Response]:
        def relink(answer: httpx.Response, url: str) -> httpx.Response:
            body = json.loads(answer.content)
            return httpx.Response(200, json={**body, "more": url}) if body.get("more") else answer

        return relink


class TestCorrectUnderFaults(Faults):
    skips = frozenset()


class TestTakesAnExhaustedQuotaForAPassingFault(Faults):
    fails = "test_an_exhausted_quota_ends_the_read"

    class build(Counted):  # noqa: N801
        def classify(self, answer: httpx.Response) -> SwitchyardError | None:
            return TransientError("later", retry_after=3600) if super().classify(answer) else None


class TestMovesItsCursorBeyondWhatItGave(Faults):
    fails = "test_an_exhausted_quota_ends_the_read"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            try:
                yield from super().people(cursor)
            except QuotaExhausted:
                yield Page([], {"since": "2027"})
                raise


class TestDoesNotSeeDeletions(Faults):
    fails = "test_deletions_are_seen"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                yield Page([row for row in page.records if "_deleted" not in row], page.cursor)


class TestGivesTheDeletedAsIfTheyWereThere(Faults):
    fails = "test_deletions_are_seen"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                rows = list(page.records)
                yield Page([*rows, *({**row, "_deleted": False} for row in rows if "_deleted" in row)], page.cursor)


class TestTakesTheOthersForDeleted(Faults):
    fails = "test_deletions_are_seen"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            pages = list(super().people(cursor))
            gone = {"_deleted": True} if any("_deleted" in row for page in pages for row in page.records) else {}
            for page in pages:
                yield Page([{**row, **gone} for row in page.records], page.cursor)


class TestNeedsEveryField(Faults):
    fails = "test_a_changed_schema_passes"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                yield Page([row for row in page.records if "shoe" not in row or row["city"]], page.cursor)


class TestKnowsItsFieldsOnceAndForAll(Faults):
    fails = "test_a_changed_schema_passes"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                yield Page([{k: v for k, v in row.items() if k != "shoe"} for row in page.records], page.cursor)


class TestDropsWhatIsOfAnotherType(Faults):
    fails = "test_a_changed_schema_passes"

    class build(Counted):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                kept = [{k: v for k, v in row.items() if k != "age" or isinstance(v, int)} for row in page.records]
                yield Page(kept, page.cursor)


class TestFollowsAnyLink(Faults):
    fails = "test_a_hostile_link_is_not_followed"

    class build(Counted):  # noqa: N801
        def rows(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Rows]:
            body = json_of(self.http.get(path, params=query, classify=self.classify))
            yield from filter(None, [body["rows"]])
            if isinstance(more := body["more"], str):
                url = httpx.URL(more)
                there = self.context.http(f"https://{url.host}", bearer=self.token)
                yield json_of(there.get(url.path))
            elif more:
                yield from self.rows(path, {**(query or {}), **more})


class TestTakesAHostileLinkForTheEnd(Faults):
    fails = "test_a_hostile_link_is_not_followed"

    class build(Counted):  # noqa: N801
        def rows(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Rows]:
            try:
                yield from super().rows(path, query)
            except PermanentError:
                return
