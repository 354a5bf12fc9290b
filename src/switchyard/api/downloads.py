"""Downloads: a body of any size into a file, piece by piece, going on where it broke off."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import httpx

from switchyard.api import lanes
from switchyard.api.answers import Unpacked, read
from switchyard.api.errors import PermanentError

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_JUDGED = 2**20
"""JSON of so many bytes at most may be a vendor's error instead of the file."""


class Download:
    """One download through all its attempts. As a context manager: without `finish`, nothing is left behind.

    Args:
        file: where the body goes; it is there when it is whole, and beside it `.part` until then.
        cap: bytes of the file at most.
        small: bytes at most of any other answer.
    """

    def __init__(self, file: Path, cap: int, small: int) -> None:
        self._file = file
        self._cap = cap
        self._small = small
        self._part = file.with_name(f"{file.name}.part")
        self._out: BinaryIO | None = None
        self._headers = httpx.Headers()
        self._body = Unpacked("identity")
        self._length: int | None = None
        self._taken = self._written = self._asked_from = 0
        self._is_whole = False

    def __enter__(self) -> Download:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None:
            self._out.close()
            self._part.unlink(missing_ok=True)

    @property
    def went_on(self) -> bool:
        """Whether the last attempt brought more of what was there already."""
        return 0 < self._asked_from < self._taken

    def wish(self) -> dict[str, str]:
        """Headers that ask for the rest of what broke off, where the vendor promised to give it."""
        if self._is_whole:
            self._forget()
        tag, accepted = self._tag(), self._headers.get("accept-ranges", "").lower()
        is_same = self._length is not None or tag is not None
        self._asked_from = self._taken if accepted == "bytes" and is_same else 0
        if not self._asked_from:
            return {}
        return {"range": f"bytes={self._taken}-"} | ({"if-range": tag} if tag else {})

    def take(self, answer: httpx.Response) -> bytes:
        """Read an answer: into the file where it is the body or the rest of it. The body for a judge.

        Raises:
            httpx.RequestError: it broke off, is damaged, or not the rest of what is there.
            PermanentError: it is too large, or the file cannot be written.
        """
        if answer.status_code == httpx.codes.PARTIAL_CONTENT:
            self._go_on(answer.headers)
        elif answer.is_success:
            self._begin(answer.headers)
        else:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and self._taken:
                self._forget()
                raise httpx.RemoteProtocolError("the range is refused")
            return read(answer, self._small)
        try:
            self._write(answer)
        except httpx.DecodingError:
            self._forget()
            raise
        self._is_whole = True
        return self._json()

    def finish(self) -> httpx.Headers:
        """Put the file in its place. The headers that its body began with."""
        try:
            self._opened().close()
            self._part.replace(self._file)
        except OSError as error:
            raise self._unwritable(error) from error
        self._out = None
        return self._headers

    def _begin(self, headers: httpx.Headers) -> None:
        self._forget()
        self._headers = headers
        self._body = Unpacked(headers.get("content-encoding", ""))
        length = headers.get("content-length", "")
        self._length = int(length) if length.isdecimal() else None

    def _go_on(self, headers: httpx.Headers) -> None:
        place = _RANGE.fullmatch(headers.get("content-range", ""))
        same = all(headers.get(name) == self._headers.get(name) for name in ("content-encoding", "etag"))
        if self._length is None:
            fits = self._tag() is not None
        else:
            fits = place is not None and place[2] in (str(self._length), "*" if self._tag() else "")
        if not self._taken or place is None or int(place[1]) != self._taken or not fits or not same:
            self._forget()
            raise httpx.RemoteProtocolError("the range is not the rest of what was read")

    def _tag(self) -> str | None:
        """The tag of the very bytes; a weak one stands for any bytes of the same meaning."""
        tag: str | None = self._headers.get("etag")
        return tag if tag and tag.startswith('"') else None

    def _write(self, answer: httpx.Response) -> None:
        assert isinstance(answer.stream, httpx.SyncByteStream)  # noqa: S101
        out = self._opened()
        for chunk in answer.stream:
            lanes.check()
            for piece in self._body.feed(chunk):
                self._written += len(piece)
                if self._written > self._cap:
                    raise PermanentError(f"a download is larger than {self._cap} bytes and was cut off")
                try:
                    out.write(piece)
                except OSError as error:
                    raise self._unwritable(error) from error
            self._taken += len(chunk)
        self._body.end()

    def _json(self) -> bytes:
        if self._written > _JUDGED or "json" not in self._headers.get("content-type", ""):
            return b""
        self._opened().flush()
        return self._part.read_bytes()

    def _forget(self) -> None:
        self._taken = self._written = 0
        self._is_whole = False
        self._headers = httpx.Headers()
        if self._out is not None:
            self._out.seek(0)
            self._out.truncate()

    def _opened(self) -> BinaryIO:
        if self._out is None:
            try:
                self._out = self._part.open("wb")
            except OSError as error:
                raise self._unwritable(error) from error
        return self._out

    def _unwritable(self, error: OSError) -> PermanentError:
        return PermanentError(f"cannot write {self._file}: {error.strerror}; make room for it, then run again")
