"""Who sent it: a check for each way of signing. All are constant in time, and take any header and any body.

Sources: standardwebhooks.com (specification 1.0), docs.stripe.com/webhooks, docs.github.com "Validating webhook
deliveries", shopify.dev "Verify webhook deliveries", developers.hubspot.com "Validating requests".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from switchyard.api.receiving import Incoming
from switchyard.api.signatures import (
    FORGED,
    UNSIGNED,
    Check,
    any_equal,
    hmacs,
    hubspot_hashed,
    hubspot_v3,
    off,
    raw,
)
from switchyard_connectors.webhook.config import Scheme, WebhookConfig
from switchyard_connectors.webhook.keys import symmetric, verifying


def checking(config: WebhookConfig) -> Check:
    """The check of the configured scheme."""
    secrets = [secret.get_secret_value() for secret in config.secrets]
    return _MAKERS[config.sender](secrets, config)


def _standard(prefix: str) -> Callable[[Sequence[str], WebhookConfig], Check]:
    def make(secrets: Sequence[str], config: WebhookConfig) -> Check:
        keys = [symmetric(each) for each in secrets if not each.startswith("whpk_")]
        public = [verifying(each) for each in secrets if each.startswith("whpk_")]

        def check(incoming: Incoming) -> str | None:
            names = (f"{prefix}-id", f"{prefix}-timestamp", f"{prefix}-signature")
            delivery, stamp, signatures = (incoming.headers.get(name, "") for name in names)
            if not delivery or not signatures:
                return UNSIGNED
            if why := off(incoming, stamp, config.tolerance):
                return why
            message = b".".join((raw(delivery), raw(stamp), incoming.body))
            # A version nobody here knows is another key's or another day's: skipped.
            versions = [each.rstrip(",").partition(",") for each in signatures.split()]
            given = [raw(text) for version, _, text in versions if version == "v1"]
            if any_equal(given, [base64.b64encode(each) for each in hmacs(keys, message)]):
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
        if why := off(incoming, stamp, config.tolerance):
            return why
        expected = [each.hex().encode() for each in hmacs(keys, raw(stamp) + b"." + incoming.body)]
        return None if any_equal(given, expected) else FORGED

    return check


def _body_signed(
    header: str, prefix: bytes, written: Callable[[bytes], bytes]
) -> Callable[[Sequence[str], WebhookConfig], Check]:
    def make(secrets: Sequence[str], config: WebhookConfig) -> Check:  # noqa: ARG001
        keys = [secret.encode() for secret in secrets]

        def check(incoming: Incoming) -> str | None:
            if not (signature := incoming.headers.get(header)):
                return UNSIGNED
            expected = [prefix + written(each) for each in hmacs(keys, incoming.body)]
            return None if any_equal([raw(signature)], expected) else FORGED

        return check

    return make


def _hubspot(version: int) -> Callable[[Sequence[str], WebhookConfig], Check]:
    def make(secrets: Sequence[str], config: WebhookConfig) -> Check:
        if version == 3:
            return hubspot_v3(secrets, config.tolerance)
        return hubspot_hashed(secrets, address=version == 2)

    return make


def _shared_secret(secrets: Sequence[str], config: WebhookConfig) -> Check:
    expected = [prefix + secret.encode() for secret in secrets for prefix in (b"", b"Bearer ")]

    def check(incoming: Incoming) -> str | None:
        if not (given := incoming.headers.get(config.header)):
            return "the secret is missing"
        return None if any_equal([raw(given)], expected) else "the secret is wrong"

    return check


_MAKERS: Mapping[Scheme, Callable[[Sequence[str], WebhookConfig], Check]] = {
    "standard_webhooks": _standard("webhook"),
    "svix": _standard("svix"),
    "stripe": _stripe,
    "github": _body_signed("x-hub-signature-256", b"sha256=", lambda digest: digest.hex().encode()),
    "shopify": _body_signed("x-shopify-hmac-sha256", b"", base64.b64encode),
    "hubspot_v1": _hubspot(1),
    "hubspot_v2": _hubspot(2),
    "hubspot_v3": _hubspot(3),
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
