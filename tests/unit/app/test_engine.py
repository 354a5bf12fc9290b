"""The engine over a real hub, an inbox and a HubSpot: in threads of the test's process."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import func, select
from tests.projects import Folder, shop

from switchyard.api.receiving import Accepted, Incoming
from switchyard.app import control
from switchyard.app.control import ask
from switchyard.app.engine import Engine
from switchyard.app.hub import Hub
from switchyard.app.pushes import Pushes
from switchyard.app.receiving import inbox
from switchyard.app.segments import evaluate
from switchyard.app.syncs import sync_all
from switchyard.scheduling.timetable import Timetable
from switchyard.server.routes import routes_of
from switchyard.store.inbox import Delivery, Inbox
from switchyard.store.leases import LeaseLost
from switchyard.store.tables import Lease, Run
from switchyard.testing.simulator import Fault
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

KEY = "a-write-key-of-the-shop"
LIST = "Buyers"
SELDOM = {"every": "1 day"}
TICKETS = "order_id,line_no,sold_at,sku,quantity,price,email,first_name\nT1,1,01/06/2026 10:00,A,1,9.90,old@x.org,Ann\n"


def wait_until(true: Callable[[], Any], otherwise: Callable[[], str] = str) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.01)


@dataclass
class Running:
    """An engine at work in a thread of its own, and what it said."""

    folder: Folder
    ready: threading.Event = field(default_factory=threading.Event)
    said: list[dict[str, Any]] = field(default_factory=list)
    failure: BaseException | None = None
    hub: Hub = field(init=False)
    box: Inbox = field(init=False)
    engine: Engine = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        try:
            with Hub(self.folder.project()) as self.hub, inbox(self.hub.project) as self.box:
                self.engine = Engine(self.hub, Timetable(), self.observe, lambda wake: Pushes(self.box, wake))
                self.ready.set()
                try:
                    self.engine.run()
                finally:
                    assert self.engine.end_deliveries(30)
        except BaseException as error:
            self.failure = error
            self.ready.set()

    def observe(self, event: str, **facts: Any) -> None:
        self.said.append({"event": event, **facts})

    def events(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.said if each["event"] == event]

    def buy(self, email: str) -> None:
        """Have the shop's site tell of an order, as a receiver keeps it."""
        order = {"order_id": f"{email} {next(self._numbers)}", "total": 3}
        self._tell(
            {"type": "identify", "userId": email, "traits": {"email": email}},
            {"type": "track", "event": "Order Completed", "userId": email, "properties": order},
        )

    def _tell(self, *said: dict[str, Any]) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        stamp = f"{now.isoformat()}Z"
        calls = [each | {"messageId": f"m{next(self._numbers)}", "timestamp": stamp} for each in said]
        ((_, receiver),) = routes_of(self.hub.project).takers["/v1/batch"]
        headers = {"authorization": f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"}
        body = json.dumps({"batch": calls}).encode()
        verdict = receiver.check(Incoming("POST", "http://shop/v1/batch", headers, body, now))
        assert isinstance(verdict, Accepted)
        self.box.append([Delivery("site", verdict.id, verdict.headers, verdict.body, now)])

    def rename(self, email: str, **traits: str) -> None:
        """Have the shop's site tell something else of a person."""
        self._tell({"type": "identify", "userId": email, "traits": {"email": email, **traits}})

    def runs(self) -> int:
        with self.hub.database.read() as session:
            return session.exec(select(func.count()).select_from(Run)).one()


@contextmanager
def running(folder: Folder) -> Iterator[Running]:
    found = Running(folder)
    thread = threading.Thread(target=found.run)
    thread.start()
    assert found.ready.wait(60)
    try:
        yield found
    finally:
        if found.failure is None:
            found.engine.stop()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path: Path, crm: HubSpotSimulator) -> Folder:
    """A shop with a till, a site, and a list of whoever ordered something; one old buyer is on the list."""
    made = shop(tmp_path / "shop", crm=crm.url)
    made.config["connections"]["tills"] = made.config["connections"]["tills"] | {"schedule": SELDOM}
    made.config["connections"]["site"] = {"connector": "tracking", "config": {"write_keys": KEY}}
    made.config["connections"]["crm"]["config"]["list_lag"] = 0
    made.config["audiences"]["buyers"]["schedule"] = SELDOM
    made.segments["buyers"] = "count(order_completed) >= 1"
    made.put("first.csv", TICKETS)
    with made.write().hub() as hub:
        from tests.projects import full_pass

        assert full_pass(hub)["deliveries"][0]["exact"]
    return made


def test_who_buys_is_on_the_list_and_the_list_is_not_read_for_it(folder: Folder, crm: HubSpotSimulator) -> None:
    with running(folder) as hub:
        since = crm.journal.total
        hub.buy("new@x.org")
        wait_until(lambda: "new@x.org" in crm.member_emails(LIST))
        wait_until(lambda: hub.events("delivered"))
        assert not [
            call for call in crm.calls(since=since) if call.path.endswith("/memberships") and call.method == "GET"
        ]
    assert crm.member_emails(LIST) == {"old@x.org", "new@x.org"}


def test_what_a_list_shows_of_its_people_is_written_as_it_changes_and_nothing_else(
    folder: Folder, crm: HubSpotSimulator
) -> None:
    def first_name() -> str | None:
        contact = crm.contacts.find("email", "new@x.org")
        return contact.properties.get("firstname") if contact else None

    with running(folder) as hub:
        hub.buy("new@x.org")
        wait_until(lambda: "new@x.org" in crm.member_emails(LIST))
        wait_until(lambda: hub.events("delivered"))
        delivered, calls = len(hub.events("delivered")), crm.journal.total
        # What she orders and where she lives is not shown; nor is anything of who is on no list.
        hub.buy("new@x.org")
        hub.rename("new@x.org", city="Lyon")
        hub.rename("other@x.org", firstName="Bob")
        wait_until(lambda: sum(each["read"] for each in hub.events("synced")) >= 6)
        hub.rename("new@x.org", firstName="Ann")
        wait_until(lambda: first_name() == "Ann")
        wait_until(lambda: len(hub.events("delivered")) > delivered)
        assert crm.count("POST", "batch/upsert", since=calls) == 1
        assert len(hub.events("delivered")) == delivered + 1


def test_time_takes_people_off_the_list(folder: Folder, crm: HubSpotSimulator) -> None:
    folder.segments["buyers"] = "count(order_completed, last 3 seconds) >= 1"
    folder.config["audiences"]["buyers"]["guard"] = {"max_removal": "100%"}
    with running(folder.write()) as hub:
        hub.buy("new@x.org")
        wait_until(lambda: "new@x.org" in crm.member_emails(LIST))
        wait_until(lambda: crm.member_emails(LIST) == set())


def test_where_nothing_happens_nothing_is_written(folder: Folder) -> None:
    with running(folder) as hub:
        hub.buy("new@x.org")
        wait_until(lambda: hub.events("delivered"))
        before = hub.runs()
        for _ in range(20):
            hub.engine.wake()
            time.sleep(0.05)
        assert hub.runs() == before


def test_what_was_read_is_not_kept_in_the_inbox(folder: Folder) -> None:
    with running(folder) as hub:
        hub.buy("new@x.org")
        wait_until(lambda: hub.events("delivered"))
        assert hub.engine._pushes is not None
        hub.engine._pushes.tidy(datetime.now(UTC).replace(tzinfo=None))
        assert hub.box.depths() == {}


def test_a_vendor_that_does_not_answer_keeps_nobody_from_being_read(folder: Folder, crm: HubSpotSimulator) -> None:
    answer = threading.Event()
    with running(folder) as hub:
        wait_until(lambda: hub.events("evaluated"))
        crm.at_call(crm.journal.total + 1, lambda: answer.wait(30), "applied")
        hub.buy("one@x.org")
        wait_until(lambda: len(hub.events("synced")) >= 1)
        hub.buy("two@x.org")
        wait_until(lambda: sum(each["entered"] for each in hub.events("evaluated")) == 2)
        assert not hub.events("delivered")
        answer.set()
        wait_until(lambda: crm.member_emails(LIST) == {"old@x.org", "one@x.org", "two@x.org"})


def test_a_source_that_takes_its_time_keeps_nobody_from_being_read(folder: Folder, crm: HubSpotSimulator) -> None:
    folder.config["connections"]["crm"]["config"] |= {"read": ["contacts"], "settle": 0}
    folder.config["connections"]["crm"]["schedule"] = SELDOM
    crm.script("POST", "/search", [Fault(delay=20.0)])
    with running(folder.write()) as hub:
        wait_until(lambda: crm.count("POST", "/search") == 1)
        hub.buy("new@x.org")
        wait_until(lambda: "new@x.org" in crm.member_emails(LIST))
        (search,) = crm.calls("POST", "/search")
        assert search.status is None, "the source has not been answered yet"


def test_what_was_decided_before_the_start_is_delivered_after_it(folder: Folder, crm: HubSpotSimulator) -> None:
    folder.put("second.csv", TICKETS.replace("T1", "T2").replace("old@", "late@"))
    with folder.hub() as hub:
        sync_all(hub)
        evaluate(hub)
    with running(folder):
        wait_until(lambda: crm.member_emails(LIST) == {"old@x.org", "late@x.org"})


def test_a_job_that_fails_does_not_end_the_engine(folder: Folder, crm: HubSpotSimulator) -> None:
    folder.config["connections"]["more"] = {"connector": "pos_csv", "config": {"folder": "nowhere"}}
    with running(folder.write()) as hub:
        wait_until(lambda: hub.events("sync_failed"))
        hub.buy("new@x.org")
        wait_until(lambda: "new@x.org" in crm.member_emails(LIST))


def test_a_new_configuration_is_taken_up_with_the_next_command(folder: Folder, crm: HubSpotSimulator) -> None:
    with running(folder) as hub:
        wait_until(lambda: hub.events("evaluated"))
        folder.segments["once"] = "count(order_completed) = 1"
        folder.config["audiences"]["once"] = folder.config["audiences"]["buyers"] | {
            "segment": "once",
            "list": "Once",
        }
        folder.write()
        answer = ask(folder.path / control.FOLDER, "segments list", {}, lambda *_: None)
        assert answer is not None
        assert [each["segment"] for each in answer["segments"]] == ["buyers", "once"]
        wait_until(
            lambda: [each for each in hub.events("delivered") if each["audience"] == "once"], lambda: str(hub.said)
        )
    assert crm.member_emails("Once") == {"old@x.org"}


def test_a_configuration_that_is_wrong_is_refused_and_the_one_before_stays(
    folder: Folder, crm: HubSpotSimulator
) -> None:
    with running(folder) as hub:
        folder.segments["buyers"] = "count(order_completed) >="
        folder.config["audiences"]["nobodys"] = {"segment": "nothing", "connection": "crm", "list": "L"}
        folder.write()
        with pytest.raises(control.Refused, match="no segment 'nothing'"):
            ask(folder.path / control.FOLDER, "segments list", {}, lambda *_: None)
        hub.buy("new@x.org")
        wait_until(lambda: "new@x.org" in crm.member_emails(LIST))


def test_a_hub_that_was_overtaken_ends(folder: Folder) -> None:
    with running(folder) as hub:
        wait_until(lambda: hub.events("evaluated"))
        guard, hub.hub.database.guard = hub.hub.database.guard, None
        with hub.hub.database.write() as session:
            lease = session.get_one(Lease, "engine")
            lease.holder, lease.fence = "another", lease.fence + 1
            session.add(lease)
        hub.hub.database.guard = guard
        hub.buy("new@x.org")
        wait_until(lambda: hub.failure is not None)
        assert isinstance(hub.failure, LeaseLost)
