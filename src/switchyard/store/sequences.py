"""Ids, in order of arrival, taken in blocks that are never given back: a crash leaves a gap, never a repetition."""

import numpy as np
from numpy.typing import NDArray

from switchyard.store.database import Database
from switchyard.store.tables import Counter

BLOCK = 10_000


class Sequence:
    """Hands out ascending 64-bit ids, reserving them in the store before the first is used."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._next = 0
        self._end = 0

    def take(self, count: int) -> NDArray[np.int64]:
        """The next `count` ids, ascending."""
        if self._next + count > self._end:
            self._reserve(count)
        first = self._next
        self._next += count
        return np.arange(first, first + count, dtype=np.int64)

    def _reserve(self, count: int) -> None:
        with self._database.write() as session:
            counter = session.get(Counter, self._name) or Counter(name=self._name, next=1)
            self._next = counter.next
            self._end = counter.next = counter.next + max(count, BLOCK)
            session.add(counter)
