"""The parts of one full pass: everything synced and evaluated, then everything delivered."""

from switchyard.api.errors import SwitchyardError
from switchyard.app.audiences import deliver
from switchyard.app.control import Answer, Progress
from switchyard.app.hub import Hub
from switchyard.app.segments import evaluate
from switchyard.app.syncs import sync_all


def learned(hub: Hub, progress: Progress = lambda *_: None) -> Answer:
    """The first part: everything synced and evaluated, and the event log tidied.

    What fails does not keep the rest from its turn, and is in the answer. Where segments cannot be evaluated it has an
    `error`, and nothing must be delivered: what the lists should hold is not known then.
    """
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
