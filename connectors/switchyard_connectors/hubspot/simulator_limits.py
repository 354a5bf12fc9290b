"""The limits of a HubSpot account in the simulator (vendor documentation, usage-guidelines)."""

from __future__ import annotations

from switchyard.testing.simulator import Answer, DailyQuota, RateWindow, Route
from switchyard_connectors.hubspot.simulator_portal import Portal, Problem
from switchyard_connectors.hubspot.tiers import SEARCHES, TIERS, WINDOW, Tier


class TierLimits:
    """The three limits of a tier. Searches of records count in a window of their own."""

    def __init__(self, tier: Tier, daily: int | None, time_zone: str) -> None:
        self._rolling = RateWindow(TIERS[tier].calls, WINDOW)
        self._searches = RateWindow(SEARCHES, 1.0)
        self.day = DailyQuota(TIERS[tier].daily if daily is None else daily, time_zone)

    def refusal(self, portal: Portal, route: Route, now: float) -> Answer | None:
        if self.day.remaining(now) <= 0:
            return _policy(portal, "DAILY", "You have reached your daily limit.")
        if _is_search(route):
            if not self._searches.take(now):
                problem = Problem("RATE_LIMITS", "You have reached your secondly limit.")
                return portal.error(429, problem)
        elif not self._rolling.take(now):
            return _policy(portal, "TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")
        self.day.take(now)
        return None

    def headers(self, route: Route, now: float, *, oauth: bool) -> dict[str, str]:
        values: dict[str, int] = {}
        if not _is_search(route):
            values |= {
                "Max": self._rolling.calls,
                "Remaining": self._rolling.remaining(now),
                "Interval-Milliseconds": int(WINDOW * 1000),
            }
        if not oauth:
            values |= {"Daily": self.day.calls, "Daily-Remaining": self.day.remaining(now)}
        return {f"X-HubSpot-RateLimit-{name}": str(value) for name, value in values.items()}


def _is_search(route: Route) -> bool:
    return "/objects" in route.pattern and route.pattern.endswith("/search")


def _policy(portal: Portal, name: str, message: str) -> Answer:
    ids = {"correlationId": portal.correlation_id(), "requestId": portal.correlation_id()}
    return Answer(429, {"status": "error", "message": message, "errorType": "RATE_LIMIT", "policyName": name, **ids})
