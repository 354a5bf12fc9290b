"""Nothing personal and nothing secret leaves a hub that serves, whatever comes its way: not in its log, its output, its
metrics, its answers, its errors, nor in what `status` and `doctor` say. (Quarantine holds records, by intent.)"""

import base64
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.projects import Folder, shop
from tests.scenarios.serving import answered, command, serving

from switchyard.testing.simulator import Answer
from switchyard.testing.simulator_faults import Fault
from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

EMAIL, PHONE, NAME = "zelda.canary@birdcage.example", "+33 6 98 76 54 32", "Zeldacanary"
SECRET, TOKEN = "hook-secret-canary-8412", "pat-na1-canary-5577"
KEY, PASSWORD = "write-key-canary-3141", "database-canary-2718"
CANARIES = (
    "zelda", "birdcage", "canary-", "98 76 54", "98765432", NAME.lower(), SECRET, TOKEN, KEY, PASSWORD,
    base64.b64encode(f"{KEY}:".encode()).decode().lower(),
)  # fmt: skip
"""Parts of them, too; what is looked at is made lower case."""
BAD = {"authorization": "Bearer nothing-of-the-kind"}
CLUMSY = f'''
import logging, sys, threading, warnings
from pydantic import BaseModel
from switchyard.api import hookimpl
from switchyard.api.transforms import RecordTransformSpec


class Config(BaseModel):
    pass


class Clumsy:
    def __init__(self, config):
        pass

    def apply(self, page):
        said = str(page.to_pylist())
        print(said)
        print(said, file=sys.stderr)
        logging.getLogger("clumsy").error("%s", said)
        warnings.warn(said)
        threading.Thread(target=lambda: [][said]).start()
        if "crash" in said:
            raise ValueError(said)
        return page, []


@hookimpl
def switchyard_transforms():
    return (RecordTransformSpec("clumsy", Config, Clumsy, title="tells everything"),)


@hookimpl
def switchyard_run_finished(kind, name):
    raise RuntimeError("{EMAIL}")
'''


def assert_none(what: str, text: str) -> None:
    found = [each for each in CANARIES if each.lower() in text.lower()]
    assert not found, f"{what}: {found} in {text}"


@pytest.fixture(scope="module")
def hubspot() -> Iterator[HubSpotSimulator]:
    with HubSpotSimulator(Account(tokens=frozenset({TOKEN}))) as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path: Path, hubspot: HubSpotSimulator) -> Folder:
    folder = shop(tmp_path / "shop", crm=hubspot.url)
    for name, secret in (("token", TOKEN), ("hook", SECRET), ("key", KEY)):
        path = folder.path / "secrets" / name
        path.write_text(secret)
        path.chmod(0o600)
    (folder.path / "plugins").mkdir()
    (folder.path / "plugins" / "clumsy.py").write_text(CLUMSY)
    mapping = {
        "subject": "email",
        "identifiers": {"email": "email", "phone": "phone"},
        "attributes": {"first_name": "first_name"},
        "events": {"order_completed": {"when": "total IS NOT NULL", "properties": {"total": "CAST(total AS DOUBLE)"}}},
    }
    folder.config["connections"] |= {
        "hook": {
            "connector": "webhook",
            "config": {"scheme": "shared_secret", "header": "authorization", "secrets": "${file:secrets/hook}"},
            "streams": {"deliveries": {"mapping": mapping, "transforms": {"clumsy": {}}}},
        },
        "site": {"connector": "tracking", "config": {"write_keys": "${file:secrets/key}"}},
    }
    return folder.write()


def order(number: int, **more: Any) -> dict[str, Any]:
    return {"email": EMAIL, "phone": PHONE, "first_name": NAME, "total": 10 + number, **more}


def refused_and_broken(client: httpx.Client) -> Iterator[httpx.Response]:
    """Bad traffic, and good traffic that nobody can use."""
    good = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}
    for headers in (BAD, {}, {"authorization": f"Bearer {SECRET[:-1]}"}, good | {"content-encoding": EMAIL}):
        yield client.post(f"/hooks/hook?email={EMAIL}", json=order(0), headers=headers)
    yield client.post("/hooks/hook", content=f'{{"email": "{EMAIL}", broken'.encode(), headers=good)
    yield client.post("/hooks/hook", content=EMAIL.encode() * 100_000, headers=good)
    yield client.post("/hooks/hook", json=order(0, total=f"{NAME} {EMAIL}"), headers=good)
    yield client.post(f"/hooks/{EMAIL}", json=order(0), headers=good)
    yield client.get(f"/people/{EMAIL}", headers=good)
    yield client.post("/v1/track", json={"event": NAME, "userId": EMAIL, "writeKey": KEY[:-1]})
    yield client.post("/v1/track", content=f'{{"userId": "{EMAIL}"'.encode(), auth=(KEY, ""))
    yield client.post("/v1/track", json={"event": NAME, "userId": EMAIL, "timestamp": NAME}, auth=(KEY, ""))
    yield client.post("/v1/identify", json={"userId": EMAIL, "traits": {"email": EMAIL}}, auth=(KEY, ""))


def refuses(status: int) -> Fault:
    said = f"{EMAIL} with {TOKEN} is refused: {NAME}"
    return Fault(
        Answer(status, {"status": "error", "message": said, "category": f"{NAME} {EMAIL}", "context": {"who": [EMAIL]}})
    )


def test_no_canary_gets_out(folder: Folder, hubspot: HubSpotSimulator) -> None:
    hubspot.script(None, "batch/upsert", [refuses(status) for status in (401, 500, 400)])
    good = {"authorization": f"Bearer {SECRET}"}
    with serving(folder.path) as hub, httpx.Client(base_url=hub.url) as client:
        answers = list(refused_and_broken(client))
        assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 413, 415}
        answers += [client.post("/hooks/hook", json=order(number), headers=good) for number in (1, 2)]
        hub.wait_for("delivery_failed")
        # Of a file that its mapping cannot read, and one that is none.
        folder.put(f"{NAME}.csv", f"{EMAIL};{PHONE}\n{NAME};\n")
        assert_none("sync", json.dumps(answered(folder.path, "sync", "tills")))
        assert_none("deliver", json.dumps(answered(folder.path, "deliver")))
        answers.append(client.post("/hooks/hook", json=order(3, note="crash"), headers=good))
        hub.wait_for("sync_failed")
        metrics = client.get("/metrics").text
        seen = {"answers": "".join(f"{answer.headers}{answer.text}" for answer in answers), "metrics": metrics}
        seen |= {name: json.dumps(answered(folder.path, name)) for name in ("status", "doctor")}
        seen |= {f"{name} in words": shown(folder, name) for name in ("status", "doctor")}
        assert hub.stop() == 0
        assert hub.process.stdout is not None
        seen |= {"stdout": hub.process.stdout.read(), "log": hub.log.read_text(), "runs": run_errors(folder)}
        told = {event["event"] for event in hub.events()}
    for what, text in seen.items():
        assert_none(what, text)
    # All of it did happen.
    assert {"delivery_failed", "sync_failed", "printed", "thread_failed", "logged"} <= told
    assert 'switchyard_requests_total{connection="hook",status="401"} 3.0' in metrics
    assert 'switchyard_runs_total{kind="deliver",name="buyers",outcome="failed"}' in metrics
    assert "switchyard_evaluated_lag_seconds_count 0.0" not in metrics
    assert "internal error: ValueError" in seen["runs"]


def shown(folder: Folder, name: str) -> str:
    done = subprocess.run(command(folder.path, name), capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def run_errors(folder: Folder) -> str:
    with sqlite3.connect(f"file:{folder.path / '.switchyard' / 'store.db'}?mode=ro", uri=True) as store:
        return "\n".join(str(row) for row in store.execute("SELECT kind, name, state, error, detail FROM run"))


@pytest.mark.parametrize("asked", ["serve", "status", "doctor", "run"])
def test_a_store_that_is_not_there_is_named_without_its_password(tmp_path: Path, asked: str) -> None:
    folder = shop(tmp_path / "shop", store="${file:secrets/store}")
    (folder.path / "secrets").mkdir()
    (folder.path / "secrets" / "store").write_text(f"postgresql://hub:{PASSWORD}@127.0.0.1:1/hub")
    done = subprocess.run(
        command(folder.path, asked, "--json"), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert_none(asked, done.stdout + done.stderr)


def test_the_test_finds_what_it_looks_for() -> None:
    for text in (EMAIL, PHONE, NAME, SECRET, TOKEN, KEY, PASSWORD, f"x{EMAIL.upper()}x"):
        with pytest.raises(AssertionError):
            assert_none("log", text)
