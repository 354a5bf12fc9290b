"""Signatures of what is pushed: pieces that every receiver's check is made of, and HubSpot's schemes.

All comparisons are constant in time, and every function takes any header and any body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import TypeAlias

from switchyard.api.receiving import Incoming

Check: TypeAlias = Callable[[Incoming], str | None]
"""Why a request is not the sender's, None where it is."""

UNSIGNED = "the signature is missing"
FORGED = "the signature does not fit"
UNTIMED = "the timestamp is missing or no number"
STALE = "the timestamp is too far from now"


def raw(value: str) -> bytes:
    """A header's value as it came over the wire."""
    return value.encode("latin-1", "replace")


def hmacs(keys: Iterable[bytes], message: bytes) -> list[bytes]:
    """HMAC-SHA256 of a message by each key."""
    return [hmac.digest(key, message, "sha256") for key in keys]


def any_equal(given: Iterable[bytes], expected: Sequence[bytes]) -> bool:
    """Whether some of those given is one of those expected; every pair is compared."""
    return sum(hmac.compare_digest(one, other) for one in given for other in expected) > 0


def off(incoming: Incoming, stamp: str, tolerance: float, per_second: int = 1) -> str | None:
    """Why a timestamp is not to be trusted: none, or more than `tolerance` seconds from now, either way."""
    if not re.fullmatch("[0-9]{1,15}", stamp, re.ASCII):
        return UNTIMED
    now = incoming.at.replace(tzinfo=UTC).timestamp()
    return STALE if abs(now - int(stamp) / per_second) > tolerance else None


def hubspot_hashed(secrets: Sequence[str], *, address: bool) -> Check:
    """HubSpot's first two versions (developers.hubspot.com, "Validating requests"): the hex SHA-256 of secret and body,
    with `address` (version 2) of secret, method, address and body. They do not guard against a request sent again.
    """

    def check(incoming: Incoming) -> str | None:
        if not (signature := incoming.headers.get("x-hubspot-signature")):
            return UNSIGNED
        called = f"{incoming.method}{incoming.url}".encode("utf-8", "replace") if address else b""
        hashes = (hashlib.sha256(secret.encode() + called + incoming.body) for secret in secrets)
        return None if any_equal([raw(signature)], [each.hexdigest().encode() for each in hashes]) else FORGED

    return check


_ESCAPED = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


def hubspot_signed(method: str, url: str, body: bytes, stamp: str) -> bytes:
    """What HubSpot's third version signs. It has these characters of the address as they are, and no others."""
    address = _ESCAPED.sub(lambda match: chr(int(match[0][1:], 16)), url)
    return f"{method}{address}".encode("utf-8", "replace") + body + raw(stamp)


def hubspot_v3(secrets: Sequence[str], tolerance: float) -> Check:
    """HubSpot's third version: base64 of an HMAC-SHA256 over method, address, body and a timestamp in milliseconds."""
    keys = [secret.encode() for secret in secrets]

    def check(incoming: Incoming) -> str | None:
        stamp = incoming.headers.get("x-hubspot-request-timestamp", "")
        if not (signature := incoming.headers.get("x-hubspot-signature-v3")):
            return UNSIGNED
        if why := off(incoming, stamp, tolerance, per_second=1000):
            return why
        message = hubspot_signed(incoming.method, incoming.url, incoming.body, stamp)
        expected = [base64.b64encode(each) for each in hmacs(keys, message)]
        return None if any_equal([raw(signature)], expected) else FORGED

    return check
