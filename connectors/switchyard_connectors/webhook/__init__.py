"""Webhooks: what any sender posts to `/hooks/{connection}`, signed or with a shared secret."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, Source, SourceSpec, Stream, hookimpl
from switchyard.api.receiving import Receiver
from switchyard_connectors.webhook.config import WebhookConfig

DELIVERIES = Stream(
    name="deliveries",
    key=("record_id",),
    mode="append",
    fields={"received_at": "timestamp"},
    mapping={"observed_at": "received_at"},
)


def _build(config: WebhookConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.webhook.source import Webhook

    return Webhook(config, context)


def _receiver(config: WebhookConfig) -> Receiver:
    from switchyard_connectors.webhook.receiver import WebhookReceiver

    return WebhookReceiver(config)


SOURCE = SourceSpec(
    name="webhook",
    title="Webhooks, signed or with a shared secret",
    config=WebhookConfig,
    build=_build,
    streams=(DELIVERIES,),
    receiver=_receiver,
)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (SOURCE,)
