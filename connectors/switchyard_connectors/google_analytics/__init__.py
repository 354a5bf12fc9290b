"""Google Analytics: reports, audiences and exported events come in; what became of people goes out as events."""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import ConnectorSpec, Context, Limits, Sink, SinkSpec, Source, SourceSpec, Window, hookimpl
from switchyard_connectors.google_analytics.config import DeletionConfig, GoogleAnalyticsConfig
from switchyard_connectors.google_analytics.streams import EVENT_STREAM, asked_for

_SENDERS = 4
_ADMIN = Window(600, 60.0)
"""Calls of the Admin API of one user in a minute (developers.google.com/analytics, Admin API quotas)."""
_SIMULATOR = "switchyard_connectors.google_analytics.simulator:GoogleAnalyticsSimulator"


def limits_of(config: GoogleAnalyticsConfig) -> Limits:
    """The Data API counts tokens, which answers tell; only requests under way are counted here."""
    return Limits(concurrency=config.quota.concurrency)


def _property(config: GoogleAnalyticsConfig) -> str:
    return f"{config.data_url}#{config.property or config.events}"


def _stream(config: GoogleAnalyticsConfig) -> str:
    # Not the property's account: its tokens are no concern of what is sent to a data stream.
    return f"{config.collect_url}#{config.measurement_id or config.firebase_app_id}"


def _build_source(config: GoogleAnalyticsConfig, context: Context) -> Source:
    # Listing the connectors must not load pyarrow.
    from switchyard_connectors.google_analytics.source import GoogleAnalytics

    return GoogleAnalytics(config, context)


def _build_sink(config: GoogleAnalyticsConfig, context: Context) -> Sink:
    from switchyard_connectors.google_analytics.measurement import MeasurementProtocol

    return MeasurementProtocol(config, context)


def _build_deletion(config: DeletionConfig, context: Context) -> Sink:
    from switchyard_connectors.google_analytics.deletion import UserDeletion

    return UserDeletion(config, context)


@hookimpl
def switchyard_connectors() -> Sequence[ConnectorSpec]:
    return (
        SourceSpec(
            name="google_analytics",
            title="Google Analytics 4: reports, audiences and the BigQuery export",
            config=GoogleAnalyticsConfig,
            build=_build_source,
            streams=(EVENT_STREAM,),
            objects=asked_for,
            limits=limits_of,
            account=_property,
            simulator=_SIMULATOR,
        ),
        SinkSpec(
            name="google_analytics",
            title="Google Analytics 4: events by the Measurement Protocol",
            config=GoogleAnalyticsConfig,
            build=_build_sink,
            limits=lambda _: Limits(concurrency=_SENDERS),
            account=_stream,
            simulator=_SIMULATOR,
        ),
        SinkSpec(
            name="google_analytics_deletion",
            title="Google Analytics 4: deletes the users who enter an audience",
            config=DeletionConfig,
            build=_build_deletion,
            limits=lambda _: Limits(windows={"default": (_ADMIN,)}, concurrency=_SENDERS),
            account=lambda config: f"{config.admin_url}#{config.property}",
        ),
    )
