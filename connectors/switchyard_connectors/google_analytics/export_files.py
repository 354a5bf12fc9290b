"""The drop folder of the BigQuery export: which files there are, complete, and of which day."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from switchyard.api import PermanentError, TransientError
from switchyard_connectors.google_analytics.config import ExportFolder

# The table's name, then whatever tells its parts apart: `events_20261101.parquet`, `events_20261101-000000003.json.gz`.
_NAME = re.compile(
    r"events_(?P<intraday>intraday_)?(?P<day>\d{8})(?!\d{1,3}(\D|$)).*\."
    r"(?P<kind>parquet|json|jsonl|ndjson)(?P<gz>\.gz)?"
)
_UNFINISHED = (".tmp", ".part", ".filepart", ".inprogress")
_BLOCK = 4 << 20


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of the folder as it stood when it was looked at. Any change of content changes one of the numbers.

    Args:
        name: within the folder.
        day: the day of its table, YYYYMMDD.
        intraday: whether the table is the day's streaming table, which the daily one replaces.
        parquet: what it holds; else JSON lines.
        identity: inode, size, and when content and inode changed (ns).
    """

    name: str
    day: str
    intraday: bool
    parquet: bool
    identity: tuple[int, int, int, int]


class Folder:
    """The files of one folder, never of one above, below or beside it: links and special files are not seen."""

    def __init__(self, path: Path, config: ExportFolder) -> None:
        self._path = path
        self._config = config

    def ready(self) -> list[ExportFile]:
        """The complete files by their days. Waits once for `stable_seconds` where a file is young. A streaming table is
        left out where the day's own is there.

        Raises:
            TransientError: the folder cannot be listed.
        """
        files = self._stable(self._list())
        final = {file.day for file in files if not file.intraday}
        wanted = [file for file in files if not file.intraday or (self._config.intraday and file.day not in final)]
        return sorted(wanted, key=lambda file: (file.day, file.name))

    def path(self, file: ExportFile) -> Path:
        """Where a file is."""
        return self._path / file.name

    def unchanged(self, file: ExportFile) -> bool:
        """Whether the file under this name is still the one that was listed."""
        with suppress(OSError):
            return _identity(self.path(file).lstat()) == file.identity
        return False

    def content(self, file: ExportFile) -> str | None:
        """The SHA-256 of the file's content in hex; None where it is gone or changed meanwhile.

        Raises:
            PermanentError: it may not be read.
        """
        digest = hashlib.sha256()
        try:
            descriptor = os.open(self.path(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as content:
                while block := content.read(_BLOCK):
                    digest.update(block)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PermanentError(f"may not read {file.name} in {self._path}: {error.strerror}") from error
        return digest.hexdigest() if self.unchanged(file) else None

    def _list(self) -> list[ExportFile]:
        found = []
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    match = _NAME.fullmatch(entry.name)
                    if match and not entry.name.endswith(_UNFINISHED):
                        with suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(status.st_mode) and status.st_size:
                                found.append(_file(match, status))
        except OSError as error:
            raise TransientError(f"cannot list the folder {self._path}: {error.strerror}") from error
        return found

    def _stable(self, files: list[ExportFile]) -> list[ExportFile]:
        needed = int(self._config.stable_seconds * 1e9)
        now = time.time_ns()
        young = [file for file in files if not 0 <= now - file.identity[2] >= needed]
        if young:
            # Two looks say more than the age alone: clocks of file servers differ.
            time.sleep(self._config.stable_seconds)
        return [file for file in files if file not in young or self.unchanged(file)]


class KnownFiles:
    """Content hashes of files seen before, so that a file that stays in the folder is not hashed at every sync.

    Derived and disposable: without it, files are hashed again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError):
            known = json.loads(path.read_text("utf-8"))
            self._known = known if isinstance(known, dict) else {}

    def get(self, file: ExportFile) -> str | None:
        """The hash of exactly this file, where it is known."""
        entry = self._known.get(file.name)
        return str(entry[-1]) if isinstance(entry, list) and entry[:-1] == list(file.identity) else None

    def put(self, file: ExportFile, content: str) -> None:
        """Remember the hash of a file that did not change while it was read."""
        self._known[file.name] = [*file.identity, content]

    def save(self, present: Iterable[ExportFile]) -> None:
        """Write down what is known of the files that are still there."""
        names = {file.name for file in present}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({name: entry for name, entry in self._known.items() if name in names}), "utf-8")
        fresh.replace(self._path)


def _file(match: re.Match[str], status: os.stat_result) -> ExportFile:
    parquet = match["kind"] == "parquet" and not match["gz"]
    return ExportFile(match.string, match["day"], match["intraday"] is not None, parquet, _identity(status))


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
