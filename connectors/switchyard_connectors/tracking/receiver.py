"""Decides what tracking accepts: calls with a write key of ours, in JSON, within the limits of Segment's API.

Limits and answers: segment.com/docs/connections/sources/catalog/libraries/server/http-api. Segment says 200 to an
unknown write key and 400 to what is too large; here they are 401 and 413, which libraries do not repeat either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Mapping

from pydantic_core import from_json

from switchyard.api import ConfigError
from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict
from switchyard_connectors.tracking.config import TrackingConfig

KINDS = ("identify", "track", "page", "screen", "group", "alias")
MAX_EVENT = 32 * 1024
"""Bytes of one call, and of one event in a batch."""
MAX_BATCH = 500 * 1024
"""Bytes of a batch."""
MAX_EVENTS = 2_500
"""Events of a batch."""

_BATCH = "batch"
# Libraries in browsers call by the first letter.
_CALLS: Mapping[str, str] = {
    "import": _BATCH,
    **{name: kind for kind in (*KINDS, _BATCH) for name in (kind, kind[0])},
}
_MEDIA = frozenset({"application/json", "text/plain", ""})
_UNKNOWN = Refused(401, "unknown write key")


class TrackingReceiver:
    """A `Receiver` for the fixed paths `paths`, which all tracking connections share: the write key tells whose a
    call is.

    Raises:
        ConfigError: a write key holds a colon. Said here, since a reference to a secret holds one too.
    """

    paths = tuple(f"/v1/{name}" for name in _CALLS)

    def __init__(self, config: TrackingConfig) -> None:
        self._keys = [key.get_secret_value().encode() for key in config.write_keys]
        if any(b":" in key for key in self._keys):
            raise ConfigError("a write key cannot hold a colon: libraries send it as a user's name", key="write_keys")

    def check(self, incoming: Incoming) -> Verdict:
        """See `Receiver.check`: 401 no write key of ours, 415 neither JSON nor gzip of it, 413 too large, 400 else."""
        call = _CALLS.get(incoming.url.partition("?")[0].rpartition("/v1/")[2])
        scheme, _, credentials = incoming.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() == "basic" and not self._knows(_user(credentials)):
            return _UNKNOWN
        known = scheme.lower() == "basic" or (scheme.lower() == "bearer" and self._knows(credentials.strip()))
        if incoming.headers.get("content-type", "").partition(";")[0].strip().lower() not in _MEDIA:
            return Refused(415, "send JSON: content-type application/json")
        body = _unpacked(incoming, MAX_BATCH if call == _BATCH else MAX_EVENT)
        if isinstance(body, Refused):
            return body
        try:
            document = from_json(body, allow_inf_nan=False)
        except ValueError:
            return Refused(400, "the body is no JSON")
        if not isinstance(document, dict):
            return Refused(400, "the body is no JSON object")
        if not known and not self._knows(document.get("writeKey")):
            return _UNKNOWN
        return _accepted(call, document, body, incoming)

    def _knows(self, key: object) -> bool:
        given = key.encode("utf-8", "replace") if isinstance(key, str) else b""
        return sum(hmac.compare_digest(given, each) for each in self._keys) > 0


def _accepted(call: str | None, document: dict[str, object], body: bytes, incoming: Incoming) -> Verdict:
    if call is None:
        return Refused(400, "there is no such call")
    if call == _BATCH:
        events = document.get("batch")
        if not isinstance(events, list):
            return Refused(400, "`batch` is no array")
        if len(events) > MAX_EVENTS:
            return Refused(400, f"a batch has at most {MAX_EVENTS:,} events")
    # Two equal calls without message ids are two events; a library that tries again repeats its message ids, and
    # these are what counts. So every request has a name of its own.
    name = hashlib.blake2b(body, digest_size=16, key=incoming.at.isoformat().encode()).hexdigest()
    return Accepted(name, body, {"call": call})


def _user(credentials: str) -> str:
    """The user's name of basic authentication, which is the write key; with its colon or without."""
    try:
        return (
            base64.b64decode(credentials.strip().encode("utf-8", "replace"), validate=True).decode().partition(":")[0]
        )
    except (binascii.Error, ValueError):
        return ""


def _unpacked(incoming: Incoming, most: int) -> bytes | Refused:
    """The body as it was before compression, of which no more is unpacked than is allowed."""
    too_large = Refused(413, f"the body is larger than {most:,} bytes")
    encoding = incoming.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return incoming.body if len(incoming.body) <= most else too_large
    if encoding not in ("gzip", "x-gzip"):
        return Refused(415, "send the body as it is, or with gzip")
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = unpacking.decompress(incoming.body, most + 1)
    except zlib.error:
        return Refused(400, "the body is no gzip")
    if len(body) > most:
        return too_large
    return body if unpacking.eof and not unpacking.unused_data else Refused(400, "the body is no whole gzip")
