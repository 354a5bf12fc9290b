"""A shop whose list is to be kept exact: its people, its HubSpot, and deliveries in other processes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.faults.test_killed_load import child
from tests.faults.waiting import deliver_by
from tests.projects import Folder, shop

from switchyard.app import audiences
from switchyard.app.segments import evaluate
from switchyard.app.syncs import sync_all
from switchyard.testing.simulator import Fault, ManualClock
from switchyard_connectors.hubspot.oauth import ACCESSES
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

DELIVERER = Path(__file__).with_name("deliverer.py")
LIST = "Buyers"
PLAIN = {"list_lag": 0, "concurrency": 1, "membership_batch": 70}
"""One call after the other, to a vendor whose lists show at once what it confirmed."""
UPSERTS = 100
"""Rows of one call that writes contacts."""
Answer = dict[str, Any]


class Writes(NamedTuple):
    """What was asked of the vendor: calls that change something, and the rows in them."""

    calls: int = 0
    upserted: int = 0
    added: int = 0
    removed: int = 0

    @property
    def rows(self) -> int:
        return self.upserted + self.added + self.removed


@dataclass
class Shop:
    """A project with one audience, and the HubSpot its list is in.

    `people` maps the e-mail of each person the shop knows to (orders, first name): what the test gave, from which
    follows who is to be on the list. Two orders make a buyer.
    """

    folder: Folder
    crm: HubSpotSimulator
    people: dict[str, tuple[int, str]] = field(default_factory=dict)
    bound: int = 2
    _tickets: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def buyers(self) -> dict[str, str]:
        """Who has to be on the list: e-mail → first name."""
        return {email: name for email, (orders, name) in self.people.items() if orders >= self.bound}

    def configure(self, **config: Any) -> None:
        """Change the connection to HubSpot; a value of None takes a setting away."""
        connection = self.folder.config["connections"]["crm"]
        changed = {**connection["config"], **config}
        connection["config"] = {name: value for name, value in changed.items() if value is not None}
        self.folder.write()

    def sell(self, emails: Iterable[str], orders: int, name: str = "Ann") -> None:
        """So many further orders of each of these people, who give this first name."""
        rows = io.StringIO()
        writer = csv.writer(rows)
        writer.writerow(["order_id", "line_no", "sold_at", "sku", "quantity", "price", "email", "first_name"])
        file = next(self._tickets)
        for email in emails:
            before, _ = self.people.get(email, (0, ""))
            self.people[email] = (before + orders, name)
            for _ in range(orders):
                # Who gave two names is called by the later one.
                at = f"{datetime(2026, 6, 1) + timedelta(minutes=file):%d/%m/%Y %H:%M}"
                writer.writerow([f"T{next(self._tickets)}", 1, at, "A", 1, "9.90", email, name])
        self.folder.put(f"{file:06}.csv", rows.getvalue())

    def require(self, orders: int) -> None:
        """So many orders make a buyer from now on."""
        self.bound = orders
        self.folder.segments["buyers"] = f"count(order_completed) >= {orders}"
        self.folder.write()

    def settle(self) -> None:
        """Read the tickets and decide who is in the segment; nothing is delivered."""
        with self.folder.hub() as hub:
            sync_all(hub)
            evaluate(hub)

    def deliver(self, times: int = 1, pause: float = 0) -> list[Answer]:
        """Deliver in this process. Where the vendor's clock stands still, the hub goes by it, and it goes on by so many
        seconds after each delivery.

        An answer's `since` is the number of the last call before the delivery.
        """
        answers = []
        with self.folder.hub() as hub:
            if isinstance(self.crm.clock, ManualClock):
                deliver_by(hub, self.crm.clock)
            for _ in range(times):
                since = self.crm.journal.total
                answers += [{"since": since, **answer} for answer in audiences.deliver(hub)]
                if isinstance(self.crm.clock, ManualClock):
                    self.crm.clock.advance(pause)
        return answers

    def held(self) -> set[str]:
        """Who is on the list, by e-mail."""
        return self.crm.member_emails(LIST)

    def shown(self) -> dict[str, str]:
        """Who is on the list, with the first name that the vendor shows."""
        find = self.crm.contacts.find
        return {email: find("email", email).properties.get("firstname", "") for email in self.held()}

    def writes(self, since: int) -> Writes:
        """What was asked of the vendor after the call with this number, whether or not it was carried out."""
        calls = rows = added = removed = 0
        for call in self.crm.calls(since=since):
            if call.method == "POST" and call.path.endswith(("/batch/upsert", "/batch/create", "/batch/update")):
                if "/properties/" in call.path:
                    continue
                calls += 1
                rows += len(call.json()["inputs"])
            elif call.method == "PUT" and "/memberships" in call.path:
                calls += 1
                body = call.json()
                added += len(body["recordIdsToAdd"])
                removed += len(body["recordIdsToRemove"])
        return Writes(calls, rows, added, removed)

    def strangers(self) -> Mapping[str, Any]:
        """All that the vendor holds beside the buyers' contacts and their list, to see that nobody touched it."""
        dump = self.crm.dump()
        buyers = self.buyers.keys()
        lists = [each for each in dump["lists"]["lists"] if each["name"] != LIST]
        records = [each for each in dump["contacts"]["records"] if each["properties"].get("email") not in buyers]
        return json.loads(json.dumps({"records": records, "lists": lists}))

    def assert_exact(self, answer: Answer) -> None:
        """The list is the segment, shows what it should, and the proof says so."""
        assert "error" not in answer, answer["error"]
        assert self.shown() == self.buyers
        assert answer["exact"], answer
        assert (answer["missing"], answer["extra"]) == (0, 0)
        assert answer["wanted"] == answer["held"] == len(self.buyers)


def open_shop(path: Path, crm: HubSpotSimulator, store: str | None = None, **config: Any) -> Shop:
    """A shop nobody has bought from; `config` as `Shop.configure` takes it."""
    folder = shop(path, store, crm.url)
    # Half of the list leaves at a time in these tests, and on purpose.
    folder.config["audiences"]["buyers"]["guard"] = {"max_removal": "100%"}
    opened = Shop(folder, crm)
    opened.configure(**{**PLAIN, **config})
    return opened


def changed_segment(shop: Shop) -> Writes:
    """120 come, 60 go, 90 have another name: three calls with contacts, three with members, two that read back."""
    shop.sell(people(0, 60), orders=2)
    shop.sell(people(60, 230), orders=3)
    shop.settle()
    (answer,) = shop.deliver()
    shop.assert_exact(answer)
    shop.sell(people(60, 150), orders=1, name="Anna")
    shop.sell(people(230, 350), orders=3)
    shop.require(3)
    shop.settle()
    return Writes(6, upserted=210, added=120, removed=60)


def emptied(crm: HubSpotSimulator) -> HubSpotSimulator:
    """The simulator with nothing in it but people and a list that are none of the hub's business."""
    crm.load(json.loads(json.dumps(HubSpotSimulator(Account(tier=None)).dump())))
    others = [crm.contacts.add({"email": f"other{number}@y.org", "firstname": "Otto"}).id for number in range(5)]
    crm.lists.put_on(crm.lists.add("Press").id, others[:3])
    return crm


class Deliveries:
    """Runs the deliveries of one project, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], crm: HubSpotSimulator) -> None:
        self._process = process
        self._crm = crm
        self._jobs = 0
        self._child: int | None = None

    def run(self, folder: Path, call: tuple[int, str] | None = None, **job: Any) -> tuple[int, list[Answer]]:
        """The exit code, and the answers where the process was not killed.

        Args:
            call: `(n, moment)` to kill the process at its n-th call: "before" the vendor acts, when it has "applied"
                the call and not answered, or when it has "answered".
            job: as `deliverer` takes it.
        """
        self._jobs += 1
        if call is not None:
            self._arm(*call)
        self._tell({"folder": str(folder), "simulator": self._crm.url, "now": self._crm.clock(), **job})
        self._child = int(self._hear())
        said = json.loads(self._hear())
        # From here on, what was armed for this process is armed for none.
        self._jobs += 1
        self._child = None
        return said["code"], said["answers"]

    def _arm(self, number: int, moment: str) -> None:
        meant = self._jobs

        def kill() -> None:
            # The process may be calling before it was said which one it is.
            while self._jobs == meant and self._child is None:
                time.sleep(0.001)
            if self._jobs == meant and self._child is not None:
                os.kill(self._child, signal.SIGKILL)

        if moment == "before":
            nothing: list[Fault | None] = [None] * (number - 1)
            self._crm.script(None, "", [*nothing, Fault(call=kill, drop="before")])
        else:
            self._crm.at_call(self._crm.journal.total + number, kill, moment)  # type: ignore[arg-type]

    def _tell(self, job: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def deliveries(crm: HubSpotSimulator) -> Iterator[Deliveries]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with child(str(DELIVERER), **pipes) as process:
        yield Deliveries(process, crm)


def people(first: int, last: int) -> list[str]:
    """The e-mails of so many people."""
    return [f"p{number:03}@x.org" for number in range(first, last)]


@dataclass
class Snapshot:
    """A moment of a shop and its HubSpot, to go back to: every fault starts from the same one.

    Args:
        store: makes a copy of a PostgreSQL store as it was, and gives its url; None for SQLite, which is in the folder.
    """

    shop: Shop
    files: Path
    tickets: set[Path]
    people: dict[str, tuple[int, str]]
    bound: int
    crm: str
    store: Callable[[], str] | None = None

    @classmethod
    def of(cls, shop: Shop, store: Callable[[], str] | None = None) -> Self:
        files = shop.folder.path.with_name("start")
        shutil.copytree(shop.folder.path / ".switchyard", files)
        tickets, dump = set(shop.folder.drop.iterdir()), json.dumps(shop.crm.dump())
        return cls(shop, files, tickets, dict(shop.people), shop.bound, dump, store)

    def restore(self) -> None:
        shop = self.shop
        shutil.rmtree(shop.folder.path / ".switchyard")
        shutil.copytree(self.files, shop.folder.path / ".switchyard")
        for later in set(shop.folder.drop.iterdir()) - self.tickets:
            later.unlink()
        shop.people = dict(self.people)
        if self.store is not None:
            shop.folder.config["hub"]["store"] = self.store()
        shop.require(self.bound)
        shop.crm.forget_script()
        shop.crm.load(json.loads(self.crm))
        # It does not know what it has given out since.
        ACCESSES.forget()
