"""A correct little list sink, and for every check of the kit sinks that break just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ConfigDict, SecretStr

from switchyard.api import (
    AuthError,
    ConnectorConfig,
    Context,
    Cursor,
    ListChanges,
    ListReceipt,
    ListRef,
    ListSinkSpec,
    Member,
    Page,
    PermanentError,
    Rejection,
    RemoteList,
    TransientError,
)
from switchyard.api.http import json_of
from switchyard.api.records import JSON
from switchyard.testing.conformance import ListSinkConformance

PAGE = 3


class Crm:
    """The vendor: records by e-mail address, and lists of them. Also its own view, as the kit asks for it."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        self._lists: dict[str, tuple[str, list[str]]] = {}
        self._refused: set[JSON] = set()
        self._calls = 0

    def lists(self) -> Collection[str]:
        return list(self._lists)

    def members(self, list_id: str) -> Collection[str]:
        return list(self._lists[list_id][1])

    def records(self) -> Collection[str]:
        return list(self._records)

    def calls(self) -> int:
        return self._calls

    def refuse(self, value: JSON) -> None:
        self._refused.add(value)

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
                return httpx.Response(200 if list_id in self._lists else 404)
            case [("PUT" | "POST") as method, "records"]:
                return httpx.Response(200, json=[self._write(row, method == "PUT") for row in body])
            case ["DELETE", "records", record_id]:
                del self._records[record_id]
                return httpx.Response(204)
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
        same = [i for i, record in self._records.items() if record["email"] == row["email"]] if known else []
        record_id = same[0] if same else f"R{len(self._records)}"
        self._records[record_id] = row
        return {"id": record_id}


class CrmConfig(ConnectorConfig):
    token: SecretStr


class Lists:
    writes: ClassVar[str] = "PUT"

    def __init__(self, config: Any, context: Context) -> None:
        self.token = config.token if isinstance(config.token, str) else config.token.get_secret_value()
        self.http = context.http("https://crm.example.com", bearer=self.token)

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        if known is not None:
            return self.known(wanted, known)
        if ids := json_of(self.http.get("/lists", params={"name": wanted.name}))["ids"]:
            return ListRef(ids[0], wanted.name)
        return self.create(wanted)

    def create(self, wanted: RemoteList) -> ListRef:
        return ListRef(json_of(self.http.post("/lists", json={"name": wanted.name}))["id"], wanted.name, created=True)

    def known(self, wanted: RemoteList, known: str) -> ListRef:
        if self.http.get(f"/lists/{known}", accept=(404,)).status_code == 404:
            raise PermanentError("the list is gone")
        return ListRef(known, wanted.name)

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        ids = {member.key: member.remote_id for member in changes.add if member.remote_id}
        if changes.upsert:
            answers = json_of(self.http.request(self.writes, "/records", json=[m.fields for m in changes.upsert]))
            verdicts = self.verdicts(changes.upsert, answers)
            written = {key: answer["id"] for key, answer in verdicts.items() if "id" in answer}
            refused = {key: Rejection(a["error"], "invalid") for key, a in verdicts.items() if "error" in a}
            ids |= written
            yield ListReceipt(upserted=written, rejected=refused)
        yield from self.join(ref, {m.key: ids[m.key] for m in changes.add if m.key in ids}, changes.remove)

    def verdicts(self, members: Sequence[Member], answers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
        return {member.key: answer for member, answer in zip(members, answers, strict=True)}

    def join(self, ref: ListRef, add: Mapping[str, str | None], remove: Sequence[Member]) -> Iterator[ListReceipt]:
        if add or remove:
            body = {"add": list(add.values()), "remove": [member.remote_id for member in remove]}
            self.http.put(f"/lists/{ref.id}/members", json=body)
            yield ListReceipt(added=frozenset(add), removed=frozenset(member.key for member in remove))

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        start = int(str(cursor["start"])) if cursor else 0
        while ids := json_of(self.http.get(f"/lists/{ref.id}/members", params={"start": start})):
            start += len(ids)
            yield Page([{"remote_id": remote_id} for remote_id in ids], {"start": start})


class Kit(ListSinkConformance):
    build: ClassVar[type[Lists]] = Lists
    model: ClassVar[type[ConnectorConfig]] = CrmConfig
    fails: ClassVar[str | None] = None
    skips: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def spec(self) -> ListSinkSpec:
        return ListSinkSpec(name="crm", config=self.model, build=self.build)

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
    def people(self) -> Sequence[Mapping[str, JSON]]:
        return [{"email": f"person{n}@example.com"} for n in range(7)]


class TestCorrect(Kit):
    pass


class LaxConfig(CrmConfig):
    model_config = ConfigDict(extra="ignore")


class TestTakesUnknownKeys(Kit):
    fails = "test_config_rejects_unknown_keys"
    model = LaxConfig


class PlainConfig(ConnectorConfig):
    token: str


class TestShowsTheTokenInItsConfiguration(Kit):
    fails = "test_secrets_stay_secret"
    model = PlainConfig


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


class TestShowsTheTokenInAnError(Kit):
    fails = "test_secrets_stay_secret"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return type(error)(f"{self.token} is refused") if isinstance(error, AuthError) else error


class TestMakesAListEachTime(Kit):
    fails = "test_ensuring_twice_gives_one_list"

    class build(Lists):  # noqa: N801
        def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
            return self.known(wanted, known) if known else self.create(wanted)


class TestSaysThatItMadeTheList(Kit):
    fails = "test_ensuring_twice_gives_one_list"

    class build(Lists):  # noqa: N801
        def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
            return ListRef(super().ensure(wanted, known).id, wanted.name, created=True)


class TestMakesAListInPlaceOfTheOneThatIsGone(Kit):
    fails = "test_a_known_list_that_is_gone_is_an_error"

    class build(Lists):  # noqa: N801
        def known(self, wanted: RemoteList, known: str) -> ListRef:
            try:
                return super().known(wanted, known)
            except PermanentError:
                return self.ensure(wanted, None)


class TestCreatesAgain(Kit):
    fails = "test_the_same_changes_twice_leave_one_effect"

    class build(Lists):  # noqa: N801
        writes = "POST"


class TestConfirmsTwice(Kit):
    fails = "test_every_key_gets_one_verdict"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            for receipt in super().join(ref, add, remove):
                yield receipt
                yield receipt


class TestDoesNotConfirmRemovals(Kit):
    fails = "test_every_key_gets_one_verdict"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            for receipt in super().join(ref, add, remove):
                yield ListReceipt(added=receipt.added)


class TestRejectsTheNeighbour(Kit):
    fails = "test_rejections_name_the_right_key"

    class build(Lists):  # noqa: N801
        def verdicts(self, members: Sequence[Member], answers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
            return super().verdicts(members, sorted(answers, key=lambda answer: "error" in answer))


class TestFailsForOneRow(Kit):
    fails = "test_rejections_name_the_right_key"

    class build(Lists):  # noqa: N801
        def verdicts(self, members: Sequence[Member], answers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
            if any("error" in answer for answer in answers):
                raise PermanentError("a row was refused")
            return super().verdicts(members, answers)


class TestCallsForNothing(Kit):
    fails = "test_empty_changes_make_no_call"

    class build(Lists):  # noqa: N801
        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            self.http.get(f"/lists/{ref.id}")
            yield from super().apply(ref, changes)


class TestDeletesWhoLeaves(Kit):
    fails = "test_removal_leaves_the_record"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Sequence[Member]) -> Iterator[ListReceipt]:
            yield from super().join(ref, add, remove)
            for member in remove:
                self.http.delete(f"/records/{member.remote_id}")


class TestRemovesNobody(Kit):
    fails = "test_removal_leaves_the_record"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Sequence[Member]) -> Iterator[ListReceipt]:
            yield from super().join(ref, add, [])
            if remove:
                yield ListReceipt(removed=frozenset(member.key for member in remove))


class TestReadsBackTooFew(Kit):
    fails = "test_read_back_equals_what_was_confirmed"

    class build(Lists):  # noqa: N801
        def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
            for page in super().members(ref, cursor):
                yield Page(page.records[:2], page.cursor)


class TestConfirmsWhomItDidNotAdd(Kit):
    fails = "test_read_back_equals_what_was_confirmed"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            few = {key: remote_id for key, remote_id in add.items() if key != "k4"}
            for receipt in super().join(ref, few, remove):
                yield ListReceipt(added=frozenset(add), removed=receipt.removed)


class TestReadsBackFromTheStart(Kit):
    fails = "test_read_back_resumes"

    class build(Lists):  # noqa: N801
        def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
            yield from super().members(ref, None)


class TestGivesACursorThatIsNoJson(Kit):
    fails = "test_cursors_survive_json"

    class build(Lists):  # noqa: N801
        def members(self, ref: ListRef, cursor: Any) -> Iterator[Page]:
            for page in super().members(ref, cursor and {"start": cursor["start"][0]}):
                at: Any = page.cursor
                yield Page(page.records, {"start": (at["start"],)})  # type: ignore[dict-item]


class TestTakesARefusalForAPassingFault(Kit):
    fails = "test_refused_credentials_are_an_auth_error"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return TransientError("later") if isinstance(error, AuthError) else error


class TestForgetsHowLongToWait(Kit):
    fails = "test_a_long_retry_after_is_told"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return TransientError(str(error)) if isinstance(error, TransientError) else error


class TestTakesAPassingFaultForGood(Kit):
    fails = "test_an_unavailable_vendor_is_a_passing_fault"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return PermanentError("down") if re.search("answered 503", str(error)) else error
