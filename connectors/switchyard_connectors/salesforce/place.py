"""How far a stream was read: the cursor, with what a pull that was cut short needs to go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from switchyard.api.records import JSON, Cursor
from switchyard_connectors.salesforce.soql import moment

LOOK_BACK = timedelta(minutes=10)
"""Rows become visible after their stamp, when a long transaction ends: up to five minutes were seen."""
SETTLED = timedelta(minutes=1)
"""What is younger is still being written, so it counts as read no earlier than this."""
NEVER = "1970-01-01T00:00:00.000Z"
"""As `Place.gone`: so long ago that Salesforce has forgotten."""


@dataclass(frozen=True, slots=True)
class Load:
    """A pull under way. Instants are texts in Salesforce's spelling.

    Args:
        first: whether everything is read, and not what changed.
        until: what `Place.until` becomes at the end.
        at, id: the last record read, in the order of stamp and id; `at` alone: from there on.
        before: the end of the slice being read, None for the last one.
        span: seconds of a slice, where the whole was too much at once.
        bulk: whether by the Bulk API.
        job, locator, skip: its job for the slice, the result page, and rows of that page already read.
    """

    first: bool = False
    until: str | None = None
    at: str | None = None
    id: str | None = None
    before: str | None = None
    span: float | None = None
    bulk: bool = False
    job: str | None = None
    locator: str | None = None
    skip: int = 0

    def without_job(self) -> Load:
        return replace(self, job=None, locator=None, skip=0)

    def next_slice(self, now: datetime) -> Load | None:
        """The slice behind this one; None behind the last."""
        if self.before is None:
            return None
        # Larger again: where one day was too much, twenty years of such days would be as many calls.
        span = 2 * (self.span or 0)
        end = moment(self.before) + timedelta(seconds=span)
        before = None if end >= now else text_of(end)
        return replace(self.without_job(), at=self.before, id=None, before=before, span=span)


@dataclass(frozen=True, slots=True)
class Place:
    """The cursor.

    Args:
        sequence: the last row of the inbox that was read.
        until: every record stamped before was read.
        gone: deletions were asked for up to here.
        pulled: when the last pull ended, epoch seconds of this machine.
        load: the pull under way.
    """

    sequence: int | None = None
    until: str | None = None
    gone: str | None = None
    pulled: float | None = None
    load: Load | None = None

    @classmethod
    def of(cls, cursor: Cursor) -> Place:
        given = dict(cursor or {})
        load = given.pop("load", None)
        return cls(**given, load=Load(**load) if isinstance(load, dict) else None)  # type: ignore[arg-type]

    def cursor(self) -> Cursor:
        """As JSON, without what is not set."""
        found: dict[str, JSON] = {name: value for name, value in asdict(self).items() if value is not None}
        if self.load is not None:
            found["load"] = {name: value for name, value in asdict(self.load).items() if value not in (None, False, 0)}
        return found

    @property
    def is_new(self) -> bool:
        """Whether nothing was pulled yet."""
        return self.until is None and self.load is None and self.gone is None

    def begun(self) -> Load:
        """The pull to go on with, or a new one."""
        if self.load is not None:
            return self.load
        if self.until is None:
            return Load(first=True)
        return Load(at=text_of(moment(self.until) - LOOK_BACK))


def text_of(at: datetime) -> str:
    """An instant as Salesforce writes it."""
    return at.isoformat(timespec="milliseconds") + "Z"
