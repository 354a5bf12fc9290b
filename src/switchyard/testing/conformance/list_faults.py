"""The kit for list sinks: what they promise while the vendor refuses, lags, fails or falls silent."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from switchyard.api import AuthError, ListRef, ListSink, RemoteList, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.testing.bench import Bench, held
from switchyard.testing.conformance.common import (
    BUSY_FOR_LONG,
    assert_exhausted,
    assert_told,
    error_of,
    everywhere,
    left_behind,
    places,
)
from switchyard.testing.conformance.list_fixtures import Hesitant, ListSinkFixtures, People, Remote
from switchyard.testing.conformance.outcomes import Outcome, applied, assert_verdicts, read_back, until_error
from switchyard.testing.wire import Fault, Lag, after, answering

# The same rows are refused in every run, so that whoever passes today passes tomorrow.
_REPEATABLE = settings(
    max_examples=20, deadline=None, database=None, derandomize=True, phases=(Phase.generate, Phase.shrink)
)


class ListSinkFaults(ListSinkFixtures):
    """Checks of `ListSinkConformance`."""

    def test_every_row_gets_its_own_verdict(
        self, bench: Bench, wanted: RemoteList, remote: Remote, people: People
    ) -> None:
        """Whichever rows the vendor refuses: each is rejected for good and with a reason, and none fails, hides or
        stands for another.
        """
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            leaving = people.first(Outcome.of(applied(built.connector, ref, people.joining())))

            @_REPEATABLE
            @given(_subsets(people.many))
            def check(refused: frozenset[int]) -> None:
                changes = people.joining(leaving)
                bad = [changes.upsert[index] for index in refused]
                remote.refuse(people.values(bad))
                before = set(remote.members(ref.id))
                receipts = applied(built.connector, ref, changes)
                assert_verdicts(changes, receipts)
                outcome = Outcome.of(receipts)
                wrong = len(outcome.rejected.keys() ^ {member.key for member in bad})
                assert not wrong, f"{len(bad)} of {people.many} rows were refused, and {wrong} verdicts are wrong"
                records = remote.records()
                written = [member for member in changes.upsert if member.key in outcome.upserted]
                found = [records.get(outcome.upserted[member.key]) for member in written]
                assert found == people.values(written), "a receipt gives a row the remote id of somebody else"
                joined = set(remote.members(ref.id)) - before
                assert joined == outcome.members, "the receipts confirm others than those who came on the list"
                for why in outcome.rejected.values():
                    assert why.code and why.reason, "a rejection does not say why"
                    assert not why.retryable, "a row that is refused for good is to be tried again"

            check()

    def test_a_passing_refusal_may_be_tried_again(
        self, bench: Bench, wanted: RemoteList, remote: Remote, people: People
    ) -> None:
        """A rejection says whether a later try could succeed, and a later try does."""
        if not isinstance(remote, Hesitant):
            pytest.skip("let `remote` have `hesitate`, if the vendor ever refuses a row for a reason that passes")
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            changes = people.joining()
            late = changes.upsert[-1]
            remote.hesitate(people.values([late]))
            rejected = Outcome.of(applied(built.connector, ref, changes)).rejected
            assert rejected.keys() == {late.key}, f"{len(rejected)} rows were rejected, and the vendor refused one"
            assert rejected[late.key].retryable, "a passing refusal is taken to be for good"
            remote.hesitate(())
            again = Outcome.of(applied(built.connector, ref, replace(changes, id="kit-later")))
            assert late.key in again.added, "a later try did not succeed"

    def test_a_lagging_read_back_is_given_as_it_is(self, bench: Bench, wanted: RemoteList, people: People) -> None:
        """What the vendor does not show yet is neither invented nor taken for refused: the hub knows of lag."""
        lag = Lag()
        with bench.built(lag) as built, bench.built() as other:
            sink = built.connector
            ref = sink.ensure(wanted, None)
            leaving = people.first(Outcome.of(applied(sink, ref, people.joining())))
            with lag.recording():
                shown = read_back(sink, ref)
            with lag.lagging():
                outcome = Outcome.of(applied(sink, ref, people.joining(leaving)))
                lag.unknown = 0
                reads = [read_back(sink, ref) for _ in range(2)]
            if lag.unknown:
                pytest.skip("the sink asks differently each time it reads back, so the kit cannot let it lag")
            unsure = len(outcome.rejected)
            assert not unsure, f"{unsure} members were rejected because the read-back does not show them yet"
            for read in reads:
                assert read == shown, (
                    f"the vendor shows {len(shown)} members, and the read-back gives others ({len(read)})"
                )
            assert read_back(sink, ref) == read_back(other.connector, ref), (
                "the read-back lags when the vendor does not"
            )

    def test_a_lost_answer_is_settled_by_trying_again(
        self, bench: Bench, wanted: RemoteList, remote: Remote, people: People
    ) -> None:
        """Whether or not a call was carried out whose answer is lost: nothing is confirmed that is not so, and the
        same changes again make everything right.
        """
        for lost in everywhere(_calls(bench, people)):
            changes = people.joining()
            records = set(remote.records())
            with bench.built() as built:
                ref = built.connector.ensure(wanted, None)
                before = set(remote.members(ref.id))
                built.wire.fault = lost
                receipts, error = until_error(built.connector, ref, changes)
            outcome = Outcome.of(receipts)
            assert outcome.members <= set(remote.members(ref.id)), "members are confirmed whom the vendor does not hold"
            if error is None:
                unsaid = people.many - len(outcome.added)
                assert not unsaid, f"a lost answer left {unsaid} members without a word, and no error either"
            else:
                assert isinstance(error, TransientError), f"a lost answer ended with {type(error).__name__}: {error}"
            with bench.built() as built:
                ref = built.connector.ensure(wanted, ref.id)
                again = Outcome.of(applied(built.connector, ref, changes))
            written = len(set(remote.records()) - records)
            assert written == people.many, f"{people.many} people became {written} records after a lost answer"
            joined = set(remote.members(ref.id)) - before
            assert joined == again.members, "trying again after a lost answer did not make the list right"

    def test_an_exhausted_quota_ends_the_delivery(
        self, bench: Bench, wanted: RemoteList, remote: Remote, people: People, exhausted: httpx.Response | None
    ) -> None:
        """The hub learns what was done before, and until when to wait; nothing more is asked of the vendor."""
        if exhausted is None:
            pytest.skip("give the fixture `exhausted`: what the vendor answers when the calls of the day are used up")
        for done in places(_calls(bench, people)):
            changes = people.joining()
            records = set(remote.records())
            with bench.built() as built:
                ref = built.connector.ensure(wanted, None)
                before = set(remote.members(ref.id))
                built.wire.fault = after(done, answering(exhausted))
                asked = built.wire.requests
                receipts, error = until_error(built.connector, ref, changes)
                late = built.wire.requests - asked - done - 1
            assert_exhausted(error)
            assert late < bench.limits.concurrency, f"{late} calls were made after the quota was exhausted"
            outcome = Outcome.of(receipts)
            unsaid = len(set(remote.records()) - records - set(outcome.upserted.values()))
            unsaid += len(set(remote.members(ref.id)) - before - outcome.members)
            assert not unsaid or outcome.deferred, f"the receipts of {unsaid} changes were lost with the error"

    def test_stopping_early_leaves_nothing_behind(self, bench: Bench, wanted: RemoteList, people: People) -> None:
        """The hub may stop after any receipt or page; no call, connection or thread goes on."""
        begun: dict[str, Callable[[ListSink, ListRef], Iterator[object]]] = {
            "apply": lambda sink, ref: sink.apply(ref, people.joining()),
            "members": lambda sink, ref: sink.members(ref, None),
        }
        for what, begin in begun.items():
            _calls(bench, people)  # what is opened once for the whole process is open now
            before = held()
            with bench.built() as built:
                given = begin(built.connector, built.connector.ensure(wanted, None))
                next(given, None)
                asked = built.wire.requests
                if hasattr(given, "close"):
                    given.close()
                closed = built.wire.requests
                # As many as are allowed at once may have been under way.
                assert closed - asked <= bench.limits.concurrency, f"{what}: closing it made {closed - asked} calls"
                built.context.close()
                left = left_behind(before)
                assert not left, f"{what}: closing it left open: {', '.join(sorted(left))}"
                assert built.wire.requests == closed, f"{what}: calls went on after it was closed"

    def test_refused_credentials_are_an_auth_error(self, bench: Bench, people: People) -> None:
        """401 needs a person: the connection waits for sign-in."""
        _errors(bench, people, answering(httpx.Response(401)), AuthError)

    def test_a_long_retry_after_is_told(self, bench: Bench, people: People) -> None:
        """429 with a wait of hours ends the delivery, and the error says how long."""
        assert_told(_errors(bench, people, BUSY_FOR_LONG, TransientError))

    def test_an_unavailable_vendor_is_a_passing_fault(self, bench: Bench, people: People) -> None:
        """503 passes; the next delivery goes on."""
        _errors(bench, people, answering(httpx.Response(503)), TransientError)


def _subsets(size: int) -> st.SearchStrategy[frozenset[int]]:
    """Some of so many, all but some, none and all."""
    everything = frozenset(range(size))
    some = st.frozensets(st.integers(0, size - 1))
    return some | some.map(lambda few: everything - few)


def _calls(bench: Bench, people: People) -> int:
    """How many calls it takes when many people join."""
    with bench.built() as built:
        ref = built.connector.ensure(people.wanted, None)
        before = built.wire.requests
        applied(built.connector, ref, people.joining())
        if built.wire.requests == before:
            pytest.skip("the connector makes no HTTP call")
        return built.wire.requests - before


def _errors(bench: Bench, people: People, fault: Fault, meaning: type[SwitchyardError]) -> list[SwitchyardError]:
    """The errors that each call ends with where the vendor fails."""
    with bench.built() as built:
        ref = built.connector.ensure(people.wanted, None)
        if not built.wire.requests:
            pytest.skip("the connector makes no HTTP call")
    with bench.built(fault) as built:
        sink = built.connector
        return [
            error_of(lambda: sink.ensure(people.wanted, None), meaning),
            error_of(lambda: list(sink.apply(ref, people.joining())), meaning),
            error_of(lambda: list(sink.members(ref, None)), meaning),
        ]
