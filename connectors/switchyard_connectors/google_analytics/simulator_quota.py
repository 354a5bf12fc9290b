"""The quotas of the simulated property: tokens of the hour and of the day, requests under way, server errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from switchyard.testing.simulator import Answer

_PACIFIC = ZoneInfo("America/Los_Angeles")
_RETURN = {"hour": "These quota tokens will return in under an hour.", "day": "They will return in under 24 hours."}
_MORE = "To learn more, see https://developers.google.com/analytics/devguides/reporting/data/v1/quotas"


@dataclass
class Allowance:
    """What the property may use. Those of a standard property by default."""

    hourly: int = 40_000
    daily: int = 200_000
    project_hourly: int = 14_000
    concurrent: int = 10
    server_errors: int = 10


class Quotas:
    """Counts tokens. Hours and days turn with the clock: at the full hour, and at midnight in California."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = replace(allowance)
        self.under_way = 0
        self._used: dict[str, tuple[str, int]] = {}

    def refusal(self, now: float) -> Answer | None:
        """The refusal of a request at this time, or None."""
        allowed = self.allowance
        for used, limit, words in (
            (self.used("day", now), allowed.daily, f"Exhausted property tokens per day. {_RETURN['day']}"),
            (self.used("hour", now), allowed.hourly, f"Exhausted property tokens per hour. {_RETURN['hour']}"),
            (
                self.used("hour", now),
                allowed.project_hourly,
                f"Exhausted property tokens for a project per hour. {_RETURN['hour']}",
            ),
            (
                self.used("errors", now),
                allowed.server_errors,
                "Exhausted server errors for a project per hour. They will return in under an hour.",
            ),
            (self.under_way, allowed.concurrent, "Exhausted concurrent requests quota. Please send fewer requests."),
        ):
            if used >= limit:
                error = {"code": 429, "message": f"{words} {_MORE}", "status": "RESOURCE_EXHAUSTED"}
                return Answer(429, {"error": error})
        return None

    def charge(self, tokens: int, now: float) -> dict[str, Any]:
        """Take tokens; `propertyQuota` as an answer has it."""
        for period in ("hour", "day"):
            self._used[period] = (_name(period, now), self.used(period, now) + tokens)
        allowed = self.allowance
        left = {
            "tokensPerDay": allowed.daily - self.used("day", now),
            "tokensPerHour": allowed.hourly - self.used("hour", now),
            "tokensPerProjectPerHour": allowed.project_hourly - self.used("hour", now),
        }
        quota = {name: _status(tokens, max(remaining, 0)) for name, remaining in left.items()}
        return quota | {
            "concurrentRequests": _status(0, allowed.concurrent - self.under_way),
            "serverErrorsPerProjectPerHour": _status(0, allowed.server_errors - self.used("errors", now)),
            "potentiallyThresholdedRequestsPerHour": _status(0, 120),
        }

    def failed(self, now: float) -> None:
        """Count a server error."""
        self._used["errors"] = (_name("errors", now), self.used("errors", now) + 1)

    def used(self, period: str, now: float) -> int:
        """What is used of the period of this time."""
        name, used = self._used.get(period, ("", 0))
        return used if name == _name(period, now) else 0

    def dump(self) -> dict[str, Any]:
        """What is used, as JSON."""
        return {period: list(used) for period, used in self._used.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `dump` gave."""
        self._used = {period: (str(name), int(used)) for period, (name, used) in state.items()}


def _name(period: str, now: float) -> str:
    if period == "day":
        return datetime.fromtimestamp(now, _PACIFIC).date().isoformat()
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H")


def _status(consumed: int, remaining: int) -> dict[str, int]:
    # What is 0 is left out, as proto3 does.
    return {name: value for name, value in (("consumed", consumed), ("remaining", remaining)) if value}
