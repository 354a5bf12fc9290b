"""What the last evaluation left in the working database: who is in which segment, and when whose truth may change."""

import pyarrow as pa

from switchyard.api.transforms import NEVER
from switchyard.evaluation.scope import instant
from switchyard.evaluation.working import WorkingDatabase
from switchyard.eventlog.log import EventLog

MOVES = pa.schema(
    [
        ("segment", pa.string()),
        ("profile_id", pa.int64()),
        ("entered", pa.bool_()),
        ("at", pa.timestamp("us")),
        ("reason", pa.string()),
    ]
)
"""Who entered and who left, at the instant of truth."""


class Standing:
    """The tables `membership` (segment, profile_id, entered_at) and `timer` (profile_id, due).

    A timer is the first instant at which any definition may change for the profile; without one, time changes nothing.
    Both are derived from the log. They belong to one evaluation, named by a mark; those of another are made anew.
    """

    def __init__(self, working: WorkingDatabase) -> None:
        self._working = working
        self._connection = working.connection
        self._connection.execute(
            """
            CREATE TABLE IF NOT EXISTS membership (segment VARCHAR, profile_id BIGINT, entered_at TIMESTAMP);
            CREATE TABLE IF NOT EXISTS timer (profile_id BIGINT, due TIMESTAMP);
            """
        )

    def bring(self, mark: str, log: EventLog) -> None:
        """Make sure that `membership` is what the membership log says after the evaluation of this mark."""
        if self._working.text("memberships") == mark:
            return
        with log.snapshot(types=()) as snapshot, self._working.transaction():
            snapshot.view(self._connection, "membership", "", None, "membership_log")
            self._connection.execute(
                """
                DELETE FROM membership;
                INSERT INTO membership SELECT segment, profile_id, arg_max("at", (run_id, "at")) FROM membership_log
                GROUP BY segment, profile_id HAVING arg_max(entered, (run_id, "at"));
                DROP VIEW membership_log;
                """
            )
            self._working.set("memberships", mark)

    def has_timers(self, mark: str) -> bool:
        """Whether the timers are those that the evaluation of this mark left."""
        return self._working.text("timers") == mark

    def time(self, source: str, replacing: str | None = None) -> None:
        """Set timers to the earliest instant that a source has for a profile.

        Args:
            source: a query of (profile_id, due).
            replacing: a query of the profiles whose timers go; None for all.
        """
        earliest = (
            f"SELECT profile_id, min(due) AS due FROM ({source}) GROUP BY profile_id HAVING min(due) < {instant(NEVER)}"
        )
        if replacing is None:
            self._connection.execute(f"CREATE OR REPLACE TABLE timer AS {earliest}")
        else:
            self._connection.execute(
                f"DELETE FROM timer t USING ({replacing}) g WHERE t.profile_id = g.profile_id; "
                f"INSERT INTO timer {earliest}"
            )

    def move(self, moves: pa.Table) -> None:
        """Let people enter and leave (`MOVES`); of several moves the last counts."""
        self._connection.register("moves", moves)
        self._connection.execute(
            """
            DELETE FROM membership m USING moves c WHERE m.segment = c.segment AND m.profile_id = c.profile_id;
            INSERT INTO membership SELECT segment, profile_id, max("at") FROM moves
            GROUP BY segment, profile_id HAVING arg_max(entered, "at");
            """
        )
        self._connection.unregister("moves")

    def settle(self, mark: str) -> None:
        """From the commit of the working database's transaction on, all this is of the evaluation of this mark."""
        self._working.set("memberships", mark)
        self._working.set("timers", mark)

    def sizes(self) -> dict[str, int]:
        """Segment → members, where there are any."""
        query = "SELECT segment, count(*) FROM membership GROUP BY segment"
        return dict(self._connection.execute(query).fetchall())
