"""What the simulator holds outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from switchyard.app import simulators
from switchyard.testing.simulator import ManualClock
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
from switchyard_connectors.hubspot.simulator_auth import STATIC

BY_NAME = "/crm/lists/2026-03/object-type-id/0-1/name/vip"
SERVE = """
import json, sys
from pathlib import Path
from switchyard_connectors.hubspot.simulator import HubSpotSimulator
simulator, state = HubSpotSimulator(), Path(sys.argv[1])
def keep():
    new = state.with_suffix(".new")
    new.write_text(json.dumps(simulator.dump()))
    new.replace(state)
simulator.serve(lambda url: print(url, flush=True), keep)
"""


def reborn(simulator, **options):
    other = HubSpotSimulator(clock=simulator.clock, **options)
    other.load(json.loads(json.dumps(simulator.dump())))
    return other


def lived() -> HubSpotSimulator:
    """A simulator to which everything has happened that leaves a trace."""
    simulator = HubSpotSimulator(clock=ManualClock())
    contacts, lists = simulator.contacts, simulator.lists
    simulator.properties.define({"name": "loyalty", "hasUniqueValue": True})
    simulator.properties.define({"name": "visits", "type": "number"})
    ids = [contacts.add({"email": f"{name}@x.example", "loyalty": name}).id for name in "abcde"]
    kept, gone = lists.add("vip"), lists.add("gone")
    lists.put_on(kept.id, ids)
    lists.remove(gone.id)
    contacts.merge(ids[0], ids[1])
    contacts.archive(ids[2])
    contacts.erase(ids[4])
    return simulator


def test_nothing_is_lost(tmp_path):
    simulator = lived()
    other = reborn(simulator)
    assert other.dump() == simulator.dump()
    assert other.member_emails("vip") == {"a@x.example", "d@x.example"}
    assert other.contacts.find("email", "b@x.example").id == other.contacts.find("loyalty", "a").id
    assert other.properties.problem({"visits": "many"}).category == "VALIDATION_ERROR"


def test_ids_go_on_where_they_were():
    simulator = lived()
    other = reborn(simulator)
    assert other.contacts.add({"email": "f@x.example"}).id == simulator.contacts.add({"email": "f@x.example"}).id
    assert other.lists.add("new").id == simulator.lists.add("new").id


def test_tokens_and_the_days_calls_are_kept():
    simulator = HubSpotSimulator(Account(daily=1), clock=ManualClock())
    form = {"grant_type": "refresh_token", "refresh_token": "na1-simulator-refresh"}
    form |= {"client_id": "simulator-app", "client_secret": "simulator-app-password"}
    with simulator:
        token = httpx.post(f"{simulator.url}/oauth/v1/token", data=form).json()["access_token"]
        signed_in = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{simulator.url}/crm/v3/properties/contacts", headers=signed_in).status_code == 200
    with reborn(simulator, account=Account(daily=1)) as other:
        refused = httpx.get(f"{other.url}/crm/v3/properties/contacts", headers=signed_in)
    assert (refused.status_code, refused.json()["policyName"]) == (429, "DAILY")


def test_a_list_is_still_there_when_the_command_is_started_again(tmp_path):
    state, statuses = tmp_path / "hubspot.json", []

    def use(url: str) -> None:
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {STATIC}"}) as client:
            statuses.append(client.get(BY_NAME).status_code)
            client.post("/_simulator/edit/create_list", json={"name": "vip"})
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            simulators.serve(
                tmp_path, "hubspot", 0, state, lambda said: threading.Thread(target=use, args=[said["url"]]).start()
            )
    assert statuses == [404, 200]


def test_one_that_is_killed_has_kept_all_but_the_last_moment(tmp_path):
    state = tmp_path / "hubspot.json"
    with subprocess.Popen([sys.executable, "-c", SERVE, str(state)], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            for number in range(3):
                values = {"email": f"{number}@x.example"}
                httpx.post(f"{url}/_simulator/edit/create_contact", json={"values": values}).raise_for_status()
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline and held(state) != number + 1:
                    time.sleep(0.02)
        finally:
            process.kill()
    assert held(state) == 3


def held(state) -> int:
    return len(json.loads(state.read_text())["contacts"]["records"]) if state.exists() else 0
