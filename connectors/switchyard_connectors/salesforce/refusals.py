"""How Salesforce says no, and what the hub does next."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx

from switchyard.api import PermanentError, QuotaExhausted, Rejection, TransientError
from switchyard.api.errors import SwitchyardError

LOCKED = frozenset({"UNABLE_TO_LOCK_ROW"})
PASSING = LOCKED | {"QUERY_TIMEOUT", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "REQUEST_LIMIT_EXCEEDED"}
"""Codes of a row that a later try may not meet again."""
ALREADY_ON = frozenset({"DUPLICATE_VALUE"})
ALREADY_OFF = frozenset({"NOT_FOUND", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})
CONVERTED = "CANNOT_UPDATE_CONVERTED_LEAD"
"""Of a lead that has become a contact: the person is to be found there."""

_NOT_NOW = frozenset({406, 420})
"""Answers of the edge while an org is being moved or woken."""
_LONG_CALLS = 30.0
"""Seconds after which a place among the long calls is likely to be free."""
_ROLLING = timedelta(hours=1)
"""The allocation is counted over 24 rolling hours, so some of it is free again after one."""
_LIMIT = re.compile(r"(?:^|[^-\w])api-usage=(\d+)/(\d+)")
_NO_SESSION_HELPS = ("Connected app is not attached to Agent", "This session is not valid for use with the REST API")
"""401 bodies that a new token of the same app meets again (observed by maintainers of another client). The only
messages that are matched by their words: both carry the code of an expired session.
"""
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,80}")


class ApiError(PermanentError):
    """Salesforce refused a call; `code` is its word for why, `status` that of HTTP."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def usage(headers: httpx.Headers) -> tuple[int, int] | None:
    """Calls used in the rolling day, and allowed, from `Sforce-Limit-Info`. The app's own count may stand beside it."""
    found = _LIMIT.search(headers.get("sforce-limit-info", ""))
    return (int(found[1]), int(found[2])) if found else None


def classify(now: Callable[[], datetime]) -> Callable[[httpx.Response], SwitchyardError | None]:
    """A function from an answer to the error it means, None where its status says enough.

    Args:
        now: the instant, UTC without a zone.
    """

    def error_of(answer: httpx.Response) -> SwitchyardError | None:
        if answer.status_code in _NOT_NOW:
            return TransientError(f"Salesforce answered {answer.status_code}: the org is being set up or moved")
        code, message = first_error(body_of(answer))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            if any(words in message for words in _NO_SESSION_HELPS):
                return PermanentError("Salesforce does not let this app's sessions use the REST API; look at the app")
            return None
        if code == "REQUEST_LIMIT_EXCEEDED":
            return _limit(answer, now())
        if code in ("SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG"):
            return TransientError(f"Salesforce answered {code}")
        if code and 300 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            return api_error(f"{answer.request.method} on Salesforce answered {answer.status_code}", code, answer)
        return None

    return error_of


def api_error(said: str, code: str, answer: httpx.Response | None = None, status: int = 0) -> ApiError:
    """A refusal; of the answer's words only the code and names of fields are told, which are nobody's."""
    body = body_of(answer) if answer is not None else None
    named = body[0].get("fields") if isinstance(body, list) and body and isinstance(body[0], dict) else None
    fields = [each for each in named or () if isinstance(each, str) and re.fullmatch(r"\w{1,80}", each)]
    about = f" about {', '.join(fields)}" if fields else ""
    return ApiError(f"{said} ({code}{about})", code, answer.status_code if answer is not None else status)


def _limit(answer: httpx.Response, now: datetime) -> SwitchyardError:
    """One code for two limits: the day's calls, and long calls at once."""
    counted = usage(answer.headers)
    if counted is not None and counted[0] < counted[1]:
        return TransientError("Salesforce has too many long calls under way", retry_after=_LONG_CALLS)
    until = now + _ROLLING
    return QuotaExhausted("the Salesforce org's calls of the last 24 hours are used up", until=until)


def body_of(answer: httpx.Response) -> Any:
    """The body as JSON, None for anything else: the edge answers HTML."""
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def first_error(body: Any) -> tuple[str, str]:
    """Code and message of the first error in a body: an array of objects, or an object; "" where there is none."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return "", ""
    code = body.get("errorCode") or body.get("exceptionCode") or body.get("statusCode") or body.get("error")
    message = body.get("message") or body.get("exceptionMessage") or body.get("error_description") or ""
    return (code if isinstance(code, str) and _CODE.fullmatch(code) else "", str(message))


def rejection(result: Mapping[str, Any]) -> Rejection:
    """A row's refusal: the first error's code (`statusCode` in rows), and Salesforce's own words."""
    errors = [each for each in result.get("errors") or () if isinstance(each, dict)]
    first = errors[0] if errors else {}
    code = str(first.get("statusCode") or first.get("errorCode") or "UNKNOWN")
    reason = "; ".join(str(each["message"]) for each in errors if each.get("message"))
    return Rejection(code, reason or code, retryable=code in PASSING)


def job_id(made: Any) -> str:
    """The id of a job that was made: it becomes part of paths and of names of files."""
    given = made.get("id") if isinstance(made, dict) else None
    if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9]{15,18}", given):
        raise TransientError("Salesforce made a bulk job and did not say which")
    return given
