"""Answers of a vendor: read within bounds, then judged by what the runner does next."""

from __future__ import annotations

import json
import math
import re
import ssl
import zlib
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from switchyard.api.errors import AuthError, PermanentError, SwitchyardError, TransientError

# The request was not carried out: repeating is always safe. 477 is HubSpot's "account is being moved"; 521, 522 and
# 523 are Cloudflare's for an origin that was not reached.
_NOT_DONE = frozenset({408, 423, 425, 429, 477, 503, 521, 522, 523})
_NEVER = frozenset({501, 505})
_DAY = 86_400.0
_PIECE = 2**20
_PLAIN = re.compile(r"[A-Za-z][A-Za-z_.-]*|v\d+(\.\d+)?|\d{4}-\d{2}(-beta)?|")
_CODE = re.compile(r"[\w.-]{1,64}")


class UnknownOutcome(TransientError):
    """The request was sent, no usable answer came, and repeating it could double its effect: read back instead."""

    outcome_unknown = True


def json_of(answer: httpx.Response) -> Any:
    """The body as JSON.

    Raises:
        TransientError: it is none: cut short, a sign-in page, or nested without end.
    """
    try:
        return json.loads(answer.content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "no content type").partition(";")[0]
        kind = kind if re.fullmatch(r"[\w.+/ -]{1,80}", kind) else "an odd content type"
        raise TransientError(
            f"{answer.request.method} {template(answer.request.url.path)} answered {answer.status_code} with {kind}, "
            f"{len(answer.content)} bytes that are not JSON"
        ) from None


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, in any form seen in the wild; None for none or garbage.

    `now` is seconds since the epoch. Never below 0, never above a day.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _DAY)


def template(path: str) -> str:
    """The path for people: segments that may name a person or a record are left out."""
    return "/".join(s if _PLAIN.fullmatch(s) else "{id}" for s in path.split("/"))


def error_of(name: str, answer: httpx.Response, now: float, *, repeatable: bool) -> SwitchyardError:
    """What a status means where the connector does not know better; `name` is the call in the message."""
    status = answer.status_code
    text = f"{name} answered {status}{_vendor_words(answer)}"
    if status == 401:
        return AuthError(f"{text}; sign in again")
    if 300 <= status < 400:
        return PermanentError(f"{text}; redirects are not followed")
    pause = retry_after(answer.headers.get("retry-after"), now)
    if status in _NOT_DONE:
        return TransientError(text, retry_after=pause)
    if status >= 500 and status not in _NEVER:
        if repeatable:
            return TransientError(text, retry_after=pause)
        return UnknownOutcome(f"{text}; it may have been carried out", retry_after=pause)
    return PermanentError(text)


def read(answer: httpx.Response, cap: int) -> bytes:
    """The body, decompressed in steps, so that a bomb is noticed before it has gone off.

    Raises:
        PermanentError: it is larger than `cap` bytes.
        httpx.RequestError: it broke off, or is not what its headers say.
    """
    assert isinstance(answer.stream, httpx.SyncByteStream)  # noqa: S101
    unpacked = Unpacked(answer.headers.get("content-encoding", ""))
    body = bytearray()
    for chunk in answer.stream:
        for piece in unpacked.feed(chunk):
            body += piece
            if len(body) > cap:
                raise PermanentError(f"an answer is larger than {cap} bytes and was cut off")
    unpacked.end()
    return bytes(body)


class Unpacked:
    """A body taken out of its content-encoding, in pieces of bounded size.

    Raises, here and from both methods:
        httpx.DecodingError: it is in no encoding that was asked for, damaged, cut short, or followed by more.
    """

    def __init__(self, encoding: str) -> None:
        encoding = encoding.strip().lower() or "identity"
        if encoding not in ("identity", "gzip"):
            raise httpx.DecodingError(f"content-encoding {encoding[:20]}")
        self._unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the next bytes of the wire hold."""
        if self._unzip is None:
            yield chunk
            return
        self._begun = self._begun or bool(chunk)
        try:
            while chunk:
                yield self._unzip.decompress(chunk, _PIECE)
                chunk = self._unzip.unconsumed_tail
        except zlib.error as error:
            raise httpx.DecodingError("gzip") from error

    def end(self) -> None:
        """No more will come."""
        if self._unzip is not None and self._begun and (not self._unzip.eof or self._unzip.unused_data):
            raise httpx.DecodingError("gzip")


def distrust(error: BaseException | None) -> str | None:
    """Why the certificate was refused, where that is what the error comes from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _vendor_words(answer: httpx.Response) -> str:
    """The vendor's own codes for the fault, where they are codes: its message may quote a person."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    found = ((name, body.get(name)) for name in ("category", "correlationId"))
    words = [f"{name} {word}" for name, word in found if isinstance(word, str) and _CODE.fullmatch(word)]
    return f" ({', '.join(words)})" if words else ""


def _no_number(name: str) -> float:
    raise ValueError(name)
