"""The people and instants of one evaluation, as Ibis tables over the working database and a snapshot of the log."""

from collections.abc import Collection, Mapping
from datetime import datetime

import ibis
import ibis.expr.types as ir

from switchyard.api.transforms import Reads
from switchyard.evaluation.working import WorkingDatabase
from switchyard.eventlog.snapshot import Snapshot


class WorkingScope:
    """A `switchyard.api.transforms.Scope` of all profiles at one instant.

    Its tables are views by fixed names, so that the SQL of a definition is the same text at every evaluation.
    """

    def __init__(
        self,
        working: WorkingDatabase,
        snapshot: Snapshot,
        reads: Mapping[str, Reads],
        types: Mapping[str, Mapping[str, str]],
        at: datetime,
    ) -> None:
        self._connection = working.connection
        self.backend = ibis.duckdb.from_connection(working.connection)
        now = f"TIMESTAMP '{at.isoformat(sep=' ')}'"
        self._connection.execute(f'CREATE OR REPLACE TEMP VIEW scope_profile AS SELECT *, {now} AS "at" FROM profile')
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE scope_membership "
            "(profile_id BIGINT, segment VARCHAR, value BOOLEAN, next_change TIMESTAMP)"
        )
        for event_type, properties in _properties(reads).items():
            columns = {name: types[event_type][name] for name in sorted(properties)}
            snapshot.view(self._connection, "event", event_type, columns, f"log_{event_type}")
            listed = "".join(f', e."{name}"' for name in columns)
            self._connection.execute(
                f"CREATE OR REPLACE TEMP VIEW scope_{event_type} AS "
                f'SELECT p.profile_id, e._at AS "at", e._id AS event_id{listed} '
                f'FROM "log_{event_type}" e JOIN subject_profile p ON p.subject_id = e._subject'
            )

    @property
    def profiles(self) -> ir.Table:
        return self.backend.table("scope_profile")

    def events(self, event_type: str) -> ir.Table:
        return self.backend.table(f"scope_{event_type}")

    def memberships(self) -> ir.Table:
        return self.backend.table("scope_membership")

    def publish(self, definitions: Collection[str]) -> None:
        """Let later definitions read what these evaluated to."""
        self._connection.execute(
            "INSERT INTO scope_membership SELECT profile_id, definition, value, next_change FROM evaluated "
            "WHERE definition IN (SELECT unnest(?))",
            [sorted(definitions)],
        )


def _properties(reads: Mapping[str, Reads]) -> dict[str, frozenset[str]]:
    """Event type → the properties that some definition reads."""
    merged: dict[str, frozenset[str]] = {}
    for one in reads.values():
        for event_type, names in one.events.items():
            merged[event_type] = merged.get(event_type, frozenset()) | names
    return merged
