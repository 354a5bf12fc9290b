"""Audiences: a snapshot of their users, made by Google in its own time and at most once a day."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api import Cursor, Page, PermanentError, Reject, TransientError
from switchyard.api.http import HttpClient, json_of
from switchyard.api.records import DELETED, JSON
from switchyard_connectors.google_analytics.config import Audience, GoogleAnalyticsConfig, audience_stream
from switchyard_connectors.google_analytics.quota import Verdicts, Wall
from switchyard_connectors.google_analytics.snapshots import Snapshots
from switchyard_connectors.google_analytics.tables import parsed, scratch

_log = logging.getLogger(__name__)
_DIMENSIONS = ("deviceId", "userId", "isAdsPersonalizationAllowed")
_EVERY = timedelta(days=1)
"""Google asks for no more than one export of an audience in this time (audience-export-expectations)."""
_LIFE = timedelta(hours=72)
"""How long an export can be read (audience-export-expectations)."""
_PAGE_OF_EXPORTS = 200
_IDENTITY = ("member_id", "user_id", "device_id")


@dataclass
class Progress:
    """Where an audience stands; written as the cursor.

    `export` is the export that is being made or read, `offset` how much of it is committed, `fresh` what was kept of
    that. `kept` is what was kept of what was given before. `asked` is when the last export was asked for.
    """

    asked: datetime | None = None
    export: str | None = None
    offset: int = 0
    fresh: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, cursor: Cursor) -> Progress:
        """Read a cursor."""
        said = cast("dict[str, Any]", cursor or {})
        asked = said.get("asked")
        return cls(
            datetime.fromisoformat(asked) if asked else None,
            said.get("export"),
            said.get("offset", 0),
            list(said.get("fresh", ())),
            list(said.get("kept", ())),
        )

    def cursor(self) -> Cursor:
        """As a cursor."""
        return {
            "asked": None if self.asked is None else self.asked.isoformat(),
            "export": self.export,
            "offset": self.offset,
            "fresh": list(self.fresh),
            "kept": list(self.kept),
        }

    def drop(self) -> None:
        """Be done with the export. What was given of it is known from now on."""
        self.kept += self.fresh
        self.export, self.offset, self.fresh = None, 0, []


class Audiences:
    """Reads the audiences of one property.

    Args:
        config: which property, and how patient to be.
        http: a client of the Data API.
        workspace: where to keep what was given.
        now: the time, UTC with a zone.
        pause: sleeps so many seconds.
    """

    def __init__(
        self,
        config: GoogleAnalyticsConfig,
        http: HttpClient,
        workspace: Path,
        now: Wall,
        pause: Callable[[float], object],
    ) -> None:
        self._config = config
        self._http = http
        self._workspace = workspace
        self._now = now
        self._pause = pause
        self._parent = f"properties/{config.property}"

    def read(self, audience: Audience, cursor: Cursor) -> Iterator[Page]:
        """Yield the users of the newest export, then as deleted those who were in the one before and left.

        Where the last export is younger than a day there is nothing to read, and no call is made. Where one takes
        longer than a sync waits, the next sync goes on with it.

        Raises:
            TransientError: Google failed to make the export; a new one is asked for when a day has passed.
        """
        progress = Progress.of(cursor)
        snapshots = Snapshots(self._workspace / "audiences" / audience.name, _IDENTITY)
        snapshots.sweep([*progress.kept, *progress.fresh])
        if progress.export is None or self._now() - (progress.asked or datetime.min.replace(tzinfo=UTC)) > _LIFE:
            progress.drop()
            if progress.asked is not None and self._now() - progress.asked < _EVERY:
                return
            progress.export, progress.asked = self._recent(audience) or self._asked_for(audience)
            # Committed before anything else: a run that ends here must not ask for another.
            yield Page([], progress.cursor(), origin=progress.export)
        if not (yield from self._is_made(audience, progress)):
            return
        yield from self._members(audience, progress, snapshots)

    def _recent(self, audience: Audience) -> tuple[str, datetime] | None:
        """The newest export of the audience, where it is younger than a day: by an earlier run or by anybody else."""
        query: dict[str, Any] = {"pageSize": _PAGE_OF_EXPORTS}
        found: list[tuple[datetime, str]] = []
        while True:
            body = self._object(
                self._http.get(f"/v1beta/{self._parent}/audienceExports", params=query, **self._judged())
            )
            found += [
                (_instant(each["beginCreatingTime"]), str(each["name"]))
                for each in body.get("audienceExports") or ()
                if each.get("audience") == self._name(audience)
                and each.get("state") in ("CREATING", "ACTIVE")
                and {one.get("dimensionName") for one in each.get("dimensions") or ()} == set(_DIMENSIONS)
            ]
            if not (token := body.get("nextPageToken")) or token == query.get("pageToken"):
                break
            query["pageToken"] = token
        newest = max(found, default=None)
        return (newest[1], newest[0]) if newest and self._now() - newest[0] < _EVERY else None

    def _asked_for(self, audience: Audience) -> tuple[str, datetime]:
        wanted: JSON = {
            "audience": self._name(audience),
            "dimensions": [{"dimensionName": name} for name in _DIMENSIONS],
        }
        # Not repeatable: an export whose answer was lost is found by the next run among those there are.
        answer = self._http.post(f"/v1beta/{self._parent}/audienceExports", json=wanted, **self._judged())
        body = self._object(answer)
        export = body.get("response") or body.get("metadata") or {}
        name, begun = export.get("name") or body.get("name"), export.get("beginCreatingTime")
        if not isinstance(name, str) or not name.startswith(f"{self._parent}/audienceExports/"):
            raise TransientError("Google Analytics began an audience export and did not say which")
        return name, _instant(begun) if isinstance(begun, str) else self._now()

    def _is_made(self, audience: Audience, progress: Progress) -> Generator[Page, None, bool]:
        """Wait until the export can be read. Whether it can."""
        waited = 0.0
        while True:
            answer = self._http.get(f"/v1beta/{progress.export}", **self._judged(accept=(404,)))
            body = {} if answer.status_code == httpx.codes.NOT_FOUND else self._object(answer)
            state = body.get("state", "FAILED")
            if state == "ACTIVE":
                return True
            if state != "CREATING":
                progress.drop()
                yield Page([], progress.cursor())
                reason = " ".join(str(body.get("errorMessage") or "it is not there any more").split())[:200]
                raise TransientError(
                    f"the export of the audience {audience.name} failed: {reason}; another is asked for a day later"
                )
            if waited >= self._config.audience_wait:
                _log.info("the export of the audience %s is not ready; the next sync goes on with it", audience.name)
                return False
            self._pause(self._config.audience_poll)
            waited += max(self._config.audience_poll, 1.0)

    def _members(self, audience: Audience, progress: Progress, snapshots: Snapshots) -> Iterator[Page]:
        whole = False
        while not whole:
            rows, total = self._query(progress)
            progress.offset += rows.num_rows
            whole = progress.offset >= total
            if not rows.num_rows and not whole:
                raise TransientError(f"Google Analytics counts {total} users and gives {progress.offset}")
            records, rejects = self._records(audience, rows, progress)
            progress.fresh += snapshots.keep(records)
            yield Page(
                records, progress.cursor(), rejects, origin=f"{audience_stream(audience.name)}: {progress.export}"
            )
        for left in snapshots.gone(progress.kept, progress.fresh):
            left = left.append_column(DELETED, pa.repeat(True, left.num_rows))
            yield Page(left, progress.cursor(), origin=f"{audience_stream(audience.name)}: left the audience")
        progress.kept = []
        progress.drop()
        yield Page([], progress.cursor())

    def _query(self, progress: Progress) -> tuple[pa.Table, int]:
        window: JSON = {"offset": str(progress.offset), "limit": str(self._config.page_rows)}
        answer = self._http.post(
            f"/v1beta/{progress.export}:query",
            json=window,
            params={"prettyPrint": "false"},
            repeatable=True,
            **self._judged(),
        )
        found = parsed(answer.content, len(_DIMENSIONS), rows="audienceRows")
        return found.rows, found.total

    def _records(self, audience: Audience, rows: pa.Table, progress: Progress) -> tuple[pa.Table, list[Reject]]:
        assert progress.asked is not None  # noqa: S101  # an export is being read
        values = [self._name(audience), progress.asked.replace(tzinfo=None)]
        with scratch() as duck:
            read = duck.register("answer", rows).execute(_MEMBERS, values).to_arrow_table()
        records = read.filter(pc.or_(pc.is_valid(read["user_id"]), pc.is_valid(read["device_id"])))
        nobody = read.num_rows - records.num_rows
        reason = "the row names neither a user nor a device"
        return records, [Reject("nobody", reason, {"audience": audience.name})] * nobody

    def _name(self, audience: Audience) -> str:
        return f"{self._parent}/audiences/{audience.id}"

    def _judged(self, accept: tuple[int, ...] = ()) -> Any:
        return {"classify": Verdicts(self._now), "accept": accept}

    def _object(self, answer: httpx.Response) -> Mapping[str, Any]:
        body = json_of(answer)
        if not isinstance(body, dict):
            raise PermanentError("Google Analytics answered JSON that is no object")
        return body


# What is not set is no consent: the vendor's words for it are neither true nor false.
_MEMBERS = """
SELECT md5(concat_ws(chr(31), $1, coalesce('user ' || user_id, 'device ' || device_id))) AS member_id,
    user_id, device_id, ads_personalization, CAST($2 AS TIMESTAMP) AS exported_at
FROM (
    SELECT nullif(nullif(trim(d1), ''), '(not set)') AS user_id, nullif(nullif(trim(d0), ''), '(not set)') AS device_id,
        d2 = 'true' AS ads_personalization
    FROM answer
)
"""


def _instant(text: str) -> datetime:
    """An RFC 3339 instant, of which more than microseconds may be given."""
    whole, _, part = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{part[:6]:0<6}+00:00")
