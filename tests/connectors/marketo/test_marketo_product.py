"""What people do by hand inside Marketo, through the whole hub: read, resolved, evaluated, delivered, proven."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.projects import Folder

from switchyard.app import commands
from switchyard.app.hub import Hub
from switchyard_connectors.marketo.simulator import Account, MarketoSimulator
from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET

NAMES = ("ann", "bob", "cat", "dan", "eve", "fay", "gus")


class Shop:
    """A hub that keeps everybody of Acme on a list of the instance from which it reads them."""

    def __init__(self, hub: Hub, simulator: MarketoSimulator) -> None:
        self.simulator = simulator
        self.edit = simulator.edits()
        self._hub = hub
        self._seen = 0

    def run(self):
        answer = commands.carry_out(self._hub, "run", {}, lambda *_: None)
        assert [each for each in answer["syncs"] if "error" in each] == []
        assert [each["exact"] for each in answer["deliveries"]] == [True]

    def writes(self):
        """The calls since the last look that change something."""
        calls = self.simulator.calls(since=self._seen)
        self._seen = self.simulator.journal.total
        return [call.route for call in calls if call.method != "GET" and "/oauth/" not in call.path]

    @property
    def members(self):
        return self.simulator.member_emails("Regular customers")

    @property
    def leads(self):
        people = self.simulator.people
        return sorted(people.get(each).values["email"] for each in people.ids())


@pytest.fixture
def shop(tmp_path):
    since = (datetime.now(UTC) - timedelta(days=2)).date()
    with MarketoSimulator(Account(limited=False)) as simulator:
        config = {
            "base_url": simulator.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "since": since,
            "extract": "none",
        }
        source = {"connector": "marketo", "config": config, "streams": {"activities": {"enabled": False}}}
        audience = {
            "segment": "regulars",
            "connection": "marketing",
            "list": "Regular customers",
            "fields": {"email": "email", "firstName": "first_name"},
            "guard": {"max_removal": "100%"},
        }
        project = {"connections": {"marketing": source}, "audiences": {"regulars": audience}}
        folder = Folder(tmp_path / "shop", project, {"regulars": 'company = "Acme"'}).write()
        for name in NAMES:
            simulator.people.create({"email": f"{name}@x.example", "firstName": name, "company": "Acme"})
        simulator.people.create({"email": "zoe@x.example", "company": "Other"})
        with folder.hub() as hub:
            yield Shop(hub, simulator)


def emails(*names):
    return {f"{name}@x.example" for name in names}


def test_what_is_done_by_hand_is_followed_and_nobody_is_made_anew(shop):
    shop.run()
    assert shop.members == emails(*NAMES)
    before = len(shop.leads)
    shop.edit["merge_leads"]("ann@x.example", ["bob@x.example"])
    shop.edit["delete_lead"]("cat@x.example")
    shop.edit["update_lead"]("dan@x.example", {"email": "dan.new@x.example"})
    shop.edit["update_lead"]("gus@x.example", {"company": ""})
    shop.edit["remove_members"]("Regular customers", ["eve@x.example"])
    shop.run()
    assert shop.members == emails("ann", "dan.new", "eve", "fay")
    assert len(shop.leads) == before - 2
    shop.writes()
    shop.run()
    assert shop.writes() == []


def test_a_merge_into_the_younger_of_two_makes_nobody_anew(shop):
    shop.run()
    shop.edit["merge_leads"]("bob@x.example", ["ann@x.example"])
    shop.edit["update_lead"]("bob@x.example", {"firstName": "Robert"})
    shop.run()
    # What is said of the person is to be written once more, and must find the lead that is left.
    shop.edit["update_lead"]("bob@x.example", {"firstName": "Rob"})
    shop.run()
    assert shop.members == emails(*NAMES) - emails("ann")
    assert "ann@x.example" not in shop.leads
    shop.writes()
    shop.run()
    assert shop.writes() == []


def test_an_address_that_changes_twice_between_two_runs_is_one_lead(shop):
    shop.run()
    before = len(shop.leads)
    shop.edit["update_lead"]("dan@x.example", {"email": "d1@x.example"})
    shop.edit["update_lead"]("d1@x.example", {"email": "d2@x.example", "firstName": "Daniel"})
    shop.run()
    assert len(shop.leads) == before
    assert shop.members == emails(*NAMES, "d2") - emails("dan")
