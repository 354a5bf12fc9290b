"""The rows of the simulated org: where they are kept, found by their values, and when readers see them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from switchyard_connectors.salesforce.simulator_org import Org
from switchyard_connectors.salesforce.simulator_schema import STANDARD, Field, ObjectType, with_field
from switchyard_connectors.salesforce.simulator_seeds import USUAL, Seed, Template

Row: TypeAlias = dict[str, Any]
RECYCLED = 15 * 86_400.0


@dataclass(frozen=True, slots=True)
class Change:
    """A row before and after; None where there was or is none. `origin`: by what it was written."""

    kind: str
    id: str
    before: Row | None
    after: Row | None
    origin: str = ""


class Table:
    """The rows of one object. A row is never changed in place: whoever writes puts a new one."""

    def __init__(self, org: Org, kind: ObjectType, store: Store) -> None:
        self.kind = kind
        self.rows: dict[str, Row] = {}
        self.seed: Seed | None = None
        self.taken: set[int] = set()
        self.removed: dict[str, float] = {}
        self.derived: dict[str, Callable[[Row], Any]] = {}
        self._org = org
        self._store = store
        self._index: dict[str, dict[str, dict[str, None]]] = {}
        self._late: deque[tuple[float, str, Row | None]] = deque()
        for each in kind.fields.values():
            self._reindex(each)

    def get(self, record_id: str) -> Row | None:
        """The row as it is, deleted or not; None where there is none."""
        row = self.rows.get(record_id)
        if row is None and self.seed is not None:
            n = self.seed.number(record_id)
            if n is not None and n not in self.taken:
                return self.seed.row(n)
        return row

    def live(self, record_id: str) -> Row | None:
        row = self.get(record_id)
        return None if row is None or row["IsDeleted"] else row

    def put(self, row: Row) -> None:
        """Hold this row, instead of the one with its id."""
        self._change(row["Id"], row)

    def drop(self, record_id: str) -> None:
        """Hold a row no more, not even in the recycle bin."""
        self._change(record_id, None)

    def find(self, name: str, value: str) -> list[Row]:
        """The rows that are not deleted and have this value of an indexed field, compared without regard to case."""
        held = (self.rows[each] for each in self._index[name].get(_key(value), ()))
        found = [row for row in held if not row["IsDeleted"]]
        if self.seed is not None:
            found += [self.seed.row(n) for n in self.seed.find(name, value) if n not in self.taken]
        return found

    def number(self, name: str, value: str) -> int:
        """How many rows `find` would give."""
        kept = sum(not self.rows[each]["IsDeleted"] for each in self._index[name].get(_key(value), ()))
        if self.seed is None:
            return kept
        found = self.seed.find(name, value)
        return kept + len(found) - sum(n in found for n in self.taken)

    def indexed(self, name: str, values: Iterable[str]) -> list[str] | None:
        """The ids of the kept rows with one of these values, deleted ones too; None where the field has no index."""
        index = self._index.get(name)
        if index is None:
            return None
        return [each for value in values for each in index.get(_key(value), ())]

    def overlay(self) -> dict[str, Row | None]:
        """The rows that readers see otherwise than they are, because they changed just now: as they see them."""
        now = self._org.clock()
        while self._late and self._late[0][0] <= now:
            self._late.popleft()
        found: dict[str, Row | None] = {}
        for _, record_id, before in self._late:
            found.setdefault(record_id, before)
        return found

    def add_field(self, added: Field) -> None:
        self.kind = with_field(self.kind, added)
        if self.seed is not None:
            self.seed.kind = self.kind
        self._reindex(added)

    def count(self) -> int:
        """How many rows there are, deleted ones too."""
        return len(self.rows) + (self.seed.count - len(self.taken) if self.seed else 0)

    def _change(self, record_id: str, row: Row | None) -> None:
        before = self.get(record_id)
        held = record_id in self.rows
        if self.seed is not None and not held and before is not None:
            self.taken.add(number := self.seed.number(record_id) or 0)
            self._store.undoing(lambda: self.taken.discard(number))
        self._hold(record_id, row)
        self._store.undoing(lambda: self._hold(record_id, before if held else None))
        if self._store.lag:
            self._late.append((self._org.clock() + self._store.lag, record_id, before))
        self._store.note(Change(self.kind.name, record_id, before, row, self._store.origin))

    def _hold(self, record_id: str, row: Row | None) -> None:
        before = self.rows.get(record_id)
        for name, index in self._index.items():
            old = before.get(name) if before else None
            new = row.get(name) if row else None
            if old == new:
                continue
            if old is not None:
                index[_key(old)].pop(record_id, None)
            if new is not None:
                index.setdefault(_key(new), {})[record_id] = None
        if row is None:
            self.rows.pop(record_id, None)
        else:
            self.rows[record_id] = row

    def _reindex(self, each: Field) -> None:
        if each.indexed:
            index: dict[str, dict[str, None]] = {}
            for record_id, row in self.rows.items():
                if row.get(each.name) is not None:
                    index.setdefault(_key(row[each.name]), {})[record_id] = None
            self._index[each.name] = index


class Store:
    """All tables.

    `lag`: seconds after which a change is seen by readers, though its stamp is that of the change. `origin`: by what is
    written at the moment. `changes`: what changed since somebody took them. `hidden`: objects that the user
    may not see; he is told that there are none.
    """

    def __init__(self, org: Org) -> None:
        self.org = org
        self.lag = 0.0
        self.hidden: frozenset[str] = frozenset()
        self.origin = ""
        self.changes: list[Change] = []
        self._undo: list[Callable[[], object]] | None = None
        self._swept = 0.0
        self.tables = {name: Table(org, kind, self) for name, kind in STANDARD.items()}
        self._by_lower = {name.lower(): name for name in self.tables}

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    def find(self, name: str) -> Table | None:
        """The table of an object, whatever the case of its name; None of one that is none or hidden."""
        known = self._by_lower.get(name.lower())
        return None if known is None or known in self.hidden else self.tables[known]

    def of_id(self, record_id: str) -> Table | None:
        """The table whose ids begin so."""
        return next((each for each in self.tables.values() if each.kind.prefix == record_id[:3]), None)

    def add(self, kind: ObjectType) -> Table:
        self.tables[kind.name] = made = Table(self.org, kind, self)
        self._by_lower[kind.name.lower()] = kind.name
        return made

    def seed(self, name: str, count: int, per_second: int, values: Mapping[str, Template]) -> Seed:
        """Give an object this many rows that need no memory. Their stamps end some minutes before now."""
        table = self.tables[name]
        if table.seed is not None:
            raise ValueError(f"{name} is seeded already")
        start = int(self.org.clock()) - 900 - count // per_second
        self.org.new_id(table.kind.prefix, count)
        first = self.org.issued[table.kind.prefix] - count + 1
        table.seed = Seed(table.kind, first, count, start, per_second)
        table.seed.fill({**USUAL.get(name, {}), **values})
        return table.seed

    def note(self, change: Change) -> None:
        self.changes.append(change)
        self.undoing(self.changes.pop)

    def undoing(self, undo: Callable[[], object]) -> None:
        """Remember how to take something back, where somebody may want to."""
        if self._undo is not None:
            self._undo.append(undo)

    @contextmanager
    def transaction(self) -> Iterator[Callable[[], None]]:
        """Gives what takes back all that was done inside so far."""
        outer, steps = self._undo, [] if self._undo is None else self._undo
        self._undo, begun = steps, len(steps)

        def roll_back() -> None:
            self._undo = None
            while len(steps) > begun:
                steps.pop()()
            self._undo = steps

        try:
            yield roll_back
        finally:
            self._undo = outer

    def sweep(self) -> None:
        """Empty the recycle bins of what was deleted too long ago."""
        now = self.org.clock()
        if now < self._swept + 3_600:
            return
        self._swept, before = now, now - RECYCLED
        for table in self.tables.values():
            for record_id in [each for each, at in table.removed.items() if at <= before and each in table.rows]:
                table.drop(record_id)


def _key(value: Any) -> str:
    return value.lower() if isinstance(value, str) else str(value)
