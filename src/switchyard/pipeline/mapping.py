"""Mapping: a page of records becomes subjects, identifiers, attributes and events, by expressions in DuckDB's SQL.

Expressions are compiled once and run over whole pages in a connection that reaches no file, no network and no
extension. A record on which an expression fails is refused by itself; its neighbours go on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api.errors import ConfigError
from switchyard.api.records import DELETED, Page, Reject
from switchyard.api.transforms import RecordTransform
from switchyard.config.mapping import EventMapping
from switchyard.eventlog.types import arrow_type, type_text
from switchyard.pipeline.isolation import first_line, isolated
from switchyard.pipeline.plan import SUBJECT, Plan, sandbox
from switchyard.pipeline.records import ROW, SOURCE, describe, tabulate, with_nul


class GroupFailed(Exception):
    """An expression over a group of records fails; the text says how."""


@dataclass(frozen=True)
class Mapped:
    """A mapped page, or several that are committed together.

    Args:
        page: what was mapped: the records' fields, `_row`, and `_source`: which of the pages a record came with.
        records: one row per record that could be mapped.
        rejects: the others, by page.
        origins: of each page, where it came from.
    """

    page: pa.Table
    records: pa.Table
    rejects: Sequence[Sequence[Reject]]
    origins: Sequence[str | None]

    @property
    def sources(self) -> NDArray[np.int64]:
        """Of each mapped record, the page it came with."""
        return self.page[SOURCE].take(self.records[ROW]).to_numpy()

    def joins(self, other: "Mapped") -> bool:
        """Whether both can be committed together: their fields are the same."""
        return self.page.schema.equals(other.page.schema) and self.records.schema.equals(other.records.schema)


def together(several: Sequence[Mapped]) -> Mapped:
    """Pages as one, in their order."""
    if len(several) == 1:
        return several[0]
    pages, records, rows, sources = [], [], 0, 0
    for mapped in several:
        pages.append(_shifted(_shifted(mapped.page, ROW, rows), SOURCE, sources))
        records.append(_shifted(mapped.records, ROW, rows))
        rows, sources = rows + mapped.page.num_rows, sources + len(mapped.origins)
    return Mapped(
        pa.concat_tables(pages),
        pa.concat_tables(records),
        [rejects for mapped in several for rejects in mapped.rejects],
        [origin for mapped in several for origin in mapped.origins],
    )


def _shifted(table: pa.Table, name: str, by: int) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, name, pc.add(table[name], pa.scalar(by, pa.int64())))


def declared(plan: Plan) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What the mapping gives before any record came: attribute → type, and event type → property → type.

    Raises:
        ConfigError: an expression does not fit the stream's fields.
    """
    fields = {name: plan.stream.fields.get(name, "text") for name in plan.fields | set(plan.stream.key)}
    mapper = Mapper(plan)
    mapped = mapper.map(Page(pa.table({n: pa.array([], arrow_type(t)) for n, t in fields.items()}), None))
    empty, records = mapped.page, mapped.records
    attributes = {
        each.name.removeprefix("attribute."): type_text(each.type)
        for each in records.schema
        if each.name.startswith("attribute.")
    }
    events = {name: _types(_properties(records, name)) for name in plan.single}
    for name, event in plan.grouped.items():
        items = mapper.items(event, empty).drop_columns(["_group"])
        events[name] = _types(mapper.grouped(event, empty).drop_columns([ROW, "_at"]))
        if event.items:
            events[name]["items"] = type_text(pa.list_(pa.struct(list(items.schema))))
    return attributes, events


def _properties(records: pa.Table, event: str) -> pa.Table:
    prefix = f"event.{event}."
    names = [name for name in records.column_names if name.startswith(prefix) and not name.startswith(f"{prefix}_")]
    return records.select(names).rename_columns([name.removeprefix(prefix) for name in names])


def _types(properties: pa.Table) -> dict[str, str]:
    return {each.name: type_text(each.type) for each in properties.schema}


class Mapper:
    """Runs one plan over pages: `map` in one thread, what makes groups in another."""

    def __init__(self, plan: Plan, transforms: Iterable[RecordTransform] = ()) -> None:
        self.plan = plan
        self._transforms = tuple(transforms)
        self._mapping = sandbox()
        self._grouping = sandbox()

    def map(self, page: Page) -> Mapped:
        """Map one page.

        Raises:
            ConfigError: the mapping does not fit these records at all (a type error in an expression).
        """
        table, rejects = tabulate(page)
        rejects = [*page.rejected, *rejects]
        table = self._completed(table)
        records, refused = self._run(table)
        rejects += refused
        for transform in self._transforms:
            records, found = transform.apply(records)
            rejects += [_placed(reject, table) for reject in found]
        records, refused = self._usable(records, table)
        return Mapped(table, records, [rejects + refused], [page.origin])

    def grouped(self, event: EventMapping, page: pa.Table) -> pa.Table:
        """The events that groups of these records make, in order of each group's first record.

        Columns: `_row` (of the first record), `_at`, then the properties.

        Raises:
            GroupFailed: an expression fails, or gives no time.
        """
        at = f"CAST(({event.at or f'min({self.plan.mapping.observed_at})'}) AS TIMESTAMP)"
        listed = "".join(f', {text} AS "{name}"' for name, text in event.properties.items())
        query = f"SELECT min({ROW}) AS {ROW}, {at} AS _at{listed} FROM page WHERE {_chosen(event)}"
        made = self._over_groups(f"{query} GROUP BY {SOURCE}, ({event.group}) ORDER BY 1", page)
        if made["_at"].null_count:
            raise GroupFailed("the event has no time")
        return made

    def items(self, event: EventMapping, page: pa.Table) -> pa.Table:
        """What each of these records adds to the event of its group, in their order: `_group`, and the items' fields.

        Raises:
            GroupFailed: an expression fails.
        """
        listed = "".join(f', ({text}) AS "{name}"' for name, text in (event.items or {}).items())
        group = f"{SOURCE} || '/' || CAST(({event.group}) AS VARCHAR)"
        return self._over_groups(f"SELECT {group} AS _group{listed} FROM page WHERE {_chosen(event)}", page)

    def groups(self, event: EventMapping, page: pa.Table) -> NDArray[np.int64]:
        """Of each record, the number of its group; one whose group cannot be told is one by itself."""
        group = f"{SOURCE} || '/' || CAST(({event.group}) AS VARCHAR)"
        query = f"SELECT coalesce(TRY({group}), 'record ' || {ROW}) AS _group FROM page"
        keys = _query(self._grouping, query, page)["_group"].combine_chunks()
        return keys.dictionary_encode().indices.to_numpy().astype(np.int64)

    def _over_groups(self, query: str, page: pa.Table) -> pa.Table:
        try:
            return _query(self._grouping, query, page)
        except duckdb.Error as error:
            raise GroupFailed(first_line(error)) from error

    def _completed(self, table: pa.Table) -> pa.Table:
        """The table with every field that an expression names: a field no record of the page has is NULL."""
        for name in sorted(self.plan.fields - set(table.column_names)):
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        return table

    def _run(self, table: pa.Table) -> tuple[pa.Table, list[Reject]]:
        """Map the table; where an expression fails, without the records at fault."""
        select = self.plan.selecting(table.column_names)
        try:
            return self._mapped(select, table), []
        except duckdb.Error:
            return isolated(self._mapped, select, self.plan.fails, table)

    def _mapped(self, query: str, page: pa.Table) -> pa.Table:
        records = _query(self._mapping, query, page)
        if DELETED in records.column_names:
            lives = pc.invert(records[DELETED])
            for name in self.plan.single:
                column = f"event.{name}._when"
                at = records.column_names.index(column)
                records = records.set_column(at, column, pc.and_(records[column], lives))
        return records

    def _usable(self, records: pa.Table, table: pa.Table) -> tuple[pa.Table, list[Reject]]:
        """Without the records that name nobody, whose event has no time, or that hold what no store keeps."""
        rejects: list[Reject] = []
        nobody: tuple[str, str, str, str | None] = (SUBJECT, "no_subject", "the mapping's subject is empty here", None)
        untimed = [(f"event.{name}._at", "no_time", f"{name} has no time", name) for name in self.plan.single]
        for column, code, reason, event in (nobody, *untimed):
            missing = pc.is_null(records[column])
            if event is not None:
                missing = pc.and_(missing, records[f"event.{event}._when"])
            if pc.any(missing).as_py():
                rejects += describe(table.take(records[ROW].filter(missing)), code, reason)
                records = records.filter(pc.invert(missing))
        if (bad := with_nul(records)) is not None:
            reason = "the mapping makes a text with a NUL character, which no store can keep"
            rejects += describe(table.take(records[ROW].filter(bad)), "nul_character", reason)
            records = records.filter(pc.invert(bad))
        return records, rejects


def _chosen(event: EventMapping) -> str:
    """The condition of the records that make events of a kind."""
    when = f"({event.when}) AND " if event.when else ""
    return f"{when}({event.group}) IS NOT NULL"


def _query(connection: duckdb.DuckDBPyConnection, query: str, page: pa.Table) -> pa.Table:
    connection.register("page", page)
    try:
        return _finite(connection.execute(query).to_arrow_table())
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise ConfigError(f"the mapping does not fit the records: {first_line(error)}") from error
    finally:
        connection.unregister("page")


_FIRST, _LAST = (pa.scalar(datetime(year, 1, 1), pa.timestamp("us")) for year in (1, 9999))


def _finite(table: pa.Table) -> pa.Table:
    """What is not a number, and instants without end or beyond the calendar, become missing: engines order them
    differently.
    """
    for at, column in enumerate(table.columns):
        if pa.types.is_floating(column.type):
            fits = pc.is_finite(column)
        elif pa.types.is_timestamp(column.type):
            instants = column.cast(_FIRST.type)
            fits = pc.and_(pc.greater_equal(instants, _FIRST), pc.less(instants, _LAST))
        else:
            continue
        table = table.set_column(at, table.schema.field(at), pc.if_else(fits, column, pa.scalar(None, column.type)))
    return table


def _placed(reject: Reject, table: pa.Table) -> Reject:
    """A transform's reject, which names its record by `_row`, as a reject of the whole record."""
    row = table.slice(int(str(reject.record)), 1)
    return describe(row, reject.code, reject.reason, reject.field)[0]
