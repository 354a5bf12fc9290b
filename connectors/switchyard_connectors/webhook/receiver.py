"""Decides what a webhook's connection accepts: the sender's, unchanged, in JSON, not too large, not too old."""

from __future__ import annotations

from pydantic_core import from_json

from switchyard.api.receiving import Accepted, Incoming, Refused, Verdict
from switchyard_connectors.webhook.config import WebhookConfig
from switchyard_connectors.webhook.schemes import CUSTOMS, checking

_MEDIA = frozenset({"application/json", "text/json", "text/plain", ""})


class WebhookReceiver:
    """A `Receiver`. What is signed is kept as it came; whether it is JSON is found out when it is read."""

    def __init__(self, config: WebhookConfig) -> None:
        self._config = config
        self._customs = CUSTOMS[config.sender]
        self._named = config.delivery_id if config.delivery_id is not None else self._customs.delivery
        self._why_not = checking(config)

    def check(self, incoming: Incoming) -> Verdict:
        """See `Receiver.check`: 413 too large, 415 not JSON or compressed, 401 not the sender's."""
        if len(incoming.body) > self._config.max_bytes:
            return Refused(413, f"the body is larger than {self._config.max_bytes:,} bytes")
        media = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in _MEDIA and not media.endswith("+json"):
            return Refused(415, "send JSON: content-type application/json")
        if incoming.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            # Senders do not agree on whether the signature is over what was compressed or what was not.
            return Refused(415, "send the body uncompressed")
        if why := self._why_not(incoming):
            return Refused(401, why)
        kept = dict(self._customs.kept(incoming, self._config.keep_headers))
        return Accepted(self._delivery(incoming), incoming.body, kept)

    def _delivery(self, incoming: Incoming) -> str | None:
        if self._named is None:
            return None
        if not self._named.startswith("/"):
            return incoming.headers.get(self._named) or None
        try:
            found = _at(from_json(incoming.body, allow_inf_nan=True), self._named)
        except ValueError:
            return None
        return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and found != "" else None


def _at(value: object, pointer: str) -> object:
    """What a JSON pointer points at, None for nothing."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 10:
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value
