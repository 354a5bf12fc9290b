"""An event log on a real store, and pages of events to put into it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from sqlmodel import SQLModel

from switchyard.eventlog.log import EventLog
from switchyard.eventlog.snapshot import Snapshot
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database

TYPES = {"coupon": "text", "total": "decimal"}


def event_id(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def ids(numbers: range | list[int]) -> pa.Array:
    return pa.array([event_id(number) for number in numbers], pa.binary(16))


def orders(numbers: range | list[int], page: int = 1) -> pa.Table:
    """One order per number, of the subject `number % 100`."""
    count = len(numbers)
    return pa.table(
        {
            "_id": ids(numbers),
            "_subject": pa.array([number % 100 for number in numbers], pa.int64()),
            "_at": pa.array(
                [datetime(2024, 1, 1) + timedelta(minutes=number) for number in numbers], pa.timestamp("us")
            ),
            "_page": pa.array([page] * count, pa.int64()),
            "coupon": pa.array([f"ann{number}@x.org" if number % 2 else None for number in numbers], pa.string()),
            "total": pa.array([Decimal(number) / 100 for number in numbers], pa.decimal128(18, 4)),
        }
    )


def changes(numbers: range | list[int]) -> pa.Table:
    """One membership change per number, of the profile with that id."""
    count, instant = len(numbers), datetime(2024, 5, 1)
    return pa.table(
        {
            "profile_id": pa.array(numbers, pa.int64()),
            "segment": pa.array(["vip"] * count, pa.string()),
            "version": pa.array([1] * count, pa.int64()),
            "entered": pa.array([number % 3 != 0 for number in numbers], pa.bool_()),
            "at": pa.array([instant] * count, pa.timestamp("us")),
            "noticed": pa.array([instant + timedelta(seconds=5)] * count, pa.timestamp("us")),
            "reason": pa.array(["event"] * count, pa.string()),
            "run_id": pa.array([7] * count, pa.int64()),
        }
    )


class Hub:
    """What a committing unit does with log and store, in small."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.catalogue = StoreCatalogue(database)
        self.log = EventLog(folder, self.catalogue)
        self.page = 0

    def commit_file(self, table: pa.Table, kind: str = "event", type: str = "order_completed") -> str:
        """Name a file of the rows in the store, as a large page does; returns its name."""
        self.page += 1
        if "_page" in table.column_names:
            place = table.column_names.index("_page")
            table = table.set_column(place, "_page", pa.array([self.page] * table.num_rows, pa.int64()))
        entry = self.log.write(kind, type, table)
        with self.database.write() as session:
            if kind == "event":
                self.catalogue.register(session, type, TYPES)
            self.catalogue.add(session, [entry])
        if kind == "event":
            self.log.remember(table["_id"], self.page)
        return entry.name

    def commit_rows(self, table: pa.Table, type: str = "order_completed") -> None:
        """Put the rows into the journal, as a small page does."""
        self.page += 1
        with self.database.write() as session:
            self.catalogue.register(session, type, TYPES)
            self.catalogue.journal_events(session, type, table)
        self.log.remember(table["_id"], self.page)

    def reopen(self) -> EventLog:
        """A new process: nothing is left but what is on the disk."""
        self.log.close()
        self.log = EventLog(self.folder, self.catalogue)
        self.log.open()
        return self.log

    def rows(self, type: str = "order_completed", kind: str = "event") -> list[tuple]:
        with self.log.snapshot() as snapshot:
            return viewed(snapshot, type, kind)

    def files(self) -> list[str]:
        """Names of the Parquet and temporary files on the disk."""
        found = (path for kind in ("event", "membership") for path in (self.folder / kind).rglob("*"))
        return sorted(path.relative_to(self.folder).as_posix() for path in found if path.is_file())


def viewed(snapshot: Snapshot, type: str = "order_completed", kind: str = "event") -> list[tuple]:
    """All rows of the view but for the page, which a flush keeps and a test need not know; sorted."""
    with duckdb.connect() as connection:
        snapshot.view(connection, kind, type, None, "seen")
        columns = "* EXCLUDE (_page)" if kind == "event" else "*"
        return sorted(connection.execute(f"SELECT {columns} FROM seen").fetchall(), key=repr)


def plain(table: pa.Table) -> list[tuple]:
    """The rows that `viewed` gives of such a table."""
    table = table.drop_columns("_page") if "_page" in table.column_names else table
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=repr)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database("sqlite:///store.db", tmp_path)
    SQLModel.metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(database, tmp_path / "log")
    hub.log.open()
    yield hub
    hub.log.close()


@pytest.fixture
def new_hub(tmp_path: Path) -> Iterator[Callable[[], Hub]]:
    """Makes hubs of their own, for tests that need many."""
    made: list[Hub] = []

    def make() -> Hub:
        folder = tmp_path / f"hub{len(made)}"
        database = Database("sqlite:///store.db", folder)
        SQLModel.metadata.create_all(database.engine)
        made.append(Hub(database, folder / "log"))
        made[-1].log.open()
        return made[-1]

    yield make
    for hub in made:
        hub.log.close()
        hub.database.close()


# What tests call as functions comes to them as fixtures, since test modules cannot import this one.
for _function in (event_id, ids, orders, changes, plain, viewed):
    globals()[f"_{_function.__name__}"] = pytest.fixture(name=_function.__name__)(lambda given=_function: given)
