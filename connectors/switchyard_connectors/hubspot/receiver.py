"""Decides what HubSpot's webhooks are: signed by the app, in JSON, not too large."""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict
from switchyard.api.signatures import UNSIGNED, Check, hubspot_hashed, hubspot_v3
from switchyard_connectors.hubspot.config import WebhooksConfig

MAX_BYTES = 1_000_000
"""At most 100 events come in a call (vendor documentation, webhooks); each is a few hundred bytes."""


class HubSpotReceiver:
    """A `Receiver`. A delivery has no name: an event that comes again is read again, which changes nothing."""

    def __init__(self, config: WebhooksConfig) -> None:
        secrets = [secret.get_secret_value() for secret in config.secrets]
        made: Mapping[str, Check] = {
            "v1": hubspot_hashed(secrets, address=False),
            "v2": hubspot_hashed(secrets, address=True),
            "v3": hubspot_v3(secrets, config.tolerance),
        }
        self._checks: Mapping[str, Check] = {version: made[version] for version in config.signatures}

    def check(self, incoming: Incoming) -> Verdict:
        """See `Receiver.check`: 413 too large, 415 compressed, 401 not the app's."""
        if len(incoming.body) > MAX_BYTES:
            return Refused(413, f"the body is larger than {MAX_BYTES:,} bytes")
        if incoming.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return Refused(415, "send the body uncompressed")
        if why := self._why_not(incoming):
            return Refused(401, why)
        return Accepted(None, incoming.body, {})

    def _why_not(self, incoming: Incoming) -> str | None:
        """The third version counts where it is there, whatever else is said to be."""
        if "v3" in self._checks and "x-hubspot-signature-v3" in incoming.headers:
            return self._checks["v3"](incoming)
        named = incoming.headers.get("x-hubspot-signature-version", "v1").strip().lower()
        check = self._checks.get(named)
        return check(incoming) if check is not None else UNSIGNED
