"""Which files are still being read: a file that compaction replaced is unlinked when its last reader lets go."""

import threading
from collections import Counter
from collections.abc import Collection

from switchyard.eventlog.files import LogFolder


class Holds:
    def __init__(self, folder: LogFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._readers: Counter[str] = Counter()
        self._retired: set[str] = set()

    def take(self, names: Collection[str]) -> None:
        with self._lock:
            self._readers.update(names)

    def release(self, names: Collection[str]) -> None:
        with self._lock:
            self._readers.subtract(names)
            self._unlink()

    def retire(self, names: Collection[str]) -> None:
        """Unlink files that the catalogue no longer names, now or when nobody reads them."""
        with self._lock:
            self._retired.update(names)
            self._unlink()

    def _unlink(self) -> None:
        free = {name for name in self._retired if self._readers[name] <= 0}
        self._folder.remove(free)
        self._retired -= free
        self._readers = +self._readers
