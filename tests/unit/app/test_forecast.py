"""What `status` says of the accounts' calls: used, needed, and until when they last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import Session
from tests.projects import Folder, full_pass, shop

from switchyard.app.attention import attention
from switchyard.app.forecast import _end
from switchyard.app.status import status
from switchyard.scheduling.triggers import trigger
from switchyard.store import runs
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

HEADER = "order_id,line_no,sold_at,sku,quantity,price,email,phone\n"
ROW = "T{n},1,01/06/2026 10:00,A,1,9.90,ann@x.org,\n"
NOON, MIDNIGHT = datetime(2026, 3, 10, 12), datetime(2026, 3, 11)


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def delivered(tmp_path: Path, crm: HubSpotSimulator) -> Folder:
    folder = shop(tmp_path / "shop", None, crm.url)
    folder.put("1.csv", HEADER + ROW.format(n=1) + ROW.format(n=2))
    with folder.hub() as hub:
        full_pass(hub)
    return folder


def budget_of(folder: Folder) -> dict:
    following = lambda schedule, zone, at: trigger(schedule, zone).after(at)  # noqa: E731
    (answer,) = status(folder.project(), following)["budgets"]
    return answer


def ran(folder: Folder, kind: str, name: str, *calls: int) -> None:
    """Have such runs ended, which took so many calls."""
    with folder.hub() as hub, hub.database.write() as session:
        for count in calls:
            _ended(session, kind, name, count)


def _ended(session: Session, kind: str, name: str, calls: int) -> None:
    runs.finished(session, runs.started(session, kind, name), {"calls": calls})


def test_calls_are_told_by_what_they_were_for(delivered: Folder, crm: HubSpotSimulator) -> None:
    answer = budget_of(delivered)
    assert answer["connections"] == ["crm"]
    assert answer["calls"] == crm.count() == sum(answer["kinds"].values())
    assert answer["kinds"]["read_back"] > 0
    assert answer["left"] == answer["daily"] - answer["calls"]


def test_the_plan_needs_what_its_runs_took_for_each_time_that_they_are_due(delivered: Folder) -> None:
    before = budget_of(delivered)["needs"]
    ran(delivered, "verify", "buyers", 100, 300)
    needs = budget_of(delivered)["needs"]
    assert before == 0
    # Proven each hour: as many times as the day has hours left.
    assert needs % 200 == 0
    assert 0 <= needs <= 25 * 200


def test_what_never_ran_is_named(delivered: Folder) -> None:
    hours = (
        datetime.fromisoformat(budget_of(delivered)["resets_at"][:-1]) - datetime.now(UTC).replace(tzinfo=None)
    ) / timedelta(hours=1)
    assert budget_of(delivered)["unknown"] == (["buyers"] if hours > 1 else [])


@pytest.mark.parametrize(
    ("spent", "needs", "runs_out"),
    [
        (0, 0, None),
        (400, 0, None),
        (500, 0, None),
        (600, 0, NOON + timedelta(hours=8)),
        (100, 899, None),
        (100, 1_800, NOON + timedelta(hours=6)),
        (1_000, 0, NOON),
        (2_000, None, NOON),
    ],
)
def test_the_day_lasts_or_it_is_told_until_when(spent: int, needs: int | None, runs_out: datetime | None) -> None:
    assert _end(spent, 1_000, needs, NOON, MIDNIGHT) == runs_out


def test_without_a_quota_nothing_runs_out() -> None:
    assert _end(10_000, None, 10_000, NOON, MIDNIGHT) is None


def test_the_first_minutes_of_a_day_do_not_frighten() -> None:
    assert _end(40, 1_000, 0, MIDNIGHT - timedelta(hours=23, minutes=59), MIDNIGHT) is None


def test_what_runs_out_needs_attention(delivered: Folder) -> None:
    answer = status(delivered.project())
    answer["budgets"][0] |= {"left": 500, "daily": 1_000, "runs_out_at": "2026-03-10T20:00:00Z"}
    (found,) = [each for each in attention(answer) if "calls left today" in each["what"]]
    assert found["level"] == "warning"
    assert "none from 2026-03-10T20:00:00Z on" in found["what"]
