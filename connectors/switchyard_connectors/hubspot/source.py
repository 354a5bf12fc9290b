"""The source: each stream in the way that suits it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property

from switchyard.api import Context, Cursor, Page, Stream
from switchyard_connectors.hubspot.account import Account
from switchyard_connectors.hubspot.config import HubSpotConfig
from switchyard_connectors.hubspot.list_streams import list_pages, membership_pages
from switchyard_connectors.hubspot.marketing import email_pages, submission_pages
from switchyard_connectors.hubspot.objects import Objects
from switchyard_connectors.hubspot.property_names import PropertyNames
from switchyard_connectors.hubspot.pulls import ObjectStream
from switchyard_connectors.hubspot.pushes import Pushes
from switchyard_connectors.hubspot.streams import streams_of


class HubSpot:
    """A `Source` and `Checkable`.

    Args:
        clock: epoch seconds.
    """

    def __init__(self, config: HubSpotConfig, context: Context, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._context = context
        self._clock = clock
        self._account = Account(config, context)
        self._names = PropertyNames(self._account, context.workspace, config.base_url, config.look_back, clock)

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """Yield what came or changed behind `cursor`."""
        match stream.name:
            case "lists":
                return list_pages(self._account, self._config.api)
            case "list_memberships":
                return membership_pages(self._account, self._config.api, cursor)
            case "email_events":
                return email_pages(self._account, cursor, self._clock)
            case "form_submissions":
                return submission_pages(self._account, cursor, self._clock)
        objects = Objects(self._account, self._config, self._names, stream.name)
        return ObjectStream(objects, self._config, self._pushes, self._clock).read(cursor)

    def check(self) -> None:
        """Make a call that any token with a scope for contacts may make."""
        self._account.get(f"{self._account.paths.properties}/contacts/email")

    @cached_property
    def _pushes(self) -> Pushes | None:
        if self._config.webhooks is None:
            return None
        pushed = [stream.name for stream in streams_of(self._config) if stream.pushed]
        return Pushes(self._context, pushed[0])
