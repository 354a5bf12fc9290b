"""The people and instants of an evaluation, as Ibis tables over the working database and the event log."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from switchyard.api.transforms import Reads
from switchyard.evaluation.working import Integers, among
from switchyard.eventlog.log import EventLog
from switchyard.eventlog.snapshot import Snapshot

FEW = 20_000
"""The history of up to so many subjects is looked up; of more, the log is scanned."""


class WorkingScope:
    """A `switchyard.api.transforms.Scope`: everybody at one instant, or some people, each at an instant of their own.

    Its tables are views by fixed names, so that the SQL of a definition is the same text at every evaluation.

    Args:
        connection: the working database.
        reads: for every definition, what it reads.
        types: event type → property → type text.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        reads: Iterable[Reads],
        types: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._connection = connection
        self._backend = ibis.duckdb.from_connection(connection)
        reads = list(reads)
        self._columns = {
            event: {name: types[event][name] for name in sorted(properties)}
            for event, properties in _properties(reads).items()
        }
        self._with_ids = {event for one in reads if one.event_ids for event in one.events}

    @property
    def event_types(self) -> Collection[str]:
        """The types of events that are read."""
        return self._columns.keys()

    @property
    def profiles(self) -> ir.Table:
        return self._backend.table("scope_profile")

    def events(self, event_type: str) -> ir.Table:
        return self._backend.table(f"scope_{event_type}")

    def memberships(self) -> ir.Table:
        return self._backend.table("scope_membership")

    def everybody(self, snapshot: Snapshot, at: datetime) -> None:
        """All profiles at this instant."""
        self._connection.execute(
            f'CREATE OR REPLACE TEMP VIEW scope_profile AS SELECT *, {instant(at)} AS "at" FROM profile'
        )
        for event, columns in self._columns.items():
            snapshot.view(self._connection, "event", event, columns, f"log_{event}")
            self._connection.execute(
                f'CREATE OR REPLACE TEMP VIEW "scope_{event}" AS {self._selected(event)} FROM "log_{event}" e '
                "JOIN subject_profile p ON p.subject_id = e._subject"
            )

    def touched(self, log: EventLog, profiles: Integers) -> None:
        """These profiles, each at its instant in the temporary table `item` (profile_id, at), which is filled later.

        Their attributes, events, memberships and timers are fetched here, once. `history` (profile_id, at, page) has
        the events.
        """
        self._connection.register("wanted", pa.table({"profile_id": profiles}))
        these = (
            among("profile_id", profiles) if len(profiles) <= FEW else "profile_id IN (SELECT profile_id FROM touched)"
        )
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE touched AS SELECT profile_id FROM wanted;
            CREATE OR REPLACE TEMP TABLE touched_profile AS SELECT * FROM profile WHERE {these};
            CREATE OR REPLACE TEMP TABLE touched_subject AS SELECT * FROM subject_profile WHERE {these};
            CREATE OR REPLACE TEMP TABLE touched_membership AS SELECT segment, profile_id FROM membership WHERE {these};
            CREATE OR REPLACE TEMP TABLE touched_timer AS SELECT * FROM timer WHERE {these};
            CREATE OR REPLACE TEMP TABLE item (profile_id BIGINT, "at" TIMESTAMP);
            CREATE OR REPLACE TEMP VIEW scope_profile AS
                SELECT p.*, i."at" FROM touched_profile p JOIN item i USING (profile_id);
            """
        )
        self._connection.unregister("wanted")
        subjects = self._connection.execute("SELECT subject_id FROM touched_subject").to_arrow_table()["subject_id"]
        subjects = subjects.combine_chunks()
        few = subjects if len(subjects) <= FEW else None
        with log.snapshot(self._columns.keys(), few, memberships=False) as snapshot:
            for event, columns in self._columns.items():
                self._fetch(snapshot, event, columns, few)
        parts = [f'SELECT profile_id, "at", _page AS page FROM "touched_{event}"' for event in self._columns]
        nothing = 'SELECT NULL::BIGINT AS profile_id, NULL::TIMESTAMP AS "at", NULL::BIGINT AS page WHERE false'
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW history AS {' UNION ALL '.join(parts) if parts else nothing}"
        )

    def _fetch(self, snapshot: Snapshot, event: str, columns: Mapping[str, str], subjects: pa.Array | None) -> None:
        if subjects is None:
            snapshot.view(self._connection, "event", event, columns, "found")
        else:
            fixed = {"_at", "_page", "_id"} if event in self._with_ids else {"_at", "_page"}
            self._connection.register("found", snapshot.history(event, subjects, columns, fixed))
        # What a tick found is a table of its own: it is read in every round, and outlives the snapshot.
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE "touched_{event}" AS {self._selected(event)}, e._page
                FROM found e JOIN touched_subject p ON p.subject_id = e._subject;
            CREATE OR REPLACE TEMP VIEW "scope_{event}" AS SELECT * EXCLUDE (_page) FROM "touched_{event}"
            """
        )
        if subjects is None:
            self._connection.execute("DROP VIEW found")
        else:
            self._connection.unregister("found")

    def _selected(self, event: str) -> str:
        listed = "".join(f', e."{name}"' for name in self._columns[event])
        identifier = ", e._id AS event_id" if event in self._with_ids else ""
        return f'SELECT p.profile_id, e._at AS "at"{identifier}{listed}'

    def clear(self) -> None:
        """Forget what was evaluated."""
        self._connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE evaluated
                (profile_id BIGINT, definition VARCHAR, value BOOLEAN, next_change TIMESTAMP);
            CREATE OR REPLACE TEMP TABLE scope_membership
                (profile_id BIGINT, segment VARCHAR, value BOOLEAN, next_change TIMESTAMP);
            """
        )

    def evaluate(self, query: str) -> None:
        """Add the answers of a program's query to the temporary table `evaluated`."""
        self._connection.execute(
            f"INSERT INTO evaluated SELECT profile_id, definition, value, next_change FROM ({query})"
        )

    def publish(self, definitions: Collection[str]) -> None:
        """Let later definitions read what these evaluated to."""
        self._connection.execute(
            "INSERT INTO scope_membership SELECT profile_id, definition, value, next_change FROM evaluated "
            "WHERE definition IN (SELECT unnest(?))",
            [sorted(definitions)],
        )


def instant(at: datetime) -> str:
    """The instant as SQL."""
    return f"TIMESTAMP '{at.isoformat(sep=' ')}'"


def _properties(reads: Iterable[Reads]) -> dict[str, frozenset[str]]:
    """Event type → the properties that some definition reads."""
    merged: dict[str, frozenset[str]] = {}
    for one in reads:
        for event_type, names in one.events.items():
            merged[event_type] = merged.get(event_type, frozenset()) | names
    return merged
