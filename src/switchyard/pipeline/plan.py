"""A stream's mapping, compiled: one SELECT that gives a row per record, in DuckDB's SQL."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from switchyard.api.connectors import Stream
from switchyard.api.errors import ConfigError
from switchyard.api.records import DELETED
from switchyard.config.mapping import EventMapping
from switchyard.config.mapping import Mapping as MappingConfig
from switchyard.pipeline.records import OWN, ROW

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
        named = {name.lower() for name in self.fields.union(self.stream.key, (DELETED,))}
        # DuckDB tells names by their letters, not by their case: of two that are one to it, the first counts.
        first = {name.lower(): name for name in reversed(columns) if name and name not in OWN}
        unknown = [name for name in columns if name.lower() not in named and first.get(name.lower()) == name]
        select = self.select
        if DELETED in columns and self.stream.mode == "upsert":
            select += f', coalesce(TRY_CAST("{DELETED}" AS BOOLEAN), false) AS "{DELETED}"'
        event = next(iter(self.single), None)
        if not unknown or event is None or EXTRA in self.single[event].properties:
            return f"SELECT {select} FROM page"
        packed = ", ".join(f"{_text(name)}: {_identifier(name)}" for name in unknown)
        return f'SELECT {select}, CAST(to_json({{{packed}}}) AS VARCHAR) AS "event.{event}.{EXTRA}" FROM page'


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
    return names - set(OWN)


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
