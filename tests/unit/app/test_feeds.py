"""Audiences that are told of changes, through the functions behind the commands; the endpoint is simulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.projects import Folder, full_pass, rows_of, shop

from switchyard.api.errors import ConfigError
from switchyard.app import audiences
from switchyard.app.checking import check
from switchyard.app.doctor import examine
from switchyard.app.segments import evaluate
from switchyard.app.status import status
from switchyard.store.tables import Proof
from switchyard.testing.simulator import Answer
from switchyard_connectors.webhook.simulator import SECRET, WebhookEndpoint

HEADER = "order_id,line_no,sold_at,sku,quantity,price,email,phone\n"


@dataclass
class Shop:
    """Buyers with two orders each."""

    folder: Folder
    endpoint: WebhookEndpoint
    sold: int = 0

    def sell(self, *people: str) -> None:
        rows = []
        for person in people * 2:
            self.sold += 1
            rows.append(f"T{self.sold},1,01/06/2026 10:00,A,1,9.90,{person},\n")
        self.folder.put(f"{self.sold:06}.csv", HEADER + "".join(rows))

    def run(self) -> dict:
        with self.folder.hub() as hub:
            return full_pass(hub)["deliveries"][0]

    def deliver(self, **options) -> dict:
        with self.folder.hub() as hub:
            (answer,) = audiences.deliver(hub, "buyers", **options)
        return answer

    def set(self, **send) -> None:
        self.folder.config["connections"]["partner"]["config"]["send"] |= send
        self.folder.write()


@pytest.fixture
def buyers(tmp_path: Path) -> Iterator[Shop]:
    folder = shop(tmp_path / "shop")
    with WebhookEndpoint() as endpoint:
        send = {"url": f"{endpoint.url}/hooks", "secrets": "${env:PARTNER}", "internal_hosts": ["127.0.0.1"]}
        folder.config["connections"]["partner"] = {"connector": "webhook", "config": {"send": send}}
        folder.config["audiences"] = {
            "buyers": {"segment": "buyers", "connection": "partner", "list": "Buyers", "fields": {"mail": "email"}}
        }
        folder.write()
        yield Shop(folder, endpoint)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTNER", SECRET)


def test_a_connection_that_only_sends_has_nothing_to_read(buyers: Shop) -> None:
    checked = check(buyers.folder.project())
    assert {each["connection"]: each["streams"] for each in checked["connections"]}["partner"] == []


def test_who_enters_and_leaves_is_told_and_nothing_is_proven(buyers: Shop) -> None:
    buyers.sell("ann@x.org", "bob@x.org")
    answer = buyers.run()
    assert (answer["added"], answer["exact"], answer["missing"]) == (2, None, None)
    assert buyers.endpoint.people() == {
        "ann@x.org": {"email": "ann@x.org", "mail": "ann@x.org"},
        "bob@x.org": {"email": "bob@x.org", "mail": "bob@x.org"},
    }
    calls = buyers.endpoint.count()
    assert (buyers.run()["upserted"], buyers.endpoint.count()) == (0, calls)
    buyers.folder.segments["buyers"] = "count(order_completed) >= 3"
    buyers.folder.write()
    buyers.sell("ann@x.org")
    assert buyers.run()["removed"] == 1
    assert list(buyers.endpoint.people()) == ["ann@x.org"]
    with buyers.folder.hub() as hub:
        assert rows_of(hub.database, Proof) == []
        assert audiences.listed(hub)["audiences"][0]["list_id"] is None
    (job,) = [each for each in status(buyers.folder.project())["schedules"] if each["name"] == "buyers"]
    assert job["last_at"] is not None


def test_a_dry_run_tells_nobody(buyers: Shop) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    calls = buyers.endpoint.count()
    buyers.folder.segments["buyers"] = "count(order_completed) >= 3"
    buyers.folder.write()
    with buyers.folder.hub() as hub:
        evaluate(hub)
    plan = buyers.deliver(dry_run=True)
    assert (plan["removed"], plan["held"], plan["exact"]) == (1, 1, None)
    assert buyers.endpoint.count() == calls


def test_the_first_delivery_tells_nobody_where_they_are_known(buyers: Shop) -> None:
    buyers.folder.config["audiences"]["buyers"]["first"] = "assume"
    buyers.folder.write()
    buyers.sell("ann@x.org")
    answer = buyers.run()
    assert (answer["held"], answer["added"], buyers.endpoint.count()) == (1, 0, 0)


def test_verifying_all_leaves_out_what_has_no_list(buyers: Shop) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    with buyers.folder.hub() as hub:
        assert audiences.verify(hub) == []
        (answer,) = audiences.verify(hub, "buyers")
    assert answer["exit_code"] == ConfigError.exit_code
    assert "nothing to read back" in answer["error"]


def test_a_disabled_endpoint_is_shown_and_called_again_by_its_configuration(buyers: Shop) -> None:
    buyers.sell("ann@x.org", "bob@x.org")
    buyers.endpoint.script("POST", "", [Answer(410), Answer(410)])
    failed = buyers.run()
    assert failed["exit_code"] == 1
    assert "disabled since" in failed["error"]
    with buyers.folder.hub() as hub:
        shown = audiences.show(hub, "buyers")
    assert "disabled since" in shown["last_error"]
    project = buyers.folder.project()
    (urgent,) = [each for each in status(project)["attention"] if each["level"] == "urgent"]
    assert "disabled since" in urgent["what"]
    (found,) = [each for each in examine(project.folder)["checks"] if each["check"] == "runs"]
    assert "disabled since" in found["finding"]
    calls = buyers.endpoint.count()
    assert buyers.deliver()["exit_code"] == 1
    assert buyers.endpoint.count() == calls
    buyers.set(resume="today")
    assert buyers.deliver()["held"] == 2
    assert set(buyers.endpoint.people()) == {"ann@x.org", "bob@x.org"}
    with buyers.folder.hub() as hub:
        assert audiences.show(hub, "buyers")["last_error"] is None


def test_who_is_not_taken_now_waits_and_is_shown(buyers: Shop) -> None:
    buyers.sell("ann@x.org", "bob@x.org", "cat@x.org")
    buyers.endpoint.refuse(["bob@x.org"], 404)
    answer = buyers.run()
    assert (answer["held"], answer["waiting"], answer["exit_code"]) == (2, 1, 4)
    with buyers.folder.hub() as hub:
        shown = audiences.show(hub, "buyers")
    assert [(each["state"], each["code"]) for each in shown["not_listed"]] == [("retry", "http_404")]
    buyers.endpoint.refuse([])
    assert buyers.deliver()["held"] == 3


def test_live_sending_tells_at_once(buyers: Shop) -> None:
    buyers.sell("ann@x.org")
    buyers.run()
    buyers.sell("bob@x.org")
    with buyers.folder.hub() as hub:
        full_pass(hub)
        assert audiences.send(hub, "buyers")["held"] == 2
