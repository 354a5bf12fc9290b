"""The kit for list sinks: what those promise whose vendor works asynchronously."""

# ruff: noqa: S101  # a kit is made of assertions

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from switchyard.api import ListChanges, ListReceipt, ListRef, Member, RemoteList
from switchyard.api.connectors import Pollable
from switchyard.api.records import JSON
from switchyard.testing.bench import Bench
from switchyard.testing.conformance.list_fixtures import ListSinkFixtures, People, Remote, Working
from switchyard.testing.conformance.outcomes import Outcome, assert_verdicts, until_settled


@dataclass(frozen=True)
class _Job:
    """Changes that a vendor is at work on. `early`: what was confirmed before; `refused`: rows it will refuse."""

    ref: ListRef
    changes: ListChanges
    early: Sequence[ListReceipt]
    tickets: Sequence[str]
    refused: Sequence[Member]


class ListSinkJobs(ListSinkFixtures):
    """Checks of `ListSinkConformance`."""

    @pytest.fixture
    def crowd(self, wanted: RemoteList, person: Callable[[int], Mapping[str, JSON]], bulk: int | None) -> People:
        """So many people that the sink leaves them to a job. Not for authors to override."""
        if bulk is None:
            pytest.skip("give the fixture `bulk` where the sink is `Pollable`: how many people make it give a ticket")
        return People(wanted, person, bulk)

    def test_a_ticket_becomes_a_verdict_for_every_row(
        self, bench: Bench, wanted: RemoteList, remote: Remote, crowd: People
    ) -> None:
        """Accepted is not applied: each row has its verdict when the vendor is done, from whoever asks."""
        with _working(bench, wanted, remote, crowd) as job:
            assert isinstance(remote, Working), "give `remote` the method `work`, which lets the vendor finish its jobs"
            remote.work()
        with bench.built() as later:
            receipts = [*job.early, *until_settled(later.connector, job.ref, job.tickets)]
        assert_verdicts(job.changes, receipts)
        outcome = Outcome.of(receipts)
        wrong = len(outcome.rejected.keys() ^ {member.key for member in job.refused})
        assert not wrong, f"{len(job.refused)} of {crowd.many} rows were refused, and {wrong} verdicts are wrong"
        assert set(remote.members(job.ref.id)) == outcome.members, "the verdicts are not what the vendor holds"

    def test_a_ticket_is_kept_while_the_vendor_works(
        self, bench: Bench, wanted: RemoteList, remote: Remote, crowd: People
    ) -> None:
        """The hub asks again for as long as a receipt carries a ticket."""
        with _working(bench, wanted, remote, crowd) as job, bench.built() as built:
            for ticket in job.tickets:
                polled = list(built.connector.poll(job.ref, ticket))
                assert polled and polled[-1].ticket, "the ticket is dropped before the vendor is done"

    def test_a_ticket_may_be_asked_twice(self, bench: Bench, wanted: RemoteList, remote: Remote, crowd: People) -> None:
        """After a crash the hub asks again what it was told already."""
        with _working(bench, wanted, remote, crowd) as job:
            assert isinstance(remote, Working), "give `remote` the method `work`, which lets the vendor finish its jobs"
            remote.work()
        outcomes = []
        for _ in range(2):
            with bench.built() as built:
                outcomes.append(Outcome.of(until_settled(built.connector, job.ref, job.tickets)))
        assert outcomes[0] == outcomes[1], "asked for a second time, a ticket gives other verdicts"


@contextmanager
def _working(bench: Bench, wanted: RemoteList, remote: Remote, crowd: People) -> Iterator[_Job]:
    """A vendor at work on what a sink handed it; that sink is gone afterwards."""
    with bench.built() as built:
        ref = built.connector.ensure(wanted, None)
        changes = crowd.joining()
        refused = [changes.upsert[0], changes.upsert[len(changes.upsert) // 2]]
        remote.refuse(crowd.values(refused))
        receipts = list(built.connector.apply(ref, changes))
        tickets = [receipt.ticket for receipt in receipts if receipt.ticket]
        assert tickets, "no receipt carries a ticket; let `bulk` be more people"
        assert isinstance(built.connector, Pollable), "a receipt carries a ticket, and the sink has no `poll`"
        yield _Job(ref, changes, receipts, tickets, refused)
