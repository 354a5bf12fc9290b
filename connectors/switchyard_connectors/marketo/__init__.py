"""Marketo: reads leads and what they did, keeps static lists exactly as the hub wants them, requests campaigns."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, ListSink, ListSinkSpec, Sink, SinkSpec, Source, SourceSpec, hookimpl
from switchyard_connectors.marketo.config import MarketoConfig, account_of, limits_of
from switchyard_connectors.marketo.streams import STREAMS, asked_for

_SIMULATOR = "switchyard_connectors.marketo.simulator:MarketoSimulator"


def _source(config: MarketoConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.marketo.source import MarketoSource

    return MarketoSource(config, context)


def _lists(config: MarketoConfig, context: Context) -> ListSink:
    from switchyard_connectors.marketo.sink import MarketoLists

    return MarketoLists(config, context)


def _campaigns(config: MarketoConfig, context: Context) -> Sink:
    from switchyard_connectors.marketo.campaigns import MarketoCampaigns

    return MarketoCampaigns(config, context)


SOURCE = SourceSpec(
    name="marketo",
    title="Marketo leads, activities, lists, programs and custom objects",
    config=MarketoConfig,
    build=_source,
    streams=STREAMS,
    objects=asked_for,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
)
LISTS = ListSinkSpec(
    name="marketo",
    title="Marketo static lists",
    config=MarketoConfig,
    build=_lists,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
)
CAMPAIGNS = SinkSpec(
    name="marketo_campaigns",
    title="Marketo trigger campaigns, requested for whoever enters a segment",
    config=MarketoConfig,
    build=_campaigns,
    # Leads of one request (swagger of the lead database API, triggerCampaign).
    batch=100,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (SOURCE, LISTS, CAMPAIGNS)
