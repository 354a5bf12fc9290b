"""Quarantine: looked at, and replayed once what was wrong is mended."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlmodel import Session, func, select

from switchyard.api.connectors import Replayable, Source, Stream
from switchyard.api.errors import ConfigError, SwitchyardError
from switchyard.api.records import BYTE, LINE, Page, Reject
from switchyard.app.control import Answer
from switchyard.app.hub import Hub
from switchyard.app.profiles import plain
from switchyard.eventlog.types import duckdb_type
from switchyard.pipeline.intake import Arrival, Counts
from switchyard.pipeline.plan import sandbox
from switchyard.pipeline.records import ROW, SOURCE, describe, tabulate
from switchyard.store import names, quarantine, runs
from switchyard.store import tables as store

BATCH = 10_000
"""Records that are replayed in one commit at most."""
_LISTED = ("id", "connection", "stream", "code", "reason", "field", "origin", "line", "created_at")
_HOPELESS = frozenset({"bad_text", "nul_character"})
"""Codes of records that no store can hold, whatever the configuration says."""


def listed(hub: Hub, connection: str | None = None, code: str | None = None, limit: int = 100) -> Answer:
    """The oldest records that wait, without what they hold, and how many wait for each reason."""
    with hub.database.read() as session:
        counts = [
            {"connection": each.connection, "stream": each.stream, "code": each.code, "waiting": each.waiting}
            for each in quarantine.counts(session)
            if connection in (None, each.connection) and code in (None, each.code)
        ]
        rows: list[Answer] = []
        for page in _waiting(session, connection, None):
            if code is not None:
                page = page.filter(pc.equal(page["code"], code))
            rows += page.slice(0, limit - len(rows)).select(_LISTED).to_pylist()
            if len(rows) == limit:
                break
    return {"counts": counts, "quarantine": [_plain(row) for row in rows]}


def show(hub: Hub, record: int) -> Answer:
    """One record, whole.

    Raises:
        ConfigError: there is none with this id.
    """
    with hub.database.read() as session:
        row = session.get(store.Quarantine, record)
        if row is None:
            raise ConfigError(f"there is no record {record} in quarantine; see: switchyard quarantine list")
        stream = session.get_one(store.Stream, row.stream_id)
        kept = {name: getattr(row, name) for name in ("line", "byte", "field", "code", "reason", "state")}
        times = {name: getattr(row, name) for name in ("created_at", "replayed_at")}
        about = {"id": row.id, "connection": stream.connection, "stream": stream.name, "origin": row.origin}
        return _plain(about | kept | times) | {"record": json.loads(row.record)}


def replay(hub: Hub, connection: str | None = None, stream: str | None = None) -> Answer:
    """Map waiting records once more. What is refused again waits again, under its new reason.

    Returns:
        `{"replayed", "mapped", "quarantined", "duplicates", "left"}`: `left` could not be tried, since their source
        cannot read again what it once refused.

    Raises:
        ConfigError: there is no such connection or stream.
    """
    total, left = Counts(), 0
    for name, each in _chosen(hub, connection, stream):
        with hub.database.read() as session:
            pages = list(_waiting(session, name, each.name))
        if pages:
            counts, untried = _Replay(hub, name, each).run(pages)
            total, left = total + counts, left + untried
    return {
        "replayed": total.read,
        "mapped": total.mapped,
        "quarantined": total.quarantined,
        "duplicates": total.duplicate,
        "left": left,
    }


def _chosen(hub: Hub, connection: str | None, stream: str | None) -> list[tuple[str, Stream]]:
    if connection is not None and connection not in hub.project.sources:
        hub.project.connection(connection)
        raise ConfigError(f"connection '{connection}' has nothing to read; its connector is no source")
    found = [
        (name, each)
        for name in ([connection] if connection else hub.project.sources)
        for each in hub.project.streams(name)
        if stream in (None, each.name)
    ]
    if not found and stream is not None:
        raise ConfigError(f"there is no stream '{stream}'")
    return found


def _waiting(session: Session, connection: str | None, stream: str | None) -> Iterator[pa.Table]:
    """The records that wait now, in pages by id."""
    last = session.exec(select(func.max(store.Quarantine.id))).one() or 0
    after = 0
    while after < last:
        page = quarantine.waiting(session, connection, stream, limit=BATCH, after=after)
        if not page.num_rows:
            return
        yield page
        after = page["id"][-1].as_py()


@dataclass
class _Replay:
    """The replay of one stream."""

    hub: Hub
    connection: str
    stream: Stream

    def run(self, waiting: Sequence[pa.Table]) -> tuple[Counts, int]:
        """Replay records, page by page; gives what became of them, and how many could not be tried."""
        hub, name = self.hub, f"{self.connection}/{self.stream.name}"
        mapper = hub.mapper(self.connection, self.stream)
        with hub.database.write() as session:
            stream_id = names.stream(session, self.connection, self.stream.name).id
            run_id = runs.started(session, "replay", name)
        total, left, failed = Counts(), 0, None
        try:
            with hub.source(self.connection) as source:
                for ids, page in self._pages(waiting, source):
                    if page is None:
                        left += len(ids)
                        continue
                    arrival = Arrival(run_id, mapper.map(page), None, replayed=ids)
                    total += hub.intake.commit(stream_id, mapper, arrival)
        except SwitchyardError as error:
            failed = hub.project.loaded.secrets.redact(str(error))
            raise
        finally:
            with hub.database.write() as session:
                runs.finished(session, run_id, {}, runs.FAILED if failed else runs.DONE, failed)
        return total, left

    def _pages(self, waiting: Sequence[pa.Table], source: Source) -> Iterator[tuple[list[int], Page | None]]:
        """The records in pages of one origin each, with their ids; no page for those that cannot be tried."""

        def alike(row: Mapping[str, Any]) -> tuple[str | None, str]:
            return row["origin"], self._how(row)

        grouped = (each for page in waiting for each in groupby(page.to_pylist(), alike))
        for (origin, how), group in grouped:
            rows = list(group)
            ids, rejects = [row["id"] for row in rows], [_reject(row) for row in rows]
            if how == "mapping":
                yield ids, self._page(rejects, origin)
            elif how == "source" and isinstance(source, Replayable):
                yield ids, replace(source.replay(self.stream, rejects, origin), origin=origin)
            else:
                yield ids, None

    def _how(self, row: Mapping[str, Any]) -> str:
        """Who can make a record of it again: the mapping, which has its fields, or the source, which has its text."""
        if row["code"] in _HOPELESS:
            return "nobody"
        record = json.loads(row["record"])
        return "mapping" if isinstance(record, dict) and record.keys() >= set(self.stream.key) else "source"

    def _page(self, rejects: Sequence[Reject], origin: str | None) -> Page:
        """The records as their source gave them: JSON has kept decimals and instants as texts."""
        table, _ = tabulate(Page([reject.record for reject in rejects if isinstance(reject.record, dict)], None))
        table = table.drop_columns([ROW, SOURCE])
        table = table.append_column(LINE, pa.array([reject.line for reject in rejects], pa.int64()))
        table = table.append_column(BYTE, pa.array([reject.byte for reject in rejects], pa.int64()))
        typed, unfit = _typed(table, self.stream)
        return Page(typed, None, rejected=unfit, origin=origin)


def _typed(table: pa.Table, stream: Stream) -> tuple[pa.Table, list[Reject]]:
    """The table with the stream's fields in their types, and the records whose values are not of these."""
    # A field that is missing in all of them has no type of its own, and counts as text like any that is not declared.
    bare = {each.name: "text" for each in table.schema if pa.types.is_null(each.type)}
    columns = {name: _expression(name, (bare | dict(stream.fields)).get(name, "")) for name in table.column_names}
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
    with sandbox() as connection:
        connection.register("page", table)
        typed = connection.execute(f"SELECT {listed} FROM page").to_arrow_table()  # noqa: S608  # names of columns
    rejects: list[Reject] = []
    for name, kind in stream.fields.items():
        if name in table.column_names:
            lost = pc.and_(pc.is_null(typed[name]), pc.is_valid(table[name]))
            rejects += describe(table.filter(lost), "bad_value", f"{name} is no {kind}", name)
            keep = pc.invert(lost)
            table, typed = table.filter(keep), typed.filter(keep)
    return typed, rejects


def _expression(name: str, kind: str) -> str:
    if kind == "list":
        return f"""from_json("{name}", '["VARCHAR"]')"""
    # The fields of items are not declared, so they stay the JSON text as which they came.
    return f'"{name}"' if kind in ("", "items") else f'TRY_CAST("{name}" AS {duckdb_type(kind)})'


def _reject(row: Mapping[str, Any]) -> Reject:
    return Reject(row["code"], row["reason"], json.loads(row["record"]), row["line"], row["byte"], row["field"])


def _plain(row: Mapping[str, Any]) -> Answer:
    return {name: plain(value) for name, value in row.items()}
