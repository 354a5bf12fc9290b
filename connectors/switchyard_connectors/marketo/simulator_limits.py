"""Limits of the Marketo simulator, and the statistics of what was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from switchyard.testing.simulator import Answer, DailyQuota, RateWindow, Request
from switchyard_connectors.marketo.simulator_identity import ApiUser
from switchyard_connectors.marketo.simulator_instance import Instance

CENTRAL = "US/Central"
"""The zone whose midnight begins a day, of every instance."""
CALLS, WINDOW, CONCURRENT, DAILY = 100, 20.0, 10, 50_000
URI, BODY, FILE = 8_192, 1_048_576, 10 * 1_048_576
_DAYS = 7


class Limits:
    """Refuses as the instance would (vendor documentation, rest-api and error-codes).

    Args:
        limited: whether calls per window, at once and per day are limited at all.
        daily: calls in a day.
    """

    def __init__(self, instance: Instance, *, limited: bool, daily: int) -> None:
        self.day = DailyQuota(daily, CENTRAL)
        self._instance = instance
        self._limited = limited
        self._rolling = RateWindow(CALLS, WINDOW)
        self._under_way: set[int] = set()
        self._used: dict[str, Counter[str]] = {}
        self._errors: dict[str, Counter[str]] = {}

    def too_large(self, request: Request) -> Answer | None:
        """The refusal that only HTTP knows: before anybody has looked at the call."""
        if len(request.path) + len(request.query) + 1 > URI:
            return Answer(414, "Request-URI Too Large")
        multipart = request.headers.get("content-type", "").startswith("multipart/")
        if len(request.body) > (FILE if multipart else BODY):
            return Answer(413, "Request Entity Too Large")
        return None

    def enter(self, request: Request, user: ApiUser) -> None:
        """Count a call. Raises the failure 606, 607 or 615."""
        now = self._instance.clock()
        if self._limited:
            if len(self._under_way) >= CONCURRENT:
                raise self._instance.failure("615", f"Concurrent access limit '{CONCURRENT}' reached")
            if self.day.remaining(now) <= 0:
                raise self._instance.failure("607", f"Max number of API calls '{self.day.calls}' reached")
            if not self._rolling.take(now):
                message = f"Max rate limit '{CALLS}' exceeded with in '{int(WINDOW)}' secs"
                raise self._instance.failure("606", message)
            self.day.take(now)
        self._under_way.add(id(request))
        self._counted(self._used)[user.name] += 1

    def leave(self, request: Request, answer: Answer) -> None:
        """A call is answered."""
        self._under_way.discard(id(request))
        if isinstance(answer.body, dict):
            for error in answer.body.get("errors") or ():
                self._counted(self._errors)[error["code"]] += 1

    def usage(self, request: Request) -> Answer:
        """`stats/usage.json` and its `last7days`."""
        rows = [
            {"date": day, "total": used.total(), "users": [{"userId": who, "count": n} for who, n in used.items()]}
            for day, used in self._shown(self._used, request)
        ]
        return self._instance.answer(rows)

    def errors(self, request: Request) -> Answer:
        """`stats/errors.json` and its `last7days`."""
        rows = [
            {"date": day, "total": met.total(), "errors": [{"errorCode": code, "count": n} for code, n in met.items()]}
            for day, met in self._shown(self._errors, request)
        ]
        return self._instance.answer(rows)

    def dump(self) -> dict[str, Any]:
        """What was used, as JSON."""
        return {"day": self.day.dump(), "used": self._used, "errors": self._errors}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `dump` gave. Windows of seconds begin anew."""
        self.day.load(state["day"])
        self._used = {day: Counter(counts) for day, counts in state["used"].items()}
        self._errors = {day: Counter(counts) for day, counts in state["errors"].items()}

    def _shown(self, days: Mapping[str, Counter[str]], request: Request) -> list[tuple[str, Counter[str]]]:
        today = self._today()
        if not request.path.endswith("/last7days.json"):
            return [(today.isoformat(), days.get(today.isoformat(), Counter()))]
        names = [(today - timedelta(days=ago)).isoformat() for ago in range(_DAYS)]
        return [(name, days[name]) for name in names if name in days]

    def _counted(self, days: dict[str, Counter[str]]) -> Counter[str]:
        return days.setdefault(self._today().isoformat(), Counter())

    def _today(self) -> Any:
        return datetime.fromtimestamp(self._instance.clock(), UTC).astimezone(ZoneInfo(CENTRAL)).date()
