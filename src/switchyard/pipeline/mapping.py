"""Mapping: a page of records becomes subjects, identifiers, attributes and events, by expressions in DuckDB's SQL.

Expressions are compiled once and run over whole pages in a connection that reaches no file, no network and no
extension. A record on which an expression fails is refused by itself; its neighbours go on.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from switchyard.api.connectors import Stream
from switchyard.api.errors import ConfigError
from switchyard.api.records import BYTE, LINE, Page, Reject
from switchyard.api.transforms import RecordTransform
from switchyard.config.mapping import EventMapping
from switchyard.config.mapping import Mapping as MappingConfig
from switchyard.eventlog.types import arrow_type, type_text
from switchyard.pipeline.isolation import first_line, isolated
from switchyard.pipeline.records import OWN, ROW, SOURCE, describe, tabulate, with_nul

RECORD_ID = "_record"
SUBJECT = "_subject"
OBSERVED = "_observed"
EXTRA = "extra"
"""The event property that holds what the mapping does not name, as a JSON object."""


def sandbox() -> duckdb.DuckDBPyConnection:
    """An in-memory connection for users' expressions."""
    settings: dict[str, Any] = {
        # A page is mapped in one thread while another is committed: more threads would wait for each other.
        "threads": 1,
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(config=settings)
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true; SET lock_configuration = true")
    return connection


class GroupFailed(Exception):
    """An expression over a group of records fails; the text says how. `refusals` finds the groups."""


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


@dataclass(frozen=True)
class Plan:
    """A stream's mapping, compiled.

    Args:
        select: what a SELECT over a page lists to give one row per record.
        fails: whether some expression of it fails on a record.
        fields: the record's fields that some expression names.
        grouped: event type → its mapping, for events made of several records.
        single: event types made of one record each.
    """

    connection: str
    stream: Stream
    mapping: MappingConfig
    select: str
    fails: str
    fields: frozenset[str]
    grouped: Mapping[str, EventMapping] = field(default_factory=dict)
    single: Mapping[str, EventMapping] = field(default_factory=dict)

    def selecting(self, columns: Sequence[str]) -> str:
        """The SELECT for a page of these columns. Those that no expression names go whole into the property `extra`
        of the first event made of one record.
        """
        named = {name.lower() for name in self.fields.union(self.stream.key)}
        # DuckDB tells names by their letters, not by their case: of two that are one to it, the first counts.
        first = {name.lower(): name for name in reversed(columns) if name and name not in OWN}
        unknown = [name for name in columns if name.lower() not in named and first.get(name.lower()) == name]
        event = next(iter(self.single), None)
        if not unknown or event is None or EXTRA in self.single[event].properties:
            return f"SELECT {self.select} FROM page"
        packed = ", ".join(f"{_text(name)}: {_identifier(name)}" for name in unknown)
        return f'SELECT {self.select}, CAST(to_json({{{packed}}}) AS VARCHAR) AS "event.{event}.{EXTRA}" FROM page'


def compile_mapping(connection: str, stream: Stream, mapping: MappingConfig) -> Plan:
    """Compile a mapping.

    Raises:
        ConfigError: an expression is not one SQL expression.
    """
    single = {name: event for name, event in mapping.events.items() if event.group is None}
    grouped = {name: event for name, event in mapping.events.items() if event.group is not None}
    columns = dict(_record_columns(connection, stream, mapping, single))
    inputs = [*columns.values(), *(f"({text})" for event in grouped.values() for text in _expressions(event))]
    with sandbox() as probe:
        fields = frozenset(name for text in inputs for name in _fields(probe, text))
    select = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
    # TRY gives NULL where an expression fails, and whether a value is NULL is never NULL itself.
    fails = " OR ".join(f"TRY(({expression}) IS NULL) IS NULL" for expression in columns.values())
    return Plan(connection, stream, mapping, select, fails, fields, grouped, single)


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
        return _query(self._mapping, query, page)

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
    except duckdb.BinderException as error:
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


def _record_columns(
    connection: str, stream: Stream, mapping: MappingConfig, single: Mapping[str, EventMapping]
) -> Iterable[tuple[str, str]]:
    yield ROW, ROW
    key = ", ".join(f'coalesce(CAST("{name}" AS VARCHAR), chr(0))' for name in stream.key)
    prefix = f"'{connection}', '{stream.name}'"
    record_id = f"unhex(md5(concat_ws(chr(31), {prefix}, {key})))"
    yield RECORD_ID, record_id
    yield SUBJECT, f"nullif(trim(CAST(({mapping.subject}) AS VARCHAR)), '')"
    yield (
        OBSERVED,
        f"epoch_us(CAST(({mapping.observed_at}) AS TIMESTAMP))" if mapping.observed_at else "CAST(NULL AS BIGINT)",
    )
    for name in mapping.events.keys() - single.keys() if stream.mode == "upsert" else ():
        yield f"event.{name}._id", f"unhex(md5(concat_ws(chr(31), {prefix}, '{name}', {key})))"
    for kind, identifier in mapping.identifiers.items():
        yield f"identifier.{kind}", f"CAST(({identifier.value}) AS VARCHAR)"
    for name, text in mapping.attributes.items():
        yield f"attribute.{name}", f"({text})"
    for name, event in single.items():
        yield f"event.{name}._when", f"coalesce(({event.when}), false)" if event.when else "true"
        yield f"event.{name}._at", f"CAST(({event.at or mapping.observed_at or 'NULL'}) AS TIMESTAMP)"
        if event.id:
            natural = f"unhex(md5(concat_ws(chr(31), {prefix}, '{name}', CAST(({event.id}) AS VARCHAR))))"
            yield f"event.{name}._id", f"CASE WHEN ({event.id}) IS NULL THEN {record_id} ELSE {natural} END"
        elif stream.mode == "upsert":
            # Another version of the record may give another event, which must not be taken for the first.
            yield f"event.{name}._id", f"unhex(md5(concat_ws(chr(31), {prefix}, '{name}', {key})))"
        for column, text in event.properties.items():
            yield f"event.{name}.{column}", f"({text})"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _expressions(event: EventMapping) -> Iterable[str]:
    yield from filter(None, (event.at, event.when, event.id, event.group))
    yield from event.properties.values()
    yield from (event.items or {}).values()


def _fields(connection: duckdb.DuckDBPyConnection, expression: str) -> set[str]:
    """The columns an expression names, from DuckDB's own parser."""
    row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {expression}"]).fetchone()
    parsed: Any = json.loads(row[0]) if row else {"error": True}
    if parsed["error"]:
        raise ConfigError(f"'{expression}' is not an SQL expression: {parsed.get('error_message', '')}".rstrip(": "))
    statements = parsed["statements"]
    if len(statements) != 1 or len(statements[0]["node"].get("select_list", ())) != 1:
        raise ConfigError(f"'{expression}' must be one SQL expression")
    names: set[str] = set()
    _collect(statements[0], names)
    return names - {ROW, SOURCE, LINE, BYTE}


def _collect(node: object, names: set[str]) -> None:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            names.add(node["column_names"][-1])
        if node.get("class") == "SUBQUERY" or node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION"):
            raise ConfigError("a mapping's expression is over one record; it cannot hold a query")
        if node.get("class") in ("WINDOW", "STAR") or node.get("function_name") == "unnest":
            raise ConfigError("a mapping's expression gives one value of one record: no window, no *, no unnest")
        for child in node.values():
            _collect(child, names)
    elif isinstance(node, list):
        for child in node:
            _collect(child, names)


def _placed(reject: Reject, table: pa.Table) -> Reject:
    """A transform's reject, which names its record by `_row`, as a reject of the whole record."""
    row = table.slice(int(str(reject.record)), 1)
    return describe(row, reject.code, reject.reason, reject.field)[0]
