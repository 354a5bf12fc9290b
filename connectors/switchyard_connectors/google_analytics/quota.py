"""The Data API's errors and quotas: what is waited out, what ends a run, and until when."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from switchyard.api import AuthError, PermanentError, QuotaExhausted, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard_connectors.google_analytics.config import Quota

_DAY_ZONE = ZoneInfo("America/Los_Angeles")
"""Where the day's tokens begin anew at midnight (developers.google.com, quotas of the Data API)."""
_RETRIES = 2
"""Further tries after a server error: ten errors in an hour close the property to the whole project."""
_CONCURRENT_PAUSE = 5.0
_LONG = 3_600.0
Wall = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, UTC with a zone."""
    return datetime.now(UTC)


class Verdicts:
    """Judges the answers of one call that are no success; a `classify` of `HttpClient`.

    Args:
        now: the time, UTC with a zone.
    """

    def __init__(self, now: Wall = utc_now) -> None:
        self._now = now
        self._errors = 0

    def __call__(self, answer: httpx.Response) -> SwitchyardError | None:
        """What the status means, None where the client's own reading will do."""
        status, said = answer.status_code, _error_of(answer)
        if said.get("status") == "RESOURCE_EXHAUSTED":
            return self._exhausted(str(said.get("message", "")))
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            self._errors += 1
            text = f"Google Analytics answered {status}"
            # A wait that is longer than the client's patience ends the call.
            return TransientError(text, retry_after=None if self._errors <= _RETRIES else _LONG)
        if status == httpx.codes.FORBIDDEN:
            return AuthError(
                f"Google Analytics refuses the service account ({_word(said)}); add its address to the property as a "
                "viewer, and enable the Google Analytics Data API in its project"
            )
        if status == httpx.codes.BAD_REQUEST:
            # The message names fields of the request, which is configuration: no person's data.
            return PermanentError(f"Google Analytics refuses the request: {_line(said)}")
        return None

    def _exhausted(self, message: str) -> SwitchyardError:
        # There is one status for all quotas, so the message has to tell which it is. These are the words that Google's
        # answers had, by more than one client that was refused; what has none of them is taken for the hour's tokens.
        words = message.lower()
        if "concurrent" in words:
            return TransientError("Google Analytics has too many requests under way", retry_after=_CONCURRENT_PAUSE)
        if "per day" in words or "24 hours" in words or "daily" in words:
            return self.until_tomorrow()
        return self.until_next_hour()

    def until_next_hour(self) -> QuotaExhausted:
        """The hour's tokens are used up."""
        at = self._now().astimezone(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None) + timedelta(hours=1)
        return QuotaExhausted(f"the property's tokens of this hour are used up until {at:%H:%M} UTC", until=at)

    def until_tomorrow(self) -> QuotaExhausted:
        """The day's tokens are used up."""
        tomorrow = self._now().astimezone(_DAY_ZONE).date() + timedelta(days=1)
        at = (
            datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=_DAY_ZONE).astimezone(UTC).replace(tzinfo=None)
        )
        return QuotaExhausted(f"the property's tokens of this day are used up until {at:%Y-%m-%d %H:%M} UTC", until=at)


def refuse_if_spent(said: Mapping[str, Any], quota: Quota, verdicts: Verdicts) -> None:
    """Stop before the next request would meet the quota: it would fail, and take what others need.

    Args:
        said: the `propertyQuota` of the last answer; empty where there was none.
        quota: what is to be left for others.
        verdicts: who knows until when.

    Raises:
        QuotaExhausted: the tokens that are left do not pay another request like the last.
    """
    for name, leave, refusal in (
        ("tokensPerDay", quota.leave_daily, verdicts.until_tomorrow),
        ("tokensPerHour", quota.leave_hourly, verdicts.until_next_hour),
        ("tokensPerProjectPerHour", 0, verdicts.until_next_hour),
    ):
        # A number that is 0 is left out of an answer.
        status = said.get(name)
        if status is not None and (status.get("remaining") or 0) - (status.get("consumed") or 0) < leave:
            raise refusal()


def _error_of(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        error = json.loads(answer.content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def _word(said: Mapping[str, Any]) -> str:
    status = said.get("status")
    return status if isinstance(status, str) and status.replace("_", "").isalnum() else "no reason given"


def _line(said: Mapping[str, Any]) -> str:
    message = said.get("message")
    return " ".join(message.split())[:300].rstrip(".") if isinstance(message, str) else "no reason given"
