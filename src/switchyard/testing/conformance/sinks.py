"""The kit for sinks that are told of changes."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import httpx
import pytest

from switchyard.api import AuthError, Batch, Change, Receipt, Sink, SinkSpec, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.records import JSON
from switchyard.testing.bench import HOSTILE_RECORDS, Bench, held
from switchyard.testing.conformance.common import (
    BUSY_FOR_LONG,
    Conformance,
    assert_exhausted,
    assert_secrets_stay,
    assert_told,
    error_of,
    everywhere,
    left_behind,
    places,
)
from switchyard.testing.wire import after, answering, once

Kind = Literal["entered", "left", "changed"]
_KINDS: Sequence[Kind] = ("entered", "changed", "left")
_AT = datetime(2026, 6, 1, 12)
_TRIES = 20


class Told(Protocol):
    """The outside system's own view of what it was told. Usually a few lines around a simulator."""

    def told(self) -> Sequence[tuple[str, str]]:
        """What took effect, as (kind, key): what came again under an id it knows did not."""

    def refuse(self, keys: Collection[str]) -> None:
        """From now on refuse, for good, changes of people with these keys, and no others."""


class Changes:
    """Changes that the outside system does not know: each time new ones."""

    def __init__(self, key_field: str, person: Callable[[int], Mapping[str, JSON]], many: int) -> None:
        self._key_field = key_field
        self._person = person
        self._many = many
        self._next = 0

    def batch(self, *more: Mapping[str, JSON]) -> Batch:
        """A batch of `many` changes of all kinds, with the fields of `more` laid over those of the first people."""
        numbers = range(self._next, self._next + self._many)
        self._next = numbers.stop
        return self.of([self._change(n, more[at] if at < len(more) else {}) for at, n in enumerate(numbers)])

    def of(self, changes: Sequence[Change]) -> Batch:
        """A batch of these changes."""
        id = f"kit-{changes[0].id}-{len(changes)}" if changes else "kit-nothing"
        return Batch(id, "kit", "kit_segment", "Switchyard conformance", self._key_field, changes)

    def _change(self, number: int, more: Mapping[str, JSON]) -> Change:
        fields = {**more, **self._person(number)}
        key = str(fields[self._key_field])
        return Change(f"kit-change-{number}", _KINDS[number % len(_KINDS)], key, fields, number + 1, _AT)


class SinkConformance(Conformance):
    """The checks for sinks that are told of changes.

    Give `spec`, `config`, `remote`, and `api` for a vendor that is a function. Give `exhausted` where there is such an
    answer, and `wait` where the sink leaves a vendor that failed alone for a while. The network fails by itself.
    """

    @pytest.fixture
    def remote(self) -> Told:
        """The outside system's own view."""
        raise NotImplementedError("give the fixture `remote`: the outside system's own view of what it was told")

    @pytest.fixture
    def key_field(self) -> str:
        """The outside system's name for what it recognises a person by."""
        return "email"

    @pytest.fixture
    def person(self, key_field: str) -> Callable[[int], Mapping[str, JSON]]:
        """Fields of the person with this number, whom the outside system does not know."""
        return lambda number: {key_field: f"kit{number}@example.com"}

    @pytest.fixture
    def many(self, spec: SinkSpec) -> int:
        """Rows of a batch: several, and no more than the sink takes at once."""
        return min(7, spec.batch)

    @pytest.fixture
    def exhausted(self) -> httpx.Response | None:
        """What the vendor answers when the calls of the day are used up; None where there is no such limit."""
        return None

    @pytest.fixture
    def wait(self) -> Callable[[float], None]:
        """Lets so many seconds pass for the sink."""
        return lambda _: None

    @pytest.fixture
    def changes(self, key_field: str, person: Callable[[int], Mapping[str, JSON]], many: int) -> Changes:
        """Changes to tell of. Not for authors to override."""
        return Changes(key_field, person, many)

    def test_secrets_stay_secret(self, bench: Bench, changes: Changes, caplog: pytest.LogCaptureFixture) -> None:
        """No secret in what configuration, connector, errors and log say."""

        def traces() -> Iterator[tuple[str, str]]:
            with bench.built(answering(httpx.Response(401))) as built:
                yield "the connector", f"{built.connector!r} {built.connector}"
                try:
                    built.connector.write(changes.batch())
                except SwitchyardError as error:
                    yield "an error", "".join(traceback.format_exception(error))

        assert_secrets_stay(bench, traces(), caplog)

    def test_every_change_is_told(self, bench: Bench, remote: Told, changes: Changes) -> None:
        """What the receipt does not refuse took effect, as what it was."""
        batch = changes.batch()
        with bench.built() as built:
            receipt = built.connector.write(batch)
        assert not receipt.rejected, f"{len(receipt.rejected)} of {len(batch.changes)} changes were refused"
        wanted = [(change.kind, change.key) for change in batch.changes]
        assert sorted(remote.told()) == sorted(wanted), "the outside system was told something else"

    def test_the_same_changes_again_leave_one_effect(self, bench: Bench, remote: Told, changes: Changes) -> None:
        """What the hub could not learn the outcome of comes again, under the same id, also in another batch."""
        batch = changes.batch()
        other = changes.batch()
        mixed = changes.of([*batch.changes[::2], *other.changes[::2]])
        for each in (batch, batch, mixed):
            with bench.built() as built:
                receipt = built.connector.write(each)
                assert not receipt.rejected, f"{len(receipt.rejected)} changes were refused that came again"
        wanted = sorted([*_keys(batch.changes), *_keys(other.changes[::2])])
        assert _told(remote) == wanted, "changes that came again (same id) had an effect again"

    def test_an_empty_batch_makes_no_call(self, bench: Bench, changes: Changes) -> None:
        """No change means no call."""
        with bench.built() as built:
            receipt = built.connector.write(changes.of([]))
            assert built.wire.requests == 0, f"an empty batch made {built.wire.requests} calls"
        assert receipt == Receipt(), "the receipt of an empty batch says something"

    def test_every_row_gets_its_own_verdict(self, bench: Bench, remote: Told, changes: Changes) -> None:
        """A refused row is rejected for good and with a reason; none fails, hides or stands for another."""
        batch = changes.batch()
        refused = {0, len(batch.changes) // 2}
        remote.refuse([batch.changes[index].key for index in refused])
        with bench.built() as built:
            rejected = built.connector.write(batch).rejected
        assert rejected.keys() == refused, f"rows {sorted(refused)} were refused, the receipt says {sorted(rejected)}"
        for why in rejected.values():
            assert why.code and why.reason, "a rejection does not say why"
            assert not why.retryable, "a row that is refused for good is to be tried again"
        others = [each for index, each in enumerate(batch.changes) if index not in refused]
        assert _told(remote) == sorted(_keys(others)), "a refused row failed or hid another"

    def test_hostile_values_are_told(self, bench: Bench, remote: Told, changes: Changes) -> None:
        """Odd but legal values pass, and so does a field that is cleared."""
        batch = changes.batch(HOSTILE_RECORDS[0], {"cleared": None})
        with bench.built() as built:
            receipt = built.connector.write(batch)
        assert not receipt.rejected, "a hostile but legal row was refused"
        assert _told(remote) == sorted(_keys(batch.changes)), "a hostile but legal row was not told"

    def test_a_lost_answer_is_settled_by_writing_again(
        self, bench: Bench, remote: Told, changes: Changes, wait: Callable[[float], None]
    ) -> None:
        """Whether or not a call was carried out whose answer is lost: nothing is confirmed that is not so, and the same
        changes again make everything right.
        """
        for lost in everywhere(_calls(bench, changes)):
            before, batch = len(remote.told()), changes.batch()
            with bench.built(lost) as built:
                try:
                    rejected = built.connector.write(batch).rejected
                except TransientError as error:
                    wait(error.retry_after or 0.0)
                else:
                    taken = [each for index, each in enumerate(batch.changes) if index not in rejected]
                    untold = set(_keys(taken)) - set(_told(remote, before))
                    assert not untold, f"{len(untold)} changes are confirmed that the outside system was not told of"
                    good = sum(not why.retryable for why in rejected.values())
                    assert not good, f"{good} changes are refused for good because of a lost answer"
            _written(bench, batch, wait)
            assert _told(remote, before) == sorted(_keys(batch.changes)), (
                "writing again after a lost answer did not make it right"
            )

    def test_an_exhausted_quota_ends_the_delivery(
        self, bench: Bench, changes: Changes, exhausted: httpx.Response | None
    ) -> None:
        """The hub learns until when to wait; nothing more is asked of the vendor."""
        if exhausted is None:
            pytest.skip("give the fixture `exhausted`: what the vendor answers when the calls of the day are used up")
        for done in places(_calls(bench, changes)):
            with bench.built(after(done, answering(exhausted))) as built:
                try:
                    built.connector.write(changes.batch())
                except SwitchyardError as error:
                    assert_exhausted(error)
                else:
                    pytest.fail("an exhausted quota ended as if all were well")
                late = built.wire.requests - done - 1
                assert late < bench.limits.concurrency, f"{late} calls were made after the quota was exhausted"

    def test_writing_leaves_nothing_behind(self, bench: Bench, changes: Changes) -> None:
        """No connection or thread goes on, also where a call fails."""
        for fault in (None, once(answering(httpx.Response(500)))):
            _calls(bench, changes)  # what is opened once for the whole process is open now
            before = held()
            with bench.built(fault) as built:
                try:
                    built.connector.write(changes.batch())
                except SwitchyardError:
                    assert fault is not None, "writing failed"
            left = left_behind(before)
            assert not left, f"writing left open: {', '.join(sorted(left))}"

    def test_refused_credentials_are_no_success(self, bench: Bench, changes: Changes) -> None:
        """401 needs a person, or passes; nothing is confirmed."""
        _calls(bench, changes)
        with bench.built(answering(httpx.Response(401))) as built:
            error = error_of(lambda: built.connector.write(changes.batch()), SwitchyardError)
        assert isinstance(error, AuthError | TransientError), f"a 401 ended with {type(error).__name__}: {error}"

    def test_a_long_retry_after_is_told(self, bench: Bench, changes: Changes) -> None:
        """429 with a wait of hours ends the delivery, and the error says how long."""
        _calls(bench, changes)
        with bench.built(BUSY_FOR_LONG) as built:
            assert_told([error_of(lambda: built.connector.write(changes.batch()), TransientError)])

    def test_an_unavailable_system_is_a_passing_fault(self, bench: Bench, changes: Changes) -> None:
        """503 passes; the next delivery goes on."""
        _calls(bench, changes)
        with bench.built(answering(httpx.Response(503))) as built:
            error_of(lambda: built.connector.write(changes.batch()), TransientError)


def _keys(changes: Sequence[Change]) -> list[str]:
    return [change.key for change in changes]


def _told(remote: Told, since: int = 0) -> list[str]:
    return sorted(key for _, key in remote.told()[since:])


def _calls(bench: Bench, changes: Changes) -> int:
    """How many calls a batch takes."""
    with bench.built() as built:
        built.connector.write(changes.batch())
        if not built.wire.requests:
            pytest.skip("the connector makes no HTTP call")
        return built.wire.requests


def _written(bench: Bench, batch: Batch, wait: Callable[[float], None]) -> None:
    """Write a batch, again until all of it is taken, as later deliveries do."""
    for _ in range(_TRIES):
        with bench.built() as built:
            sink: Sink = built.connector
            try:
                if not sink.write(batch).rejected:
                    return
            except TransientError as error:
                wait(error.retry_after or 0.0)
    pytest.fail(f"the same changes were not taken in {_TRIES} tries")
