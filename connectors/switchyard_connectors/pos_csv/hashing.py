"""A 64-bit hash of many byte strings at once.

Line ids are made of it, so its values are kept for ever: never change it. It guards against accident, not against an
author of lines who looks for collisions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Bytes: TypeAlias = NDArray[np.uint8]
Offsets: TypeAlias = NDArray[np.int64]
Hashes: TypeAlias = NDArray[np.uint64]

_LONG = 256
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xD6E8FEB86659FD93)
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)


def hash_ranges(data: Bytes, start: Offsets, end: Offsets) -> Hashes:
    """The hash of `data[start[i]:end[i]]` for every i."""
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.ndarray(shape=(len(data) + 1,), dtype="<u8", buffer=padded, strides=(1,))
    length = end - start
    hashes = (length.astype(np.uint64) + np.uint64(1)) * _SECOND
    long = np.flatnonzero(length > _LONG)
    # Sorted by length, the rows that still have bytes left are always the tail.
    rows = np.argsort(np.minimum(length, _LONG + 1), kind="stable")
    rows = rows[: len(rows) - len(long)]
    lengths, starts, state = length[rows], start[rows], hashes[rows]
    for position in range(0, int(lengths[-1]) if len(rows) else 0, 8):
        first = int(np.searchsorted(lengths, position, side="right"))
        word = words[starts[first:] + position] & _MASKS[np.minimum(lengths[first:] - position, 8)]
        mixed = (state[first:] ^ word) * _FACTOR
        state[first:] = mixed ^ (mixed >> np.uint64(29))
    hashes[rows] = state
    for row in long:
        digest = hashlib.blake2b(data[start[row] : end[row]].tobytes(), digest_size=8).digest()
        hashes[row] = np.uint64(int.from_bytes(digest, "little"))
    hashes = (hashes ^ (hashes >> np.uint64(32))) * _SECOND
    return hashes ^ (hashes >> np.uint64(32))


def hash_texts(texts: pa.Array) -> Hashes:
    """The hash of every value of a string array without NULLs."""
    if not len(texts):
        return np.empty(0, np.uint64)
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return hash_ranges(content, bounds[:-1], bounds[1:])


def hex_digits(hashes: Hashes) -> pa.Array:
    """Sixteen hex digits for every hash, as a string array."""
    import pyarrow as pa

    pairs = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), "S2")
    text = pairs[hashes.astype(">u8").view(np.uint8)]
    offsets = np.arange(0, 16 * (len(hashes) + 1), 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text)))
