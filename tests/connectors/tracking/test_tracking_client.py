"""Segment's own library for Python delivers to it, unchanged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from segment.analytics import request as wire
from segment.analytics.client import Client
from tests.received import inbox

from switchyard.api import Page
from switchyard.api.receiving import Accepted, Incoming, Refused
from switchyard.testing.builders import SimpleContext
from switchyard_connectors.tracking import EVENTS, SOURCE

from .conftest import CONFIG, KEY, receiver


class Hub(ThreadingHTTPServer):
    """A server around the receiver, as small as can be."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.door = receiver()
        self.kept: list[Accepted] = []
        self.refused: list[Refused] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        at = datetime.now(UTC).replace(tzinfo=None)
        verdict = self.server.door.check(Incoming("POST", self.server.url + self.path, headers, body, at))
        if isinstance(verdict, Accepted):
            self.server.kept.append(verdict)
            self._answer(200, b'{"success":true}')
        else:
            self.server.refused.append(verdict)
            self._answer(verdict.status, b'{"code":"refused","message":"no"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        wire._session.close()
        server.shutdown()
        thread.join()


@pytest.fixture
def read_back(hub: Hub, tmp_path: Path) -> Callable[[], Page]:
    def reading() -> Page:
        context = SimpleContext(tmp_path)
        context.pushed = list(inbox([(each.id or "", each.headers, each.body) for each in hub.kept]))
        (page,) = SOURCE.build(SOURCE.config.model_validate(CONFIG), context).read(EVENTS, None)
        return page

    return reading


@pytest.mark.parametrize("gzip", [False, True])
def test_everything_the_library_sends_arrives(hub: Hub, read_back: Callable[[], Page], gzip: bool) -> None:
    client = Client(KEY, host=hub.url, gzip=gzip, upload_size=3, upload_interval=0.01, max_retries=0)
    when = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    client.identify("u1", {"email": "ann@x.org"}, anonymous_id="a1")
    client.track("u1", "Order Completed", {"total": 12.5, "at": when})
    client.page("u1", "Docs", "Home", {"path": "/"})
    client.screen(anonymous_id="a1", name="Start")
    client.group("u1", "g1", {"name": "Initech"})
    client.alias("a1", "u1")
    for number in range(20):
        client.track("u1", "Song Played", {"n": number}, timestamp=when)
    client.flush()
    client.join()
    assert hub.refused == []
    page = read_back()
    assert page.rejected == []
    rows = page.records.to_pylist()  # type: ignore[union-attr]
    assert [row["type"] for row in rows[:6]] == ["identify", "track", "page", "screen", "group", "alias"]
    assert [row["event_type"] for row in rows[6:]] == ["song_played"] * 20
    assert len({row["message_id"] for row in rows}) == 26
    assert (rows[0]["user_id"], rows[0]["anonymous_id"], rows[5]["previous_id"]) == ("u1", "a1", "a1")
    assert '"analytics-python"' in rows[0]["context"]
    assert {row["original_timestamp"] for row in rows[6:]} == {when.replace(tzinfo=None)}


def test_the_library_is_told_that_its_key_is_unknown(hub: Hub) -> None:
    failed: list[int] = []
    client = Client(
        "wk_another", host=hub.url, upload_interval=0.01, max_retries=3,
        on_error=lambda error, items: failed.append(error.status),
    )  # fmt: skip
    client.track("u1", "Song Played")
    client.flush()
    client.join()
    assert failed == [401]
    assert [each.status for each in hub.refused] == [401]
