"""From an event that was accepted to the call that puts its person on the list, and from an instant to the call that
takes somebody off it: `switchyard serve` as a user starts it, with a sender and a stand-in for HubSpot beside it.

    python benchmarks/live.py [RATES] [SECONDS] [EVENTS] [LIMITS]

By default 50, 200 and 1,000 events a second for 15 seconds each, 1,000,000 events in the log, and HubSpot's limits for
`enterprise`; `none` for no limits. Every event is a signed webhook of its own and the first order of somebody with a
history, so that every event puts somebody on the list: the worst case. Six segments are evaluated. The clock starts
when the sender has its 2xx, and stops when the call with that person's record arrives at the stand-in. Goal at 200:
p95 < 1 s.

Then, with nothing else to do, people whom a window of five seconds puts on a list, and time takes off: how long after
the very instant the call comes. Goal: < 1 s.

Below each line stands where the time went, as the hub's own log says: how often it read, evaluated and delivered, and
what that took at the median.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import multiprocessing
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import httpx
from tick import RULES
from world import World

from switchyard_connectors.hubspot.simulator import Account, HubSpotSimulator

RATES, SECONDS, EVENTS, LIMITS = "50,200,1000", 15, 1_000_000, "enterprise"
PEOPLE, CONNECTIONS, PATIENCE = 100_000, 32, 60.0
EXITS, WINDOW = 20, timedelta(seconds=5)
SECRET = b"a key of thirty-two bytes or so."
SETTINGS = """
hub: {{store: "sqlite:///store.db", log: log, work: work.duckdb, timezone: UTC}}
connections:
  world:
    connector: webhook
    config: {{scheme: standard_webhooks, secrets: "{secret}"}}
    streams:
      deliveries:
        mapping:
          subject: person
          observed_at: CAST("at" AS TIMESTAMPTZ)
          identifiers: {{email: email}}
          attributes: {{city: city}}
          events:
            order_completed:
              properties: {{channel: channel, sku: sku, total: "CAST(total AS DECIMAL(18, 4))"}}
  crm:
    connector: hubspot
    config: {{base_url: "{url}", token: pat-na1-simulator, tier: {limits}}}
audiences:
  buyers: {{segment: buyers, connection: crm, list: Buyers}}
  fleeting: {{segment: fleeting, connection: crm, list: Fleeting, guard: {{max_removal: 100%}}}}
"""
SEGMENTS = {
    "buyers": 'did(order_completed where channel = "live", last 1 days)',
    "fleeting": f'did(order_completed where channel = "flash", last {WINDOW.seconds} seconds)',
}

Sent = dict[str, float]
"""E-mail → when its event was accepted, in epoch seconds."""


def main(rates: list[int], seconds: int, events: int, limits: str) -> None:
    tier = None if limits == "none" else limits
    world = World({"order_completed": events}, PEOPLE)
    world.folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"{events:,} events of {PEOPLE:,} people in the log; limits: {limits}")
    with (
        HubSpotSimulator(Account(tier=tier), keep_bodies=1_000_000) as crm,  # type: ignore[arg-type]  # as given
        tempfile.TemporaryDirectory(dir=world.folder.parent) as name,
    ):
        folder = Path(name) / "project"
        lay_out(world, folder, crm.url, limits)
        with serving(folder) as hub:
            people = iter(range(1, PEOPLE))
            load(hub, crm, people, 20, 2)
            for rate in rates:
                load(hub, crm, people, rate, seconds)
            exits(hub, crm, people)


def lay_out(world: World, folder: Path, url: str, limits: str) -> None:
    """A project whose store and log are a copy of the world, and whose people the webhook knows."""
    with world.opened(folder):
        pass
    with closing(sqlite3.connect(folder / "store.db")) as store:
        store.execute("UPDATE stream SET name = 'deliveries'")
        # The world was laid without asking for numbers.
        store.executemany("INSERT INTO counter VALUES (?, ?)", [("page", 1_000), ("subject", 10 * PEOPLE)])
        store.commit()
    secret = "whsec_" + base64.b64encode(SECRET).decode()
    (folder / "switchyard.yaml").write_text(SETTINGS.format(secret=secret, url=url, limits=limits))
    (folder / "segments").mkdir()
    rules = SEGMENTS | {f"rule{number}": rule for number, rule in enumerate(RULES[1:])}
    for name, rule in rules.items():
        (folder / "segments" / f"{name}.yaml").write_text(json.dumps({"segment": name, "where": rule}))


class Hub:
    """A hub that serves; `events` are those of its log since they were last asked for."""

    def __init__(self, url: str, log: TextIO) -> None:
        self.url = url
        self._log = log

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log]


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    command = [str(Path(sys.executable).with_name("switchyard")), "--project", str(folder), "serve", "--json"]
    log = folder / "serve.log"
    with log.open("w") as errors, log.open() as read:
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert "url" in said, said
            hub = Hub(said["url"], read)
            until(lambda: any(event["event"] == "evaluated" for event in hub.events()), "it does not evaluate")
            print(f"started, everybody evaluated: {time.perf_counter() - started:.1f} s")
            yield hub
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def load(hub: Hub, crm: HubSpotSimulator, people: Iterator[int], rate: int, seconds: int) -> None:
    """Send at a rate, and print how long it took to the list."""
    chosen = [next(each for each in people if each % 10) for _ in range(rate * seconds)]
    hub.events()
    before = crm.journal.total
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        sent: Sent = pool.apply(send, (hub.url, chosen, rate))
    added = {}

    def all_on_list() -> bool:
        added.update(arrivals(crm, "Buyers", before))
        return added.keys() >= sent.keys()

    until(all_on_list, "somebody is not on the list")
    delays = sorted(added[email] - at for email, at in sent.items())
    print(f"{rate:>6,} events/s: {spread(delays)}, {crm.journal.total - before:,} calls to HubSpot")
    where(hub)


def exits(hub: Hub, crm: HubSpotSimulator, people: Iterator[int]) -> None:
    """Put people on a list for five seconds, and print how long after those they are off it."""
    instants: dict[str, float] = {}
    # The calls before count against HubSpot's window of ten seconds.
    time.sleep(10)
    hub.events()
    with httpx.Client(base_url=hub.url) as client:
        for _ in range(EXITS):
            person = next(each for each in people if each % 10)
            at = datetime.now(UTC)
            body, headers = signed(person, at, "flash")
            client.post("/hooks/world", content=body, headers=headers).raise_for_status()
            instants[email(person)] = (at + WINDOW).timestamp()
            time.sleep(random.uniform(0.2, 0.6))
    removed: Sent = {}

    def all_gone() -> bool:
        removed.update(arrivals(crm, "Fleeting", 0, "Remove"))
        return removed.keys() >= instants.keys()

    until(all_gone, f"{len(instants.keys() - removed.keys())} of {EXITS} were not taken off")
    print(f"{'time-driven exits':>15}: {spread(sorted(removed[who] - at for who, at in instants.items()))}")
    where(hub)


def arrivals(crm: HubSpotSimulator, title: str, since: int, what: str = "Add") -> Sent:
    """E-mail → when the first call came that adds the person to a list, or removes them."""
    came: Sent = {}
    found = crm.lists.named(title)
    if found is None:
        return came
    for call in crm.calls("PUT", f"/{found.id}/memberships/", since=since):
        said = call.json()
        ids = said.get(f"recordIdsTo{what}", []) if isinstance(said, dict) else said
        if isinstance(said, list) and not call.path.endswith(f"/{what.lower()}"):
            continue
        for record in ids:
            came.setdefault(crm.contacts.records[str(record)].properties["email"], call.at)
    return came


def where(hub: Hub) -> None:
    """What the hub was at."""
    events, parts = hub.events(), []
    for name in ("synced", "evaluated", "delivered"):
        took = [each["seconds"] for each in events if each["event"] == name and "seconds" in each]
        times = sum(each["event"] == name for each in events)
        parts.append(f"{name} {times} times" + (f", {statistics.median(took) * 1e3:.0f} ms" if took else ""))
    failed = sorted(
        {f"{each['event']}: {each.get('error') or each}" for each in events if each["event"].endswith("failed")}
    )
    print(" " * 17 + "; ".join([*parts, *failed]))


def spread(delays: list[float]) -> str:
    p50, p95, p99 = (statistics.quantiles(delays, n=100, method="inclusive")[place] * 1e3 for place in (49, 94, 98))
    return f"p50 {p50:6,.0f} ms, p95 {p95:6,.0f} ms, p99 {p99:6,.0f} ms, longest {delays[-1] * 1e3:6,.0f} ms"


def send(url: str, people: list[int], rate: int) -> Sent:
    """Post an order of each of these people, evenly; in a process of its own."""
    return asyncio.run(_send(url, people, rate))


async def _send(url: str, people: list[int], rate: int) -> Sent:
    waiting = iter(enumerate(people))
    accepted: Sent = {}
    started = time.perf_counter()

    place = httpx.URL(url)

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(place.host, place.port)
        for number, person in waiting:
            await asyncio.sleep(max(started + number / rate - time.perf_counter(), 0))
            writer.write(spelt(*signed(person, datetime.now(UTC), "live")))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            accepted[email(person)] = time.time()
        writer.close()

    await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
    late = time.perf_counter() - started - len(people) / rate
    if late > 1:
        print(f"the sender was {late:.1f} s late: take fewer events")
    return accepted


def signed(person: int, at: datetime, channel: str) -> tuple[bytes, dict[str, str]]:
    """An order as a webhook: its body, and its headers."""
    order = {"person": str(person), "email": email(person), "at": at.isoformat(), "channel": channel, "sku": "sku-1"}
    body = json.dumps(order | {"total": "19.90", "city": "Lyon"}).encode()
    name, second = f"{channel}-{person}", str(int(time.time()))
    digest = hmac.new(SECRET, f"{name}.{second}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": name, "webhook-timestamp": second, "webhook-signature": signature}
    return body, headers | {"content-type": "application/json"}


def spelt(body: bytes, headers: dict[str, str]) -> bytes:
    given = {"host": "127.0.0.1", "content-length": str(len(body)), **headers}
    head = ["POST /hooks/world HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(head).encode() + body


def email(person: int) -> str:
    return f"person{person}@example.org"


def until(done: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, otherwise
        time.sleep(0.2)


if __name__ == "__main__":
    given = (*sys.argv[1:], *(RATES, str(SECONDS), str(EVENTS), LIMITS)[len(sys.argv) - 1 :])
    main([int(rate) for rate in given[0].split(",")], int(given[1]), int(given[2]), given[3])
