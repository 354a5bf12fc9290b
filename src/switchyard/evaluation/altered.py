"""In which columns which profiles show other values than when somebody last asked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_Profiles = NDArray[np.int64]


class Altered:
    """Gathers what is altered. In memory alone: who opens the database anew knows nothing, and says so."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._columns: dict[str, _Profiles] | None = None

    def taken(self) -> Mapping[str, _Profiles] | None:
        """Column → the profiles that show another value there since this was last asked; None where any may."""
        found, self._columns = self._columns, {}
        return found

    def anything(self) -> None:
        """More was altered than is worth noting."""
        self._columns = None

    @contextmanager
    def noting(self, condition: str) -> Iterator[None]:
        """Note which of the profiles of a condition show other values after the block than before it."""
        if self._columns is None:
            yield
            return
        before = self._connection.execute(f"SELECT * FROM profile WHERE {condition}").to_arrow_table()
        yield
        for column, profiles in self._differing(before, condition).items():
            self._columns[column] = np.union1d(self._columns.get(column, np.empty(0, np.int64)), profiles)

    def _differing(self, before: pa.Table, condition: str) -> Mapping[str, _Profiles]:
        columns = [name for name in before.column_names if name != "profile_id"]
        differs = "".join(f', b."{name}" IS DISTINCT FROM a."{name}" AS "{name}"' for name in columns)
        after = f"(SELECT * FROM profile WHERE {condition})"
        self._connection.register("before", before)
        table = self._connection.execute(
            f"SELECT profile_id{differs} FROM before b JOIN {after} a USING (profile_id)"
        ).to_arrow_table()
        self._connection.unregister("before")
        found = {name: table["profile_id"].filter(table[name]).to_numpy() for name in columns}
        return {name: profiles for name, profiles in found.items() if len(profiles)}
