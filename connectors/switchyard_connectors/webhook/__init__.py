"""Webhooks: what any sender posts to `/hooks/{connection}`, signed or with a shared secret; and messages to an endpoint
that is told who enters a segment, leaves it, or changes in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, Limits, Sink, SinkSpec, Source, SourceSpec, Stream, hookimpl
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


def _build_sink(config: WebhookConfig, context: Context) -> Sink:
    from switchyard_connectors.webhook.sink import WebhookSink

    return WebhookSink(config, context)


def _limits(config: WebhookConfig) -> Limits:
    return Limits(concurrency=config.send.concurrency) if config.send else Limits()


def _receiver(config: WebhookConfig) -> Receiver | None:
    if config.scheme is None:
        return None
    from switchyard_connectors.webhook.receiver import WebhookReceiver

    return WebhookReceiver(config)


SOURCE = SourceSpec(
    name="webhook",
    title="Webhooks, signed or with a shared secret",
    config=WebhookConfig,
    build=_build,
    streams=(DELIVERIES,),
    receiver=_receiver,
    limits=_limits,
)

SINK = SinkSpec(
    name="webhook",
    title="Webhooks, signed or with a shared secret",
    config=WebhookConfig,
    build=_build_sink,
    limits=_limits,
    simulator="switchyard_connectors.webhook.simulator:WebhookEndpoint",
)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (SOURCE, SINK)
