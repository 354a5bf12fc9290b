"""What can be asked of the engine, by name: a command line carries it out itself, or hands it to the hub at work."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from switchyard.api.errors import ConfigError, SwitchyardError
from switchyard.app import audiences, checking, passes, profiles, quarantine, segments, syncs
from switchyard.app.control import Answer, Progress, Request, described
from switchyard.app.hub import Hub
from switchyard.store.leases import LeaseLost

Rest: TypeAlias = Callable[[Hub, Progress], Answer]
"""What is left of a command when only vendors are waited for: may be done by another thread, with `Hub.beside`."""
Command: TypeAlias = Callable[..., "Answer | Rest"]


def _run(hub: Hub, progress: Progress) -> Answer | Rest:
    answer = passes.learned(hub, progress)
    if "error" in answer:
        return answer
    return lambda beside, told: answer | passes.delivered(beside, told)


def _sync(hub: Hub, progress: Progress, connection: str, stream: str | None, full: bool) -> Answer:
    return {"syncs": syncs.sync_connection(hub, connection, stream, full, progress)}


def _deliver(hub: Hub, _progress: Progress, **arguments: Any) -> Answer | Rest:
    if arguments["dry_run"]:
        return {"deliveries": audiences.deliver(hub, **arguments)}
    hub.refresh()
    return lambda beside, _: {"deliveries": audiences.deliver(beside, **arguments)}


def _verify(hub: Hub, _progress: Progress, audience: str | None) -> Rest:
    hub.refresh()
    return lambda beside, _: {"audiences": audiences.verify(beside, audience)}


def _connect(_hub: Hub, _progress: Progress) -> Rest:
    return lambda beside, _: {"connections": checking.connected(beside)}


def _silent(command: Callable[..., Answer]) -> Command:
    """A command that is too short to tell how far it is."""
    return lambda hub, _progress, **arguments: command(hub, **arguments)


COMMANDS: Mapping[str, Command] = {
    "run": _run,
    "sync": _sync,
    "evaluate": _silent(segments.evaluate),
    "deliver": _deliver,
    "check": _connect,
    "segments list": _silent(segments.listed),
    "segments show": _silent(segments.show),
    "segments members": _silent(segments.members),
    "profiles find": _silent(profiles.find),
    "profiles show": _silent(profiles.show),
    "audiences list": _silent(audiences.listed),
    "audiences show": _silent(audiences.show),
    "audiences verify": _verify,
    "quarantine list": _silent(quarantine.listed),
    "quarantine show": _silent(quarantine.show),
    "quarantine replay": _silent(quarantine.replay),
}


QUERIES = frozenset(name for name in COMMANDS if name.endswith((" list", " show", " find", " members")))
"""They change nothing, and are short: they may be asked between two pages of a sync."""


QUERIES = frozenset(name for name in COMMANDS if name.endswith((" list", " show", " find", " members")))
"""They change nothing, and are short: they may be asked between two pages of a sync."""


def carry_out(hub: Hub, command: str, arguments: Mapping[str, Any], progress: Progress) -> Answer:
    """Carry out a command on an open hub.

    Raises:
        ConfigError: there is no such command.
        SwitchyardError: it failed.
    """
    answer = _begun(hub, command, arguments, progress)
    return answer(hub, progress) if callable(answer) else answer


def attend(hub: Hub, request: Request, progress: Progress | None = None) -> Rest | None:
    """Carry out a command that came through the door, and answer it; or give the rest of it, which `finish` does.

    Raises:
        LeaseLost: another hub has taken over.
    """
    with _failures_told(hub, request):
        answer = _begun(hub, request.command, request.arguments, progress or request.progress)
        if callable(answer):
            return answer
        request.answer(answer)
        request.close()
    return None


def finish(hub: Hub, request: Request, rest: Rest) -> None:
    """Carry out the rest of a command, and answer it. Raises as `attend`."""
    with _failures_told(hub, request):
        request.answer(rest(hub, request.progress))
        request.close()


def attend_waiting(hub: Hub) -> None:
    """Carry out all that came through the door meanwhile, by the configuration as it now is."""
    while request := hub.door.next():
        if renewed(hub, request) and (rest := attend(hub, request)):
            finish(hub, request, rest)


def renewed(hub: Hub, request: Request) -> bool:
    """Bring the configuration up to its files for a command; where it is wrong, the command is answered with that."""
    try:
        hub.renew()
    except ConfigError as error:
        _tell_failure(hub, request, error)
        return False
    return True


def _begun(hub: Hub, command: str, arguments: Mapping[str, Any], progress: Progress) -> Answer | Rest:
    if command not in COMMANDS:
        raise ConfigError(f"the hub knows no command '{command}'")
    return COMMANDS[command](hub, progress, **arguments)


@contextmanager
def _failures_told(hub: Hub, request: Request) -> Iterator[None]:
    try:
        yield
    except SwitchyardError as error:
        _tell_failure(hub, request, error)
        if isinstance(error, LeaseLost):
            raise
    except Exception as error:
        message = f"internal error: {type(error).__name__}; this is a bug, please report it"
        request.fail({"type": "InternalError", "message": message, "exit_code": 1})
        request.close()
        raise


def _tell_failure(hub: Hub, request: Request, error: SwitchyardError) -> None:
    request.fail(described(error, hub.project.loaded.secrets.redact))
    request.close()
