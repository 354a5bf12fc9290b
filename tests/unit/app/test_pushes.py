"""What is pushed is noticed, whenever it comes."""

import threading
from datetime import UTC, datetime
from pathlib import Path

from tests.projects import shop

from switchyard.app.pushes import Pushes
from switchyard.app.receiving import inbox
from switchyard.store.inbox import Delivery


def test_what_comes_before_the_watch_begins_is_noticed(tmp_path: Path) -> None:
    folder = shop(tmp_path / "shop")
    folder.config["connections"]["site"] = {"connector": "tracking", "config": {"write_keys": "a-key-of-the-shop"}}
    with folder.write().hub() as hub, inbox(hub.project) as box:
        noticed = threading.Event()
        pushes = Pushes(box, noticed.set)
        assert pushes.unread(hub.project) == []
        box.append([Delivery("site", "d1", {}, b"{}", datetime.now(UTC).replace(tzinfo=None))])
        pushes.start()
        try:
            assert noticed.wait(30)
            assert pushes.unread(hub.project) == ["site"]
        finally:
            pushes.stop()
