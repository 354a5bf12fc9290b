"""The inbox: what was pushed to the hub, kept as it came before its sender is answered, in one order for all readers.

On PostgreSQL it is tables of the store. On SQLite it is a file of its own beside the store's, because a file has one
writer, and nobody who pushes shall wait for a bulk load.
"""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import String, bindparam, delete, event, func, insert, text
from sqlmodel import Session, SQLModel, col, select

from switchyard.api.errors import ConfigError
from switchyard.store import bulk
from switchyard.store.database import Database
from switchyard.store.tables import Counter, InboxDelivery, InboxRow

FILE = "inbox.db"
PAGE_ROWS = 50_000
PAGE_BYTES = 32_000_000
KEPT = timedelta(days=7)
"""How long delivery ids are remembered. Senders retry for three days (Standard Webhooks 75 hours, Stripe 3 days)."""
PAGE = pa.schema(
    [
        ("sequence", pa.int64()),
        ("received_at", pa.timestamp("us")),
        ("id", pa.string()),
        ("headers", pa.string()),
        ("body", pa.binary()),
    ]
)
_SIZES = pa.schema([("sequence", pa.int64()), ("size", pa.int64())])
_SLICE = 1_000
"""Rows deleted in one transaction: a receiver waits for no more than these."""
_POLL = 0.1
"""Seconds between looks for what other processes took in."""
_VERSION = 1
_PLAIN_ID = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")
# Its row is locked from here to the commit, so that groups of several processes get their numbers in the order in
# which they become visible. Numbers start at the clock's microseconds: should the file be lost or an older one be
# put back, cursors that are ahead of it would otherwise skip what comes next.
_TAKE = text("""
    INSERT INTO counter (name, next) VALUES ('inbox', :now + :count) ON CONFLICT (name) DO UPDATE
    SET next = CASE WHEN counter.next < :now THEN :now ELSE counter.next END + :count RETURNING next
""")
_KNOWN = text("SELECT connection, id FROM inbox_delivery WHERE id IN :ids").bindparams(
    bindparam("ids", type_=String, expanding=True)
)
# Not by `bulk`: for so few rows Arrow takes longer than the driver.
_INSERT_ROW, _INSERT_DELIVERY = insert(InboxRow), insert(InboxDelivery)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a connection was sent.

    Args:
        id: the sender's name for it, the same whenever it is sent again; None where there is none: then the same body
            is the same delivery.
        headers: those worth keeping.
        at: when it came, UTC without a zone.
    """

    connection: str
    id: str | None
    headers: Mapping[str, str]
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """How many rows of a connection wait, and since when the first of them (UTC; None where none waits)."""

    rows: int
    oldest: datetime | None


class Inbox:
    """The inbox of a store. Methods may be called from any thread.

    Args:
        store: the store's database. On PostgreSQL it must have its tables; on SQLite the inbox's file is made where
            there is none.

    Raises:
        ConfigError: the inbox was written by a newer version.
        TransientError, PermanentError: as `Database.write`; so do all methods.
    """

    def __init__(self, store: Database) -> None:
        self._is_own = store.is_sqlite
        self._database = _beside(store) if store.is_sqlite else store
        # Two writers of one process would wait for each other in SQLite's ever longer naps.
        self._writing = threading.Lock()
        self._news = threading.Condition()
        self._newest = 0

    def close(self) -> None:
        if self._is_own:
            self._database.close()

    def append(self, deliveries: Sequence[Delivery]) -> None:
        """Keep the deliveries, durably, in one transaction. Those that are known are left out."""
        named: dict[tuple[str, str], Delivery] = {}
        for each in deliveries:
            named.setdefault((each.connection, _named(each)), each)
        with self._writing, self._database.write() as session:
            connection = session.connection()
            end = int(connection.execute(_TAKE, {"now": time.time_ns() // 1_000, "count": len(named)}).scalar_one())
            known = {tuple(row) for row in connection.execute(_KNOWN, {"ids": [id for _, id in named]})}
            fresh = {key: each for key, each in named.items() if key not in known}
            if fresh:
                rows, ids = _rows(fresh, end - len(fresh))
                connection.execute(_INSERT_ROW, rows)
                connection.execute(_INSERT_DELIVERY, ids)
        with self._news:
            self._newest = max(self._newest, end - 1)
            self._news.notify_all()

    def read(self, connection: str, after: int | None = None, limit: int = PAGE_ROWS) -> pa.Table:
        """The rows of a connection behind number `after`, in order: the columns of `PAGE`, at most `limit` rows, and no
        more than `PAGE_BYTES` unless the first row alone is more.
        """
        place = {"connection": connection, "after": -1 if after is None else after}
        with self._database.read() as session:
            sizes = bulk.select(
                session,
                "SELECT sequence, LENGTH(body) + LENGTH(headers) FROM inbox "
                "WHERE connection = :connection AND sequence > :after ORDER BY sequence LIMIT :limit",
                _SIZES,
                {**place, "limit": limit},
            )
            if not sizes.num_rows:
                return PAGE.empty_table()
            fitting = pc.sum(pc.less_equal(pc.cumulative_sum(sizes["size"]), PAGE_BYTES)).as_py()
            rows = bulk.select(
                session,
                "SELECT sequence, received_us, delivery_id, headers, body FROM inbox "
                "WHERE connection = :connection AND sequence > :after AND sequence <= :last ORDER BY sequence",
                PAGE.set(1, pa.field("received_at", pa.int64())),
                {**place, "last": sizes["sequence"][max(fitting, 1) - 1].as_py()},
            )
        return rows.cast(PAGE)

    def pages(self, connection: str, after: int | None = None) -> Iterator[pa.Table]:
        """All rows of a connection behind number `after` that are there now. What comes meanwhile is left for the next
        time, but for what still fits: under steady load reading would never end, and nobody would be evaluated.
        """
        upto = self.newest()
        while (after is None or after < upto) and (page := self.read(connection, after)).num_rows:
            yield page
            after = page["sequence"][-1].as_py()

    def trim(self, connection: str, upto: int) -> int:
        """Delete the rows of a connection up to and with number `upto`; gives how many. Their ids stay known."""
        of_connection = col(InboxRow.connection) == connection
        sequence = col(InboxRow.sequence)
        first = select(sequence).where(of_connection, sequence <= upto).order_by(sequence).limit(_SLICE).subquery()
        last = select(func.max(first.c.sequence)).scalar_subquery()
        return self._delete(delete(InboxRow).where(of_connection, sequence <= last))

    def forget(self, now: datetime) -> int:
        """Delete the ids of deliveries that came more than `KEPT` before `now` and whose rows are gone."""
        waiting = [depth.oldest for depth in self.depths().values() if depth.oldest is not None]
        before = _microseconds(min([now - KEPT, *waiting]))
        received = col(InboxDelivery.received_us)
        first = select(received).where(received < before).order_by(received).limit(_SLICE).subquery()
        last = select(func.max(first.c.received_us)).scalar_subquery()
        return self._delete(delete(InboxDelivery).where(received <= last))

    def depths(self, after: Mapping[str, int] | None = None) -> dict[str, Depth]:
        """What waits, for every connection that has rows.

        Args:
            after: connection → the number up to which its rows have been read, 0 for one that is not named.
        """
        with self._database.read() as session:
            return {name: _depth(session, name, (after or {}).get(name, 0)) for name in _connections(session)}

    def newest(self) -> int:
        """The highest number that was given; 0 before the first."""
        with self._database.read() as session:
            counter = session.get(Counter, "inbox")
            return counter.next - 1 if counter else 0

    def wait(self, after: int, timeout: float) -> bool:
        """Wait until a number beyond `after` was given, here or in another process; False if none was in time."""
        end = time.monotonic() + timeout
        while True:
            with self._news:
                if self._newest <= after:
                    self._news.wait(min(_POLL, max(end - time.monotonic(), 0)))
                if self._newest > after:
                    return True
            newest = self.newest()
            with self._news:
                self._newest = max(self._newest, newest)
            if newest <= after and time.monotonic() >= end:
                return False

    def _delete(self, statement: Any) -> int:
        """Carry out a statement that deletes a slice until it finds nothing more."""
        deleted = 0
        while True:
            with self._writing, self._database.write() as session:
                rows = session.exec(statement).rowcount
            deleted += rows
            if rows < _SLICE:
                return deleted


def _beside(store: Database) -> Database:
    path = store.engine.url.database
    database = Database(f"sqlite:///{Path(path).with_name(FILE)}" if path else "sqlite://")

    @event.listens_for(database.engine, "connect")
    def be_brief(connection: Any, _record: Any) -> None:
        # A sender who waits goes away; told to come again, it does.
        connection.execute("PRAGMA busy_timeout=2000")

    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: Database) -> None:
    with database.read() as session:
        found = _version(session)
    if found > _VERSION:
        raise ConfigError(f"the inbox is at version {found}: it was written by a newer switchyard; install that one")
    if found == _VERSION:
        return
    tables = [SQLModel.metadata.tables[name] for name in ("inbox", "inbox_delivery", "counter")]
    with database.write() as session:
        SQLModel.metadata.create_all(session.connection(), tables)
        session.connection().exec_driver_sql(f"PRAGMA user_version={_VERSION}")


def _version(session: Session) -> int:
    return int(session.connection().exec_driver_sql("PRAGMA user_version").scalar_one())


def _rows(
    deliveries: Mapping[tuple[str, str], Delivery], first: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of `InboxRow` and of `InboxDelivery`."""
    rows = [
        {
            "connection": connection,
            "sequence": number,
            "received_us": _microseconds(each.at),
            "delivery_id": name,
            "headers": json.dumps(dict(each.headers)),
            "body": each.body,
        }
        for number, ((connection, name), each) in enumerate(deliveries.items(), first)
    ]
    ids = [{name: row[name] for name in ("connection", "received_us")} | {"id": row["delivery_id"]} for row in rows]
    return rows, ids


def _named(delivery: Delivery) -> str:
    """The delivery's id; a hash where it has none, or one that no column should hold."""
    if delivery.id is None:
        digest = blake2b(delivery.connection.encode() + b"\0" + delivery.body, digest_size=16)
        return digest.hexdigest()
    if _PLAIN_ID.fullmatch(delivery.id):
        return delivery.id
    return blake2b(delivery.id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _connections(session: Session) -> Iterator[str]:
    # One step of the index per connection, whatever the number of rows.
    query, last = select(func.min(InboxRow.connection)), ""
    while (name := session.exec(query.where(col(InboxRow.connection) > last)).one()) is not None:
        yield name
        last = name


def _depth(session: Session, connection: str, after: int) -> Depth:
    waits = (col(InboxRow.connection) == connection, col(InboxRow.sequence) > after)
    rows = session.exec(select(func.count()).select_from(InboxRow).where(*waits)).one()
    first = select(InboxRow.received_us).where(*waits).order_by(col(InboxRow.sequence)).limit(1)
    oldest = session.exec(first).first()
    epoch = datetime(1970, 1, 1)  # the hub's instants have no zone
    return Depth(rows, None if oldest is None else epoch + timedelta(microseconds=oldest))


def _microseconds(at: datetime) -> int:
    return (at.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
