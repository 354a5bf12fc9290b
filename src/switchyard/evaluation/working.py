"""The working database: one DuckDB file with profiles as typed columns, current memberships and timers.

It is derived. Deleted, or behind the store, it is brought up from the store and the event log; nothing is true only
here. One process has it open at a time.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlmodel import Session, select

from switchyard.evaluation.altered import Altered
from switchyard.eventlog.types import duckdb_type
from switchyard.store import bulk, names
from switchyard.store.database import Database
from switchyard.store.tables import Page

Integers = NDArray[np.int64]

_SUBJECTS = pa.schema([("id", pa.int64()), ("profile_id", pa.int64()), ("attributes", pa.string())])
_IDENTIFIERS = pa.schema(
    [("kind_id", pa.int64()), ("value", pa.string()), ("profile_id", pa.int64()), ("rank", pa.int64())]
)
_SUBJECT = "SELECT s.id, s.profile_id, s.attributes"
# The newest evidence wins, and within a page the last line; after all others that of records which are deleted: whoever
# was merged away at the source must not lend the address under which to write to the one that is left.
_IDENTIFIER = (
    "SELECT i.kind_id, i.value, s.profile_id, i.page_id * 100000000 + coalesce(i.line, 0) "
    "- CASE WHEN s.is_gone THEN 4611686018427387904 ELSE 0 END"
)
_UNSHARED = (
    "LEFT JOIN shared_value v ON v.kind_id = i.kind_id AND v.value = i.value "
    "WHERE v.value IS NULL AND s.profile_id IS NOT NULL"
)
_MEMBERS = (
    "FROM {keys} k JOIN subject s ON s.profile_id = k.value AND s.profile_id <> s.id",
    "FROM {keys} k JOIN subject s ON s.id = k.value AND s.profile_id = s.id",
)
_FEW = 20_000
"""Up to so many changed profiles are brought up one by one; more, and everything is read again in one go."""
_FOLLOWED = 2_000
"""Up to so many it is noted what of them is altered; to compare more takes as long as to bring them up."""


def changed_by(pages: Iterable[bytes]) -> Integers:
    """The profiles that pages changed, from what each has packed of them; ascending."""
    every = [bulk.unpacked(page).to_numpy() for page in pages]
    return np.unique(np.concatenate([np.empty(0, np.int64), *every]))


class WorkingDatabase:
    """Profiles in columns; `standing` adds memberships and timers.

    Tables: `subject_profile` (subject_id, profile_id), `profile` (profile_id, a column per attribute and per
    identifier kind), `meta` (name, value).
    """

    def __init__(self, path: Path, database: Database, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        self._path = path
        self._is_writing = False
        self._database = database
        self.connection = connection or _opened(path)
        self.altered = Altered(self.connection)

    def close(self) -> None:
        self.connection.close()

    def is_usable(self) -> bool:
        """Whether it still answers: after a fault within DuckDB it does not, until it is opened anew."""
        try:
            self.connection.execute("SELECT 1")
        except duckdb.FatalException:
            return False
        return True

    def reader(self) -> "WorkingDatabase":
        """The same database for another thread, which reads what is committed while this one writes."""
        return WorkingDatabase(self._path, self._database, self.connection.cursor())

    def refresh(self, attributes: Mapping[str, str]) -> int:
        """Bring profiles up to the last committed page. Returns how many subjects were read.

        Args:
            attributes: attribute → its type; a new one rebuilds the table.
        """
        with self._database.read() as session:
            kinds = {name: id for name, id in names.known_kinds(session).items() if name not in attributes}
            shape = repr((sorted(attributes.items()), sorted(kinds)))
            last = self._last_page(session)
            same = last is not None and self.text("shape") == shape
            pages = session.exec(
                select(Page.id, Page.changed, Page.committed_at).where(Page.id > (last or 0)).order_by(Page.id)  # type: ignore[arg-type]  # SQLModel types a column as its value
            ).all()
            if same and not pages:
                return 0
            changed = changed_by(changed for _, changed, _ in pages)
            few = same and bool(last) and len(changed) <= _FEW
            subjects, identifiers = _of(session, changed) if few else _all(session)
        with self.transaction():
            if not few or len(changed) > _FOLLOWED:
                self.altered.anything()
            if few:
                with self.altered.noting(among("profile_id", changed)):
                    self._forget(changed, subjects)
                    self._fill(subjects, identifiers, attributes, kinds)
            else:
                self._empty(attributes, kinds)
                self._fill(subjects, identifiers, attributes, kinds)
            if pages or not last:
                self.note(page=_page_mark(pages[-1][0], pages[-1][2]) if pages else "", shape=shape)
            else:
                self.note(shape=shape)
        return int(subjects.num_rows)

    def _last_page(self, session: Session) -> int | None:
        """The page up to which profiles were brought; 0 for none, None where the store does not know it: it is
        another store, or an older state of it that was restored.
        """
        mark = self.text("page")
        if not mark:
            return 0 if mark == "" else None
        number = int(mark.split(" ")[0])
        page = session.get(Page, number)
        return number if page and _page_mark(number, page.committed_at) == mark else None

    def columns(self) -> dict[str, str]:
        """The columns of `profile` but its id, with their DuckDB types."""
        rows = self.connection.execute("SELECT column_name, column_type FROM (DESCRIBE profile)").fetchall()
        return {name: type for name, type in rows if name != "profile_id"}

    def text(self, name: str) -> str | None:
        """What was noted under this name; None where nothing was."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchone()
        return str(row[0]) if row else None

    def note(self, **texts: str) -> None:
        """Note texts under their names."""
        rows = ", ".join(["(?, ?)"] * len(texts))
        values = [each for pair in texts.items() for each in pair]
        self.connection.execute(f"INSERT OR REPLACE INTO meta VALUES {rows}", values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block, or nothing of it. Within another it is part of that."""
        if self._is_writing:
            yield
            return
        self.connection.execute("BEGIN")
        self._is_writing = True
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        else:
            self.connection.execute("COMMIT")
        finally:
            self._is_writing = False

    def _empty(self, attributes: Mapping[str, str], kinds: Mapping[str, int]) -> None:
        typed = [f'"{name}" {duckdb_type(type)}' for name, type in attributes.items()]
        typed += [f'"{kind}" VARCHAR' for kind in kinds]
        self.connection.execute("CREATE OR REPLACE TABLE subject_profile (subject_id BIGINT, profile_id BIGINT)")
        self.connection.execute(f"CREATE OR REPLACE TABLE profile ({', '.join(['profile_id BIGINT', *typed])})")

    def _forget(self, profiles: Integers, subjects: pa.Table) -> None:
        # A subject that moved may still stand under a profile that no page named.
        moved = subjects["id"].to_numpy()
        self.connection.execute(
            f"""
            DELETE FROM profile WHERE {among("profile_id", profiles)};
            DELETE FROM subject_profile WHERE {among("profile_id", profiles)};
            DELETE FROM subject_profile WHERE {among("subject_id", moved)};
            """
        )

    def _fill(
        self, subjects: pa.Table, identifiers: pa.Table, attributes: Mapping[str, str], kinds: Mapping[str, int]
    ) -> None:
        self.connection.register("subjects", subjects)
        self.connection.register("identifiers", identifiers)
        said = "".join(f', {_newest(name, type)} AS "{name}"' for name, type in attributes.items())
        shown = "".join(f', {_chosen(number)} AS "{kind}"' for kind, number in kinds.items())
        self.connection.execute("INSERT INTO subject_profile SELECT id, profile_id FROM subjects ORDER BY id")
        self.connection.execute(
            f"""
            INSERT INTO profile BY NAME
            SELECT * FROM (SELECT profile_id{said} FROM subjects GROUP BY profile_id)
            LEFT JOIN (SELECT profile_id{shown} FROM identifiers GROUP BY profile_id) USING (profile_id)
            ORDER BY profile_id
            """
        )
        self.connection.unregister("subjects")
        self.connection.unregister("identifiers")
        # After the filling: to build an index once costs less than to keep it up while all rows come.
        self.connection.execute(
            """
            CREATE INDEX IF NOT EXISTS profile_profile ON profile (profile_id);
            CREATE INDEX IF NOT EXISTS subject_profile_profile ON subject_profile (profile_id);
            CREATE INDEX IF NOT EXISTS subject_profile_subject ON subject_profile (subject_id);
            """
        )


def among(column: str, ids: Integers) -> str:
    """A condition on a column: an index serves written-out numbers, and no join."""
    if not len(ids):
        return "false"
    return f"{column} IN ({', '.join(map(str, ids.tolist()))})"


def _page_mark(number: int, committed_at: datetime) -> str:
    return f"{number} {committed_at.isoformat()}"


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(path)
    except duckdb.SerializationException:
        # Written by another DuckDB: what is derived is derived again.
        path.unlink()
        connection = duckdb.connect(path)
    connection.execute(
        """
        SET TimeZone = 'UTC';
        -- Orders are asked for where they matter. DuckDB 1.5's way to keep others has failed under load ("batch index
        -- is present in multiple collections"), and a DuckDB that failed within is of no more use to its process.
        SET preserve_insertion_order = false;
        CREATE TABLE IF NOT EXISTS meta (name VARCHAR PRIMARY KEY, value VARCHAR);
        """
    )
    return connection


def _newest(name: str, type: str) -> str:
    """The value that was said last among a profile's subjects, as its type; at one instant, of the youngest subject."""
    value, at = (
        f"""json_extract_string(attributes, '$."{name}"[0]')""",
        f"""json_extract(attributes, '$."{name}"[1]')""",
    )
    return f"TRY_CAST(arg_max({value}, (CAST({at} AS BIGINT), id)) AS {duckdb_type(type)})"


def _chosen(kind: int) -> str:
    """The value of a kind that a profile shows: the one seen last, and of several at once the greatest."""
    return f"arg_max(value, (rank, value)) FILTER (kind_id = {kind})"


def _all(session: Session) -> tuple[pa.Table, pa.Table]:
    subjects = bulk.select(session, f"{_SUBJECT} FROM subject s WHERE s.profile_id IS NOT NULL", _SUBJECTS)
    joined = "FROM identifier i JOIN subject s ON s.id = i.subject_id"
    return subjects, bulk.select(session, f"{_IDENTIFIER} {joined} {_UNSHARED}", _IDENTIFIERS)


def _of(session: Session, profiles: Integers) -> tuple[pa.Table, pa.Table]:
    keys = pa.array(profiles)
    subjects = [bulk.matching(session, f"{_SUBJECT} {members}", keys, _SUBJECTS) for members in _MEMBERS]
    joined = "JOIN identifier i ON i.subject_id = s.id"
    identifiers = [
        bulk.matching(session, f"{_IDENTIFIER} {members} {joined} {_UNSHARED}", keys, _IDENTIFIERS)
        for members in _MEMBERS
    ]
    return pa.concat_tables(subjects), pa.concat_tables(identifiers)
