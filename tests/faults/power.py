"""A disk that loses its power, for SQLite: only what was synced is sure to be there afterwards.

What was written since the last sync of its file may be there, in any subset, and each write torn at any sector. The
product's own code runs on it: `driver` is a DB-API module over APSW that stands in for the one it uses.
"""

# ruff: noqa: N802  # SQLite gives the methods their names

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import apsw

SECTOR = 512


@dataclass
class File:
    """Bytes as the running system sees them, and as they are sure to be found."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)
    """(offset, data); (size, b"") for a truncation."""

    def write(self, offset: int, data: bytes) -> None:
        _put(self.content, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        self.synced = bytes(self.content)
        self.unsynced.clear()

    def survived(self, draw: random.Random) -> File:
        """What is found when the power is back."""
        found = bytearray(self.synced)
        share = draw.choice((0.0, 0.5, 0.9, 1.0))
        for offset, data in self.unsynced:
            if not data:
                if draw.random() < share:
                    del found[offset:]
                continue
            for start in range(0, len(data), SECTOR):
                if draw.random() < share:
                    _put(found, offset + start, data[start : start + SECTOR])
        return File(found, bytes(found))


@dataclass
class Disk:
    """Files by name. It dies at its `life`-th write or sync."""

    life: int
    files: dict[str, File] = field(default_factory=dict)

    def work(self) -> None:
        self.life -= 1
        if self.life <= 0:
            raise apsw.IOError("no power")

    def after_power_loss(self, draw: random.Random, life: int) -> Disk:
        """The disk as it is found, with a new life."""
        return Disk(life, {name: file.survived(draw) for name, file in self.files.items()})


class _Handle:
    """An open file, as SQLite asks for one."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._file = disk.files.setdefault(name, File())

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._file.content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.work()
        self._file.write(offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        self._disk.work()
        del self._file.content[size:]
        self._file.unsynced.append((size, b""))

    def xSync(self, flags: int) -> None:
        self._disk.work()
        self._file.sync()

    def xFileSize(self) -> int:
        return len(self._file.content)

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        # As SQLite assumes of every disk: a write damages nothing beside it.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xLock(self, level: int) -> None: ...

    def xUnlock(self, level: int) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None: ...


class PowerVFS(apsw.VFS):
    """SQLite's way to the disk, under the name "power"."""

    def __init__(self) -> None:
        super().__init__("power", "")
        self.disk = Disk(0)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        flags[1] = flags[0]
        return _Handle(self.disk, str(name.filename() if hasattr(name, "filename") else name))

    def xDelete(self, name: str, sync_folder: bool) -> None:
        if self.disk.life > 0:
            self.disk.files.pop(name, None)

    def xAccess(self, name: str, flags: int) -> bool:
        return name in self.disk.files

    def xFullPathname(self, name: str) -> str:
        return name


class _Cursor:
    def __init__(self, connection: apsw.Connection) -> None:
        self._cursor = connection.cursor()
        self.arraysize = 1
        self.rowcount = self.lastrowid = -1
        self.description: Sequence[Any] | None = None
        self._rows: Iterator[Any] = iter(())
        # Once a statement is done, nothing says any more what its columns were.
        self._cursor.exec_trace = self._describe

    def _describe(self, cursor: apsw.Cursor, _statement: str, _parameters: Any) -> bool:
        self.description = [(*each, *[None] * 5) for each in cursor.get_description()] or None
        return True

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> _Cursor:
        self._cursor.execute(statement, tuple(parameters))
        self._rows = iter(self._cursor.fetchall())
        return self

    def executemany(self, statement: str, rows: Any) -> _Cursor:
        self._cursor.executemany(statement, [tuple(row) for row in rows])
        return self

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None:
        self._cursor.close()


class _Connection:
    def __init__(self, path: str, autocheckpoint: int) -> None:
        self._connection = apsw.Connection(path, vfs="power")
        # Without memory that processes share, a log has one user.
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self.execute(f"PRAGMA wal_autocheckpoint={autocheckpoint}")

    def cursor(self) -> _Cursor:
        return _Cursor(self._connection)

    def execute(self, statement: str) -> _Cursor:
        return self.cursor().execute(statement)

    def create_function(self, *_args: Any, **_options: Any) -> None: ...

    def commit(self) -> None:
        if self._connection.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        with contextlib.suppress(apsw.IOError):
            self._connection.close(force=True)


def driver(autocheckpoint: int) -> Any:
    """A DB-API module whose connections are on the disk of the VFS "power"."""
    return SimpleNamespace(
        paramstyle="qmark",
        # One that the store uses by one connection only.
        sqlite_version="3.40.0",
        sqlite_version_info=(3, 40, 0),
        Error=apsw.Error,
        ProgrammingError=apsw.ConnectionClosedError,
        Binary=bytes,
        connect=lambda path, **_options: _Connection(path, autocheckpoint),
    )


def _put(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data
