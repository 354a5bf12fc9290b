"""Which rows a query finds in the simulated org, and in which order."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, TypeAlias

from switchyard_connectors.salesforce.simulator_conditions import Condition
from switchyard_connectors.salesforce.simulator_fields import Column, Fields, Read, comparable
from switchyard_connectors.salesforce.simulator_org import refusal
from switchyard_connectors.salesforce.simulator_records import Row, Store, Table
from switchyard_connectors.salesforce.simulator_seeds import Seed, SeedRow, seconds, without
from switchyard_connectors.salesforce.simulator_soql import Order, Query, malformed

Place: TypeAlias = "str | int"
"""Where a found row is: an id, or the number of a seeded one."""

_STAMPED = frozenset({"SystemModstamp", "LastModifiedDate", "CreatedDate", "IsDeleted"})


class Selection:
    """The rows that a query found: where they are, in order. They are read when they are asked for."""

    def __init__(self, table: Table, places: Sequence[Place]) -> None:
        self._table = table
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def runs(self, start: int, stop: int) -> Iterator[tuple[Seed, Sequence[int]] | Iterator[Any]]:
        """The rows from one place to another in runs: those that are seeded still by their numbers, others as rows."""
        seed, part = self._table.seed, self._places[start:stop]
        if seed is not None and isinstance(part, (range, array)) and self._table.taken.isdisjoint(part):
            yield seed, part
            return
        for seeded, run in groupby(part, key=self._is_seeded):
            if seeded and seed is not None:
                yield seed, [place for place in run if isinstance(place, int)]
            else:
                yield self._rows(run)

    def rows(self, start: int, stop: int) -> Iterator[Any]:
        """The rows from one place to another, without those that are there no more."""
        return self._rows(self._places[start:stop])

    def _rows(self, places: Iterable[Place]) -> Iterator[Any]:
        seed, overlay = self._table.seed, self._table.overlay()
        for place in places:
            if isinstance(place, int):
                assert seed is not None  # noqa: S101  # only a seed has numbers
                if self._is_seeded(place):
                    yield SeedRow(seed, place)
                    continue
                place = seed.value(place, "Id")
            row = overlay[place] if place in overlay else self._table.rows.get(place)
            if row is not None:
                yield row

    def _is_seeded(self, place: Place) -> bool:
        return isinstance(place, int) and place not in self._table.taken


class Select:
    """Carries out parsed queries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def table(self, query: Query) -> Table:
        """Raises the 400 INVALID_TYPE of an object that is none."""
        table = self._store.find(query.object)
        if table is None:
            raise refusal(400, "INVALID_TYPE", f"sObject type '{query.object}' is not supported.")
        return table

    def columns(self, query: Query) -> list[Column]:
        fields = Fields(self._store, self.table(query))
        found = [fields.column(name) for name in query.fields]
        if len({each.name for each in found}) < len(found):
            raise malformed("duplicate field selected")
        return found

    def run(self, query: Query, *, everything: bool) -> Selection:
        """Find the rows; with `everything` the deleted ones too."""
        table = self.table(query)
        fields = Fields(self._store, table)
        condition = Condition(fields, query.where, everything=everything)
        order = [(fields.column(each.field), each) for each in query.order]
        for column, _ in order:
            if not column.field.filterable:
                raise malformed(f"field '{column.name}' can not be sorted in a query call")
        stop = None if query.limit is None else query.offset + query.limit
        kept = sorted(self._kept(table, condition), key=lambda row: row["Id"])
        _sort(kept, order)
        places: Sequence[Place] = [row["Id"] for row in kept]
        if table.seed is not None:
            places = _merged(table, condition, order, kept, stop)
        return Selection(table, places[query.offset : stop])

    def _kept(self, table: Table, condition: Condition) -> list[Row]:
        overlay = table.overlay()
        rows: Iterable[Row | None]
        narrowed = condition.narrowed(table)
        rows = table.rows.values() if narrowed is None else map(table.rows.get, dict.fromkeys(narrowed))
        if overlay:
            rows = [*(row for row in rows if row and row["Id"] not in overlay), *overlay.values()]
        test = condition.test
        return [row for row in rows if row is not None and test(row)]


def _sort(rows: list[Any], order: Sequence[tuple[Column, Order]]) -> None:
    for column, each in reversed(order):
        read = comparable(column)
        last = each.nulls_last != each.down

        def key(row: Any, read: Read = read, last: bool = last) -> tuple[bool, Any]:
            value = read(row)
            return (value is None) == last, "" if value is None else value

        rows.sort(key=key, reverse=each.down)


def _merged(
    table: Table,
    condition: Condition,
    order: Sequence[tuple[Column, Order]],
    kept: list[Row],
    stop: int | None,
) -> Sequence[Place]:
    """Kept and seeded rows in one order. Seeded ones have that of their stamps and ids from the beginning."""
    seed = table.seed
    assert seed is not None  # noqa: S101  # the caller looked
    downs = {each.down for _, each in order}
    if len(downs) > 1 or not all(column.name in ("Id", *_STAMPED) for column, _ in order):
        found: list[Any] = [*(SeedRow(seed, n) for n in _passing(seed, condition, table.taken)), *kept]
        found.sort(key=lambda row: row["Id"])
        _sort(found, order)
        return [row.n if isinstance(row, SeedRow) else row["Id"] for row in found]
    down = True in downs
    numbers = _passing(seed, condition, table.taken, stop, down=down)
    places = numbers if not kept else _spliced(seed, numbers, kept, [column for column, _ in order])
    return places[::-1] if down else places


def _spliced(seed: Seed, numbers: Sequence[int], kept: Iterable[Row], columns: Sequence[Column]) -> Sequence[Place]:
    """Kept rows where they belong among seeded ones, both rising."""

    def key(row: Any) -> tuple[Any, ...]:
        return (*(column.read(row) for column in columns), row["Id"])

    places: list[Place] = []
    at = 0
    for row in sorted(kept, key=key):
        place = bisect_left(numbers, key(row), lo=at, key=lambda n: key(SeedRow(seed, n)))
        places += numbers[at:place]
        places.append(row["Id"])
        at = place
    places += numbers[at:]
    return places


def _passing(
    seed: Seed, condition: Condition, taken: set[int], stop: int | None = None, *, down: bool = False
) -> Sequence[int]:
    """The seeded rows that the condition lets through, rising: the first `stop` of them, or the last where `down`."""
    among, test = condition.seeded(seed), condition.test
    if isinstance(among, range) and condition.used <= _STAMPED and stop is None:
        # Rows that share a stamp share their fate.
        parts = [part for part in seconds(seed, among) if test(SeedRow(seed, part.start))]
        if sum(map(len, parts)) == (parts[-1].stop - parts[0].start if parts else 0):
            found = range(parts[0].start, parts[-1].stop) if parts else range(0)
            return array("q", without(found, taken)) if taken else found
    numbers = without(among[::-1] if down else among, taken)
    passing = array("q", islice((n for n in numbers if test(SeedRow(seed, n))), stop))
    return passing[::-1] if down else passing
