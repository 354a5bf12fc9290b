"""Tracking: the HTTP API of Segment's libraries, `/v1/{identify,track,page,screen,group,alias,batch}`."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, Source, SourceSpec, Stream, hookimpl
from switchyard.api.receiving import Receiver
from switchyard_connectors.tracking.config import TrackingConfig
from switchyard_connectors.tracking.mapping import MAPPING

EVENTS = Stream(
    name="events",
    key=("message_id",),
    mode="append",
    fields={
        "timestamp": "timestamp",
        "original_timestamp": "timestamp",
        "sent_at": "timestamp",
        "received_at": "timestamp",
    },
    mapping=MAPPING,
)


def _build(config: TrackingConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.tracking.source import Tracking

    return Tracking(config, context)


def _receiver(config: TrackingConfig) -> Receiver:
    from switchyard_connectors.tracking.receiver import TrackingReceiver

    return TrackingReceiver(config)


SOURCE = SourceSpec(
    name="tracking",
    title="Events from websites, apps and servers, by Segment's libraries",
    config=TrackingConfig,
    build=_build,
    streams=(EVENTS,),
    receiver=_receiver,
)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (SOURCE,)
