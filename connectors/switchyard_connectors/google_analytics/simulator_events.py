"""What people did, as the simulated property recorded it: rows in a file, so that many of them take no memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

_DAY = 86_400_000_000
_CHUNK = 100_000


@dataclass(frozen=True, slots=True)
class Seed:
    """Events made up by chance, the same for the same numbers.

    Args:
        count: how many.
        until: the end of the last day, epoch seconds.
        days: how many days they are spread over.
        users: how many people made them. Two of five sign in; of fifty one gives no consent.
        pages: how many pages there are.
        late: whether one event in ten arrives up to three days late.
        salt: another number makes other events.
    """

    count: int
    until: float
    days: int = 10
    users: int = 100
    pages: int = 50
    late: bool = False
    salt: int = 0


class Events:
    """The events. Safe to use from several threads.

    Args:
        clock: the vendor's, epoch seconds: what arrives later is not there yet.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._folder = tempfile.TemporaryDirectory(prefix="google-analytics-")
        config: dict[str, Any] = {"threads": 1, "memory_limit": "384MB", "temp_directory": self._folder.name}
        self._database = duckdb.connect(str(Path(self._folder.name) / "events.duckdb"), config=config)
        self._database.execute(_CREATE)
        self.version = 0

    def close(self) -> None:
        """Remove everything."""
        self._database.close()
        self._folder.cleanup()

    def seed(self, seed: Seed) -> None:
        """Add events made up by chance."""
        there = int(self.ask("SELECT count(*) FROM events")[0][0])
        for begin in range(0, seed.count, _CHUNK):
            self.change(_SEED, [*_numbers(seed), begin, min(begin + _CHUNK, seed.count), there])

    def add(self, **columns: Any) -> None:
        """Add one event; what is not said of it is as dull as possible."""
        event = {**_DULL, "us": int(self._clock() * 1_000_000), **columns}
        event.setdefault("arrives", event["us"])
        names = ", ".join(event)
        row = pa.table({name: [value] for name, value in event.items()})
        with self._database.cursor() as cursor:
            cursor.register("added", row)
            cursor.execute(
                f"INSERT INTO events BY NAME SELECT {names}, (SELECT count(*) FROM events) AS seq FROM added"  # noqa: S608
            )
        self.version += 1

    def change(self, statement: str, values: list[Any]) -> None:
        """Carry out a statement over `events`."""
        with self._database.cursor() as cursor:
            cursor.execute(statement, values)
        self.version += 1

    def ask(self, query: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query over `events`, or `seen`: those that have arrived."""
        with self._database.cursor() as cursor:
            cursor.execute("SET VARIABLE now = ?", [int(self._clock() * 1_000_000)])
            return cursor.execute(query, values).fetchall()

    def waiting(self) -> int:
        """How many events have not arrived yet."""
        return int(self.ask("SELECT count(*) FROM events WHERE arrives > getvariable('now')")[0][0])

    def run(self, statement: str) -> None:
        """Carry out a statement that reads `seen` and changes no event."""
        self.ask(statement)

    def reattribute(self, day: str, source: str, to: str) -> None:
        """Have a day's sessions from one source count for another, as processing does days later."""
        self.change("UPDATE events SET source = ? WHERE day = ? AND source = ?", [to, day, source])

    def drop(self, day: str, source: str) -> None:
        """Take a day's events from one source away, as a filter against robots does days later."""
        self.change("DELETE FROM events WHERE day = ? AND source = ?", [day, source])

    def forget(self, field: str, value: str) -> None:
        """Delete a person's events; `field` is `user_id` or `client_id`."""
        self.change(f"DELETE FROM events WHERE {field} = ?", [value])  # noqa: S608  # one of two names


def day_of(epoch: float, back: int = 0) -> str:
    """The day (UTC, ISO) so many days before an instant."""
    return (datetime.fromtimestamp(epoch, UTC) - timedelta(days=back)).date().isoformat()


def _numbers(seed: Seed) -> list[Any]:
    midnight = int(seed.until * 1_000_000) // _DAY * _DAY
    begin = midnight - seed.days * _DAY
    return [seed.salt, begin, seed.days * _DAY, seed.users, seed.pages, int(seed.late)]


_DULL: dict[str, Any] = {
    "name": "page_view",
    "client_id": "1.1",
    "user_id": None,
    "session": 1,
    "source": "google",
    "medium": "organic",
    "campaign": "(not set)",
    "country": "Austria",
    "city": "Graz",
    "device": "desktop",
    "page": "/",
    "value": 0.0,
    "transaction_id": None,
    "consent": True,
}

_CREATE = """
CREATE TABLE events (
    seq BIGINT, us BIGINT, arrives BIGINT, name VARCHAR, client_id VARCHAR, user_id VARCHAR, session BIGINT,
    source VARCHAR, medium VARCHAR, campaign VARCHAR, country VARCHAR, city VARCHAR, device VARCHAR, page VARCHAR,
    value DECIMAL(18, 2), transaction_id VARCHAR, consent BOOLEAN, day DATE
        GENERATED ALWAYS AS (CAST(make_timestamp(us) AS DATE)) VIRTUAL
);
CREATE VIEW seen AS SELECT * FROM events WHERE arrives <= getvariable('now');
"""

# $1 salt, $2 begin, $3 span, $4 users, $5 pages, $6 late, $7 first, $8 end, $9 what is there already
_SEED = """
INSERT INTO events BY NAME
SELECT seq, us, us + CASE WHEN $6 = 1 AND luck % 10 = 0 THEN luck % 259200 * 1000000 ELSE 0 END AS arrives,
    name, '1000.' || person AS client_id, CASE WHEN person % 5 < 2 THEN 'u' || person END AS user_id,
    us // 1800000000 AS session,
    ['google', 'newsletter', '(direct)', 'partner.example', 'bing'][1 + (person + us // 86400000000) % 5] AS source,
    ['organic', 'email', '(none)', 'referral', 'cpc'][1 + (person + us // 86400000000) % 5] AS medium,
    CASE WHEN person % 3 = 0 THEN 'spring' ELSE '(not set)' END AS campaign,
    ['Austria', 'Germany', 'Switzerland'][1 + person % 3] AS country,
    ['Graz', 'Köln', 'Zürich'][1 + person % 3] AS city,
    ['desktop', 'mobile', 'tablet'][1 + person % 3] AS device,
    '/page/' || (luck // 7 % $5) AS page,
    CASE WHEN name = 'purchase' THEN (1000 + luck % 19000) / 100 ELSE 0 END AS value,
    CASE WHEN name = 'purchase' THEN 'T' || seq END AS transaction_id,
    person % 50 <> 7 AS consent
FROM (
    SELECT i + $9 AS seq, $2 + CAST(hash(i, $1, 'at') % $3 AS BIGINT) AS us,
        CAST(hash(i, $1, 'who') % $4 AS BIGINT) AS person, CAST(hash(i, $1, 'luck') % 1000000007 AS BIGINT) AS luck,
        ['page_view', 'page_view', 'page_view', 'page_view', 'session_start', 'view_item', 'view_item', 'add_to_cart',
         'begin_checkout', 'purchase'][CAST(1 + hash(i, $1, 'what') % 10 AS BIGINT)] AS name
    FROM range($7, $8) AS numbers(i)
)
"""
