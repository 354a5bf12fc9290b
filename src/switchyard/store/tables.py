"""The tables of the store: all small, mutable truth. Instants are microseconds since 1970 UTC in bulk tables
(`*_us`), datetimes without a zone in UTC elsewhere.

Sizes that decide shapes: subjects, identifiers and journal rows are millions, everything else is small. What the bulk
tables name often (streams, identifier kinds, event types) they name by a small integer.
"""

from typing import Any, ClassVar

from pydantic import NaiveDatetime
from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlmodel import Field, SQLModel


def _big(**kwargs: Any) -> Any:
    """A 64-bit integer key or reference that the hub assigns itself."""
    return Field(sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}, **kwargs)


def _small(**kwargs: Any) -> Any:
    return Field(sa_type=SmallInteger, **kwargs)


class Counter(SQLModel, table=True):
    """Blocks of ids are taken from `next` and never given back."""

    name: str = Field(primary_key=True)
    next: int = _big()


class Stream(SQLModel, table=True):
    """One stream of one connection, and the cursor up to which its records are committed."""

    __table_args__ = (UniqueConstraint("connection", "name"),)
    id: int = _small(primary_key=True)
    connection: str
    name: str
    cursor: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    updated_at: NaiveDatetime | None = None


class StreamMark(SQLModel, table=True):
    """A name that a committed page completed (see `switchyard.api.Page.marks`)."""

    __tablename__ = "stream_mark"
    stream_id: int = _small(primary_key=True, foreign_key="stream.id")
    mark: str = Field(primary_key=True)


class Run(SQLModel, table=True):
    """One sync, evaluation or delivery, with what it counted: read = mapped + quarantined + duplicate."""

    __table_args__ = (Index("run_named", "kind", "name", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    kind: str
    name: str
    started_at: NaiveDatetime
    finished_at: NaiveDatetime | None = None
    state: str = "running"
    read: int = 0
    mapped: int = 0
    quarantined: int = 0
    duplicate: int = 0
    detail: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    error: str | None = None


class Page(SQLModel, table=True):
    """One commit of a sync: what it counted, and the profiles it changed (packed ascending 64-bit integers)."""

    id: int = _big(primary_key=True)
    run_id: int = Field(foreign_key="run.id", index=True)
    stream_id: int = _small(foreign_key="stream.id")
    origin: str | None = None
    committed_at: NaiveDatetime
    read: int
    mapped: int
    quarantined: int
    duplicate: int
    changed: bytes = Field(sa_type=LargeBinary)


class IdentifierKind(SQLModel, table=True):
    __tablename__ = "identifier_kind"
    id: int = _small(primary_key=True)
    name: str = Field(unique=True)


class Subject(SQLModel, table=True):
    """One person as one source knows them. Never merged, never rewritten but for what the source says of them.

    `profile_id` is NULL for a subject that nothing identifies. A profile's id is the smallest id of its subjects, so
    any id that ever was a profile's is found here and leads to the profile it is part of now. Most profiles are one
    subject with the same id: the index holds the others only.

    `attributes` is JSON: name → [value, microseconds at which the source said it]. `is_gone`: its record was deleted at
    the source.
    """

    __table_args__ = (
        UniqueConstraint("stream_id", "key"),
        Index(
            "subject_joined",
            "profile_id",
            sqlite_where=text("profile_id <> id"),
            postgresql_where=text("profile_id <> id"),
        ),
    )
    id: int = _big(primary_key=True)
    stream_id: int = _small(foreign_key="stream.id")
    key: str
    profile_id: int | None = Field(default=None, sa_type=BigInteger)
    attributes: str | None = None
    is_gone: bool = False


class Identifier(SQLModel, table=True):
    """A value of a subject, and at once the evidence for it: the page and the line that first said so."""

    __table_args__: ClassVar[Any] = (Index("identifier_subject", "subject_id"), {"sqlite_with_rowid": False})
    kind_id: int = _small(primary_key=True)
    value: str = Field(primary_key=True)
    subject_id: int = _big(primary_key=True)
    page_id: int = Field(sa_type=BigInteger)
    line: int | None = Field(default=None, sa_type=BigInteger)


class SharedValue(SQLModel, table=True):
    """A value seen on more subjects than its kind allows: kept as evidence, linking nobody."""

    __tablename__ = "shared_value"
    kind_id: int = _small(primary_key=True)
    value: str = Field(primary_key=True)
    page_id: int = Field(sa_type=BigInteger)


class Merge(SQLModel, table=True):
    """Why two profiles became one: the value they share, and the page that showed it."""

    id: int | None = Field(default=None, primary_key=True)
    profile_id: int = Field(sa_type=BigInteger, index=True)
    merged_id: int = Field(sa_type=BigInteger, index=True)
    kind_id: int = _small()
    value: str
    page_id: int = Field(sa_type=BigInteger)


class AttributeType(SQLModel, table=True):
    __tablename__ = "attribute_type"
    name: str = Field(primary_key=True)
    type: str


class EventType(SQLModel, table=True):
    __tablename__ = "event_type"
    id: int = _small(primary_key=True)
    name: str = Field(unique=True)


class EventProperty(SQLModel, table=True):
    __tablename__ = "event_property"
    event_type_id: int = _small(primary_key=True, foreign_key="event_type.id")
    name: str = Field(primary_key=True)
    type: str


class JournalEvent(SQLModel, table=True):
    """A young event, waiting to be flushed to a file. `properties` is a JSON object."""

    __tablename__ = "journal_event"
    id: int | None = Field(default=None, primary_key=True)
    event_type_id: int = _small(foreign_key="event_type.id")
    event_id: bytes = Field(sa_type=LargeBinary)
    subject_id: int = Field(sa_type=BigInteger, index=True)
    at_us: int = Field(sa_type=BigInteger)
    page_id: int = Field(sa_type=BigInteger)
    properties: str


class JournalMembership(SQLModel, table=True):
    """A young membership change. `at_us`: when it became true; `noticed_us`: when the hub evaluated it."""

    __tablename__ = "journal_membership"
    id: int | None = Field(default=None, primary_key=True)
    segment: str
    version: int
    profile_id: int = Field(sa_type=BigInteger)
    entered: bool
    at_us: int = Field(sa_type=BigInteger)
    noticed_us: int = Field(sa_type=BigInteger)
    reason: str
    run_id: int


class LogFile(SQLModel, table=True):
    """The catalogue: a file of the event log counts only while it is named here."""

    __tablename__ = "log_file"
    id: int | None = Field(default=None, primary_key=True)
    kind: str
    type: str
    name: str = Field(unique=True)
    size: int = Field(sa_type=BigInteger)
    rows: int = Field(sa_type=BigInteger)
    min_subject: int = Field(sa_type=BigInteger)
    max_subject: int = Field(sa_type=BigInteger)
    min_at_us: int = Field(sa_type=BigInteger)
    max_at_us: int = Field(sa_type=BigInteger)
    last_page_id: int = Field(sa_type=BigInteger)
    level: int = 0


class Quarantine(SQLModel, table=True):
    """A record that could not be used: whole, with where it stood and why."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id", index=True)
    page_id: int = Field(sa_type=BigInteger)
    stream_id: int = _small(foreign_key="stream.id")
    origin: str | None = None
    line: int | None = Field(default=None, sa_type=BigInteger)
    byte: int | None = Field(default=None, sa_type=BigInteger)
    field: str | None = None
    code: str
    reason: str
    record: str
    state: str = Field(default="waiting", index=True)
    created_at: NaiveDatetime
    replayed_at: NaiveDatetime | None = None


class Lease(SQLModel, table=True):
    """Who does a kind of work on this store, and until when. `fence` counts how often it was taken."""

    name: str = Field(primary_key=True)
    holder: str
    fence: int
    expires_at: NaiveDatetime


class EvaluationState(SQLModel, table=True):
    """The last committed evaluation: its instant, and the page up to which it knew what came. One row, numbered on."""

    __tablename__ = "evaluation_state"
    id: int = Field(default=1, primary_key=True)
    number: int
    at: NaiveDatetime
    page_id: int = Field(sa_type=BigInteger)


class SegmentVersion(SQLModel, table=True):
    """A definition as it was from `published_at` on. The youngest version is the one in force.

    `timezone` is that of the hub then, on which calendar units depend. Without a text the definition was taken away.
    """

    __tablename__ = "segment_version"
    segment: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    transform: str
    text: str | None = None
    timezone: str
    published_at: NaiveDatetime | None = None


FEED = "feed"
"""The id of the list that there is not: that of a sink which is told of changes."""


class Audience(SQLModel, table=True):
    """The list of an audience: its id and name at the vendor, and the name under which the audience asked for it."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    connection: str
    list_id: str | None = None
    list_name: str | None = None
    asked_name: str | None = None


class AudienceMember(SQLModel, table=True):
    """One person of one audience, as far as the vendor's answers and the read-backs tell.

    `state` is one of `switchyard.activation.members`. `digest` is of the fields that the vendor accepted or refused,
    empty where that is not known; `sending` of those under way. `applied_us`: when the vendor confirmed the place on
    the list; `verified_us`: when a read-back first showed it.
    """

    __tablename__ = "audience_member"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}
    audience_id: int = Field(primary_key=True, foreign_key="audience.id")
    profile_id: int = _big(primary_key=True)
    remote_id: str | None = None
    digest: str
    sending: str | None = None
    state: str
    code: str | None = None
    reason: str | None = None
    applied_us: int | None = Field(default=None, sa_type=BigInteger)
    verified_us: int | None = Field(default=None, sa_type=BigInteger)


class AudienceRemoval(SQLModel, table=True):
    """A record that the vendor confirmed to be off the list, until a read-back no longer shows it."""

    __tablename__ = "audience_removal"
    audience_id: int = Field(primary_key=True, foreign_key="audience.id")
    remote_id: str = Field(primary_key=True)
    removed_us: int = Field(sa_type=BigInteger)


class AudienceChange(SQLModel, table=True):
    """What a sink that keeps no list was told last of one person of one audience, or is to be told, word for word.

    `id`, `kind`, `key`, `decided_us`: as in `switchyard.api.Change`; `fields`: its fields as JSON; `digest`: of these
    fields. `state` is one of `switchyard.activation.changes`. A person whose leaving was told has no row.
    """

    __tablename__ = "audience_change"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}
    audience_id: int = Field(primary_key=True, foreign_key="audience.id")
    profile_id: int = _big(primary_key=True)
    id: str
    kind: str
    key: str
    fields: str
    digest: str
    decided_us: int = Field(sa_type=BigInteger)
    state: str


class Outbox(SQLModel, table=True):
    """Changes that were handed to a sink at once; the members they concern are in state "sent" or "accepted".

    `state`: "sent" (under way, or its process died), "accepted" (the vendor works on `tickets`), "done" (every answer
    is known), "settled" (a read-back said what no answer did). `digest` is of the changes: sent again, they are the
    same row.
    """

    id: str = Field(primary_key=True)
    audience_id: int = Field(foreign_key="audience.id", index=True)
    run_id: int = Field(foreign_key="run.id")
    digest: str
    upserts: int
    adds: int
    removals: int
    state: str
    tickets: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    begun_at: NaiveDatetime
    ended_at: NaiveDatetime | None = None


class Proof(SQLModel, table=True):
    """One read-back of a list, compared with the segment. `settling`: confirmed, and too young to be shown."""

    id: int | None = Field(default=None, primary_key=True)
    audience_id: int = Field(foreign_key="audience.id", index=True)
    run_id: int = Field(foreign_key="run.id")
    wanted: int
    held: int
    missing: int
    extra: int
    settling: int
    rejected: int
    read_at: NaiveDatetime


class AccountBudget(SQLModel, table=True):
    """What of an account's quota is used and by whom it is held, so that neither a restart forgets it nor a second
    process exceeds it. `state` is written by `app.shares`.
    """

    __tablename__ = "account_budget"
    account: str = Field(primary_key=True)
    state: Any = Field(sa_column=Column(JSON, nullable=False))


class InboxRow(SQLModel, table=True):
    """What was pushed to a connection and waits to be read, as it came.

    On SQLite the inbox has a file of its own, and this table is empty in the store's; so is the next.
    """

    __tablename__ = "inbox"
    connection: str = Field(primary_key=True)
    sequence: int = _big(primary_key=True)
    received_us: int = Field(sa_type=BigInteger)
    delivery_id: str
    headers: str
    body: bytes = Field(sa_type=LargeBinary)


class InboxDelivery(SQLModel, table=True):
    """A delivery that was accepted, remembered beyond its row, so that it is not taken in again."""

    __tablename__ = "inbox_delivery"
    __table_args__: ClassVar[Any] = {"sqlite_with_rowid": False}
    # First in the key: a sender's ids are looked up without a word about connections.
    id: str = Field(primary_key=True)
    connection: str = Field(primary_key=True)
    received_us: int = Field(sa_type=BigInteger, index=True)
