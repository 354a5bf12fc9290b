"""Deliveries to sinks that are told of changes: what is pending first, then what else changed; or nothing, the first
time.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

import pyarrow as pa

from switchyard.activation import members, outbox
from switchyard.activation.allowance import Parts
from switchyard.activation.feed import Feed
from switchyard.activation.ledger import Ledger
from switchyard.activation.task import Route, Task
from switchyard.activation.wanted import Difference
from switchyard.store import tables
from switchyard.store.database import Database

UNREAD = "told of changes: this sink keeps no list, and what it has cannot be read back"


def tell(task: Task, feed: Feed, look_again: Callable[[Task], None]) -> None:
    """Tell what is not known to be told, word for word, and then what else is wanted of the same people.

    Args:
        look_again: compares anew, by what the ledger has learnt.
    """
    exchange = task.exchange
    if exchange.unfinished:
        # What was under way is kept change by change.
        with exchange.database.write() as session:
            outbox.settle(session, exchange.audience_id)
        exchange.unfinished = ()
    while True:
        exchange.forget([profile for profile in task.wanted.forgotten if profile not in feed.pending])
        wanted, now = task.difference(), exchange.clock()
        with exchange.database.read() as session:
            parts, digests = feed.plan(session, now, wanted, task.wanted.digests)
        exchange.apply(parts, digests)
        if not feed.has_more:
            break
        look_again(task)
    if feed.has_news:
        with exchange.database.write() as session:
            feed.keep(session)
    task.waiting = len(feed.later)


def assume(database: Database, row: tables.Audience, route: Route, wanted: Difference, now: datetime) -> pa.Table:
    """Take it that the sink knows everybody who is in the segment; the members then held."""
    assert isinstance(route.sink, Feed)  # noqa: S101
    ledger = Ledger(members.SCHEMA.empty_table(), {})
    with database.write() as session:
        parts, digests = route.sink.plan(session, now, Parts(wanted.upsert, wanted.add), wanted.digests)
        people = [int(member.key) for member in parts.upsert]
        ledger.sending(people, people, digests)
        ledger.confirm(route.sink.assume(session), members.microseconds(now))
        members.put(session, row.id or 0, ledger.news().rows)
        # In one transaction: once there is a list, the first delivery is over.
        row.list_id, row.list_name = tables.FEED, route.audience.list
        session.merge(row)
    return ledger.table()


def is_assumed(route: Route, row: tables.Audience | None) -> bool:
    """Whether a delivery takes everybody as known: the first one, where the audience says so."""
    first = row is None or row.list_id is None
    return first and isinstance(route.sink, Feed) and route.audience.first == "assume"


def foreseen(route: Route, row: tables.Audience | None, entering: int, *, died: bool) -> Iterator[str]:
    """What to say beforehand of how a delivery begins."""
    if not isinstance(route.sink, Feed):
        if died:
            yield "an earlier delivery was cut off; the list is read back before anything is sent"
        return
    if died:
        yield "an earlier delivery was cut off; what it was telling is told again, under the same ids"
    if is_assumed(route, row):
        yield f"the first delivery takes {entering:,} people as known, and tells of nobody (first: assume)"
    elif row is None or row.list_id is None:
        yield f"the first delivery tells of {entering:,} people who are in the segment; to tell of none: first: assume"
