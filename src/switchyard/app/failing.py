"""What is said of an error that ended one part of a command."""

from switchyard.api.errors import QuotaExhausted, SwitchyardError, TransientError
from switchyard.app.control import Answer
from switchyard.app.hub import Hub
from switchyard.store.clock import now


def said(hub: Hub, error: BaseException) -> str:
    """An error in words that may be kept and logged: those of an error that nobody raised on purpose may hold values
    of a record, and are left out.
    """
    if isinstance(error, SwitchyardError):
        return hub.project.loaded.secrets.redact(str(error))
    if not isinstance(error, Exception):
        return "it was interrupted"
    return f"internal error: {type(error).__name__}; this is a bug, please report it"


def coded(error: BaseException | None) -> dict[str, int]:
    """What the run of a failure counts, so that `status` can say what to do: the error's exit code."""
    if error is None:
        return {}
    return {"exit_code": error.exit_code if isinstance(error, SwitchyardError) else 1}


def failure(hub: Hub, error: SwitchyardError) -> Answer:
    """The error's text and exit code, and where it is known the seconds after which it may be tried again."""
    found: Answer = {"error": said(hub, error), "exit_code": error.exit_code}
    if isinstance(error, QuotaExhausted):
        wait: float | None = (error.until - now()).total_seconds()
    else:
        wait = error.retry_after if isinstance(error, TransientError) else None
    return found if wait is None else found | {"retry_after": max(wait, 0.0)}
