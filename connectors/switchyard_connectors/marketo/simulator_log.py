"""The activity log of the Marketo simulator: everything that happened to leads, in the order in which it was logged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

NEW_LEAD, CHANGE_VALUE, CHANGE_SCORE = 12, 13, 22
ADD_TO_LIST, REMOVE_FROM_LIST, MERGE, DELETE, STATUS, WEBHOOK = 24, 25, 32, 37, 104, 110


class Entry(NamedTuple):
    """One activity. `at` is its activityDate, `attributes` are names and values; its place in the log numbers it."""

    at: float
    type: int
    lead: int
    primary_id: int | None = None
    primary: str | None = None
    attributes: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of the log: its entries with their places, where to go on, and whether there is more now."""

    found: Sequence[tuple[int, Entry]]
    end: int
    more: bool


class Log:
    """What was logged, for ever.

    `lag`: seconds after which an entry can be read. `scan`: entries that one page looks through, so that pages are
    short or empty where a filter leaves little of them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lag = 0.0
        self.scan = 3_000
        self._clock = clock
        self._entries: list[Entry] = []
        self._logged: list[float] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, kind: int, lead: int, at: float | None = None, **more: Any) -> int:
        """Log an activity, which happened now unless said otherwise; its number."""
        now = self._clock()
        self._entries.append(Entry(now if at is None else at, kind, lead, **more))
        self._logged.append(now)
        return len(self._entries)

    def since(self, at: float) -> int:
        """The place of the first entry that was logged then or later."""
        return bisect_left(self._logged, at)

    def window(self, start: int, wanted: Callable[[Entry], bool], size: int) -> Window:
        """The wanted entries from a place on, `size` at most."""
        visible = bisect_right(self._logged, self._clock() - self.lag)
        stop = min(start + self.scan, visible)
        found: list[tuple[int, Entry]] = []
        place = start
        for place in range(start, stop):
            if wanted(entry := self._entries[place]):
                found.append((place, entry))
                if len(found) == size:
                    break
        end = min(place + 1, stop) if start < stop else start
        return Window(found, end, end < visible)

    def between(self, start: float, end: float) -> Iterator[tuple[int, Entry]]:
        """The readable entries with an activityDate in [start, end), in the order of the log."""
        visible = bisect_right(self._logged, self._clock() - self.lag)
        for place, entry in enumerate(islice(self._entries, visible)):
            if start <= entry.at < end:
                yield place, entry

    def dump(self) -> list[Any]:
        """All entries with when they were logged, as JSON."""
        return [[logged, *entry] for logged, entry in zip(self._logged, self._entries, strict=True)]

    def load(self, state: Sequence[Sequence[Any]]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self._logged = [each[0] for each in state]
        self._entries = [Entry(*each[1:]) for each in state]


def guid(place: int) -> str:
    """The marketoGUID of the entry at this place: the only key that the vendor keeps (vendor documentation,
    activities).
    """
    return str(100_000 + place)
