"""Pauses: what fails for a passing reason is left alone for a while, longer each time."""

import time
from collections.abc import Callable

FIRST, LONGEST = 2.0, 300.0
"""Seconds of the first pause, and of the longest."""


class Pauses:
    """A pause for each of several things, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def is_over(self, name: str) -> bool:
        return self._clock() >= self._until.get(name, 0.0)

    def left(self) -> float | None:
        """Seconds until the next pause is over; None where nothing pauses."""
        now = self._clock()
        return min((until - now for until in self._until.values() if until > now), default=None)

    def failed(self, name: str, wait: float | None = None) -> float:
        """It failed once more; gives the seconds of its pause, which are `wait` where the other side said it."""
        before = self._failures.get(name, 0)
        self._failures[name] = before + 1
        pause = min(FIRST * 2 ** min(before, 20), LONGEST) if wait is None else wait
        self._until[name] = self._clock() + pause
        return pause

    def done(self, name: str) -> None:
        """It went well."""
        self._failures.pop(name, None)
        self._until.pop(name, None)
