"""Connectors: specs say what there is, protocols say what it does. There is no base class to inherit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, ConfigDict

from switchyard.api.receiving import Receiver
from switchyard.api.records import JSON, Cursor, Page, Reject
from switchyard.api.sinks import Batch, ListChanges, ListReceipt, ListRef, Receipt, RemoteList
from switchyard.api.transforms import DataType

if TYPE_CHECKING:
    import pyarrow as pa

    from switchyard.api.calls import RetryPolicy
    from switchyard.api.http import HttpClient


class ConnectorConfig(BaseModel):
    """Base of a connector's configuration: frozen, and an unknown key is an error."""

    # What was given may be a secret: an error must not quote it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Window:
    """At most `calls` calls in any `seconds` seconds."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What the vendor allows one account. The hub paces every call of the account by it.

    Args:
        windows: bucket → its windows. The bucket "default" holds calls that name none.
        daily: calls in a day over all buckets, None for no such limit.
        day_zone: the IANA zone whose midnight resets `daily`.
        concurrency: calls under way at once.
    """

    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    daily: int | None = None
    day_zone: str = "UTC"
    concurrency: int = 4


@dataclass(frozen=True, slots=True)
class Stream:
    """A named sequence of like records.

    Args:
        name: as written in the configuration.
        key: the fields that name a record within the stream.
        mode: "append", where a record once given never changes (tickets, events): one whose key was seen before is a
            duplicate. "upsert", where a record with a known key is its newer version (contacts).
        mapping: the default mapping, as a user would write it in YAML; what a user writes is laid over it.
        group: fields by which the records of one thing stand together (the lines of an order). The source promises
            that all records of a group which one file holds come in one page.
        fields: the fields of a record and their types where they are known beforehand, so that `switchyard check`
            can type a mapping before the first record came. A field not named here counts as text.
        whole: whether a record says all there is of its thing, so that an attribute for which its newest version has
            no value is taken back (contacts of a CRM). Where it is false, no value says nothing (traits of an app).
        pushed: where a source is both pushed to and pulled: whether this stream is to be read when something was
            pushed. It then reads what is in the inbox, and beyond that only what it would not read too often.
    """

    name: str
    key: tuple[str, ...]
    mode: Literal["append", "upsert"] = "upsert"
    mapping: Mapping[str, JSON] = field(default_factory=dict)
    group: tuple[str, ...] = ()
    fields: Mapping[str, DataType] = field(default_factory=dict)
    whole: bool = False
    pushed: bool = False


class Context(Protocol):
    """What the hub hands to a connector when it builds it."""

    @property
    def connection(self) -> str:
        """The connection's name in the configuration."""

    @property
    def project(self) -> Path:
        """The project's folder; relative paths in a configuration start here."""

    @property
    def workspace(self) -> Path:
        """A folder of this connection's own, for downloads under way and for what it has to keep (a newer refresh
        token). It outlives runs.
        """

    def http(
        self,
        base_url: str,
        *,
        bearer: str | Callable[[], str] | None = None,
        internal: bool | None = None,
        policy: RetryPolicy | None = None,
    ) -> HttpClient:
        """A client pinned to `base_url`, paced by the account's budget. `bearer` may be a callable: it is asked for
        the token before each call, and once more after a 401. `internal` and `policy` are those of `HttpClient`.
        """

    def marked(self, stream: str, marks: Collection[str]) -> frozenset[str]:
        """Which of these marks earlier, committed pages of the stream have completed."""

    def inbox(self, after: int | None = None) -> Iterator[pa.Table]:
        """What was pushed to the connection and accepted by its receiver, behind row number `after` (None: from the
        beginning), until there is nothing more for now.

        Tables of at most 50,000 rows and 32 MB, in order, with the columns `sequence` (int64: the row's number; they
        ascend with gaps and stay below 2^53), `received_at` (timestamp[us], UTC without a zone), `id` (string: the
        sender's name for the delivery, or a hash), `headers` (string: JSON object of what the receiver kept) and
        `body` (binary). A row goes some time after the stream's cursor has passed it.
        """


@runtime_checkable
class Source(Protocol):
    """Reads records from the outside system."""

    def read(self, stream: Stream, cursor: Cursor) -> Iterator[Page]:
        """Yield what lies behind `cursor`, page by page, and stop where there is nothing more for now.

        Called once per sync and stream, in a thread of its own. The hub may close the iterator at any page, and calls
        again later with the cursor of the last page it committed: reading must go on from there and lose nothing.

        Raises:
            AuthError: the credentials are refused.
            TransientError: the sync ends; what was committed stays; the next run goes on.
            PermanentError: the sync ends and a person has to look.
        """


@runtime_checkable
class Sink(Protocol):
    """Tells the outside system who entered or left a segment, or changed in it, where there is no list to keep."""

    def write(self, batch: Batch) -> Receipt:
        """Write the rows; refuse single rows in the receipt. Raising means that the whole batch failed.

        The same row (same `Change.id`) may come again, also in another batch, where the hub could not learn what became
        of it; it must leave one effect as far as the outside system can tell.

        Raises:
            UnknownOutcome, TransientError: the rows are written again by a later delivery.
        """


@runtime_checkable
class ListSink(Protocol):
    """Keeps a list of people in the outside system."""

    def ensure(self, wanted: RemoteList, known: str | None) -> ListRef:
        """Find the list, or create it, and make sure that its fields exist.

        Args:
            wanted: what the audience asks for.
            known: the vendor's id from earlier runs, or None. A known list that is gone raises ListGone, and is
                never silently a new list.
        """

    def apply(self, ref: ListRef, changes: ListChanges) -> Iterator[ListReceipt]:
        """Carry out the changes in the fewest calls, yielding a receipt after each call.

        Every key of every part ends in some receipt, confirmed or rejected, unless an error is raised. What the
        vendor answered before is yielded first; the outcome of what was not yielded is unknown, and the hub reads the
        list back. Closing the iterator makes no further call and leaves no thread behind.
        """

    def members(self, ref: ListRef, cursor: Cursor) -> Iterator[Page]:
        """Read the list back: pages whose records are `{"remote_id": str}`, in a stable order."""


@runtime_checkable
class Pollable(Protocol):
    """A list sink whose vendor works asynchronously."""

    def poll(self, ref: ListRef, ticket: str) -> Iterator[ListReceipt]:
        """The verdicts that are in; the last receipt carries the ticket again while some are not."""


@runtime_checkable
class Costed(Protocol):
    """A list sink that knows what its vendor's calls hold, for plans and for comparing with what was spent."""

    def calls(self, upsert: int, add: int, remove: int, held: int) -> int:
        """The fewest calls that carry out changes of these sizes and read a list of `held` members back."""


@runtime_checkable
class Lagging(Protocol):
    """A list sink whose vendor confirms changes before its lists show them."""

    def lag(self) -> float:
        """Seconds after which the read-back shows every change that was confirmed; 0 for at once."""


@runtime_checkable
class Replayable(Protocol):
    """A source that can read again what it once refused, after its configuration was mended."""

    def replay(self, stream: Stream, rejects: Sequence[Reject], origin: str | None) -> Page:
        """The records of these rejects, read anew: `Page.records` in the rejects' order, and in `Page.rejected` those
        that are still refused. Only rejects whose record the source itself made are given; the cursor is ignored.
        """


@runtime_checkable
class Checkable(Protocol):
    """A connector that can try its credentials (`switchyard check --connect`, `doctor`)."""

    def check(self) -> None:
        """Make the cheapest call that proves the connection works, or raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spec:
    name: str
    config: type[ConnectorConfig]
    title: str = ""
    limits: Callable[[Any], Limits] | None = None
    account: Callable[[Any], str] | None = None
    simulator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec(_Spec):
    """A source: its name, the model of its configuration, how to build it, its streams.

    Args:
        name: the connector's name in the configuration. A sink of the same plugin may share it.
        config: the model of `connections.<name>.config`.
        build: called with the checked configuration and a context.
        streams: the streams there are.
        title: one line for `switchyard connectors`.
        limits, account: what the vendor allows, and the key of the account that it counts by, from the configuration.
        simulator: "package.module:Class" of a stand-in for the vendor (see `switchyard.testing`).
        objects: further streams, those that the configuration asks for (custom objects of an account). No call is made.
        receiver: for what is pushed, from the configuration: who decides what is accepted. The source then reads what
            was, from `Context.inbox`. None, the receiver or its answer, where nothing is pushed.
        pulled: with a receiver: whether there is something to pull as well, on a schedule. Streams that are read when
            something was pushed then say so themselves.
    """

    build: Callable[[Any, Context], Source]
    streams: tuple[Stream, ...]
    objects: Callable[[Any], tuple[Stream, ...]] | None = None
    receiver: Callable[[Any], Receiver | None] | None = None
    pulled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpec(_Spec):
    """A sink that is told of changes. The arguments are those of `SourceSpec`, and `batch`: rows it takes at once."""

    build: Callable[[Any, Context], Sink]
    batch: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSinkSpec(_Spec):
    """A sink for lists of people. The arguments are those of `SourceSpec`."""

    build: Callable[[Any, Context], ListSink]


ConnectorSpec: TypeAlias = SourceSpec | SinkSpec | ListSinkSpec
