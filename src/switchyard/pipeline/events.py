"""The events of a page: one per record, or one per group of records."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api.records import DELETED
from switchyard.config.mapping import EventMapping
from switchyard.pipeline.mapping import Mapped, Mapper
from switchyard.pipeline.people import Positions
from switchyard.pipeline.plan import OBSERVED, RECORD_ID
from switchyard.pipeline.records import ROW, SOURCE

SUBJECT = "_subject"
"""Position of the event's subject among the page's people, until identities are resolved; then the subject's id."""
RECORD = "_record"
"""The event type of records that no event is named after (a voided receipt, the second line of a refund): nothing but
their ids, so that they are known when they come again.
"""
PAGE = "_page"
"""Number of the page the event came with, until pages have ids; then the page's id."""


def events(mapper: Mapper, mapped: Mapped, of: Positions) -> Iterator[tuple[str, pa.Table]]:
    """Every event type of the mapping with its events: `_id`, `_subject`, `_at`, `_page`, then the properties.

    Args:
        of: for each of the mapped records, the position of its subject.
    """
    about = pa.table({"_id": mapped.records[RECORD_ID], SUBJECT: of, PAGE: mapped.sources})
    for name in mapper.plan.single:
        yield name, _single(name, mapped.records, about)
    for name, event in mapper.plan.grouped.items():
        natural = f"event.{name}._id"
        ids = mapped.records[natural] if natural in mapped.records.column_names else about["_id"]
        yield name, _grouped(mapper, event, mapped, about.set_column(0, "_id", ids))


def unnamed(mapper: Mapper, mapped: Mapped, of: Positions, made: Mapping[str, pa.Table], now: datetime) -> pa.Table:
    """The records that no event is named after, as rows of `RECORD`: `_id`, `_subject`, `_at`, `_page`.

    Args:
        of: as for `events`.
        made: the events that were made of these records.
        now: the instant of records that carry none.
    """
    records = mapped.records
    named = np.zeros(records.num_rows, np.bool_)
    for name in mapper.plan.single:
        if f"event.{name}._id" not in records.column_names:
            named |= records[f"event.{name}._when"].to_numpy()
    rest = pa.array(~named)
    ids = records[RECORD_ID].filter(rest).cast(pa.binary(16))
    instants = records[OBSERVED].filter(rest).cast(pa.timestamp("us"))
    kept = pa.table(
        {
            "_id": ids,
            SUBJECT: pa.array(of).filter(rest),
            "_at": pc.fill_null(instants, pa.scalar(now, pa.timestamp("us"))),
            PAGE: pa.array(mapped.sources).filter(rest),
        }
    )
    firsts = [made[name]["_id"] for name in mapper.plan.grouped]
    taken = pa.chunked_array([chunk for column in firsts for chunk in column.chunks], pa.binary(16))
    return kept.filter(pc.invert(pc.is_in(ids, value_set=taken.combine_chunks())))


def _single(name: str, records: pa.Table, about: pa.Table) -> pa.Table:
    prefix = f"event.{name}."
    natural = records[f"{prefix}_id"] if f"{prefix}_id" in records.column_names else about["_id"]
    columns = {"_id": natural, SUBJECT: about[SUBJECT], "_at": records[f"{prefix}_at"], PAGE: about[PAGE]}
    for column in records.column_names:
        if column.startswith(prefix) and not column.startswith(f"{prefix}_"):
            columns[column.removeprefix(prefix)] = records[column]
    return _identified(pa.table(columns).filter(records[f"{prefix}_when"]))


def _grouped(mapper: Mapper, event: EventMapping, mapped: Mapped, about: pa.Table) -> pa.Table:
    """One event per group, named after the group's first record, whose subject it has."""
    rows = mapped.records[ROW]
    if DELETED in mapped.records.column_names:
        lives = pc.invert(mapped.records[DELETED])
        rows, about = rows.filter(lives), about.filter(lives)
    page = mapped.page.select([*sorted(mapper.plan.fields), ROW, SOURCE])
    page = page if len(rows) == page.num_rows else page.take(rows)
    made = mapper.grouped(event, page)
    first = about.take(pc.index_in(made[ROW], rows.combine_chunks()))
    columns = {"_id": first["_id"], SUBJECT: first[SUBJECT], "_at": made["_at"], PAGE: first[PAGE]}
    columns |= {name: made[name] for name in event.properties}
    if event.items:
        columns["items"] = _items(mapper.items(event, page))
    return _identified(pa.table(columns))


def _items(each: pa.Table) -> pa.Array:
    """The items of each group, in order of the groups' first records.

    By sorting and offsets: GROUP BY with list(struct) took 25 s for a million records.
    """
    groups = each["_group"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(groups, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(groups))]).astype(np.int32)
    fields = each.drop_columns(["_group"]).take(pa.array(order)).combine_chunks()
    columns = [column.combine_chunks() for column in fields.columns]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(columns, names=fields.column_names))


def _identified(table: pa.Table) -> pa.Table:
    return table.set_column(0, "_id", table["_id"].cast(pa.binary(16)))
