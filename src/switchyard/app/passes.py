"""One full pass: everything synced, evaluated, delivered."""

from typing import Any

from switchyard.api.errors import SwitchyardError
from switchyard.app.audiences import deliver
from switchyard.app.control import Progress
from switchyard.app.hub import Hub
from switchyard.app.segments import evaluate
from switchyard.app.syncs import sync_all

Answer = dict[str, Any]


def full_pass(hub: Hub, progress: Progress = lambda *_: None) -> Answer:
    """Sync every source, evaluate every segment, deliver every audience.

    What fails does not keep the rest from its turn, and is in the answer. Only where segments cannot be evaluated is
    nothing delivered: what the lists should hold is not known then.
    """
    answer = learned(hub, progress)
    return answer if "error" in answer else answer | delivered(hub, progress)


def learned(hub: Hub, progress: Progress = lambda *_: None) -> Answer:
    """The first part: everything synced and evaluated, and the event log tidied."""
    answer: Answer = {"syncs": sync_all(hub, progress)}
    progress("evaluating", {})
    try:
        answer |= evaluate(hub)
    except SwitchyardError as error:
        message = hub.project.loaded.secrets.redact(str(error))
        failure = {"type": type(error).__name__, "message": message, "exit_code": error.exit_code}
        return answer | {"profiles": None, "segments": [], "deliveries": [], "error": failure}
    progress("tidying the event log", {})
    hub.intake.flush()
    return answer


def delivered(hub: Hub, progress: Progress = lambda *_: None) -> Answer:
    """The second part: every audience delivered."""
    progress("delivering", {})
    return {"deliveries": deliver(hub)}
