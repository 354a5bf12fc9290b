"""How HubSpot says no, and what the hub does next."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from switchyard.api import PermanentError, QuotaExhausted, Rejection, TransientError
from switchyard.api.errors import SwitchyardError

# Categories of a row's error that a later try may not meet again. CONFLICT: somebody created the same contact at the
# same moment, so the next try finds it and updates.
_PASSING = frozenset({"CONFLICT", "RATE_LIMITS", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"})

# Seconds to wait by policy: HubSpot sends no Retry-After with 429 (vendor documentation, usage-guidelines).
_ROLLING = 10.0
_SECONDLY = 1.0


def classify(zone: str, now: Callable[[], datetime]) -> Callable[[httpx.Response], SwitchyardError | None]:
    """A function from an answer to the error it means, None where its status says enough.

    Args:
        zone: the account's time zone, whose midnight ends a daily limit.
        now: the instant, in UTC and aware of it.
    """

    def error_of(answer: httpx.Response) -> SwitchyardError | None:
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return _too_many(answer, zone, now())
        if answer.status_code == httpx.codes.FORBIDDEN:
            return _missing_scopes(body_of(answer))
        return None

    return error_of


def _too_many(answer: httpx.Response, zone: str, now: datetime) -> SwitchyardError | None:
    """Three bodies are in use: `policyName` with a message, a category with a message, and plain text."""
    body = body_of(answer)
    policy = str(body.get("policyName") or "").upper()
    message = str(body.get("message") or answer.text).lower()
    if policy == "DAILY" or (not policy and "daily limit" in message):
        until = _next_midnight(zone, now)
        return QuotaExhausted(
            f"the HubSpot account's daily limit is used up until {until:%Y-%m-%d %H:%M} UTC", until=until
        )
    if "retry-after" in answer.headers:
        return None
    # "ten_secondly_rolling" holds "secondly" too.
    rolling = policy.startswith("TEN") or (not policy and ("ten_secondly" in message or "secondly" not in message))
    wait = _ROLLING if rolling else _SECONDLY
    return TransientError(f"HubSpot answered 429: too many calls in {wait:g} s", retry_after=wait)


def _next_midnight(zone: str, now: datetime) -> datetime:
    local = now.astimezone(ZoneInfo(zone))
    day = local.date() + timedelta(days=1)
    midnight = datetime(day.year, day.month, day.day, tzinfo=local.tzinfo)
    return midnight.astimezone(UTC).replace(tzinfo=None)


def _missing_scopes(body: Mapping[str, Any]) -> PermanentError | None:
    if body.get("category") != "MISSING_SCOPES":
        return None
    errors = body.get("errors")
    named = [
        scope
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
        for scope in (context_of(error).get("requiredGranularScopes") or [])
        if isinstance(scope, str) and re.fullmatch(r"[\w.-]{1,80}", scope)
    ]
    which = ", ".join(dict.fromkeys(named)) or "some"
    return PermanentError(f"the HubSpot token lacks scopes: {which}; grant them to the app or key in HubSpot")


def rejection(error: Mapping[str, Any]) -> Rejection:
    """A row's error: the code of the first property at fault, else the category, and HubSpot's own words."""
    category = str(error.get("category") or "UNKNOWN")
    details = [each for each in error.get("errors") or () if isinstance(each, dict)]
    code = next((str(each["code"]) for each in details if each.get("code")), category)
    reason = "; ".join(str(each["message"]) for each in details if each.get("message"))
    return Rejection(code, reason or str(error.get("message") or category), retryable=category in _PASSING)


def body_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of an error, empty where there is none: some errors are plain text or HTML."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def context_of(error: Mapping[str, Any]) -> Mapping[str, Any]:
    context = error.get("context")
    return context if isinstance(context, dict) else {}
