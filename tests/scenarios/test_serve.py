"""`switchyard serve` as a process: received over HTTP, delivered, looked at, stopped."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.databases import database_url, postgres, postgres_template, sqlite_template
from tests.projects import Folder, shop
from tests.scenarios.serving import Serving, answered, command, serving, wait_until

from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

__all__ = ["database_url", "postgres", "postgres_template", "sqlite_template"]

KEY = "a-write-key-of-the-shop"
CANARY = "canary.person@example.com"
LIST = "Buyers"


@pytest.fixture
def crm() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tier=None)) as simulator:
        yield simulator


def site(path: Path, crm: HubSpotSimulator, store: str) -> Folder:
    folder = shop(path, store, crm.url)
    folder.config["connections"]["site"] = {"connector": "tracking", "config": {"write_keys": KEY}}
    folder.config["connections"]["tills"] = folder.config["connections"]["tills"] | {"schedule": {"every": "1 day"}}
    folder.segments["buyers"] = "count(order_completed) >= 1"
    return folder.write()


def buy(url: str, email: str) -> httpx.Response:
    calls = [
        {"type": "identify", "userId": email, "messageId": f"i {email}", "traits": {"email": email}},
        {"type": "track", "event": "Order Completed", "userId": email, "messageId": f"o {email}",
         "properties": {"order_id": email, "total": 3}},
    ]  # fmt: skip
    return httpx.post(f"{url}/v1/batch", json={"batch": calls}, auth=(KEY, ""))


def listed(crm: HubSpotSimulator) -> set[str]:
    """Who is on the list; nobody where there is none yet."""
    try:
        return crm.member_emails(LIST)
    except LookupError:
        return set()


def test_an_order_told_over_http_is_on_the_list(tmp_path: Path, crm: HubSpotSimulator, database_url: str) -> None:
    folder = site(tmp_path / "shop", crm, database_url)
    with serving(folder.path) as hub:
        hub.wait_for("evaluated")
        assert httpx.get(f"{hub.url}/healthz").status_code == 200
        assert httpx.get(f"{hub.url}/readyz").status_code == 200
        assert buy(hub.url, CANARY).status_code == 200
        wait_until(lambda: CANARY in listed(crm), lambda: str(hub.events()))
        assert answered(folder.path, "audiences", "verify")[1]["audiences"][0]["exact"]
        assert hub.stop() == 0
        log = hub.log.read_text()
    assert CANARY not in log
    assert KEY not in log
    assert hub.events()[-1]["event"] == "stopped"


def test_a_second_hub_of_a_folder_is_turned_away(tmp_path: Path, crm: HubSpotSimulator) -> None:
    folder = site(tmp_path / "shop", crm, f"sqlite:///{tmp_path / 'store.db'}")
    with serving(folder.path):
        code, answer = answered(folder.path, "serve", "--port", "0")
    assert code == 4
    assert "is at work here" in answer["error"]["message"]


def test_a_receiver_of_its_own(tmp_path: Path, crm: HubSpotSimulator, database_url: str) -> None:
    folder = site(tmp_path / "shop", crm, database_url)
    if database_url.startswith("sqlite"):
        code, answer = answered(folder.path, "serve", "--role", "receiver", "--port", "0")
        assert code == 2
        assert "needs a PostgreSQL store" in answer["error"]["message"]
        return
    with serving(folder.path) as hub, serving(folder.path, "--role", "receiver") as receiver:
        hub.wait_for("evaluated")
        assert httpx.get(f"{receiver.url}/readyz").status_code == 200
        assert buy(receiver.url, CANARY).status_code == 200
        wait_until(lambda: CANARY in listed(crm), lambda: str(hub.events()))
        assert receiver.stop() == 0
        assert _refuses(receiver)


def test_without_its_secret_it_does_not_start(tmp_path: Path, crm: HubSpotSimulator) -> None:
    folder = site(tmp_path / "shop", crm, f"sqlite:///{tmp_path / 'store.db'}")
    folder.config["connections"]["site"]["config"]["write_keys"] = "${env:NO_SUCH_VARIABLE}"
    done = subprocess.run(
        command(folder.write().path, "serve", "--port", "0"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "NO_SUCH_VARIABLE" in done.stderr


def _refuses(hub: Serving) -> bool:
    try:
        httpx.get(f"{hub.url}/healthz")
    except httpx.ConnectError:
        return True
    return False
