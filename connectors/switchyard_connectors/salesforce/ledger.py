"""The ids that were ever read of an object: 18 bytes each, in a file, worked on a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.bytes_]

_WIDTH = 18
_TYPE = f"S{_WIDTH}"
_SLACK = 16 * 2**20
"""Bytes that may be appended, beyond as many as there were, before repetitions are thrown out."""
_SHARE = 200_000
"""Ids that are compared at once."""


class IdLedger:
    """Which records the hub may hold. Ids are noted before their page is committed: one too many does no harm.

    Where the file is lost, deletions that Salesforce has forgotten stay unseen until everything is read anew.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        # Beside it stands how large it was without repetitions: whoever asks lives for one sync.
        self._compact = file.with_suffix(".compact")

    def __bool__(self) -> bool:
        return self._file.exists() and self._file.stat().st_size >= _WIDTH

    def note(self, ids: pa.ChunkedArray) -> None:
        """Remember ids; others than 18-character ones are none of Salesforce's."""
        size = _append(self._file, ids.to_pylist())
        if size > _SLACK and size > 2 * self._compacted() + _SLACK:
            fresh = self._file.with_suffix(".new")
            with fresh.open("wb") as file:
                for share in _shares(self._file, size):
                    file.write(share.tobytes())
            fresh.replace(self._file)
            self._compact.write_text(str(self._file.stat().st_size), encoding="ascii")

    def _compacted(self) -> int:
        try:
            return int(self._compact.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def missing(self, present: Iterable[list[str]]) -> Iterator[list[str]]:
        """The ids noted that are not among those present, a share at a time."""
        there = self._file.with_suffix(".present")
        there.unlink(missing_ok=True)
        try:
            size = self._file.stat().st_size if self._file.exists() else 0
            for page in present:
                size = max(size, _append(there, page))
            for known, found in zip(_shares(self._file, size), _shares(there, size), strict=True):
                lost = np.setdiff1d(known, found, assume_unique=True)
                yield [each.decode() for each in lost.tolist() if len(each) == _WIDTH and each.isalnum()]
        finally:
            there.unlink(missing_ok=True)


def _append(to: Path, ids: Iterable[str | None]) -> int:
    """Append ids to a file; its size."""
    listed = b"".join(each.encode() for each in ids if each and len(each) == _WIDTH and each.isascii())
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("ab") as file:
        # Behind half an id, which a full disk or a power loss left, none would be where it is looked for.
        file.truncate(file.tell() // _WIDTH * _WIDTH)
        file.write(listed)
        return file.tell()


def _shares(source: Path, size: int) -> Iterator[Ids]:
    """The ids of a file, each once, in shares by what they end with: two files of one `size` share alike."""
    count = max(1, -(-size // (_SHARE * _WIDTH)))
    for share in range(count):
        yield np.unique(np.concatenate([np.empty(0, _TYPE), *_chosen(source, share, count)]))


def _chosen(source: Path, share: int, count: int) -> Iterator[Ids]:
    at, end = 0, source.stat().st_size // _WIDTH if source.exists() else 0
    while at < end:
        ids = np.fromfile(source, _TYPE, min(_SHARE, end - at), offset=at * _WIDTH)
        at += len(ids)
        letters = ids.view(np.uint8).reshape(-1, _WIDTH).astype(np.uint32)
        # The last three before the check are those that differ most.
        named = (letters[:, 12] * 3844 + letters[:, 13] * 62 + letters[:, 14]) % count
        yield ids[named == share]
