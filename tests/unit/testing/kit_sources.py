"""A correct little source, and for every check of the kit sources that break just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pyarrow as pa
import pytest
from pydantic import ConfigDict, SecretStr

from switchyard.api import (
    AuthError,
    ConnectorConfig,
    Context,
    Cursor,
    Page,
    PermanentError,
    SourceSpec,
    Stream,
    TransientError,
)
from switchyard.api.http import json_of, pages
from switchyard.testing.conformance import HOSTILE_RECORDS, SourceConformance
from switchyard.testing.simulator import Answer, Request, Simulator

Rows = list[dict[str, Any]]
PAGE = 2
SHOP = {
    # Equal instants on both sides of a page's end.
    "people": [{"id": str(n), "at": f"2026-03-0{day}T00:00:00"} for n, day in enumerate([1, 2, 2, 3, 3])],
    "orders": [{"number": n} for n in range(1, 6)],
    "exports": [{"id": str(n), "job": job} for n, job in enumerate(["a", "a", "b", "c"])],
}


def shop(data: Mapping[str, Rows]) -> Callable[[httpx.Request], httpx.Response]:
    """A shop's API: people by instant (>=), orders behind a number (>), exports by job."""

    def answer(request: httpx.Request) -> httpx.Response:
        query, stream = request.url.params, request.url.path.strip("/")
        rows = data[stream]
        if stream == "people":
            rows = [row for row in rows if row["at"] >= query.get("since", "")]
        elif stream == "orders":
            rows = [row for row in rows if row["number"] > int(query.get("behind", 0))]
        elif job := query.get("job"):
            return httpx.Response(200, json={"rows": [row for row in rows if row["job"] == job]})
        else:
            return httpx.Response(200, json={"jobs": sorted({row["job"] for row in rows})})
        start = int(query.get("start", 0))
        more = {"start": start + PAGE} if start + PAGE < len(rows) else None
        return httpx.Response(200, json={"rows": rows[start : start + PAGE], "more": more})

    return answer


class ShopConfig(ConnectorConfig):
    token: SecretStr
    base_url: str = "https://shop.example.com"


class Shop:
    def __init__(self, config: Any, context: Context) -> None:
        self.config, self.context = config, context
        self.token = config.token if isinstance(config.token, str) else config.token.get_secret_value()
        self.http = context.http(config.base_url, bearer=self.token)

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        reading: dict[str, Callable[[Cursor], Iterator[Page]]] = {
            "people": self.people,
            "orders": self.orders,
            "exports": self.exports,
        }
        return reading[stream.name](cursor)

    def rows(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Rows]:
        for body in pages(self.http, path, query, onward=lambda body: body["more"]):
            if body["rows"]:
                yield body["rows"]

    def people(self, cursor: Cursor) -> Iterator[Page]:
        for rows in self.rows("/people", cursor):
            yield Page(rows, {"since": rows[-1]["at"]})

    def orders(self, cursor: Cursor) -> Iterator[Page]:
        for rows in self.rows("/orders", cursor):
            yield Page(rows, {"behind": rows[-1]["number"]})

    def exports(self, cursor: Cursor) -> Iterator[Page]:
        jobs = json_of(self.http.get("/exports"))["jobs"]
        for job in sorted(set(jobs) - self.context.marked("exports", jobs)):
            yield Page(json_of(self.http.get("/exports", params={"job": job}))["rows"], None, marks=[job])


UNASKED = frozenset(
    {
        "test_an_exhausted_quota_ends_the_read",
        "test_deletions_are_seen",
        "test_a_changed_schema_passes",
        "test_a_hostile_link_is_not_followed",
    }
)
"""Checks that need fixtures which not every vendor can give; those of `kit_source_faults` do."""


class Kit(SourceConformance):
    build: ClassVar[type[Shop]] = Shop
    model: ClassVar[type[ConnectorConfig]] = ShopConfig
    mapping: ClassVar[Mapping[str, Any]] = {"identifiers": {"email": "email"}}
    fails: ClassVar[str | None] = None
    skips: ClassVar[frozenset[str]] = UNASKED

    @pytest.fixture
    def spec(self) -> SourceSpec:
        streams = (
            Stream("people", ("id",), mapping=self.mapping),
            Stream("orders", ("number",), mode="append"),
            Stream("exports", ("id",)),
        )
        return SourceSpec(name="shop", config=self.model, build=self.build, streams=streams)

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        return {"token": "s3cret-t0ken"}

    @pytest.fixture
    def api(self) -> Callable[[httpx.Request], httpx.Response]:
        return shop(SHOP)

    @pytest.fixture
    def empty(self) -> Callable[[httpx.Request], httpx.Response]:
        return shop({"people": [], "orders": [], "exports": []})

    @pytest.fixture
    def hostile(self) -> Callable[[httpx.Request], httpx.Response]:
        people = [{"id": str(n), "at": "2026-03-01", **record} for n, record in enumerate(HOSTILE_RECORDS)]
        return shop({**SHOP, "people": people})


class TestCorrect(Kit):
    pass


class TestCorrectOverRealHttp(Kit):
    skips = UNASKED | {"test_an_empty_stream_is_fine", "test_hostile_data_passes"}
    empty = hostile = SourceConformance.empty

    @pytest.fixture
    def api(self) -> None:
        return None

    @pytest.fixture
    def config(self) -> Iterator[Mapping[str, Any]]:
        def answer(request: Request) -> Answer:
            url = httpx.URL(f"https://shop.example.com{request.path}", params=request.query)
            given = shop(SHOP)(httpx.Request("GET", url))
            return Answer(given.status_code, given.json())

        simulator = Simulator()
        simulator.route("GET", "/{stream}", answer)
        with simulator:
            yield {"token": "s3cret-t0ken", "base_url": simulator.url}


class FolderConfig(ConnectorConfig):
    folder: Path


class Folder:
    """One record per line of JSON, one file per page, known files skipped."""

    def __init__(self, config: FolderConfig, context: Context) -> None:
        self.folder, self.context = config.folder, context

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        files = {path.name: path for path in sorted(self.folder.iterdir())}
        known = self.context.marked(stream.name, files)
        for name, path in files.items():
            if name not in known:
                with path.open(encoding="utf-8") as lines:
                    rows = [json.loads(line) for line in lines]
                    yield Page(pa.Table.from_pylist(rows), None, marks=[name], origin=name)


class TestCorrectFromFiles(SourceConformance):
    fails = None
    skips = UNASKED.union(
        {
            "test_secrets_stay_secret",
            "test_refused_credentials_are_an_auth_error",
            "test_a_long_retry_after_is_told",
            "test_a_short_retry_after_is_waited_out",
            "test_an_unavailable_vendor_is_a_passing_fault",
            "test_a_timeout_is_a_passing_fault",
        }
    )

    @pytest.fixture
    def spec(self) -> SourceSpec:
        return SourceSpec(
            name="folder", config=FolderConfig, build=Folder, streams=(Stream("s", ("id",), mode="append"),)
        )

    def written(self, folder: Path, *files: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        folder.mkdir()
        for number, rows in enumerate(files):
            lines = [json.dumps({"id": f"{number}-{n}", **row}) for n, row in enumerate(rows)]
            (folder / str(number)).write_text("\n".join(lines))
        return {"folder": str(folder)}

    @pytest.fixture
    def config(self, tmp_path: Path) -> Mapping[str, Any]:
        return self.written(tmp_path / "drop", [{}, {}], [{}])

    @pytest.fixture
    def empty(self, tmp_path: Path) -> Mapping[str, Any]:
        return self.written(tmp_path / "empty")

    @pytest.fixture
    def hostile(self, tmp_path: Path) -> Mapping[str, Any]:
        return self.written(tmp_path / "hostile", HOSTILE_RECORDS)


class LaxConfig(ShopConfig):
    model_config = ConfigDict(extra="ignore")


class TestTakesUnknownKeys(Kit):
    fails = "test_config_rejects_unknown_keys"
    model = LaxConfig


class PlainConfig(ConnectorConfig):
    token: str
    base_url: str = "https://shop.example.com"


class TestShowsTheTokenInItsConfiguration(Kit):
    fails = "test_secrets_stay_secret"
    model = PlainConfig


class TestShowsTheTokenInItsRepr(Kit):
    fails = "test_secrets_stay_secret"

    class build(Shop):  # noqa: N801
        def __repr__(self) -> str:
            return f"Shop({self.token!r})"


class TestShowsTheTokenInTheLog(Kit):
    fails = "test_secrets_stay_secret"

    class build(Shop):  # noqa: N801
        def orders(self, cursor: Cursor) -> Iterator[Page]:
            logging.getLogger("shop").debug("signed in as %s", self.token)
            return super().orders(cursor)


class TestShowsTheTokenInAnError(Kit):
    fails = "test_secrets_stay_secret"

    class build(Shop):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            try:
                yield from super().people(cursor)
            except AuthError:
                raise AuthError(f"the shop refuses {self.token}") from None


class TestGivesACursorThatIsNoJson(Kit):
    fails = "test_cursors_survive_json"

    class build(Shop):  # noqa: N801
        def people(self, cursor: Any) -> Iterator[Page]:
            query = {"since": cursor["since"].isoformat()} if cursor else None
            for rows in self.rows("/people", query):
                cursor = {"since": datetime.fromisoformat(rows[-1]["at"])}
                yield Page(rows, cursor)


class TestGivesARecordWithoutKey(Kit):
    fails = "test_keys_are_present"

    class build(Shop):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                yield Page(
                    [{k: v for k, v in row.items() if (k, v) != ("id", "3")} for row in page.records], page.cursor
                )


class TestAppendsARecordTwice(Kit):
    fails = "test_keys_are_unique"

    class build(Shop):  # noqa: N801
        def orders(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().orders(cursor):
                yield Page([*page.records, page.records[-1]], page.cursor)


class TestGivesTwoVersionsInOnePage(Kit):
    fails = "test_keys_are_unique"

    class build(Shop):  # noqa: N801
        def exports(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().exports(cursor):
                yield Page([*page.records, {**page.records[-1], "vip": True}], None, marks=page.marks)


class TestRemembersWhatItGave(Kit):
    fails = "test_same_cursor_gives_the_same_records"

    class build(Shop):  # noqa: N801
        given = False

        def people(self, cursor: Cursor) -> Iterator[Page]:
            if not self.given:
                yield from super().people(cursor)
            self.given = True


class TestGoesOnBehindTheInstant(Kit):
    fails = "test_resuming_loses_nothing"

    class build(Shop):  # noqa: N801
        def people(self, cursor: Any) -> Iterator[Page]:
            for page in super().people(cursor):
                rows = [row for row in page.records if not cursor or row["at"] > cursor["since"]]
                if rows:
                    yield Page(rows, page.cursor)


class TestGivesTheCursorOfTheNextPage(Kit):
    fails = "test_resuming_loses_nothing"

    class build(Shop):  # noqa: N801
        def orders(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().orders(cursor):
                yield Page(page.records, {"behind": page.records[-1]["number"] + PAGE})


class TestGoesOnAtTheNumber(Kit):
    fails = "test_resuming_doubles_nothing"

    class build(Shop):  # noqa: N801
        def orders(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().orders(cursor):
                yield Page(page.records, {"behind": page.records[-1]["number"] - 1})


class Catching(Shop):
    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        try:
            yield from super().read(stream, cursor)
        except (AuthError, TransientError) as error:
            self.caught(error)

    def caught(self, error: Any) -> None:
        raise error


class TestTakesARefusalForAPassingFault(Kit):
    fails = "test_refused_credentials_are_an_auth_error"

    class build(Catching):  # noqa: N801
        def caught(self, error: Any) -> None:
            raise TransientError("later") if isinstance(error, AuthError) else error


class TestForgetsHowLongToWait(Kit):
    fails = "test_a_long_retry_after_is_told"

    class build(Catching):  # noqa: N801
        def caught(self, error: Any) -> None:
            raise TransientError("later") if isinstance(error, TransientError) else error


class TestAsksAgainAtOnce(Kit):
    fails = "test_a_short_retry_after_is_waited_out"

    class build(Shop):  # noqa: N801
        def exports(self, cursor: Cursor) -> Iterator[Page]:
            while (answer := self.http.get("/exports", accept=(429,))).status_code == 429:
                if (wait := float(answer.headers["retry-after"])) > 60:
                    raise TransientError("busy", retry_after=wait)
            yield from super().exports(cursor)


class TestTakesAPassingFaultForGood(Kit):
    fails = "test_an_unavailable_vendor_is_a_passing_fault"

    class build(Shop):  # noqa: N801
        def exports(self, cursor: Cursor) -> Iterator[Page]:
            self.http.get(
                "/exports", classify=lambda answer: PermanentError("down") if answer.status_code == 503 else None
            )
            yield from super().exports(cursor)


class TestTakesATimeoutForTheEnd(Kit):
    fails = "test_a_timeout_is_a_passing_fault"

    class build(Catching):  # noqa: N801
        def caught(self, error: Any) -> None:
            if not isinstance(error.__cause__, httpx.TimeoutException):
                raise error


class TestCannotReadAnEmptyStream(Kit):
    fails = "test_an_empty_stream_is_fine"

    class build(Shop):  # noqa: N801
        def rows(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Rows]:
            found = list(super().rows(path, query))
            if path == "/people":
                assert found[0]
            return iter(found)


class TestTakesNumbersForFloats(Kit):
    fails = "test_hostile_data_passes"

    class build(Shop):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                yield Page([{k: as_double(v) for k, v in row.items()} for row in page.records], page.cursor)


def as_double(value: Any) -> Any:
    return int(float(value)) if isinstance(value, int) else value


class TestNeedsAnOptionalField(Kit):
    fails = "test_hostile_data_passes"

    class build(Shop):  # noqa: N801
        def people(self, cursor: Cursor) -> Iterator[Page]:
            for page in super().people(cursor):
                hostile = any("emoji" in row for row in page.records)
                yield Page([row for row in page.records if "emoji" in row or not hostile], page.cursor)


class TestLeavesAFileOpen(Kit):
    fails = "test_closing_early_releases_everything"

    class build(Shop):  # noqa: N801
        def orders(self, cursor: Cursor) -> Iterator[Page]:
            self.file = (self.context.workspace / "orders").open("w")
            yield from super().orders(cursor)
            self.file.close()

        def __del__(self) -> None:
            if hasattr(self, "file"):
                self.file.close()


class TestMapsWithASet(Kit):
    fails = "test_default_mapping_is_json"
    mapping: ClassVar[Mapping[str, Any]] = {"identifiers": {"email"}}


class TestIgnoresMarks(Kit):
    fails = "test_what_is_marked_is_not_read_again"

    class build(Shop):  # noqa: N801
        def exports(self, cursor: Cursor) -> Iterator[Page]:
            for job in json_of(self.http.get("/exports"))["jobs"]:
                yield Page(json_of(self.http.get("/exports", params={"job": job}))["rows"], None, marks=[job])
