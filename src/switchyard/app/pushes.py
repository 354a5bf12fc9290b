"""What is pushed to the hub: which connections have something in the inbox that was not read yet."""

import threading
from collections.abc import Callable
from datetime import datetime

from switchyard.api.errors import SwitchyardError
from switchyard.app.project import Project
from switchyard.store.inbox import Depth, Inbox

_PATIENCE = 1.0
"""Seconds between two looks whether the hub has ended, and to the store after a fault."""


class Pushes:
    """Watches the inbox. Its thread calls `on_news` once, and again only after somebody has looked (`unread`)."""

    def __init__(self, inbox: Inbox, on_news: Callable[[], None]) -> None:
        self.since: dict[str, datetime | None] = {}
        """Connection → when the first of what waited came, as `unread` last saw it."""
        self._inbox = inbox
        self._on_news = on_news
        self._read: dict[str, int] = {}
        # Below every number there is: what came before the watch began is news, too.
        self._newest = -1
        self._ended = threading.Event()
        self._looked = threading.Event()
        self._looked.set()
        self._has_news = True
        self._thread = threading.Thread(target=self._watch, name="pushes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._looked.set()
        self._thread.join()

    def unread(self, project: Project) -> list[str]:
        """The connections with rows that were not read. Costs nothing where nothing came since it was last asked."""
        if not self._has_news:
            return []
        self._has_news = False
        self._looked.set()
        pushed = {name for name, spec in project.sources.items() if spec.receiver is not None}
        depths = self.depths()
        self.since = {name: depth.oldest for name, depth in depths.items()}
        return [name for name, depth in depths.items() if depth.rows and name in pushed]

    def newest(self) -> int:
        """A number up to which all rows are visible."""
        return self._inbox.newest()

    def read(self, connection: str, upto: int) -> None:
        """All rows of a connection up to this number have been read, and what they say is committed."""
        self._read[connection] = max(upto, self._read.get(connection, 0))

    def again(self) -> None:
        """Something could not be read: it is still news."""
        self._has_news = True

    def depths(self) -> dict[str, Depth]:
        """Connection → what waits to be read."""
        return self._inbox.depths(self._read)

    def tidy(self, now: datetime) -> None:
        """Delete what was read."""
        for connection, upto in self._read.items():
            self._inbox.trim(connection, upto)
        self._inbox.forget(now)

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                if not self._inbox.wait(self._newest, _PATIENCE):
                    continue
                self._newest = self._inbox.newest()
            except SwitchyardError:
                # The store is away; the engine says so.
                self._ended.wait(_PATIENCE)
                continue
            self._looked.clear()
            self._has_news = True
            self._on_news()
            self._looked.wait()
