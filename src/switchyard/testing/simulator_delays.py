"""What is slow at a vendor: calls that take their time, and changes that show only later."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Slow:
    """Matching calls take `seconds`, and up to `jitter` seconds more, between arriving and being carried out.

    `method` None means any; `path` is a regular expression to be found in the path.
    """

    seconds: float
    jitter: float = 0.0
    method: str | None = None
    path: str = ""

    def matches(self, method: str, path: str) -> bool:
        """Whether such a call is one of them."""
        return self.method in (None, method) and re.search(self.path, path) is not None

    @classmethod
    def from_json(cls, rule: Mapping[str, Any]) -> Slow:
        """A rule as the control API takes it."""
        return cls(float(rule["seconds"]), float(rule.get("jitter", 0)), rule.get("method"), rule.get("path", ""))


def duration(rules: Iterable[Slow], method: str, path: str, chance: random.Random) -> float | None:
    """Seconds that a call takes by the first rule that matches; None where none does."""
    rule = next((each for each in rules if each.matches(method, path)), None)
    if rule is None:
        return None
    return rule.seconds + (chance.uniform(0, rule.jitter) if rule.jitter else 0.0)


class Delayed(Generic[Key, Value]):
    """A mapping as readers see it, to whom every change shows some time after it happened.

    Args:
        shown: what they see at first; changed in place.
    """

    def __init__(self, shown: dict[Key, Value]) -> None:
        self.version = 0
        self._shown = shown
        self._coming: deque[tuple[float, Key, Value | None]] = deque()

    def note(self, at: float, key: Key, value: Value | None) -> None:
        """The key has this value from `at` on (None: it is gone). Instants rise."""
        self._coming.append((at, key, value))

    def until(self, at: float) -> dict[Key, Value]:
        """What the changes until `at` have made of it."""
        coming = self._coming
        if coming and coming[0][0] <= at:
            self.version += 1
        while coming and coming[0][0] <= at:
            _, key, value = coming.popleft()
            if value is None:
                self._shown.pop(key, None)
            else:
                self._shown[key] = value
        return self._shown
