"""Deliveries against a list kept in memory: what is sent, what the ledger remembers, what the report says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from tests.projects import rows_of

from switchyard.activation.delivery import Delivery, Report, Route
from switchyard.api import ListChanges, ListReceipt, ListRef, Page, Rejection, RemoteList, TransientError
from switchyard.api.errors import ConfigError
from switchyard.config.models import Audience
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import runs
from switchyard.store.tables import AudienceMember, Proof

REFUSED = Rejection("BAD_VALUE", "the value is not allowed")


@dataclass
class Shelf:
    """A list sink. `refuses`: e-mails whose upsert is refused; `breaks_after`: calls until it fails."""

    records: dict[str, dict] = field(default_factory=dict)
    members_: set[str] = field(default_factory=set)
    refuses: dict[str, Rejection] = field(default_factory=dict)
    changes: list[ListChanges] = field(default_factory=list)
    breaks_after: int | None = None
    _ids: Iterator[int] = field(default_factory=lambda: count(100))

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        return ListRef(known or "1", wanted.name, created=known is None)

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        self.changes.append(changes)
        ids = {member.key: member.remote_id for member in changes.add if member.remote_id}
        for member in changes.upsert:
            self._call()
            email = member.fields["email"]
            if email in self.refuses:
                yield ListReceipt(rejected={member.key: self.refuses[email]})
                ids.pop(member.key, None)
                continue
            known = next((each for each, record in self.records.items() if record["email"] == email), None)
            ids[member.key] = known or str(next(self._ids))
            self.records.setdefault(ids[member.key], {}).update(member.fields)
            yield ListReceipt(upserted={member.key: ids[member.key]})
        for member in changes.add:
            if member.key in ids:
                self._call()
                self.members_.add(ids[member.key])
                yield ListReceipt(added=frozenset({member.key}))
        for member in changes.remove:
            self._call()
            self.members_.discard(member.remote_id)
            yield ListReceipt(removed=frozenset({member.key}))

    def members(self, ref: ListRef, cursor: object) -> Iterator[Page]:
        yield Page([{"remote_id": each} for each in sorted(self.members_)], None)

    def _call(self) -> None:
        if self.breaks_after is not None:
            if self.breaks_after == 0:
                raise TransientError("gone away")
            self.breaks_after -= 1

    def emails(self) -> set[str]:
        return {self.records[each]["email"] for each in self.members_}


class Desk:
    """A segment of people, and its delivery to a shelf."""

    def __init__(self, folder: Path, database) -> None:
        self.database, self.shelf = database, Shelf()
        self.working = WorkingDatabase(folder / "work.duckdb", database)
        self.working.refresh({"email": "text", "city": "text"})
        self.audience = Audience(segment="s", connection="crm", list="L", fields={"email": "email", "town": "city"})
        self.delivery = Delivery(database, self.working)

    def people(self, *people: tuple[int, str | None, str]) -> None:
        """Who is in the segment now: profile, e-mail, city."""
        run = self.working.connection.execute
        run("DELETE FROM profile")
        run("DELETE FROM membership")
        for profile, email, city in people:
            run("INSERT INTO profile BY NAME SELECT ? AS profile_id, ? AS email, ? AS city", [profile, email, city])
            run("INSERT INTO membership VALUES ('s', ?, now()::TIMESTAMP)", [profile])

    def deliver(self, confirmed: bool = False) -> Report:
        with self.database.write() as session:
            run = runs.started(session, "deliver", "a")
        return self.delivery.run(run, self.route, confirmed)

    @property
    def route(self) -> Route:
        return Route("a", self.audience, self.shelf, lambda: 0)

    def members(self) -> dict[int, AudienceMember]:
        return {row.profile_id: row for row in rows_of(self.database, AudienceMember)}


@pytest.fixture
def desk(tmp_path, database):
    one = Desk(tmp_path, database)
    yield one
    one.working.close()


def people(*names: str):
    return [(number, f"{name}@x.org", "Lyon") for number, name in enumerate(names, 1)]


def test_first_everything_then_nothing(desk):
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.wanted, report.held, report.upserted, report.added, report.exact) == (2, 2, 2, 2, True)
    again = desk.deliver()
    assert (again.upserted, again.added, again.removed, again.exact) == (0, 0, 0, True)
    assert len(desk.shelf.changes) == 1
    assert [(proof.wanted, proof.held, proof.missing, proof.extra) for proof in rows_of(desk.database, Proof)] == [
        (2, 2, 0, 0)
    ] * 2


def test_a_plan_says_what_a_delivery_does_and_does_nothing(desk):
    desk.people(*people("ann", "bob"))
    plan = desk.delivery.plan(desk.route)
    assert (plan.upserted, plan.added, plan.removed, plan.held) == (2, 2, 0, 0)
    assert desk.shelf.changes == []
    report = desk.deliver()
    assert (report.upserted, report.added, report.removed) == (plan.upserted, plan.added, plan.removed)
    assert desk.delivery.plan(desk.route).upserted == 0


def test_who_has_no_key_is_skipped_and_of_two_with_one_key_the_older_is_sent(desk):
    desk.people((1, "ann@x.org", "Lyon"), (2, None, "Nice"), (3, " ANN@x.org ", "Brest"), (4, "", "Lille"))
    report = desk.deliver()
    assert (report.segment, report.skipped, report.wanted, report.exact) == (4, 3, 1, True)
    assert [record["town"] for record in desk.shelf.records.values()] == ["Lyon"]


def test_a_refused_person_is_not_sent_again_until_something_changes(desk):
    desk.shelf.refuses["bob@x.org"] = REFUSED
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.rejected, report.wanted, report.exact) == (1, 1, True)
    assert (desk.members()[2].code, desk.members()[2].reason) == ("BAD_VALUE", "the value is not allowed")
    desk.deliver()
    assert len(desk.shelf.changes) == 1
    desk.shelf.refuses.clear()
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nice"))
    assert desk.deliver().held == 2


def test_what_may_succeed_later_is_tried_again(desk):
    desk.shelf.refuses["bob@x.org"] = Rejection("BUSY", "later", retryable=True)
    desk.people(*people("ann", "bob"))
    report = desk.deliver()
    assert (report.missing, report.exact) == (1, False)
    desk.shelf.refuses.clear()
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@x.org", "bob@x.org"}


def test_a_member_whose_new_fields_are_refused_keeps_the_place(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.shelf.refuses["bob@x.org"] = REFUSED
    desk.people((1, "ann@x.org", "Lyon"), (2, "bob@x.org", "Nowhere"))
    report = desk.deliver()
    assert (report.wanted, report.held, report.exact) == (2, 2, True)
    assert desk.members()[2].reason == "the value is not allowed"
    sent = len(desk.shelf.changes)
    desk.deliver()
    assert len(desk.shelf.changes) == sent
    desk.people((1, "ann@x.org", "Lyon"))
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@x.org"}


@pytest.mark.parametrize("calls", range(6))
def test_a_delivery_cut_off_anywhere_is_settled_by_the_next(desk, calls):
    desk.people(*people("ann", "bob", "cat"))
    desk.shelf.breaks_after = calls
    with pytest.raises(TransientError):
        desk.deliver()
    desk.shelf.breaks_after = None
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@x.org", "bob@x.org", "cat@x.org"}
    assert len(desk.shelf.records) == 3
    sent = len(desk.shelf.changes)
    desk.deliver()
    assert len(desk.shelf.changes) == sent


def test_the_guard(desk):
    desk.audience = desk.audience.model_copy(update={"guard": desk.audience.guard.model_copy(update={"at_least": 1})})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"abcde"))
    blocked = desk.deliver()
    assert (blocked.blocked, blocked.removed, blocked.extra, blocked.exact) == (3, 0, 3, False)
    assert len(desk.shelf.members_) == 8
    assert desk.deliver(confirmed=True).exact
    assert len(desk.shelf.members_) == 5


def test_strangers_beyond_the_guard_stay_until_a_person_agrees(desk):
    desk.people(*people("ann"))
    desk.deliver()
    for number in range(30):
        desk.shelf.records[f"s{number}"] = {"email": f"s{number}@y.org"}
        desk.shelf.members_.add(f"s{number}")
    report = desk.deliver()
    assert (report.blocked, report.extra, report.exact) == (30, 30, False)
    assert desk.deliver(confirmed=True).exact
    assert desk.shelf.emails() == {"ann@x.org"}


def test_a_person_with_a_new_key_leaves_no_old_record_on_the_list(desk):
    desk.people((1, "ann@x.org", "Lyon"))
    desk.deliver()
    desk.people((1, "ann@work.org", "Lyon"))
    assert desk.deliver().exact
    assert desk.shelf.emails() == {"ann@work.org"}


def test_a_field_that_no_mapping_gives_says_what_there_is(desk):
    desk.audience = desk.audience.model_copy(update={"fields": {"email": "email", "x": "shoe_size"}})
    with pytest.raises(ConfigError, match=r"field 'x' shows 'shoe_size'.*city, email"):
        desk.deliver()


def test_a_vendors_field_may_have_any_name(desk):
    odd = 'it\'s {a} "name"'
    desk.audience = desk.audience.model_copy(update={"fields": {"email": "email", odd: "city"}})
    desk.people(*people("ann"))
    assert desk.deliver().exact
    (record,) = desk.shelf.records.values()
    assert record[odd] == "Lyon"


def test_a_plan_with_consent_passes_the_guard_as_the_delivery_does(desk):
    desk.audience = desk.audience.model_copy(update={"guard": desk.audience.guard.model_copy(update={"at_least": 1})})
    desk.people(*people(*"abcdefgh"))
    desk.deliver()
    desk.people(*people(*"abcde"))
    assert (desk.delivery.plan(desk.route).removed, desk.delivery.plan(desk.route).blocked) == (0, 3)
    agreed = desk.delivery.plan(desk.route, confirmed=True)
    assert (agreed.removed, agreed.blocked) == (3, 0)


def test_to_verify_changes_nothing(desk):
    desk.people(*people("ann", "bob"))
    desk.deliver()
    desk.shelf.members_.pop()
    desk.shelf.members_.add("stranger")
    report = desk.delivery.verify(1, desk.route)
    assert (report.missing, report.extra, report.exact) == (1, 1, False)
    assert len(desk.shelf.changes) == 1


def test_a_list_never_delivered_cannot_be_verified(desk):
    with pytest.raises(ConfigError, match="never delivered"):
        desk.delivery.verify(1, desk.route)
