"""A little vendor with lists, a correct sink for it, and the kit that tests it."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import SecretStr

from switchyard.api import (
    AuthError,
    ConnectorConfig,
    Context,
    Cursor,
    Limits,
    ListChanges,
    ListReceipt,
    ListRef,
    ListSinkSpec,
    Member,
    Page,
    PermanentError,
    QuotaExhausted,
    Rejection,
    RemoteList,
    TransientError,
)
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import json_of
from switchyard.api.records import JSON
from switchyard.testing.conformance import ListSinkConformance

PAGE = BATCH = 3
MIDNIGHT = datetime(2100, 1, 1)  # UTC, without zone


NEEDED = ("lists", "members", "records", "refuse", "delete", "answer")


class Crm:
    """The vendor: records by e-mail address, and lists of them. Also its own view, as the kit asks for it."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        self._lists: dict[str, tuple[str, list[str]]] = {}
        self._refused: Collection[JSON] = ()
        self._hesitant: Collection[JSON] = ()
        self._calls = self._written = 0

    def lists(self) -> Collection[str]:
        return list(self._lists)

    def members(self, list_id: str) -> Collection[str]:
        return list(self._lists[list_id][1])

    def records(self) -> Mapping[str, JSON]:
        return {record_id: record["email"] for record_id, record in self._records.items()}

    def refuse(self, values: Collection[JSON]) -> None:
        self._refused = set(values)

    def hesitate(self, values: Collection[JSON]) -> None:
        self._hesitant = set(values)

    def delete(self, list_id: str) -> None:
        del self._lists[list_id]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self._calls += 1
        body = json.loads(request.content or b"{}")
        match [request.method, *request.url.path.strip("/").split("/")]:
            case ["GET", "lists"]:
                name = request.url.params["name"]
                return httpx.Response(200, json={"ids": [i for i, (known, _) in self._lists.items() if known == name]})
            case ["POST", "lists"]:
                list_id = f"L{self._calls}"
                self._lists[list_id] = (body["name"], [])
                return httpx.Response(200, json={"id": list_id})
            case ["GET", "lists", list_id]:
                return httpx.Response(200 if list_id in self._lists else 404, json={})
            case ["GET", "records"]:
                wanted = request.url.params.get_list("email")
                found = {record["email"]: {"id": i} for i, record in self._records.items()}
                return httpx.Response(200, json={email: found[email] for email in wanted if email in found})
            case [("PUT" | "POST") as method, "records"]:
                return httpx.Response(200, json=[self._write(row, method == "PUT") for row in body])
            case ["DELETE", "records", record_id]:
                self._records.pop(record_id, None)
                return httpx.Response(200, json={})
            case ["PUT", "lists", list_id, "members"]:
                kept = [i for i in self._lists[list_id][1] if i not in {*body["remove"], *body["add"]}]
                self._lists[list_id][1][:] = kept + body["add"]
                return httpx.Response(200, json={})
            case ["GET", "lists", list_id, "members"]:
                start = int(request.url.params.get("start", 0))
                return httpx.Response(200, json=self._lists[list_id][1][start : start + PAGE])
        raise AssertionError(request.url.path)

    def _write(self, row: dict[str, Any], known: bool) -> dict[str, str]:
        if row["email"] in self._refused:
            return {"error": "INVALID"}
        if row["email"] in self._hesitant:
            return {"error": "BUSY"}
        same = [i for i, record in self._records.items() if record["email"] == row["email"]] if known else []
        record_id = same[0] if same else f"R{self._written}"
        self._written += 1
        self._records[record_id] = row
        return {"id": record_id}


class CrmConfig(ConnectorConfig):
    token: SecretStr


class Lists:
    def __init__(self, config: Any, context: Context) -> None:
        self.token = config.token if isinstance(config.token, str) else config.token.get_secret_value()
        self.http = context.http("https://crm.example.com", bearer=self.token)

    def call(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, classify=self.classify, **options)
        return json_of(answer) if answer.is_success else None

    def classify(self, answer: httpx.Response) -> SwitchyardError | None:
        daily = answer.status_code == 429 and b"daily" in answer.content
        return QuotaExhausted("no calls are left today", until=MIDNIGHT) if daily else None

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        if known is not None:
            return self.known(wanted, known)
        if ids := self.call("GET", "/lists", params={"name": wanted.name})["ids"]:
            return ListRef(ids[0], wanted.name)
        return self.create(wanted)

    def create(self, wanted: RemoteList) -> ListRef:
        return ListRef(self.call("POST", "/lists", json={"name": wanted.name})["id"], wanted.name, created=True)

    def known(self, wanted: RemoteList, known: str) -> ListRef:
        if self.call("GET", f"/lists/{known}", accept=(404,)) is None:
            raise PermanentError("the list is gone")
        return ListRef(known, wanted.name)

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        ids = {member.key: member.remote_id for member in changes.add if member.remote_id}
        for receipt in self.upserts(changes):
            ids |= receipt.upserted
            yield receipt
        yield from self.join(ref, {m.key: ids[m.key] for m in changes.add if m.key in ids}, changes.remove)

    def upserts(self, changes: ListChanges) -> Iterator[ListReceipt]:
        return map(self.upsert, self.batches(changes))

    def batches(self, changes: ListChanges) -> Iterator[Sequence[Member]]:
        for start in range(0, len(changes.upsert), BATCH):
            yield changes.upsert[start : start + BATCH]

    def upsert(self, rows: Sequence[Member]) -> ListReceipt:
        verdicts = self.verdicts(rows, self.write(rows))
        return ListReceipt(
            upserted={key: answer["id"] for key, answer in verdicts.items() if "id" in answer},
            rejected={
                key: Rejection(answer["error"], "the CRM says so", retryable=answer["error"] == "BUSY")
                for key, answer in verdicts.items()
                if "error" in answer
            },
        )

    def write(self, rows: Sequence[Member]) -> list[dict[str, str]]:
        return self.call("PUT", "/records", json=[row.fields for row in rows])

    def verdicts(self, members: Sequence[Member], answers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
        return {member.key: answer for member, answer in zip(members, answers, strict=True)}

    def join(self, ref: ListRef, add: Mapping[str, str | None], remove: Sequence[Member]) -> Iterator[ListReceipt]:
        if add or remove:
            body = {"add": list(add.values()), "remove": [member.remote_id for member in remove]}
            self.call("PUT", f"/lists/{ref.id}/members", json=body)
            yield ListReceipt(added=frozenset(add), removed=frozenset(member.key for member in remove))

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        start = int(str(cursor["start"])) if cursor else 0
        while ids := self.call("GET", f"/lists/{ref.id}/members", params={"start": start}):
            start += len(ids)
            yield Page([{"remote_id": remote_id} for remote_id in ids], {"start": start})


WITHOUT_JOBS = frozenset(
    {
        "test_a_ticket_becomes_a_verdict_for_every_row",
        "test_a_ticket_is_kept_while_the_vendor_works",
        "test_a_ticket_may_be_asked_twice",
    }
)
"""Checks of vendors that work asynchronously; those of `kit_sink_jobs` do."""


class Kit(ListSinkConformance):
    build: ClassVar[type[Lists]] = Lists
    model: ClassVar[type[ConnectorConfig]] = CrmConfig
    limits: ClassVar[Limits] = Limits(concurrency=1)
    fails: ClassVar[str | None] = None
    skips: ClassVar[frozenset[str]] = WITHOUT_JOBS

    @pytest.fixture
    def spec(self) -> ListSinkSpec:
        return ListSinkSpec(name="crm", config=self.model, build=self.build, limits=lambda _: self.limits)

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        return {"token": "s3cret-t0ken"}

    @pytest.fixture
    def remote(self) -> Crm:
        return Crm()

    @pytest.fixture
    def api(self, remote: Crm) -> Any:
        return remote.answer

    @pytest.fixture
    def many(self) -> int:
        return 7

    @pytest.fixture
    def exhausted(self) -> httpx.Response | None:
        return httpx.Response(429, json={"over": "daily"})


class Catching(Lists):
    """What goes wrong in any of its calls comes by `caught`."""

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        try:
            return super().ensure(wanted, known)
        except (AuthError, TransientError) as error:
            raise self.caught(error) from None

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        try:
            yield from super().apply(ref, changes)
        except (AuthError, TransientError) as error:
            raise self.caught(error) from None

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        try:
            yield from super().members(ref, cursor)
        except (AuthError, TransientError) as error:
            raise self.caught(error) from None

    def caught(self, error: Exception) -> Exception:
        return error
