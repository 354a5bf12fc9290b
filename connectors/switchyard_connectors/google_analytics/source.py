"""The source: reports, audiences and the files of the BigQuery export, each stream by its own reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from switchyard.api import ConfigError, Context, Cursor, Page, Stream
from switchyard.api.lanes import pause
from switchyard_connectors.google_analytics.audiences import Audiences
from switchyard_connectors.google_analytics.auth import READ, bearer
from switchyard_connectors.google_analytics.config import EVENTS, GoogleAnalyticsConfig, audience_stream
from switchyard_connectors.google_analytics.events import ExportFiles
from switchyard_connectors.google_analytics.quota import Verdicts, Wall, utc_now
from switchyard_connectors.google_analytics.reports import Reports


class GoogleAnalytics:
    """The source. A `Checkable`.

    Args:
        config: what to read.
        context: the hub's.
        now: the time, UTC with a zone.
        pause: sleeps so many seconds.
    """

    def __init__(
        self,
        config: GoogleAnalyticsConfig,
        context: Context,
        now: Wall = utc_now,
        pause: Callable[[float], object] = pause,
    ) -> None:
        self._property = config.property
        self._now = now
        self._reports = {report.name: report for report in config.reports}
        self._audiences = {audience_stream(audience.name): audience for audience in config.audiences}
        self._files = None if config.events is None else ExportFiles(config.events, context)
        self._http = None
        if config.service_account is not None:
            token = bearer(config.service_account, config.sign_in_url, READ, context, now)
            self._http = context.http(config.data_url, bearer=token)
            self._reporting = Reports(config, self._http, context.workspace, now)
            self._exporting = Audiences(config, self._http, context.workspace, now, pause)

    def check(self) -> None:
        """Ask for what the property can report, and look into the folder of the export.

        Raises:
            ConfigError: the folder is missing, or nothing is configured.
            AuthError: the service account is refused.
        """
        if self._files is not None:
            self._files.check()
        if self._http is not None and self._property is not None:
            path = f"/v1beta/properties/{self._property}/metadata"
            self._http.get(path, params={"fields": "name"}, classify=Verdicts(self._now))
        elif self._files is None:
            raise ConfigError("there is nothing to read: give reports, audiences or events", key="reports")

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """See `Source.read`. The stream of the export's files has nothing where no folder is configured."""
        if stream.name == EVENTS:
            return iter(()) if self._files is None else self._files.read(stream, cursor)
        if stream.name in self._reports:
            return self._reporting.read(self._reports[stream.name], cursor)
        return self._exporting.read(self._audiences[stream.name], cursor)
