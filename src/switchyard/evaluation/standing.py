"""What the last evaluation left in the working database: who is in which segment, and when whose truth may change."""

from datetime import datetime

import numpy as np
import pyarrow as pa

from switchyard.api.transforms import NEVER
from switchyard.evaluation.scope import FEW, instant
from switchyard.evaluation.working import Integers, WorkingDatabase, among
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
            CREATE INDEX IF NOT EXISTS membership_profile ON membership (profile_id);
            CREATE INDEX IF NOT EXISTS timer_profile ON timer (profile_id);
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
            self._working.note(memberships=mark)

    def of(self, profiles: Integers) -> list[str]:
        """The segments that some of these profiles are in."""
        query = f"SELECT DISTINCT segment FROM membership WHERE {among('profile_id', profiles)}"
        return [segment for (segment,) in self._connection.execute(query).fetchall()]

    def has_timers(self, mark: str) -> bool:
        """Whether the timers are those that the evaluation of this mark left."""
        return self._working.text("timers") == mark

    def time(self, source: str, replacing: Integers | None = None) -> None:
        """Set timers to the earliest instant that a source has for a profile.

        Args:
            source: a query of (profile_id, due).
            replacing: profiles whose timers go; None for all.
        """
        earliest = (
            f"SELECT profile_id, min(due) AS due FROM ({source}) GROUP BY profile_id HAVING min(due) < {instant(NEVER)}"
        )
        if replacing is None:
            self._connection.execute(
                f"CREATE OR REPLACE TABLE timer AS {earliest}; CREATE INDEX timer_profile ON timer (profile_id)"
            )
        else:
            self._delete("timer", replacing)
            self._connection.execute(f"INSERT INTO timer {earliest}")

    def move(self, moves: pa.Table) -> None:
        """Let people enter and leave (`MOVES`); of several moves the last counts."""
        self._connection.register("moves", moves)
        moved = np.unique(moves["profile_id"].to_numpy())
        self._delete("membership", moved, "(t.segment, t.profile_id) IN (SELECT segment, profile_id FROM moves)")
        self._connection.execute(
            """
            INSERT INTO membership SELECT segment, profile_id, max("at") FROM moves
            GROUP BY segment, profile_id HAVING arg_max(entered, "at");
            """
        )
        self._connection.unregister("moves")

    def _delete(self, table: str, profiles: Integers, condition: str = "true") -> None:
        """Delete the rows of these profiles that fulfil a condition; by the index where they are few."""
        if len(profiles) <= FEW:
            self._connection.execute(f"DELETE FROM {table} t WHERE {among('t.profile_id', profiles)} AND {condition}")
            return
        self._connection.register("these", pa.table({"profile_id": profiles}))
        self._connection.execute(
            f"DELETE FROM {table} t USING these WHERE t.profile_id = these.profile_id AND {condition}"
        )
        self._connection.unregister("these")

    def settle(self, mark: str) -> None:
        """From the commit of the working database's transaction on, all this is of the evaluation of this mark."""
        self._working.note(memberships=mark, timers=mark)

    def due(self) -> datetime | None:
        """When the first timer is due; None without one."""
        row = self._connection.execute("SELECT min(due) FROM timer").fetchone()
        return row[0] if row else None

    def sizes(self) -> dict[str, int]:
        """Segment → members, where there are any."""
        query = "SELECT segment, count(*) FROM membership GROUP BY segment"
        return dict(self._connection.execute(query).fetchall())
