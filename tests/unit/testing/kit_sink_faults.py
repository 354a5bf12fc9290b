"""For every check of `list_faults` list sinks that break just that promise.

Run by `test_conformance.py`; not collected with the other tests.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import httpx
from tests.unit.testing.crm import MIDNIGHT, Catching, Kit, Lists

from switchyard.api import (
    AuthError,
    Context,
    Cursor,
    ListChanges,
    ListReceipt,
    ListRef,
    Member,
    Page,
    PermanentError,
    QuotaExhausted,
    Rejection,
    TransientError,
)
from switchyard.api.errors import SwitchyardError


class TestConfirmsTwice(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            for receipt in super().join(ref, add, remove):
                yield receipt
                yield receipt


class TestDoesNotConfirmRemovals(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            for receipt in super().join(ref, add, remove):
                yield ListReceipt(added=receipt.added)


class TestRejectsTheNeighbour(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Lists):  # noqa: N801
        def verdicts(self, members: Sequence[Member], answers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
            return super().verdicts(members, sorted(answers, key=lambda answer: "error" in answer))


class TestMixesUpTheIds(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Lists):  # noqa: N801
        def upsert(self, rows: Sequence[Member]) -> ListReceipt:
            receipt = super().upsert(rows)
            ids = list(receipt.upserted.values())
            return replace(receipt, upserted=dict(zip(receipt.upserted, ids[1:] + ids[:1], strict=True)))


class TestFailsForOneRow(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Lists):  # noqa: N801
        def verdicts(self, members: Sequence[Member], answers: list[dict[str, str]]) -> dict[str, dict[str, str]]:
            if {"error": "INVALID"} in answers:
                raise PermanentError("a row was refused")
            return super().verdicts(members, answers)


class Judging(Lists):
    """Every rejection comes by `judged`."""

    def upsert(self, rows: Sequence[Member]) -> ListReceipt:
        receipt = super().upsert(rows)
        return replace(receipt, rejected={key: self.judged(why) for key, why in receipt.rejected.items()})

    def judged(self, why: Rejection) -> Rejection:
        return why


class TestGivesNoReason(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Judging):  # noqa: N801
        def judged(self, why: Rejection) -> Rejection:
            return replace(why, reason="")


class TestTriesRefusedRowsForEver(Kit):
    fails = "test_every_row_gets_its_own_verdict"

    class build(Judging):  # noqa: N801
        def judged(self, why: Rejection) -> Rejection:
            return replace(why, retryable=True)


class TestGivesUpRowsTooSoon(Kit):
    fails = "test_a_passing_refusal_may_be_tried_again"

    class build(Judging):  # noqa: N801
        def judged(self, why: Rejection) -> Rejection:
            return replace(why, retryable=False)


class TestReadsBackWhatItRemembers(Kit):
    fails = "test_a_lagging_read_back_is_given_as_it_is"

    class build(Lists):  # noqa: N801
        def __init__(self, config: Any, context: Context) -> None:
            super().__init__(config, context)
            self.added: set[str] = set()

        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            yield from super().join(ref, add, remove)
            self.added |= set(add.values())

        def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
            missing = set(self.added)
            for page in super().members(ref, cursor):
                missing -= {row["remote_id"] for row in page.records}
                yield page
            if missing and cursor is None:
                yield Page([{"remote_id": remote_id} for remote_id in missing], None)


class TestKeepsItsReadBack(Kit):
    fails = "test_a_lagging_read_back_is_given_as_it_is"

    class build(Lists):  # noqa: N801
        kept: Sequence[Page] = ()

        def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
            if cursor is not None:
                return super().members(ref, cursor)
            self.kept = self.kept or list(super().members(ref, cursor))
            return iter(self.kept)


class TestRejectsWhomTheReadBackDoesNotShow(Kit):
    fails = "test_a_lagging_read_back_is_given_as_it_is"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Any) -> Iterator[ListReceipt]:
            for receipt in super().join(ref, add, remove):
                try:
                    shown = {row["remote_id"] for page in self.members(ref, None) for row in page.records}
                except SwitchyardError:
                    yield receipt
                    raise
                there = frozenset(key for key, remote_id in add.items() if remote_id in shown)
                lost = dict.fromkeys(add.keys() - there, Rejection("not_there", "it is not on the list"))
                yield replace(receipt, added=there, rejected=lost)


class TestCreatesWithoutLookingAgain(Kit):
    fails = "test_a_lost_answer_is_settled_by_trying_again"

    class build(Lists):  # noqa: N801
        def write(self, rows: Sequence[Member]) -> list[dict[str, str]]:
            found = self.call("GET", "/records", params={"email": [row.fields["email"] for row in rows]})
            new = [row.fields for row in rows if row.fields["email"] not in found]
            made = iter(self.call("POST", "/records", json=new, repeatable=True))
            return [found.get(row.fields["email"]) or next(made) for row in rows]


class TestTakesSilenceForConsent(Kit):
    fails = "test_a_lost_answer_is_settled_by_trying_again"

    class build(Lists):  # noqa: N801
        def join(self, ref: ListRef, add: Any, remove: Sequence[Member]) -> Iterator[ListReceipt]:
            try:
                yield from super().join(ref, add, remove)
            except TransientError as error:
                if not isinstance(error.__cause__, httpx.TransportError):
                    raise
                yield ListReceipt(added=frozenset(add), removed=frozenset(member.key for member in remove))


class TestKeepsItsReceiptsToTheEnd(Kit):
    fails = "test_an_exhausted_quota_ends_the_delivery"

    class build(Lists):  # noqa: N801
        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            yield from list(super().apply(ref, changes))


class TestTakesAnExhaustedQuotaForTheEnd(Kit):
    fails = "test_an_exhausted_quota_ends_the_delivery"

    class build(Lists):  # noqa: N801
        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            with suppress(QuotaExhausted):
                yield from super().apply(ref, changes)


class TestAsksAgainWhenTheQuotaIsExhausted(Kit):
    fails = "test_an_exhausted_quota_ends_the_delivery"

    class build(Lists):  # noqa: N801
        def classify(self, answer: httpx.Response) -> SwitchyardError | None:
            return TransientError("later") if super().classify(answer) else None

        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            try:
                yield from super().apply(ref, changes)
            except TransientError as error:
                raise (QuotaExhausted("over", until=MIDNIGHT) if str(error) == "later" else error) from None


class TestMakesTheRestOfItsCallsWhenClosed(Kit):
    fails = "test_stopping_early_leaves_nothing_behind"

    class build(Lists):  # noqa: N801
        def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
            receipts = super().apply(ref, changes)
            try:
                for receipt in receipts:  # noqa: UP028  # `yield from` would close them
                    yield receipt
            except GeneratorExit:
                list(receipts)
                raise


class TestLeavesAThread(Kit):
    fails = "test_stopping_early_leaves_nothing_behind"

    class build(Lists):  # noqa: N801
        def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
            done = Event()
            Thread(target=done.wait, args=(3,), daemon=True).start()
            yield from super().members(ref, cursor)
            done.set()


class TestTakesARefusalForAPassingFault(Kit):
    fails = "test_refused_credentials_are_an_auth_error"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return TransientError("later") if isinstance(error, AuthError) else error


class TestForgetsHowLongToWait(Kit):
    fails = "test_a_long_retry_after_is_told"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return TransientError(str(error)) if type(error) is TransientError else error


class TestTakesAPassingFaultForGood(Kit):
    fails = "test_an_unavailable_vendor_is_a_passing_fault"

    class build(Catching):  # noqa: N801
        def caught(self, error: Exception) -> Exception:
            return PermanentError("down") if re.search("answered 503", str(error)) else error
