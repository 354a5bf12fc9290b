"""The incremental evaluation: some profiles, each at every instant at which its truth may change, in due order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa

from switchyard.api.errors import PermanentError
from switchyard.evaluation.scope import FEW, WorkingScope, instant
from switchyard.evaluation.standing import MOVES
from switchyard.evaluation.working import Integers
from switchyard.eventlog.log import EventLog

PAST_ROUNDS = 16
"""A late event is followed through so many changes of its profile before the last evaluation; what is still open
then goes on from there.
"""

UPCOMING = 'SELECT profile_id, "at" AS due FROM upcoming'
"""The timers that a walk leaves to those whom it touched."""


@dataclass(frozen=True)
class Period:
    """What a walk covers.

    Args:
        page: pages after this one are news.
        last: the instant of the evaluation before, up to which everything is in the log.
        now: the instant up to which to go.
    """

    page: int
    last: datetime
    now: datetime


class Walk:
    """Fills the temporary tables `answer` (profile_id, at, definition, value), which holds from its instant to the next
    of the same profile, and `upcoming` (profile_id, at), the first instant after the period at which that may change.

    Args:
        changed: profiles that pages of the period changed, ascending.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, period: Period, changed: Integers) -> None:
        self._connection = connection
        self._period = period
        self._changed = changed

    def run(self, scope: WorkingScope, log: EventLog, evaluate: Callable[[], None]) -> Integers:
        """Walk who was changed and whose timers are due. Returns who these are, ascending, those gone among them.

        Args:
            evaluate: fills `evaluated` for the profiles and instants of `item`.
        """
        due = f"SELECT DISTINCT profile_id FROM timer WHERE due <= {instant(self._period.now)}"
        timed = self._connection.execute(due).to_arrow_table()["profile_id"].to_numpy()
        touched = np.union1d(self._changed, timed)
        if not len(touched):
            return touched
        scope.touched(log, touched)
        self._begin(len(touched) <= FEW)
        rounds = 0
        while self._count("item"):
            evaluate()
            rounds += 1
            self._step(rounds)
        return touched

    def moves(self) -> pa.Table:
        """Who entered and who left, against `membership`, each at the instant of truth: segment, profile_id, entered,
        at, reason.

        What began and ended before the period is not told: the log has its answers up to there. What holds at its
        start and is news is told with the instant since when it holds.
        """
        last, now = instant(self._period.last), instant(self._period.now)
        found = self._connection.execute(
            f"""
            WITH began AS (
                SELECT *, lag(value) OVER (PARTITION BY profile_id, definition ORDER BY "at") AS before FROM answer
                QUALIFY before IS NULL OR before <> value
            ), told AS (
                SELECT * FROM began QUALIFY "at" > {last} OR "at" = max("at") FILTER ("at" <= {last})
                    OVER (PARTITION BY profile_id, definition)
            ), compared AS (
                SELECT t.*, coalesce(
                    lag(value) OVER (PARTITION BY t.profile_id, definition ORDER BY "at"), m.profile_id IS NOT NULL
                ) AS stood
                FROM told t LEFT JOIN touched_membership m ON m.profile_id = t.profile_id AND m.segment = definition
            )
            SELECT definition AS segment, c.profile_id, value AS entered, c."at", CASE
                WHEN c."at" <= {last} OR h.profile_id IS NOT NULL THEN 'event'
                WHEN s.profile_id IS NOT NULL THEN 'profile' ELSE 'time' END AS reason
            FROM compared c LEFT JOIN (SELECT DISTINCT profile_id, "at" FROM history) h USING (profile_id, "at")
            LEFT JOIN started s USING (profile_id, "at") WHERE value <> stood
            UNION ALL
            SELECT segment, profile_id, false, {now}, 'profile gone'
            FROM touched_membership ANTI JOIN touched_profile USING (profile_id)
            """
        )
        return found.to_arrow_table().cast(MOVES)

    def _begin(self, few: bool) -> None:
        """The first instant of everybody: of a timer, or of the earliest news."""
        page, last, now = self._period.page, instant(self._period.last), instant(self._period.now)
        self._connection.register("changed", pa.table({"profile_id": self._changed}))
        # To follow the late events of very many people through the past would cost more than all the rest.
        news = 'min("at")' if few else f'greatest(min("at"), {last})'
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE answer
                (profile_id BIGINT, "at" TIMESTAMP, definition VARCHAR, value BOOLEAN);
            CREATE OR REPLACE TEMP TABLE upcoming (profile_id BIGINT, "at" TIMESTAMP);
            CREATE OR REPLACE TEMP TABLE started AS
                SELECT profile_id, coalesce(n."at", {now}) AS "at"
                FROM changed SEMI JOIN touched_profile USING (profile_id) LEFT JOIN (
                    SELECT profile_id, {news} AS "at" FROM history WHERE page > {page} AND "at" <= {now}
                    GROUP BY profile_id
                ) n USING (profile_id);
            INSERT INTO item SELECT profile_id, min("at") FROM (
                SELECT profile_id, "at" FROM started UNION ALL
                SELECT profile_id, due FROM touched_timer SEMI JOIN touched_profile USING (profile_id)
                WHERE due <= {now}
            ) GROUP BY profile_id;
            """
        )
        self._connection.unregister("changed")

    def _step(self, rounds: int) -> None:
        """Keep the answers of a round, and go on to the next instant of those that have one in the period."""
        last, now = instant(self._period.last), instant(self._period.now)
        query = 'FROM evaluated JOIN item USING (profile_id) WHERE NOT coalesce(next_change > "at", false)'
        if wrong := self._connection.execute(f"SELECT definition {query} LIMIT 1").fetchone():
            raise PermanentError(f"'{wrong[0]}' gives a next change that is not after the instant it was asked for")
        following, leap = "min(next_change)", ""
        if rounds >= PAST_ROUNDS:
            following = f"greatest(min(next_change), {last})"
            # What is leapt over is not known, so neither is since when the answer behind it holds.
            leap = f"""
                DELETE FROM answer a USING (
                    SELECT profile_id FROM evaluated GROUP BY profile_id HAVING min(next_change) < {last}
                ) b WHERE a.profile_id = b.profile_id;
            """
        self._connection.execute(
            f"""
            INSERT INTO answer SELECT profile_id, "at", definition, value FROM evaluated JOIN item USING (profile_id);
            {leap}
            DELETE FROM item;
            INSERT INTO item SELECT profile_id, {following} FROM evaluated GROUP BY profile_id;
            INSERT INTO upcoming SELECT profile_id, "at" FROM item WHERE "at" > {now};
            DELETE FROM item WHERE "at" > {now};
            """
        )

    def _count(self, table: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(row[0]) if row else 0
