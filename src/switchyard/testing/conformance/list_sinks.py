"""The kit for list sinks: what they promise while all is well; besides, see `list_faults` and `list_jobs`."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator

import httpx
import pytest

from switchyard.api import ListChanges, PermanentError, RemoteList
from switchyard.api.errors import SwitchyardError
from switchyard.testing.bench import Bench, is_json
from switchyard.testing.conformance.common import assert_secrets_stay, error_of
from switchyard.testing.conformance.list_faults import ListSinkFaults
from switchyard.testing.conformance.list_fixtures import People, Remote
from switchyard.testing.conformance.list_jobs import ListSinkJobs
from switchyard.testing.conformance.outcomes import Outcome, applied, read_back, remote_ids_of
from switchyard.testing.wire import answering


class ListSinkConformance(ListSinkFaults, ListSinkJobs):
    """The checks for list sinks.

    Give `spec`, `config`, `remote`, and `api` for a vendor that is a function. Give `exhausted`, and a `remote` that is
    `Hesitant`, where the vendor has such answers; `bulk`, and a `remote` that is `Working`, where it works
    asynchronously. Without them their checks are skipped. The network fails by itself.
    """

    def test_secrets_stay_secret(self, bench: Bench, wanted: RemoteList, caplog: pytest.LogCaptureFixture) -> None:
        """No secret in what configuration, connector, errors and log say."""

        def traces() -> Iterator[tuple[str, str]]:
            with bench.built(answering(httpx.Response(401))) as built:
                yield "the connector", f"{built.connector!r} {built.connector}"
                try:
                    built.connector.ensure(wanted, None)
                except SwitchyardError as error:
                    yield "an error", "".join(traceback.format_exception(error))

        assert_secrets_stay(bench, traces(), caplog)

    def test_ensuring_twice_gives_one_list(self, bench: Bench, wanted: RemoteList, remote: Remote) -> None:
        """A list that exists is found, by its id and by its name."""
        with bench.built() as built:
            first = built.connector.ensure(wanted, None)
            for known in (first.id, None):
                again = built.connector.ensure(wanted, known)
                assert again.id == first.id, f"ensure with known={known and 'its id'} gave another list"
                assert not again.created, "ensure says that it created a list which was there"
        assert list(remote.lists()) == [first.id], "ensure made a second list"

    def test_a_known_list_that_is_gone_is_an_error(self, bench: Bench, wanted: RemoteList, remote: Remote) -> None:
        """A list deleted by hand stops the delivery; it is never silently made anew."""
        with bench.built() as built:
            known = built.connector.ensure(wanted, None).id
            remote.delete(known)
            error_of(lambda: built.connector.ensure(wanted, known), PermanentError)
        assert not remote.lists(), "ensure made a new list in place of the one that is gone"

    def test_the_same_changes_twice_leave_one_effect(
        self, bench: Bench, wanted: RemoteList, remote: Remote, people: People
    ) -> None:
        """After a crash the hub sends the same changes again: the same verdicts, and nothing else has become of it."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            leaving = people.first(Outcome.of(applied(built.connector, ref, people.joining())))
            changes = people.joining(leaving)
            outcomes, effects = [], []
            for _ in range(2):
                outcome = Outcome.of(applied(built.connector, ref, changes))
                outcomes.append((outcome.upserted, outcome.added, outcome.removed, outcome.rejected.keys()))
                effects.append((sorted(remote.members(ref.id)), sorted(remote.records())))
        assert effects[0] == effects[1], "the same changes (same id) had an effect the second time"
        assert outcomes[0] == outcomes[1], "the same changes (same id) had other verdicts the second time"

    def test_empty_changes_make_no_call(self, bench: Bench, wanted: RemoteList) -> None:
        """No change means no call."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            before = built.wire.requests
            applied(built.connector, ref, ListChanges(id="nothing"))
            assert built.wire.requests == before, f"empty changes made {built.wire.requests - before} calls"

    def test_removal_leaves_the_record(self, bench: Bench, wanted: RemoteList, remote: Remote, people: People) -> None:
        """Whoever leaves the list stays in the vendor's system."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            leaving = people.first(Outcome.of(applied(built.connector, ref, people.joining())))
            records = set(remote.records())
            applied(built.connector, ref, ListChanges(id="kit-leave", remove=leaving))
            gone = {member.remote_id for member in leaving}
            assert not gone & set(remote.members(ref.id)), "members that were removed are still on the list"
            assert set(remote.records()) == records, "removing members from the list deleted records"

    def test_read_back_equals_what_was_confirmed(
        self, bench: Bench, wanted: RemoteList, remote: Remote, people: People
    ) -> None:
        """The read-back is the proof, so it tells what the vendor holds."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            outcome = Outcome.of(applied(built.connector, ref, people.joining()))
            read = read_back(built.connector, ref)
        assert sorted(read) == sorted(remote.members(ref.id)), "the read-back differs from what the vendor holds"
        assert sorted(read) == sorted(outcome.members), "the read-back differs from what the receipts confirmed"

    def test_read_back_resumes(self, bench: Bench, wanted: RemoteList, people: People) -> None:
        """The hub may read a long list in several runs."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            applied(built.connector, ref, people.joining())
            pages = list(built.connector.members(ref, None))
            assert len(pages) > 1, "the read-back has one page; let `many` be more people"
            for number in range(1, len(pages)):
                rest = list(built.connector.members(ref, copy.deepcopy(pages[number - 1].cursor)))
                whole = remote_ids_of([*pages[:number], *rest])
                assert sorted(whole) == sorted(remote_ids_of(pages)), f"resuming after page {number} read another list"

    def test_cursors_survive_json(self, bench: Bench, wanted: RemoteList, people: People) -> None:
        """The store keeps cursors as JSON."""
        with bench.built() as built:
            ref = built.connector.ensure(wanted, None)
            applied(built.connector, ref, people.joining())
            for page in built.connector.members(ref, None):
                assert is_json(page.cursor), f"JSON does not give the cursor back: {page.cursor!r}"
