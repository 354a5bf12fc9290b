"""A delivery makes as many calls as HubSpot's batches make necessary, and not one more; counted by the vendor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pytest
from tests.projects import shop

from switchyard.activation.report import Report
from switchyard.app.hub import Hub
from switchyard.store import runs
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

UPSERT, CHANGE, PAGE = 100, 1_000, 250
"""Rows of a call that writes contacts, of one that changes a list, of one that reads it."""
SIZES = sorted({1, *(limit + each for limit in (UPSERT, PAGE, CHANGE) for each in (-1, 0, 1))})


@dataclass
class Counted:
    """Deliveries of people who are put into the segment directly, and the calls that they took."""

    hub: Hub
    crm: HubSpotSimulator

    def people(self, first: int, last: int) -> None:
        """The segment is made of the profiles from `first` up to `last`, who are all called Ann."""
        run = self.hub.working.connection.execute
        run("DELETE FROM membership")
        run("INSERT INTO membership SELECT 'buyers', i, now()::TIMESTAMP FROM range(?, ?) t(i)", [first, last])
        run("DELETE FROM profile")
        run(
            "INSERT INTO profile BY NAME SELECT i AS profile_id, 'p' || i || '@x.org' AS email, 'Ann' AS first_name "
            "FROM range(?, ?) t(i)",
            [first, last],
        )

    def rename(self, count: int) -> None:
        """The first so many people bear another name."""
        self.hub.working.connection.execute(
            "UPDATE profile SET first_name = 'Zoe' "
            "WHERE profile_id IN (SELECT profile_id FROM profile ORDER BY profile_id LIMIT ?)",
            [count],
        )

    def deliver(self) -> tuple[Report, Counter[str]]:
        """The report, and how often what was called."""
        before = self.crm.journal.total
        with self.hub.database.write() as session:
            run = runs.started(session, "deliver", "buyers")
        with self.hub.route("buyers") as route:
            report = self.hub.delivery.run(run, route)
        assert report.exact, report
        made = Counter(_kind(call.method, call.path) for call in self.crm.calls(since=before))
        assert report.calls == made.total()
        assert report.minimum == made["upsert"] + made["change"] + made["read"]
        return report, made


def _kind(method: str, path: str) -> str:
    if path.endswith("/batch/upsert"):
        return "upsert"
    if path.endswith("/memberships"):
        return "read"
    return "change" if method == "PUT" else "find"


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    with HubSpotSimulator(Account(tier=None)) as crm:
        folder = shop(tmp_path / "shop", None, crm.url)
        folder.config["connections"]["crm"]["config"]["tier"] = "none"
        folder.config["audiences"]["buyers"]["guard"] = {"max_removal": "100%"}
        folder.write()
        with folder.hub() as hub:
            hub.evaluation.refresh()
            hub.working.refresh({"email": "text", "first_name": "text"})
            yield Counted(hub, crm)


@pytest.mark.parametrize("size", [*SIZES, 50_000])
def test_a_new_list_and_one_without_changes(counted, size):
    counted.people(1, size + 1)
    _, made = counted.deliver()
    expected = {"upsert": ceil(size / UPSERT), "change": ceil(size / CHANGE), "read": ceil(size / PAGE)}
    # The list by its name, which is not there; the list made; the properties, of which one was asked for.
    assert made == expected | {"find": 3}
    _, again = counted.deliver()
    assert again == {"find": 1, "read": ceil(size / PAGE)}


@pytest.mark.parametrize("size", SIZES)
def test_people_who_leave_share_the_calls_of_those_who_join(counted, size):
    counted.people(1, 2 * size + 1)
    counted.deliver()
    counted.people(size + 1, 3 * size + 1)
    report, made = counted.deliver()
    assert (report.upserted, report.added, report.removed) == (size, size, size)
    assert made["upsert"] == ceil(size / UPSERT)
    assert made["change"] == ceil(2 * size / CHANGE)
    assert made["read"] == ceil(2 * size / PAGE)


@pytest.mark.parametrize("size", SIZES)
def test_changed_fields_and_new_people_share_the_calls_that_write(counted, size):
    counted.people(1, size + 1)
    counted.deliver()
    counted.people(1, size + 2)
    counted.rename(size)
    report, made = counted.deliver()
    assert (report.upserted, report.added) == (size + 1, 1)
    assert made["upsert"] == ceil((size + 1) / UPSERT)
    assert made["change"] == 1


@pytest.mark.parametrize("size", [1, CHANGE, CHANGE + 1])
def test_who_only_leaves_takes_no_call_that_writes_contacts(counted, size):
    counted.people(1, size + 2)
    counted.deliver()
    counted.people(1, 2)
    _, made = counted.deliver()
    assert made == {"find": 1, "change": ceil(size / CHANGE), "read": 1}
