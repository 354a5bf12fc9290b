"""Errors, grouped by what the runner does next.

::

    SwitchyardError
    ├── ConfigError            2  fix the configuration, then run again
    │   └── SegmentError       2  the same, inside the text of a definition
    ├── AuthError              3  the connection needs sign-in; other connections go on
    ├── TransientError         4  nothing is lost; retried now, or at the next run
    │   └── QuotaExhausted     4  the same, not before `until`
    ├── PermanentError         1  the run fails; a person has to look
    │   └── ListGone           1  the same: the list is restored, or a new one is wanted
    └── RecordError            –  one record goes to quarantine; never ends a run

The number is the exit code of a command that ends with this error. A message is for the operator: lower case, no
full stop, what to do next where that is known; never a secret, never a personal value.
"""

from collections.abc import Sequence
from datetime import datetime


class SwitchyardError(Exception):
    """The root: catch it to catch everything the hub raises on purpose."""

    exit_code = 1


class ConfigError(SwitchyardError):
    """The configuration is wrong. Carries the place where it is known."""

    exit_code = 2

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, key: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.key = key

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.key, self.message) if part)


class SegmentError(ConfigError):
    """The text of a definition is wrong at `line` and `column` (both from 1); `expected` lists what would fit."""

    def __init__(
        self, message: str, *, text: str = "", line: int = 1, column: int = 1, expected: Sequence[str] = ()
    ) -> None:
        super().__init__(message, line=line)
        self.text = text
        self.column = column
        self.expected = tuple(expected)

    def __str__(self) -> str:
        hint = f"; expected {', '.join(self.expected)}" if self.expected else ""
        place = ": ".join(part for part in (self.file, self.key, f"line {self.line}, column {self.column}") if part)
        return f"{place}: {self.message}{hint}"


class AuthError(SwitchyardError):
    """The vendor refuses the credentials; only a person can mend that."""

    exit_code = 3


class TransientError(SwitchyardError):
    """A passing fault. `retry_after` is in seconds, None where the other side did not say."""

    exit_code = 4

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExhausted(TransientError):
    """The account's quota is used up until `until` (UTC)."""

    def __init__(self, message: str, *, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class PermanentError(SwitchyardError):
    """Repeating will not help: a refused request, a broken promise of the other side, a damaged file."""


class ListGone(PermanentError):
    """The list was deleted on the other side. Only a person's word makes a new one."""


class RecordError(SwitchyardError):
    """One record cannot be used. Raised for a record, it sends that record to quarantine and the run goes on."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
