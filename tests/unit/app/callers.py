"""A process that calls a simulator through an account's budget: `python callers.py STORE URL SECONDS LANES`."""

import sys
import time
from collections.abc import Callable, Iterator

from switchyard.api import Limits, Window
from switchyard.api.errors import QuotaExhausted
from switchyard.api.http import HttpClient, concurrently
from switchyard.app.budgets import AccountBudget
from switchyard.store.database import Database

LIMITS = Limits(windows={"default": (Window(19, 1.0), Window(95, 10.0))}, daily=5_000, concurrency=8)
DAILY_USED = "done: "


def main(store: str, url: str, seconds: float, lanes: int) -> None:
    """Call for so long, or until the day's calls are used up."""
    database = Database(store)
    budget = AccountBudget(LIMITS, database, "shared")
    until = time.monotonic() + seconds
    with HttpClient(url, bearer=None, budget=budget) as client:

        def calls() -> Iterator[Callable[[], object]]:
            while time.monotonic() < until:
                yield lambda: client.put("/thing")

        try:
            for _ in concurrently(calls(), lanes):
                pass
        except QuotaExhausted:
            pass
    budget.save()
    database.close()
    print(f"{DAILY_USED}{budget.made}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
