from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from switchyard.api import Cursor, Limits, Page, Stream
from switchyard.testing.builders import SimpleContext
from switchyard.testing.simulator import Answer, ManualClock, Request, Route
from switchyard_connectors.google_analytics.config import GoogleAnalyticsConfig
from switchyard_connectors.google_analytics.simulator import GoogleAnalyticsSimulator, Property
from switchyard_connectors.google_analytics.source import GoogleAnalytics
from switchyard_connectors.google_analytics.streams import EVENT_STREAM, asked_for

from .discovery import Discovery

SHARED = Path(__file__).resolve().parents[4] / "shared"
# A Tuesday, 09:20 UTC and 02:20 in California.
NOW = 1_790_068_800.0
THOUSAND = Property(events=1_000)
CHANNELS = {"name": "channels", "dimensions": ["sessionSource", "country"], "metrics": ["sessions", "totalRevenue"]}


class Desk:
    """A simulated property, and a hub that commits every page. Waiting moves the vendor's clock and takes no time."""

    def __init__(self, simulator: GoogleAnalyticsSimulator, clock: ManualClock, folder: Path) -> None:
        self.simulator = simulator
        self.clock = clock
        self.context = SimpleContext(folder, limits=Limits(concurrency=4))
        self.folder = folder / "drop"
        self.folder.mkdir(exist_ok=True)
        self.cursors: dict[str, Cursor] = {}

    def config(self, **more: Any) -> GoogleAnalyticsConfig:
        return GoogleAnalyticsConfig.model_validate(settings(self.simulator) | more)

    def source(self, **more: Any) -> GoogleAnalytics:
        return GoogleAnalytics(self.config(**more), self.context, self.now, self.clock.advance)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def stream(self, name: str, **more: Any) -> Stream:
        return next(each for each in (EVENT_STREAM, *asked_for(self.config(**more))) if each.name == name)

    def sync(self, name: str, pages: int | None = None, **more: Any) -> list[Page]:
        """The pages of one sync from where the last one ended; all of them, or the first ones and then a kill."""
        stream = self.stream(name, **more)
        read = []
        for page in self.source(**more).read(stream, self.cursors.get(name)):
            read.append(page)
            self.cursors[name] = json.loads(json.dumps(page.cursor))
            self.context.commit(name, page)
            if len(read) == pages:
                break
        return read

    def restart(self) -> None:
        """Forget what a process knows, as that the account's quota is used up."""
        self.context.close()
        self.context = SimpleContext(self.context.project, limits=Limits(concurrency=4))

    def calls(self, path: str = "") -> int:
        return self.simulator.count(path=path)

    def close(self) -> None:
        self.context.close()


def settings(simulator: GoogleAnalyticsSimulator) -> dict[str, Any]:
    """The configuration that leads to a simulator."""
    return {
        "property": simulator.property.id,
        "service_account": {"key": simulator.service_account()},
        "data_url": simulator.url,
        "collect_url": simulator.url,
        "sign_in_url": f"{simulator.url}/token",
    }


def rows(pages: list[Page]) -> list[Mapping[str, Any]]:
    """All records, as dicts."""
    return [row for page in pages if len(page.records) for row in page.records.to_pylist()]


def alive(pages: list[Page]) -> list[Mapping[str, Any]]:
    """The records that are not deletions."""
    return [row for row in rows(pages) if not row.get("_deleted")]


def gone(pages: list[Page]) -> list[Mapping[str, Any]]:
    """The deletions."""
    return [row for row in rows(pages) if row.get("_deleted")]


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where Google's own descriptions are at hand, every request and every answer has to be as they say."""
    folder = SHARED / "specs" / "google"
    if not folder.is_dir():
        yield
        return
    discovery, decorate = Discovery.of(folder), GoogleAnalyticsSimulator.decorate
    wrong: list[str] = []

    def judge(simulator: GoogleAnalyticsSimulator, request: Request, route: Route, answer: Answer) -> Answer:
        body = answer.encoded()[0]
        # A quarter of a million rows are like a few, and judging them takes minutes.
        if answer.status == 200 and len(body) < 1_000_000:
            wrong.extend(discovery.faults(request.method, request.path, request.body, body))
        return decorate(simulator, request, route, answer)

    monkeypatch.setattr(GoogleAnalyticsSimulator, "decorate", judge)
    yield
    assert wrong == []


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def open_desk(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., Desk]]:
    with contextlib.ExitStack() as opened:

        def open_one(simulated: Property = THOUSAND) -> Desk:
            simulator = opened.enter_context(GoogleAnalyticsSimulator(simulated, clock=clock))
            desk = Desk(simulator, clock, tmp_path)
            opened.callback(desk.close)
            return desk

        yield open_one


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()
