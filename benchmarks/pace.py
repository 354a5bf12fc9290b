"""How near the pace of deliveries comes to what vendors allow: stand-ins with the real limits, 150 ms away.

    python benchmarks/pace.py [WINDOWS] [VENDOR ...]

A sink upserts people without end, through the account's budget in a store; after the first window, calls are counted
for WINDOWS (3) windows and set against what the windows allow: HubSpot 190 in 10 s, Marketo 100 in 20 s. The goal is
0.95 and not one refusal. Salesforce has no window; its composite calls are set against the same number of calls made
by bare threads, as many as the budget lets be under way at once.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from switchyard.api import ConnectorConfig, ListChanges, ListSinkSpec, Member, RemoteList
from switchyard.app.accounts import Accounts, ConnectorContext
from switchyard.store import schema
from switchyard.store.database import Database
from switchyard.store.inbox import Inbox
from switchyard.testing.simulator import Simulator

Tell = Callable[[], dict[str, Any]]
LATENCY = 0.15
SALESFORCE_CALLS = 60
DIRECT: dict[str, Any] = {"bulk_ingest_above": 10_000_000, "defaults": {"LastName": "Unknown"}}


@dataclass(frozen=True)
class Vendor:
    """A vendor's windows, its stand-in, and a sink for it.

    Args:
        calls, window: what it allows.
        rows: people in a call.
        counted: whether a path counts in the window.
        refused: how many calls the stand-in refused for their pace.
    """

    calls: int
    window: float
    rows: int
    begin: Callable[[], Simulator]
    sink: Callable[[str], tuple[ListSinkSpec, ConnectorConfig]]
    counted: Callable[[str], bool]
    refused: Callable[[Any], int]
    field: str = "email"


def statuses(simulator: Simulator) -> int:
    """Refusals that have a status of their own."""
    return sum(call.status in (429, 403) for call in simulator.calls())


def hubspot() -> Vendor:
    from switchyard_connectors.hubspot import HubSpotConfig, switchyard_connectors
    from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator
    from switchyard_connectors.hubspot.simulator_auth import STATIC

    spec = next(each for each in switchyard_connectors() if isinstance(each, ListSinkSpec))
    return Vendor(
        190,
        10.0,
        100,
        lambda: HubSpotSimulator(Account(tier="enterprise"), latency=LATENCY),
        lambda url: (spec, HubSpotConfig(base_url=url, token=STATIC, tier="enterprise")),
        lambda path: not path.endswith("/search"),
        statuses,
    )


def marketo() -> Vendor:
    from switchyard_connectors.marketo import LISTS, MarketoConfig
    from switchyard_connectors.marketo.simulator import MarketoSimulator
    from switchyard_connectors.marketo.simulator_identity import CLIENT_ID, CLIENT_SECRET

    fast: dict[str, Any] = {"calls_per_window": 100, "concurrency": 10, "import_above": 10_000_000}
    return Vendor(
        100,
        20.0,
        300,
        lambda: MarketoSimulator(latency=LATENCY),
        lambda url: (
            LISTS,
            MarketoConfig(base_url=url, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, **fast),
        ),
        lambda path: not path.startswith("/identity"),
        # They are told with a 200.
        lambda simulator: sum(day[code] for day in simulator.limits._errors.values() for code in ("606", "607", "615")),
    )


def salesforce() -> Vendor:
    from switchyard_connectors.salesforce import switchyard_connectors
    from switchyard_connectors.salesforce.config import SalesforceConfig
    from switchyard_connectors.salesforce.simulator import SalesforceSimulator

    spec = next(each for each in switchyard_connectors() if isinstance(each, ListSinkSpec))
    return Vendor(
        0,
        0.0,
        1_000,
        lambda: SalesforceSimulator(latency=LATENCY, keep_bodies=1_000),
        lambda url: (spec, SalesforceConfig(base_url=url, client_credentials=salesforce_app(), **DIRECT)),
        lambda path: path.endswith("/composite"),
        statuses,
        "Email",
    )


def salesforce_app() -> dict[str, str]:
    """How to sign in to the stand-in."""
    from switchyard_connectors.salesforce.simulator_auth import App

    return {"client_id": App().client_id, "client_secret": App().client_secret}


VENDORS: dict[str, Callable[[], Vendor]] = {"hubspot": hubspot, "marketo": marketo, "salesforce": salesforce}


def main(windows: int, names: list[str]) -> None:
    for name in names:
        vendor = VENDORS[name]()
        with standing_in(name) as (url, tell):
            if vendor.window:
                against_windows(name, vendor, windows, url, tell)
            else:
                against_threads(name, vendor, url, tell)


def against_windows(name: str, vendor: Vendor, windows: int, url: str, tell: Tell) -> None:
    """Calls after the first window beside what as many windows allow."""
    span = (windows + 1) * vendor.window
    with delivering(vendor, url, vendor.rows * vendor.calls * (windows + 3)) as receipts:
        began = time.monotonic()
        for _ in receipts:
            if time.monotonic() - began > span + 1:
                break
    told = tell()
    first = min(told["at"])
    counted = sum(vendor.window <= at - first < span for at in told["at"])
    allowed = windows * vendor.calls
    print(f"{name}: {counted:,} of {allowed:,} calls in {windows} windows: {counted / allowed:.3f}", end="")
    print(f"; {told['refused']} of {len(told['at']):,} refused")


def against_threads(name: str, vendor: Vendor, url: str, tell: Tell) -> None:
    """Seconds beside those of bare threads that send the same bodies again."""
    spec, config = vendor.sink(url)
    assert spec.limits is not None
    lanes = spec.limits(config).concurrency
    with delivering(vendor, url, vendor.rows * SALESFORCE_CALLS) as receipts:
        for _ in receipts:
            pass
    told = tell()
    took = max(told["at"]) - min(told["at"])
    sign_in = {"grant_type": "client_credentials"} | salesforce_app()
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(lanes) as pool:
        token = client.post("/services/oauth2/token", data=sign_in).json()["access_token"]
        client.headers.update({"authorization": f"Bearer {token}", "content-type": "application/json"})
        began = time.monotonic()
        list(pool.map(lambda sent: client.post(sent[0], content=sent[1]), told["sent"]))
        bare = time.monotonic() - began
    print(f"{name}: {len(told['at']):,} composite calls in {took:.1f} s, bare {lanes} threads {bare:.1f} s", end="")
    print(f": {bare / took:.3f}; {told['refused']} refused")


@contextmanager
def standing_in(name: str) -> Iterator[tuple[str, Tell]]:
    """The stand-in as a process of its own: its address, and a way to ask what it was called."""
    command = [sys.executable, __file__, "--serve", name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout

    def tell() -> dict[str, Any]:
        print(file=into, flush=True)
        answer: dict[str, Any] = json.loads(out.readline())
        return answer

    try:
        yield out.readline().strip(), tell
    finally:
        into.close()
        process.wait()


def serve(name: str) -> None:
    """Stand in for a vendor until nobody asks any more."""
    vendor = VENDORS[name]()
    with vendor.begin() as simulator:
        print(simulator.url, flush=True)
        for _ in sys.stdin:
            calls = [call for call in simulator.calls() if vendor.counted(call.path)]
            sent = [] if vendor.window else [(call.path, (call.body or b"").decode()) for call in calls]
            told = {"at": [call.at for call in calls], "sent": sent, "refused": vendor.refused(simulator)}
            print(json.dumps(told), flush=True)


@contextmanager
def delivering(vendor: Vendor, url: str, people: int) -> Iterator[Iterator[Any]]:
    """The receipts of a delivery of so many people to a new list."""
    spec, config = vendor.sink(url)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder / 'store.db'}")
        schema.prepare(database)
        accounts = Accounts(database)
        budget = accounts.budget(spec, config, "crm")
        (folder / "work").mkdir()
        context = ConnectorContext("crm", folder, folder / "work", database, budget, lambda: Inbox(database))
        sink: Any = spec.build(config, context)
        ref = sink.ensure(RemoteList("pace", vendor.field, (vendor.field,)), None)
        upsert = [Member(str(n), None, {vendor.field: f"p{n}@example.com"}) for n in range(people)]
        try:
            with closing(sink.apply(ref, ListChanges("1", upsert, (), ()))) as receipts:
                yield receipts
        finally:
            context.close()
            accounts.save()
            database.close()


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(given.pop(0)) if given and given[0].isdecimal() else 3
    if given[:1] == ["--serve"]:
        serve(given[1])
    else:
        main(count, given or list(VENDORS))
