"""One pull of an object: everything, or what changed, by queries or by the Bulk API, from wherever it was cut short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pyarrow as pa

from switchyard.api import PermanentError
from switchyard_connectors.salesforce import soql
from switchyard_connectors.salesforce.bulk_query import BulkQuery, JobFailed, JobGone, NotInBulk, TooMuch
from switchyard_connectors.salesforce.describe import Shape
from switchyard_connectors.salesforce.org import Org
from switchyard_connectors.salesforce.place import LOOK_BACK, SETTLED, Load, Place, text_of
from switchyard_connectors.salesforce.refusals import ApiError
from switchyard_connectors.salesforce.rows import nothing, table

Step: TypeAlias = "tuple[pa.Table, Load, bool]"
"""Records, the load to go on with once they are committed, and whether it has ended with them."""
_SHORTEST = 1.0
"""Seconds of the shortest slice: stamps are whole seconds."""
_RESTARTS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pull reads.

    Args:
        where: which records of the object.
        bulk_above: rows above which a first load goes through the Bulk API.
    """

    org: Org
    shape: Shape
    bulk: BulkQuery
    where: str
    bulk_above: int


def pull(reading: Reading, place: Place) -> Iterator[tuple[pa.Table, Place]]:
    """Records with the place that is true once they are committed. The last place has no load any more."""
    load = place.begun()
    if load == Load(first=True):
        load = replace(load, bulk=_is_large(reading))
    over = False
    while not over:
        for found, reached, over in _slice(reading, load):
            load = reached
            yield found, _reached(place, load, over=over)


def _reached(place: Place, load: Load, *, over: bool) -> Place:
    return replace(place, until=_later(load.until, place.until), load=None) if over else replace(place, load=load)


def _slice(reading: Reading, load: Load) -> Iterator[Step]:
    """One slice, or as much of it as there is until it has to be cut smaller."""
    try:
        yield from _by_job(reading, load) if load.bulk else _by_query(reading, load)
    except TooMuch:
        yield nothing(reading.shape), _halved(reading, load), False
    except NotInBulk:
        yield nothing(reading.shape), replace(load.without_job(), bulk=False), False
    except JobFailed:
        # It will not succeed later either, so the next run makes another.
        yield nothing(reading.shape), load.without_job(), False
        raise
    except JobGone:
        if load.job is None:
            raise PermanentError(
                f"Salesforce does not know the bulk job for {reading.shape.name} that it has just made; "
                "see whether the user may read its own jobs"
            ) from None
        yield nothing(reading.shape), load.without_job(), False


def _by_query(reading: Reading, load: Load) -> Iterator[Step]:
    shape, org = reading.shape, reading.org
    order = (shape.stamp, "Id") if shape.stamp else ("Id",)
    restarts = 0
    while True:
        query = soql.select(shape.fields, shape.name, _conditions(reading, load), order)
        try:
            for page in org.query(query, deleted=shape.has_deleted):
                records = page["records"]
                load = _behind(replace(load, until=load.until or _settled(org)), records, shape)
                user = org.session().user_id
                if page.get("done", True):
                    yield table(records, shape, user), *_ended(load, org)
                    return
                yield table(records, shape, user), load, False
                restarts = 0
        except ApiError as error:
            if error.code == "QUERY_TIMEOUT":
                yield nothing(shape), _halved(reading, load), False
                return
            # Salesforce has forgotten how far it was: the last record tells.
            if error.code != "INVALID_QUERY_LOCATOR" or restarts == _RESTARTS:
                raise
            restarts += 1


def _by_job(reading: Reading, load: Load) -> Iterator[Step]:
    shape, org, bulk = reading.shape, reading.org, reading.bulk
    job = load.job
    if job is None:
        # Without an order, so that Salesforce may read in parts.
        query = soql.select(shape.fields, shape.name, _conditions(reading, load))
        job = bulk.start(query, deleted=shape.has_deleted)
        load = replace(load, job=job, until=load.until or _settled(org) or text_of(_here() - LOOK_BACK))
        yield nothing(shape), load, False
    bulk.wait(job)
    more = True
    while more:
        done, following = 0, None
        for found, locator in bulk.results(job, load.locator, org.session().user_id):
            following = locator
            done += found.num_rows
            if done > load.skip:
                left = min(found.num_rows, done - load.skip)
                load = replace(load, skip=done)
                yield found.slice(found.num_rows - left), load, False
        more = following is not None
        load = replace(load, locator=following, skip=0) if more else load
    yield nothing(shape), *_ended(load, org)
    # Not before the end is committed: a job that is gone is read anew.
    bulk.end(job)


def _conditions(reading: Reading, load: Load) -> Iterator[str]:
    stamp = reading.shape.stamp
    if load.first and reading.shape.has_deleted:
        yield "IsDeleted = false"
    if reading.where:
        yield f"({reading.where})"
    if stamp is None:
        yield f"Id > {soql.text(load.id)}" if load.id else ""
        return
    if load.at is not None:
        yield soql.behind(stamp, load.at, load.id) if load.id else f"{stamp} >= {soql.instant(load.at)}"
    if load.before is not None:
        yield f"{stamp} < {soql.instant(load.before)}"


def _behind(load: Load, records: list[Any], shape: Shape) -> Load:
    if not records:
        return load
    last = records[-1]
    stamp = last[shape.stamp] if shape.stamp else None
    at = text_of(soql.moment(stamp)) if stamp else None
    return replace(load, at=at, id=str(last["Id"]))


def _ended(load: Load, org: Org) -> tuple[Load, bool]:
    """What is left after a slice, and whether that is nothing."""
    if (rest := load.next_slice(org.now or _here())) is not None:
        return rest, False
    # Where no answer tells the org's time, the last record read does.
    return replace(load, until=load.until or (load.at if load.id else None)), True


def _settled(org: Org) -> str | None:
    return text_of(org.now - SETTLED) if org.now is not None else None


def _later(one: str | None, other: str | None) -> str | None:
    """The later of two instants in one spelling: what was read stays read."""
    return max(filter(None, (one, other)), default=None)


def _here() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _is_large(reading: Reading) -> bool:
    query = soql.select(("COUNT()",), reading.shape.name, _conditions(reading, Load(first=True)))
    try:
        return reading.org.count(query, deleted=reading.shape.has_deleted) > reading.bulk_above
    except ApiError as error:
        # Too many to be counted in time.
        if error.code == "QUERY_TIMEOUT":
            return True
        raise


def _halved(reading: Reading, load: Load) -> Load:
    """The load with half of its slice. Raises PermanentError where that cannot be cut any more."""
    shape, org = reading.shape, reading.org
    if shape.stamp is None:
        raise PermanentError(f"Salesforce cannot read {shape.name} in time, and it has no field to read it in parts by")
    begin = load.at
    if begin is None:
        first = soql.select((shape.stamp,), shape.name, (), (shape.stamp,)) + " LIMIT 1"
        records = next(org.query(first, deleted=shape.has_deleted))["records"]
        begin = text_of(soql.moment(records[0][shape.stamp])) if records else text_of(_here())
    end = soql.moment(load.before) if load.before else (org.now or _here()) + timedelta(seconds=1)
    span = (end - soql.moment(begin)).total_seconds() / 2
    if span < _SHORTEST:
        raise PermanentError(
            f"Salesforce cannot read {shape.name} in time, not even a second's changes; read fewer fields"
        )
    before = text_of((soql.moment(begin) + timedelta(seconds=span)).replace(microsecond=0))
    return replace(load.without_job(), at=begin, before=before, span=span)
