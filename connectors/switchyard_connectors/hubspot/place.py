"""Where the reading of a stream of records stands: the cursor, with names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from switchyard.api import Cursor


@dataclass(frozen=True, slots=True)
class Window:
    """Changes from `since` (None: ever) up to `until`, in epoch milliseconds, of which those with ids up to `last` are
    read.
    """

    since: int | None
    until: int
    last: int = 0


@dataclass(frozen=True, slots=True)
class Scan:
    """A walk through all records, by rising ids: the token of the next page, and when it began."""

    after: str | None
    began: int


@dataclass(frozen=True, slots=True)
class Place:
    """All instants are epoch milliseconds.

    Args:
        sequence: the last row of the inbox that was read.
        pulled: when the sync began that last read all changes there were.
        bookmark: every change up to then is read.
        window: what is being read.
        load: the first walk through all records, under way.
        archived: every deletion up to then is read.
        scan: a walk through all archived records, under way.
    """

    sequence: int | None = None
    pulled: int | None = None
    bookmark: int | None = None
    window: Window | None = None
    load: Scan | None = None
    archived: int | None = None
    scan: Scan | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a pull was begun and did not come to its end."""
        return self.window is not None or self.load is not None or self.scan is not None

    def cursor(self) -> Cursor:
        """As JSON, without what there is not."""
        found: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.window is not None:
            found["window"] = [self.window.since, self.window.until, self.window.last]
        for name in ("load", "scan"):
            if (walk := found[name]) is not None:
                found[name] = [walk.after, walk.began]
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def of(cls, cursor: Cursor) -> Place:
        """What `cursor` gave."""
        said: dict[str, Any] = dict(cursor or {})
        if (window := said.get("window")) is not None:
            said["window"] = Window(*window)
        for name in ("load", "scan"):
            if (walk := said.get(name)) is not None:
                said[name] = Scan(*walk)
        return cls(**said)
