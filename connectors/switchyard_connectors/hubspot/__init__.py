"""HubSpot: reads records, lists and events, keeps contact lists exactly as wanted, and sends custom events."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import (
    ConnectorSpec,
    Context,
    ListSink,
    ListSinkSpec,
    Sink,
    SinkSpec,
    Source,
    SourceSpec,
    hookimpl,
)
from switchyard.api.receiving import Receiver
from switchyard_connectors.hubspot.config import (
    HubSpotConfig,
    HubSpotEventsConfig,
    OAuthConfig,
    account_of,
    limits_of,
)
from switchyard_connectors.hubspot.streams import streams_of

__all__ = ["EVENTS", "LISTS", "SOURCE", "HubSpotConfig", "OAuthConfig", "limits_of", "switchyard_connectors"]

_SIMULATOR = "switchyard_connectors.hubspot.simulator:HubSpotSimulator"


def _build_lists(config: HubSpotConfig, context: Context) -> ListSink:
    from switchyard_connectors.hubspot.sink import HubSpotLists

    return HubSpotLists(config, context)


def _build_source(config: HubSpotConfig, context: Context) -> Source:
    from switchyard_connectors.hubspot.source import HubSpot

    return HubSpot(config, context)


def _build_events(config: HubSpotEventsConfig, context: Context) -> Sink:
    from switchyard_connectors.hubspot.events import HubSpotEvents

    return HubSpotEvents(config, context)


def _receiver(config: HubSpotConfig) -> Receiver | None:
    from switchyard_connectors.hubspot.receiver import HubSpotReceiver

    return HubSpotReceiver(config.webhooks) if config.webhooks is not None else None


LISTS = ListSinkSpec(
    name="hubspot",
    title="HubSpot contact lists",
    config=HubSpotConfig,
    build=_build_lists,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
)
SOURCE = SourceSpec(
    name="hubspot",
    title="HubSpot contacts, companies, deals, custom objects, lists, e-mail events and form submissions",
    config=HubSpotConfig,
    build=_build_source,
    # Which there are is the configuration's to say: a connection that only keeps lists reads nothing.
    streams=(),
    objects=streams_of,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
    receiver=_receiver,
    pulled=True,
)
EVENTS = SinkSpec(
    name="hubspot_events",
    title="HubSpot custom events for who enters or leaves a segment",
    config=HubSpotEventsConfig,
    build=_build_events,
    batch=500,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (LISTS, SOURCE, EVENTS)
