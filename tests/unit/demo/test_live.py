"""The demo's live part, on a small retailer: what is pushed to the hub that serves reaches the list."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from switchyard.demo import live
from switchyard.demo.project import DemoError, Project, fill, lay_out
from switchyard.demo.retailer import Retailer


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = lay_out(tmp_path / "demo")
    retailer = Retailer(people=60, days=5, lines=400, last_day=datetime.now(UTC).date() - timedelta(days=1))
    fill(project, retailer, lambda _: None)
    return project


def test_a_webhook_and_a_tracking_call_put_people_on_the_list(project: Project) -> None:
    with project.hubspot() as control:
        project.call("run")
        guests = live.guests(project, 2)
        with live.serving(project) as url:
            rows = list(live.pushed(project, url, control, guests))
            assert live.forged(url) == 401
            proof = live.proven(project)
        lists = {each["name"]: each["size"] for each in control.get("/state").json()["lists"]}
    assert [(row["sent"], row["who"], row["answer"]) for row in rows] == [
        ("signed webhook", guests[0], 200),
        ("tracking calls", guests[1], 200),
    ]
    assert (proof["missing"], proof["extra"]) == (0, 0)
    assert proof["held"] == lists[live.LIST] >= 2


def test_a_hub_that_does_not_start_is_told(project: Project) -> None:
    (project.folder / "secrets" / "webshop").unlink()
    with pytest.raises(DemoError, match="did not start"), live.serving(project):
        pass
