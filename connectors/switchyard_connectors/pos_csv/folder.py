"""The drop folder: which files are there, complete, and safe to open."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from switchyard.api import TransientError
from switchyard_connectors.pos_csv.config import PosCsvConfig

_UNFINISHED = (".tmp", ".part", ".filepart", ".inprogress")
_PROCESSED = "processed"


@dataclass(frozen=True, slots=True)
class DropFile:
    """A file of the folder as it stood when it was looked at. Any change of content changes one of the numbers."""

    name: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, name: str, status: os.stat_result) -> DropFile:
        return cls(name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def label(self) -> str:
        """The name as text that any store can hold."""
        return os.fsencode(self.name).decode("utf-8", "replace").replace("\0", "")


class DropFolder:
    """The files of one folder, never of one above, below or beside it: links and special files are not seen.

    Args:
        path: the folder.
        config: what a file's name is like and when it is complete.
    """

    def __init__(self, path: Path, config: PosCsvConfig) -> None:
        self._path = path
        self._config = config

    def ready(self) -> list[DropFile]:
        """The complete files in the order to read them. Waits once for `stable_seconds` where a file is young.

        Raises:
            TransientError: the folder cannot be listed.
        """
        files = self._list()
        if self._config.ready == "stable":
            files = self._stable(files)
        by_name = sorted(files, key=lambda file: _natural(file.name))
        return sorted(by_name, key=lambda file: file.mtime_ns) if self._config.order == "mtime" else by_name

    def open(self, file: DropFile) -> BinaryIO:
        """Open a listed file for reading.

        Raises:
            OSError: it is gone, may not be read, or has been replaced by something that is not a regular file.
        """
        with _Directory(self._path) as directory:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(file.name, flags, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(file.name)
        return os.fdopen(descriptor, "rb", buffering=0)

    def unchanged(self, file: DropFile) -> bool:
        """Whether the file under this name is still the one that was listed."""
        with suppress(OSError), _Directory(self._path) as directory:
            return DropFile.of(file.name, os.stat(file.name, dir_fd=directory, follow_symlinks=False)) == file
        return False

    def retire(self, file: DropFile, sha256: str) -> None:
        """Move a file that is fully committed, with its marker, to the folder `processed`."""
        with _Directory(self._path) as directory:
            with suppress(FileExistsError):
                os.mkdir(_PROCESSED, dir_fd=directory)
            with _Directory(Path(_PROCESSED), directory) as processed:
                name = _free(file.name, sha256, processed)
                os.rename(file.name, name, src_dir_fd=directory, dst_dir_fd=processed)
                moved = os.stat(name, dir_fd=processed, follow_symlinks=False)
                if (moved.st_ino, moved.st_size, moved.st_mtime_ns) != (file.inode, file.size, file.mtime_ns):
                    # The producer put a new file there between the look and the move: that one is still to be read.
                    os.link(name, file.name, src_dir_fd=processed, dst_dir_fd=directory)
                    os.unlink(name, dir_fd=processed)
                    return
                for marker in self._marker_names(file.name):
                    with suppress(FileNotFoundError):
                        os.rename(marker, f"{name}{_suffix(marker)}", src_dir_fd=directory, dst_dir_fd=processed)

    def _list(self) -> list[DropFile]:
        try:
            with os.scandir(self._path) as entries:
                found = {entry.name: entry for entry in entries if entry.is_file(follow_symlinks=False)}
                files = []
                for name, entry in found.items():
                    if self._wanted(name) and (self._config.ready != "marker" or self._is_marked(name, found)):
                        with suppress(FileNotFoundError):
                            files.append(DropFile.of(name, entry.stat(follow_symlinks=False)))
                return files
        except OSError as error:
            raise TransientError(f"cannot list the folder {self._path}: {error.strerror}") from error

    def _wanted(self, name: str) -> bool:
        lower = name.lower()
        return (
            not lower.startswith(".")
            and not lower.endswith((*_UNFINISHED, *self._config.markers))
            and any(fnmatchcase(lower, pattern.lower()) for pattern in self._config.pattern)
        )

    def _is_marked(self, name: str, found: Iterable[str]) -> bool:
        return any(marker in found for marker in self._marker_names(name))

    def _marker_names(self, name: str) -> list[str]:
        return [base + suffix for suffix in self._config.markers for base in (name, name.rsplit(".", 1)[0])]

    def _stable(self, files: list[DropFile]) -> list[DropFile]:
        # A file of no bytes has just been created; its content is still to come.
        files = [file for file in files if file.size]
        now = time.time_ns()
        needed = int(self._config.stable_seconds * 1e9)
        young = [file for file in files if not 0 <= now - file.mtime_ns >= needed]
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

    def get(self, file: DropFile) -> str | None:
        """The SHA-256 of exactly this file, in hex, where it is known."""
        entry = self._known.get(file.label)
        return str(entry[-1]) if isinstance(entry, list) and entry[:-1] == _identity(file) else None

    def put(self, file: DropFile, sha256: str) -> None:
        """Remember the hash of a file that did not change while it was read."""
        self._known[file.label] = [*_identity(file), sha256]

    def save(self, present: Iterable[DropFile]) -> None:
        """Write down what is known of the files that are still there."""
        labels = {file.label for file in present}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".tmp")
        partial.write_text(json.dumps({name: entry for name, entry in self._known.items() if name in labels}), "utf-8")
        partial.replace(self._path)


class _Directory:
    """A directory's descriptor, so that names are looked up in that directory and nowhere else."""

    def __init__(self, path: Path, parent: int | None = None) -> None:
        self._path = path
        self._parent = parent

    def __enter__(self) -> int:
        # The operator may name a folder by a link; what lies in it may not lead out of it.
        follow = 0 if self._parent is None else os.O_NOFOLLOW
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow
        self._descriptor = os.open(self._path, flags, dir_fd=self._parent)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _identity(file: DropFile) -> list[object]:
    return [file.inode, file.size, file.mtime_ns, file.ctime_ns]


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _free(name: str, sha256: str, directory: int) -> str:
    taken = set(os.listdir(directory))
    number = 0
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{sha256[:8]}-{number}-{name}"
    return candidate


def _suffix(marker: str) -> str:
    return "." + marker.rsplit(".", 1)[-1]
