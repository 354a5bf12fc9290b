"""A private copy of a file: hashed as it came, then unpacked and turned into UTF-8 text.

Copies are unnamed temporary files, so that a crash leaves nothing behind and no producer can change what is read.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import re
import struct
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from switchyard_connectors.pos_csv.config import FileRefused

_BLOCK = 4 << 20
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]+")
# One member's entry has at most three texts of 65,535 bytes (APPNOTE.TXT 4.3.12, the format of zip files).
_ZIP_DIRECTORY = 200_000


class Scratch(ExitStack):
    """Temporary files in a folder, closed together, and gone when they are closed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def file(self) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        return cast(BinaryIO, self.enter_context(tempfile.TemporaryFile(dir=self._folder)))


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a file as UTF-8.

    Args:
        file: the private copy.
        start: the first byte behind a byte order mark.
        widths: bytes in the original for each byte of the text, by its value; None where they are the same.
        origin: bytes of the original before `start`.
    """

    file: BinaryIO
    start: int = 0
    widths: NDArray[np.uint8] | None = None
    origin: int = 0

    def original(self, byte: int) -> int:
        """The byte of the original (or, where that is not known, of the text) for a byte of the text."""
        if self.widths is None:
            return byte
        self.file.seek(self.start)
        left, total = byte - self.start, self.origin
        while left > 0 and (data := self.file.read(min(left, _BLOCK))):
            total += int(self.widths[np.frombuffer(data, np.uint8)].sum(dtype=np.int64))
            left -= len(data)
        return total

    def part(self, start: int, length: int) -> str:
        """Some of the text, by position and length in bytes."""
        self.file.seek(start)
        return self.file.read(length).decode("utf-8")


def copy(source: BinaryIO, scratch: Scratch) -> tuple[BinaryIO, str]:
    """Copy a file as it is; returns the copy and the SHA-256 of its content in hex."""
    private, digest = scratch.file(), hashlib.sha256()
    while data := source.read(_BLOCK):
        digest.update(data)
        private.write(data)
    return private, digest.hexdigest()


def text(raw: BinaryIO, encoding: str, cap: int, scratch: Scratch) -> Text:
    """Unpack and decode a private copy.

    Raises:
        FileRefused: the content is larger than `cap` bytes, is a damaged archive or one that holds anything but one
            file, or is not in the encoding.
    """
    plain = _unpacked(raw, cap, scratch)
    plain.seek(0)
    head = plain.read(4)
    bom, marked = next(((mark, name) for mark, name in _BOMS if head.startswith(mark)), (b"", None))
    if encoding == "auto":
        encoding = marked or _guess(plain)
    elif marked is not None and marked.startswith(encoding.removesuffix("-sig")):
        encoding = marked
    else:
        bom = b""
    if encoding in ("utf-8", "utf-8-sig", "ascii"):
        _validate(plain, encoding.removesuffix("-sig"))
        return Text(plain, start=len(bom))
    plain.seek(len(bom))
    return Text(_transcoded(plain, encoding, len(bom), scratch), widths=_widths(encoding), origin=len(bom))


def _unpacked(raw: BinaryIO, cap: int, scratch: Scratch) -> BinaryIO:
    size = raw.seek(0, 2)
    raw.seek(0)
    head = raw.read(4)
    raw.seek(0)
    if not head.startswith((_GZIP, _ZIP)):
        if size > cap:
            raise _too_large(cap)
        return raw
    try:
        plain = _expanded(raw, cap, scratch) if head.startswith(_ZIP) else _capped(_gunzip(raw), cap, scratch)
    except (EOFError, OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileRefused(f"the compressed file is damaged or of an unknown kind ({type(error).__name__})") from error
    raw.close()
    return plain


def _gunzip(raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw))


def _expanded(raw: BinaryIO, cap: int, scratch: Scratch) -> BinaryIO:
    _refuse_crowded(raw)
    with zipfile.ZipFile(raw) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise FileRefused(f"the zip file holds {len(members)} files; put one in each")
        if members[0].flag_bits & 1:
            raise FileRefused("the zip file is encrypted")
        # Its name, which could lead anywhere, is never looked at.
        return _capped(cast(BinaryIO, archive.open(members[0])), cap, scratch)


def _capped(packed: BinaryIO, cap: int, scratch: Scratch) -> BinaryIO:
    plain, size = scratch.file(), 0
    with packed:
        while data := packed.read(_BLOCK):
            if not size and data.startswith((_GZIP, _ZIP)):
                raise FileRefused("the compressed file holds another compressed file; only one level is read")
            size += len(data)
            if size > cap:
                raise _too_large(cap)
            plain.write(data)
    return plain


def _too_large(cap: int) -> FileRefused:
    return FileRefused(f"the content is larger than {cap} bytes (max_bytes)")


def _refuse_crowded(raw: BinaryIO) -> None:
    """Refuse a directory too large for one member before the zip library reads it."""
    size = raw.seek(0, 2)
    raw.seek(max(0, size - 65_557))
    tail = raw.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise FileRefused("the zip file has no directory: cut off?")
    entries, directory = struct.unpack("<HI", tail[at + 10 : at + 16])
    if entries == 0xFFFF or directory > _ZIP_DIRECTORY or tail.find(b"PK\x06\x07", max(0, at - 20), at) >= 0:
        raise FileRefused("the zip file holds many files or is a zip64; put one file in each")


def _guess(plain: BinaryIO) -> str:
    """utf-8 where all of the file is; cp1252 where it is not and does not look like damaged utf-8 either."""
    try:
        _validate(plain, "utf-8")
    except FileRefused as damage:
        plain.seek(0)
        high = sequences = 0
        while data := plain.read(_BLOCK):
            high += sum(map(len, _HIGH.findall(data)))
            sequences += sum(map(len, _SEQUENCE.findall(data)))
        if 2 * sequences > high:
            reason = "most of the file is utf-8, but not this byte; mend it, or declare `encoding`"
            raise FileRefused(reason, line=damage.line, byte=damage.byte) from damage
        return "cp1252"
    return "utf-8"


def _validate(plain: BinaryIO, encoding: str) -> None:
    plain.seek(0)
    decoder, done, lines = codecs.getincrementaldecoder(encoding)(), 0, 1
    while data := plain.read(_BLOCK):
        if not data.isascii() or decoder.getstate()[0]:
            _decode(decoder, data, done, lines, encoding)
        done += len(data)
        lines += data.count(b"\n")
    _decode(decoder, b"", done, lines, encoding)


def _transcoded(plain: BinaryIO, encoding: str, done: int, scratch: Scratch) -> BinaryIO:
    result = scratch.file()
    decoder, lines, final = codecs.getincrementaldecoder(encoding)(), 1, False
    while not final:
        data = plain.read(_BLOCK)
        final = not data
        decoded = _decode(decoder, data, done, lines, encoding)
        try:
            result.write(decoded.encode("utf-8"))
        except UnicodeEncodeError as error:
            line = lines + decoded[: error.start].count("\n")
            raise FileRefused(f"the file is not {encoding}: half of a surrogate pair", line=line) from error
        lines += decoded.count("\n")
        done += len(data)
    plain.close()
    return result


def _decode(decoder: codecs.IncrementalDecoder, data: bytes, done: int, lines: int, encoding: str) -> str:
    kept = len(decoder.getstate()[0])
    try:
        return decoder.decode(data, not data)
    except UnicodeDecodeError as error:
        at = done - kept + error.start
        line = lines + data[: max(0, error.start - kept)].count(b"\n")
        raise FileRefused(f"the file is not {encoding}: {error.reason}", line=line, byte=at) from error


def _widths(encoding: str) -> NDArray[np.uint8] | None:
    """What each byte of the UTF-8 text takes in the original: characters begin at other than 0x80 to 0xbf, and those
    that begin at 0xf0 and above are the ones that take two units of UTF-16.
    """
    values = np.arange(256)
    starts = ((values & 0xC0) != 0x80).astype(np.uint8)
    if encoding.startswith("utf-16"):
        return (2 * starts + 2 * (values >= 0xF0)).astype(np.uint8)
    try:
        single = len(bytes(range(256)).decode(encoding, "replace")) == 256
    except UnicodeError:
        return None
    return starts if single else None
