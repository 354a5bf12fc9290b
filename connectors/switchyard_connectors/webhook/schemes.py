"""Who sent it: a check for each way of signing. All are constant in time, and take any header and any body.

Sources: standardwebhooks.com (specification 1.0), docs.stripe.com/webhooks, docs.github.com "Validating webhook
deliveries", shopify.dev "Verify webhook deliveries", developers.hubspot.com "Validating requests".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TypeAlias

from switchyard.api.receiving import Incoming
from switchyard_connectors.webhook.config import Scheme, WebhookConfig
from switchyard_connectors.webhook.keys import symmetric, verifying

Check: TypeAlias = Callable[[Incoming], str | None]
"""Why a request is not the sender's, None where it is."""

UNSIGNED = "the signature is missing"
FORGED = "the signature does not fit"
UNTIMED = "the timestamp is missing or no number"
STALE = "the timestamp is too far from now"


def checking(config: WebhookConfig) -> Check:
    """The check of the configured scheme."""
    secrets = [secret.get_secret_value() for secret in config.secrets]
    return _MAKERS[config.scheme](secrets, config)


def raw(value: str) -> bytes:
    """A header's value as it came over the wire."""
    return value.encode("latin-1", "replace")


def _hmacs(keys: Iterable[bytes], message: bytes) -> list[bytes]:
    return [hmac.digest(key, message, "sha256") for key in keys]


def _any_equal(given: Iterable[bytes], expected: Sequence[bytes]) -> bool:
    """Whether some of those given is one of those expected; every pair is compared."""
    return sum(hmac.compare_digest(one, other) for one in given for other in expected) > 0


def _off(incoming: Incoming, stamp: str, tolerance: float, per_second: int = 1) -> str | None:
    """Why a timestamp is not to be trusted."""
    if not re.fullmatch("[0-9]{1,15}", stamp, re.ASCII):
        return UNTIMED
    now = incoming.at.replace(tzinfo=UTC).timestamp()
    return STALE if abs(now - int(stamp) / per_second) > tolerance else None


def _standard(prefix: str) -> Callable[[Sequence[str], WebhookConfig], Check]:
    def make(secrets: Sequence[str], config: WebhookConfig) -> Check:
        keys = [symmetric(each) for each in secrets if not each.startswith("whpk_")]
        public = [verifying(each) for each in secrets if each.startswith("whpk_")]

        def check(incoming: Incoming) -> str | None:
            names = (f"{prefix}-id", f"{prefix}-timestamp", f"{prefix}-signature")
            delivery, stamp, signatures = (incoming.headers.get(name, "") for name in names)
            if not delivery or not signatures:
                return UNSIGNED
            if why := _off(incoming, stamp, config.tolerance):
                return why
            message = b".".join((raw(delivery), raw(stamp), incoming.body))
            # A version nobody here knows is another key's or another day's: skipped.
            versions = [each.rstrip(",").partition(",") for each in signatures.split()]
            given = [raw(text) for version, _, text in versions if version == "v1"]
            if _any_equal(given, [base64.b64encode(each) for each in _hmacs(keys, message)]):
                return None
            signed = [raw(text) for version, _, text in versions if version == "v1a"] if public else []
            return None if any(verified(text, message) for verified in public for text in signed) else FORGED

        return check

    return make


def _stripe(secrets: Sequence[str], config: WebhookConfig) -> Check:
    keys = [secret.encode() for secret in secrets]

    def check(incoming: Incoming) -> str | None:
        parts = [each.strip().partition("=") for each in incoming.headers.get("stripe-signature", "").split(",")]
        stamp = next((text for name, _, text in parts if name == "t"), "")
        given = [raw(text) for name, _, text in parts if name == "v1"]
        if not given:
            return UNSIGNED
        if why := _off(incoming, stamp, config.tolerance):
            return why
        expected = [each.hex().encode() for each in _hmacs(keys, raw(stamp) + b"." + incoming.body)]
        return None if _any_equal(given, expected) else FORGED

    return check


def _body_signed(
    header: str, prefix: bytes, written: Callable[[bytes], bytes]
) -> Callable[[Sequence[str], WebhookConfig], Check]:
    def make(secrets: Sequence[str], config: WebhookConfig) -> Check:  # noqa: ARG001
        keys = [secret.encode() for secret in secrets]

        def check(incoming: Incoming) -> str | None:
            if not (signature := incoming.headers.get(header)):
                return UNSIGNED
            expected = [prefix + written(each) for each in _hmacs(keys, incoming.body)]
            return None if _any_equal([raw(signature)], expected) else FORGED

        return check

    return make


def _hubspot_hashed(*, address: bool) -> Callable[[Sequence[str], WebhookConfig], Check]:
    def make(secrets: Sequence[str], config: WebhookConfig) -> Check:  # noqa: ARG001
        def check(incoming: Incoming) -> str | None:
            if not (signature := incoming.headers.get("x-hubspot-signature")):
                return UNSIGNED
            called = f"{incoming.method}{incoming.url}".encode("utf-8", "replace") if address else b""
            hashes = (hashlib.sha256(secret.encode() + called + incoming.body) for secret in secrets)
            return None if _any_equal([raw(signature)], [each.hexdigest().encode() for each in hashes]) else FORGED

        return check

    return make


_ESCAPED = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


def _hubspot_v3(secrets: Sequence[str], config: WebhookConfig) -> Check:
    keys = [secret.encode() for secret in secrets]

    def check(incoming: Incoming) -> str | None:
        stamp = incoming.headers.get("x-hubspot-request-timestamp", "")
        if not (signature := incoming.headers.get("x-hubspot-signature-v3")):
            return UNSIGNED
        if why := _off(incoming, stamp, config.tolerance, per_second=1000):
            return why
        # HubSpot signs the address with these characters as they are, and no others.
        url = _ESCAPED.sub(lambda match: chr(int(match[0][1:], 16)), incoming.url)
        message = f"{incoming.method}{url}".encode("utf-8", "replace") + incoming.body + raw(stamp)
        expected = [base64.b64encode(each) for each in _hmacs(keys, message)]
        return None if _any_equal([raw(signature)], expected) else FORGED

    return check


def _shared_secret(secrets: Sequence[str], config: WebhookConfig) -> Check:
    expected = [prefix + secret.encode() for secret in secrets for prefix in (b"", b"Bearer ")]

    def check(incoming: Incoming) -> str | None:
        if not (given := incoming.headers.get(config.header)):
            return "the secret is missing"
        return None if _any_equal([raw(given)], expected) else "the secret is wrong"

    return check


_MAKERS: Mapping[Scheme, Callable[[Sequence[str], WebhookConfig], Check]] = {
    "standard_webhooks": _standard("webhook"),
    "svix": _standard("svix"),
    "stripe": _stripe,
    "github": _body_signed("x-hub-signature-256", b"sha256=", lambda digest: digest.hex().encode()),
    "shopify": _body_signed("x-shopify-hmac-sha256", b"", base64.b64encode),
    "hubspot_v1": _hubspot_hashed(address=False),
    "hubspot_v2": _hubspot_hashed(address=True),
    "hubspot_v3": _hubspot_v3,
    "shared_secret": _shared_secret,
}


@dataclass(frozen=True, slots=True)
class Customs:
    """What a scheme's senders do besides signing: how they name a delivery (a header, or a JSON pointer into the
    body), and which headers say what a delivery is about.
    """

    delivery: str | None = None
    headers: tuple[str, ...] = ()

    def kept(self, incoming: Incoming, further: Iterable[str]) -> Iterator[tuple[str, str]]:
        for name in dict.fromkeys((*self.headers, *further)):
            if name in incoming.headers:
                yield name, incoming.headers[name]


CUSTOMS: Mapping[Scheme, Customs] = {
    "standard_webhooks": Customs("webhook-id", ("webhook-timestamp",)),
    "svix": Customs("svix-id", ("svix-timestamp",)),
    "stripe": Customs("/id"),
    "github": Customs("x-github-delivery", ("x-github-event", "x-github-hook-id")),
    "shopify": Customs("x-shopify-webhook-id", ("x-shopify-topic", "x-shopify-shop-domain", "x-shopify-triggered-at")),
    "hubspot_v1": Customs(),
    "hubspot_v2": Customs(),
    "hubspot_v3": Customs(None, ("x-hubspot-request-timestamp",)),
    "shared_secret": Customs(),
}
