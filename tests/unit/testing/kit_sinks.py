"""Correct list sinks, and for every check of `list_sinks` sinks that break just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ConfigDict
from tests.unit.testing.crm import NEEDED, WITHOUT_JOBS, Catching, Crm, CrmConfig, Kit, Lists

from switchyard.api import (
    AuthError,
    ConnectorConfig,
    Context,
    Cursor,
    Limits,
    ListChanges,
    ListReceipt,
    ListRef,
    Member,
    Page,
    PermanentError,
    RemoteList,
)
from switchyard.testing.conformance import ListSinkConformance


class TestCorrect(Kit):
    pass


class TestCorrectWithoutWhatMayBeMissing(Kit):
    skips = WITHOUT_JOBS | {"test_a_passing_refusal_may_be_tried_again", "test_an_exhausted_quota_ends_the_delivery"}
    exhausted = ListSinkConformance.exhausted

    @pytest.fixture
    def remote(self) -> Crm:
        crm = Crm()
        return SimpleNamespace(**{name: getattr(crm, name) for name in NEEDED})


class TestCorrectAllAtOnce(Kit):
    limits = Limits(concurrency=3)

    class build(Lists):  # noqa: N801
        def upserts(self, changes: ListChanges) -> Iterator[ListReceipt]:
            with ThreadPoolExecutor(3) as pool:
                try:
                    done = as_completed([pool.submit(self.upsert, rows) for rows in self.batches(changes)])
                    errors = []
                    for each in done:
                        if error := each.exception():
                            errors.append(error)
                        else:
                            yield each.result()
                finally:
                    pool.shutdown(cancel_futures=True)
            if errors:
                raise errors[0]


class TestCorrectWithTickets(Kit):
    class build(Lists):  # noqa: N801
        def __init__(self, config: Any, context: Context) -> None:
            super().__init__(config, context)
            self.jobs: list[list[ListReceipt]] = []

        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            for receipt in super().apply(ref, changes):
                ticket = str(len(self.jobs))
                self.jobs.append([receipt, ListReceipt(ticket=ticket)])
                yield ListReceipt(ticket=ticket)

        def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
            yield self.jobs[int(ticket)].pop()


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


class TestReplacesWhatItWrote(Kit):
    fails = "test_the_same_changes_twice_leave_one_effect"

    class build(Lists):  # noqa: N801
        def __init__(self, config: Any, context: Context) -> None:
            super().__init__(config, context)
            self.written: dict[str, str] = {}

        def upsert(self, rows: Sequence[Member]) -> ListReceipt:
            for row in rows:
                if row.key in self.written:
                    self.call("DELETE", f"/records/{self.written[row.key]}")
            receipt = super().upsert(rows)
            self.written |= receipt.upserted
            return receipt


class TestIsSilentAboutWhatItHasDone(Kit):
    fails = "test_the_same_changes_twice_leave_one_effect"

    class build(Lists):  # noqa: N801
        def __init__(self, config: Any, context: Context) -> None:
            super().__init__(config, context)
            self.done = set()

        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            if changes.id not in self.done:
                yield from super().apply(ref, changes)
                self.done.add(changes.id)


class TestCallsForNothing(Kit):
    fails = "test_empty_changes_make_no_call"

    class build(Lists):  # noqa: N801
        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            self.call("GET", f"/lists/{ref.id}")
            yield from super().apply(ref, changes)


class TestDeletesWhoLeaves(Kit):
    fails = "test_removal_leaves_the_record"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Sequence[Member]) -> Iterator[ListReceipt]:
            yield from super().join(ref, add, remove)
            for member in remove:
                self.call("DELETE", f"/records/{member.remote_id}")


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
