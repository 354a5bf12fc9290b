"""Stand-ins of vendors, run in the foreground."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from switchyard.api.errors import ConfigError, PermanentError
from switchyard.app.control import Answer
from switchyard.plugins.manager import load_plugins
from switchyard.plugins.registry import Registry

if TYPE_CHECKING:
    from switchyard.testing.simulator import Simulator


@runtime_checkable
class Lasting(Protocol):
    """A simulator whose vendor's system can be kept over restarts."""

    def dump(self) -> dict[str, Any]:
        """All that the vendor's system holds, as JSON."""

    def load(self, state: dict[str, Any]) -> None:
        """Hold what `dump` gave."""


def simulated(registry: Registry) -> dict[str, str]:
    """Connector → where its simulator is, for those that have one."""
    return {name: owned.spec.simulator for (name, _), owned in registry.connectors.items() if owned.spec.simulator}


def serve(folder: Path, vendor: str, port: int, state: Path | None, announce: Callable[[Answer], object]) -> None:
    """Run a vendor's simulator until the process is told to stop.

    Args:
        folder: the project, for the plugins in it; needs no configuration.
        state: where to keep what the vendor's system holds; read at start, written as it changes and at the end.
        announce: told the address once it answers.

    Raises:
        ConfigError: there is no such simulator, it keeps no state, or the port is taken.
        PermanentError: the file of the state cannot be read or written.
    """
    simulator = _built(Registry(load_plugins(folder)), vendor, port)
    if state is not None:
        if not isinstance(simulator, Lasting):
            raise ConfigError(f"the simulator of {vendor} keeps no state; leave --state away")
        _restore(simulator, state)

    def keep() -> None:
        if state is not None and isinstance(simulator, Lasting):
            _keep(simulator.dump(), state)

    try:
        simulator.serve(lambda url: announce({"simulator": vendor, "url": url}), keep if state is not None else None)
    except OSError as error:
        raise ConfigError(f"cannot listen on port {port}: {error.strerror}; name another with --port") from error
    finally:
        keep()


def _built(registry: Registry, vendor: str, port: int) -> "Simulator":
    known = simulated(registry)
    if vendor not in known:
        raise ConfigError(f"there is no simulator of '{vendor}'; known: {', '.join(sorted(known)) or 'none'}")
    module, _, name = known[vendor].partition(":")
    try:
        made: Simulator = getattr(importlib.import_module(module), name)(port=port)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the simulator {known[vendor]} cannot be loaded: {error}") from error
    return made


def _restore(simulator: Lasting, path: Path) -> None:
    try:
        simulator.load(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"{path} holds no state of this simulator ({type(error).__name__}); remove it") from error


def _keep(state: dict[str, Any], path: Path) -> None:
    """Write the whole file beside the old one first, so that there always is one."""
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(json.dumps(state), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise PermanentError(f"cannot write {path}: {error.strerror}") from error
