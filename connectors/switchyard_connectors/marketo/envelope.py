"""Marketo's answers: failures come with status 200, so the code in the body decides what happens next.

Codes and their classes: help/error-codes of the vendor's documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from switchyard.api import AuthError, PermanentError, QuotaExhausted, TransientError
from switchyard.api.errors import SwitchyardError
from switchyard.api.http import UnknownOutcome, json_of

CENTRAL = ZoneInfo("America/Chicago")
"""The zone whose midnight resets the quotas of calls and of exported bytes."""

NO_SUCH = "1013"
"""The object that the path names (list, campaign, job) does not exist."""

_TOKEN = frozenset({"601", "602"})
_QUOTA = "607"
_NOTHING = "702"
# Seconds that everything of the bucket waits: the window's length for its overflow, a moment for too many at once.
_WAITS: Mapping[str, float] = {"606": 20.0, "615": 1.0, "1016": 60.0}
_PASSING: Mapping[str, str] = {
    "500": "a fault of its own",
    "502": "a bad gateway",
    "604": "that it took too long",
    "608": "that the service is unavailable",
    "611": "a fault of its own",
    "614": "that the subscription cannot be reached, which usually passes",
    "713": "a passing fault",
    "719": "that a record was locked",
    "1019": "that an import runs on the list",
}
# After these the request may have been carried out; after the first two Marketo may even be at work on it still.
_LATE = frozenset({"502", "604"})
_UNSURE = _LATE | {"500", "611", "713"}
_ADVICE: Mapping[str, str] = {
    "603": "access denied: give the API user's role the permission, and look at the allowed addresses",
    "605": "method not supported",
    "609": "bad JSON",
    "610": "no such path: look at base_url and at what the subscription has",
    "612": "content type not supported",
    "616": "not in this subscription",
    "701": "a field is blank",
    "703": "feature not enabled in this subscription",
    "704": "a date has another format",
    "709": "a rule for assets is broken, often a name that is taken",
    "710": "a folder is not found",
    "711": "a folder is of another kind",
    "1003": "a value is not allowed, or the filter matches too many records",
    "1006": "a field does not exist; look at the names of fields",
    "1011": "the field cannot be used to look leads up",
    NO_SUCH: "not found",
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The body of an answer. `code` and `message` are those of the first error, None and "" where it succeeded."""

    result: Sequence[Mapping[str, Any]]
    code: str | None = None
    message: str = ""
    token: str | None = None
    more: bool = False

    @classmethod
    def of(cls, body: Any) -> Envelope:
        """Read a body.

        Raises:
            TransientError: it is no envelope.
        """
        if not isinstance(body, dict) or not isinstance(body.get("success"), bool):
            raise TransientError("Marketo answered JSON that is not what it always answers; is base_url right")
        result = body.get("result")
        rows = [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []
        if body["success"]:
            token = body.get("nextPageToken")
            return cls(rows, token=str(token) if token else None, more=bool(body.get("moreResult")))
        errors = body.get("errors")
        error = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        code = str(error.get("code") or "0")
        return cls([], None if code == _NOTHING else code, str(error.get("message") or ""))


@dataclass(slots=True)
class Judge:
    """Judges the answers to one call, and keeps the envelope of the last.

    Args:
        name: of the call, for errors.
        expected: codes that the caller deals with.
        once: whether the call must not be made twice.
        repeatable: whether it may be made again while the first is still being worked at.
        now: the instant, UTC and aware of it.
    """

    name: str
    expected: Collection[str] = ()
    once: bool = False
    repeatable: bool = True
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    envelope: Envelope = Envelope([])

    def __call__(self, answer: httpx.Response) -> SwitchyardError | None:
        try:
            self.envelope = Envelope.of(json_of(answer))
        except TransientError as error:
            return UnknownOutcome(str(error)) if self.once else error
        code = self.envelope.code
        return None if code is None or code in self.expected else self._error(code)

    def _error(self, code: str) -> SwitchyardError:
        text = f"{self.name} was answered with {code}"
        if code in _TOKEN:
            return AuthError(f"{text}: the access token is refused; look at the API user in Marketo")
        if code == _QUOTA:
            until = midnight(self.now())
            return QuotaExhausted(
                f"the Marketo instance's calls of the day are used up until {until:%Y-%m-%d %H:%M} UTC", until=until
            )
        if code in _WAITS:
            return TransientError(f"{text}: too many calls or jobs at once", retry_after=_WAITS[code])
        if (code in _UNSURE and self.once) or (code in _LATE and not self.repeatable):
            return UnknownOutcome(f"{text}: {_PASSING[code]}; it may have been carried out")
        if code in _PASSING:
            return TransientError(f"{text}: {_PASSING[code]}")
        return PermanentError(f"{text}: {_ADVICE[code]}" if code in _ADVICE else text)


def midnight(now: datetime) -> datetime:
    """The next midnight of US Central, UTC without a zone."""
    day = now.astimezone(CENTRAL).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=CENTRAL).astimezone(UTC).replace(tzinfo=None)
