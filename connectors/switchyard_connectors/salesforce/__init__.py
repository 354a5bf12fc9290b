"""Salesforce: reads people and what they did, and keeps the members of campaigns exactly as the hub wants them."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, ListSink, ListSinkSpec, Source, SourceSpec, hookimpl
from switchyard.api.receiving import Receiver
from switchyard_connectors.salesforce.config import SalesforceConfig, account_of, limits_of
from switchyard_connectors.salesforce.streams import streams_of

_SIMULATOR = "switchyard_connectors.salesforce.simulator:SalesforceSimulator"


def _source(config: SalesforceConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.salesforce.source import Salesforce

    return Salesforce(config, context)


def _receiver(config: SalesforceConfig) -> Receiver | None:
    if config.push is None:
        return None
    from switchyard_connectors.salesforce.receiver import SalesforceReceiver

    return SalesforceReceiver(config.push)


def _lists(config: SalesforceConfig, context: Context) -> ListSink:
    from switchyard_connectors.salesforce.sink import SalesforceLists

    return SalesforceLists(config, context)


SOURCE = SourceSpec(
    name="salesforce",
    title="Salesforce people, campaigns, opportunities, activities and custom objects",
    config=SalesforceConfig,
    build=_source,
    # Which there are is the configuration's to say: a connection that only keeps campaigns reads nothing.
    streams=(),
    objects=streams_of,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
    receiver=_receiver,
    pulled=True,
)
LISTS = ListSinkSpec(
    name="salesforce",
    title="Salesforce campaigns with their members",
    config=SalesforceConfig,
    build=_lists,
    limits=limits_of,
    account=account_of,
    simulator=_SIMULATOR,
)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (SOURCE, LISTS)
