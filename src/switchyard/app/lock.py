"""`hub.lock`: one process at a time is the engine of a project."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from switchyard.api.errors import TransientError


class Occupied(TransientError):
    """Another process is the engine."""


class HubLock:
    """Held while the context lasts; the operating system lets go of it when the process ends, however it ends.

    Raises, on entering:
        Occupied: another process holds it; says which.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def __enter__(self) -> "HubLock":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            self._file = None
            raise Occupied(
                f"another switchyard process ({holder or 'unknown'}) is at work here; wait for it, or stop it"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None
