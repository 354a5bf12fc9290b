"""Feeds of activities: what happened to leads, page by page, from a token on that goes on where the last page ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from switchyard.api import PermanentError
from switchyard.api.records import JSON
from switchyard_connectors.marketo import windows
from switchyard_connectors.marketo.client import BATCH, REFUSED_TOKEN, Marketo

CHANGE_SCORE, ADD_TO_LIST, REMOVE_FROM_LIST, MERGE, DELETE = 22, 24, 25, 32, 37
"""Types of activities. Bulk extract does not have the last (help/bulk-activity-extract)."""
TYPES = 10
"""Types of activities that one call may ask for (help/activities)."""

Mark: TypeAlias = "Mapping[str, JSON]"
"""Where a feed stands: {"at": the youngest instant seen, "token": that of the last page, if any}."""
Rows: TypeAlias = "Sequence[Mapping[str, Any]]"

_DAY = timedelta(days=1)
"""From how long before its instant a feed begins again whose token is refused: what happened is not in the order in
which it was written down, and what comes twice does no harm.
"""
_QUIET = 25
"""Pages without rows after which the mark is given all the same, so that a killed run need not look through them again.
"""


@dataclass(slots=True)
class Feeds:
    """The feeds of one instance. Feeds that begin at one instant share the call for a token."""

    marketo: Marketo
    _first: dict[str, str] = field(default_factory=dict)

    def follow(self, path: str, params: Mapping[str, Any], mark: Mark) -> Iterator[tuple[Rows, Mark]]:
        """What a feed has behind a mark, and the mark behind it, page by page until there is no more for now.

        A page may be short or empty and still not be the last, and there is always a token: only `moreResult` tells. Of
        pages without rows few are given.
        """
        is_kept = mark.get("token") is not None
        at, token = str(mark["at"]), str(mark.get("token") or "") or self._token(str(mark["at"]))
        quiet = 0
        while True:
            query = {**params, "nextPageToken": token, "batchSize": BATCH}
            page = self.marketo.get(path, params=query, expected=REFUSED_TOKEN if is_kept else ())
            is_kept = False
            if page.code is not None:
                # Kept for too long, or of an instance that was moved: the instant beside it serves.
                token = self._token(windows.text_of(windows.instant_of(at) - _DAY))
                continue
            if page.more and page.token in (None, token):
                raise PermanentError(f"{path} of Marketo does not say how to go on")
            token = page.token or token
            at = max([at, *filter(None, (_instant(row.get("activityDate")) for row in page.result))])
            quiet = 0 if page.result else quiet + 1
            if page.result or not page.more or quiet % _QUIET == 0:
                yield page.result, {"at": at, "token": token}
            if not page.more:
                return

    def activities(self, types: Sequence[int], mark: Mark) -> Iterator[tuple[Rows, Mark]]:
        """The activities of at most ten types."""
        return self.follow("/rest/v1/activities.json", {"activityTypeIds": ",".join(map(str, types))}, mark)

    def deleted(self, mark: Mark) -> Iterator[tuple[Rows, Mark]]:
        """The deletions of leads, which Marketo keeps for 14 days."""
        return self.follow("/rest/v1/activities/deletedleads.json", {}, mark)

    def changes(self, fields: Sequence[str], mark: Mark) -> Iterator[tuple[Rows, Mark]]:
        """New leads, and changes of some fields of leads; not of scores, which are activities of their own."""
        return self.follow("/rest/v1/activities/leadchanges.json", {"fields": ",".join(fields)}, mark)

    def _token(self, since: str) -> str:
        if since not in self._first:
            page = self.marketo.get("/rest/v1/activities/pagingtoken.json", params={"sinceDatetime": since})
            if page.token is None:
                raise PermanentError("Marketo gave no token to begin with")
            self._first[since] = page.token
        return self._first[since]


def _instant(given: object) -> str | None:
    """The date of an activity, None where it is none, or to come: whoever adds activities gives them their dates."""
    try:
        at = datetime.fromisoformat(str(given))
    except ValueError:
        return None
    at = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
    return windows.text_of(at) if at <= windows.now() else None
