"""How much the Salesforce simulator lets be asked: calls in 24 hours, long calls at once, and long addresses."""

from __future__ import annotations

from typing import Any

from switchyard.testing.simulator import Answer, RateWindow, Request
from switchyard_connectors.salesforce.simulator_org import DAY, Org, error

_URI = 16_384


class Limits:
    """The allocations of the org (vendor documentation, API Request Limits and Allocations).

    `daily`: calls in any 24 hours. `app`: (name, calls) of the app's own allocation, or None. `at_once`: how many calls
    may be under way for `long` seconds and more.
    """

    def __init__(self, org: Org, daily: int) -> None:
        self._window = RateWindow(daily, DAY)
        self.app: tuple[str, int] | None = None
        self.at_once, self.long = 25, 20.0
        self._org = org
        self._others = 0
        self._under_way: dict[int, float] = {}

    @property
    def daily(self) -> int:
        return self._window.calls

    @daily.setter
    def daily(self, calls: int) -> None:
        self._window.calls = calls

    @property
    def used(self) -> int:
        """Calls of the last 24 hours, those of others included."""
        return self._own + self._others

    @used.setter
    def used(self, calls: int) -> None:
        self._others = calls - self._own

    @property
    def _own(self) -> int:
        return self._window.calls - self._window.remaining(self._org.clock())

    def refusal(self, request: Request) -> Answer | None:
        """Count a call, or refuse it. A counted call is under way until `ended`."""
        if len(request.path) + len(request.query) + 1 > _URI:
            return Answer(414, "<h1>URI Too Long</h1>", {"content-type": "text/html"})
        if sum(len(name) + len(value) + 4 for name, value in request.headers.items()) > _URI:
            return Answer(431, "<h1>Request Header Fields Too Large</h1>", {"content-type": "text/html"})
        now = self._org.clock()
        if self.used >= self.daily:
            return error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        if sum(1 for begun in self._under_way.values() if begun <= now - self.long) >= self.at_once:
            message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            return error(403, "REQUEST_LIMIT_EXCEEDED", message)
        self._window.take(now)
        self._under_way[id(request)] = now
        return None

    def ended(self, request: Request) -> None:
        self._under_way.pop(id(request), None)

    def header(self) -> str:
        """The value of `Sforce-Limit-Info`."""
        text = f"api-usage={self.used}/{self.daily}"
        if self.app is None:
            return text
        name, most = self.app
        return f"{text}; per-app-api-usage={self._own}/{most}(appName={name})"

    def overview(self, query_jobs: RateWindow, batches: RateWindow) -> dict[str, Any]:
        """The answer of /limits, given the daily allocations of bulk jobs."""
        now = self._org.clock()
        allocations = {
            "DailyApiRequests": (self.daily, self.daily - self.used),
            "DailyBulkApiBatches": (batches.calls, batches.remaining(now)),
            "DailyBulkV2QueryJobs": (query_jobs.calls, query_jobs.remaining(now)),
            "DailyBulkV2QueryFileStorageMB": (976_562, 976_562),
        }
        return {name: {"Max": most, "Remaining": max(0, left)} for name, (most, left) in allocations.items()}
