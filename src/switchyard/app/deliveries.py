"""Deliveries beside the engine's thread: a vendor that is slow keeps nobody from reading what comes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from switchyard.api.errors import ConfigError
from switchyard.app import audiences
from switchyard.app.control import Answer
from switchyard.app.hub import Hub


@dataclass(frozen=True)
class Wanted:
    """What an audience is delivered for.

    Args:
        is_proof: its list is to be read back, too.
        since: when the first of the events came that moved its people (UTC); None where no event did.
    """

    is_proof: bool = False
    since: datetime | None = None

    def __or__(self, other: "Wanted") -> "Wanted":
        known = [each for each in (self.since, other.since) if each is not None]
        return Wanted(self.is_proof or other.is_proof, min(known, default=None))


Ended: TypeAlias = Callable[[str, Wanted, "Answer | Exception"], None]
"""Called with an audience, what it was wanted for, and what became of it, in a thread of its own."""


class Deliveries:
    """A lane for each account, in which one audience after the other is delivered.

    An audience that is asked for while it waits is delivered once, and one that is asked for while it is delivered once
    more. Used in the engine's thread.
    """

    def __init__(self, hub: Hub, ended: Ended) -> None:
        self._hub = hub
        self._ended = ended
        self._lanes: dict[str, _Lane] = {}

    def want(self, audience: str, wanted: Wanted) -> None:
        """Have an audience delivered, by what the segments are when its turn comes."""
        lane = self._account(audience)
        if lane not in self._lanes:
            self._lanes[lane] = _Lane(self._hub.beside(), self._ended)
        self._lanes[lane].want(audience, wanted)

    def left(self) -> Mapping[str, Wanted]:
        """What was asked for and not begun: audience → for what."""
        return {audience: wanted for lane in self._lanes.values() for audience, wanted in lane.wanted.items()}

    def stop(self, patience: float | None = None) -> bool:
        """Begin nothing more, and wait for what is under way; False where that took more than `patience` seconds."""
        for lane in self._lanes.values():
            lane.stop()
        return all(lane.wait(patience) for lane in self._lanes.values())

    def waiting(self) -> Mapping[str, int]:
        """Account → audiences that wait or are delivered."""
        return {name: len(lane) for name, lane in self._lanes.items()}

    def _account(self, audience: str) -> str:
        try:
            return self._hub.account(audience).account
        except ConfigError:
            # What is wrong with it is for its delivery to say.
            return ""


class _Lane:
    def __init__(self, hub: Hub, ended: Ended) -> None:
        self._hub = hub
        self._ended = ended
        self._changed = threading.Condition()
        # Ordered as asked for.
        self.wanted: dict[str, Wanted] = {}
        self._under_way = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="deliveries", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self.wanted) + self._under_way

    def want(self, audience: str, wanted: Wanted) -> None:
        with self._changed:
            self.wanted[audience] = self.wanted.get(audience, Wanted()) | wanted
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def wait(self, patience: float | None) -> bool:
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _next(self) -> tuple[str, Wanted] | None:
        with self._changed:
            self._under_way = 0
            self._changed.wait_for(lambda: self.wanted or self._stopped)
            if self._stopped:
                return None
            self._under_way = 1
            audience = next(iter(self.wanted))
            return audience, self.wanted.pop(audience)

    def _work(self) -> None:
        try:
            while (next_one := self._next()) is not None:
                audience, wanted = next_one
                self._ended(audience, wanted, self._delivered(audience, wanted.is_proof))
        finally:
            self._hub.working.close()

    def _delivered(self, audience: str, is_proof: bool) -> Answer | Exception:
        try:
            if is_proof:
                return audiences.deliver(self._hub, audience)[0]
            return audiences.send(self._hub, audience)
        except Exception as error:
            return error
