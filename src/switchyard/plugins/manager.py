"""Finds and loads plugins: entry points of the group `switchyard`, and files in a project's `plugins/` folder."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from switchyard.api import hooks
from switchyard.api.errors import ConfigError

GROUP = "switchyard"
FOLDER = "plugins"
DISTRIBUTION = "switchyard-hub"
SWITCH = "SWITCHYARD_PLUGINS"
TRACE = "SWITCHYARD_TRACE_PLUGINS"


@dataclass(frozen=True, slots=True)
class Owner:
    """A plugin that is loaded, and the distribution it came with (None for a file of the project)."""

    plugin: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"'{self.plugin}' ({self.distribution} {self.version})" if self.distribution else f"'{self.plugin}'"


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that could not be imported. It matters only to who needs it."""

    owner: Owner
    error: str


@dataclass(frozen=True, slots=True)
class Call:
    """One plugin's implementation of a hook, with its arguments."""

    hook: str
    owner: Owner
    implementation: pluggy.HookImpl
    arguments: Mapping[str, Any]

    def __call__(self) -> Any:
        return self.implementation.function(*(self.arguments[name] for name in self.implementation.argnames))


class Plugins:
    """The plugins of one project: what is loaded, what is broken, and how their hooks are called."""

    def __init__(self, *, trace: bool = False) -> None:
        self.owners: dict[str, Owner] = {}
        self.broken: list[Broken] = []
        self._trace = trace
        self._manager = pluggy.PluginManager(hooks.PROJECT)
        self._manager.add_hookspecs(hooks)

    def register(self, plugin: object, owner: Owner) -> None:
        """Take in a plugin: a module, or any object with hook implementations.

        Raises:
            ConfigError: a plugin of that name is there already, or a hook is misspelt, unmarked or asks for
                arguments it is not given.
        """
        if other := self.owners.get(owner.plugin):
            raise ConfigError(f"two plugins have the same name: {other} and {owner}; remove one of them")
        self._refuse_unmarked(plugin, owner)
        try:
            self._manager.register(plugin, name=owner.plugin)
            self._refuse_unknown(plugin, owner)
        except pluggy.PluginValidationError as error:
            raise ConfigError(f"plugin {owner} does not fit a hook: {_one_line(error)}") from error
        except ValueError as error:
            raise ConfigError(f"plugin {owner} is registered twice, under two names; remove one of them") from error
        self.owners[owner.plugin] = owner
        self._say(f"plugin {owner} loaded")

    def calls(self, hook: str, **arguments: Any) -> Iterator[Call]:
        """What there is to call for a hook, first come first: the caller decides what a failure means.

        pluggy's own call does not say whose answer is whose, and stops at the first observer that raises.
        """
        # pluggy keeps implementations in the reverse of the order in which it calls them.
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            call = Call(hook, self.owners[implementation.plugin_name], implementation, arguments)
            self._say(f"hook {hook}: plugin {call.owner}")
            yield call

    def _say(self, line: str) -> None:
        # Names only: the arguments and answers of hooks may be secret or personal.
        if self._trace:
            sys.stderr.write(f"{line}\n")

    def _refuse_unmarked(self, plugin: object, owner: Owner) -> None:
        # Only what the module itself defines: it may import a hook specification to read it.
        for name in vars(plugin) if isinstance(plugin, ModuleType) else ():
            function = getattr(plugin, name)
            own = callable(function) and getattr(function, "__module__", None) == getattr(plugin, "__name__", "")
            if name.startswith("switchyard_") and own and not hasattr(function, f"{hooks.PROJECT}_impl"):
                raise ConfigError(f"plugin {owner}: the hook {name} is not marked; put @hookimpl above it")

    def _refuse_unknown(self, plugin: object, owner: Owner) -> None:
        known = [name for name in vars(hooks) if name.startswith("switchyard_")]
        for caller in self._manager.get_hookcallers(plugin) or ():
            mine = [each for each in caller.get_hookimpls() if each.plugin is plugin]
            if not caller.has_spec() and not all(each.optionalhook for each in mine):
                near = get_close_matches(caller.name, known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
                raise ConfigError(f"plugin {owner}: there is no hook '{caller.name}'{hint}")
            if any(each.wrapper or each.hookwrapper for each in mine):
                raise ConfigError(f"plugin {owner}: the hook {caller.name} must not be a wrapper")


def load_plugins(project: Path | None = None, environ: Mapping[str, str] = os.environ) -> Plugins:
    """Load every plugin there is. A new object at each call: nothing is kept in the module.

    Args:
        project: its folder `plugins/` is looked into as well.
        environ: `SWITCHYARD_PLUGINS=off` leaves only what comes with the hub; `SWITCHYARD_TRACE_PLUGINS=1` writes a
            line to stderr for every plugin loaded and every hook called.

    Raises:
        ConfigError: see `Plugins.register`. A plugin that cannot be imported is kept in `broken` instead.
    """
    plugins = Plugins(trace=_switch(environ, TRACE, default=False))
    others = _switch(environ, SWITCH, default=True)
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda each: each.name):
        owner = Owner(entry.name, entry.dist.name, entry.dist.version) if entry.dist else Owner(entry.name)
        if others or owner.distribution == DISTRIBUTION:
            _load(plugins, owner, entry.load)
    if project is not None and others:
        for path in sorted((project / FOLDER).glob("[!._]*.py")):
            _load(plugins, Owner(f"{FOLDER}/{path.name}"), partial(_module, path))
    return plugins


def _load(plugins: Plugins, owner: Owner, load: Callable[[], object]) -> None:
    try:
        plugin = load()
    except (Exception, SystemExit) as error:
        plugins.broken.append(Broken(owner, f"{type(error).__name__}: {_one_line(error)}"))
    else:
        plugins.register(plugin, owner)


def _module(path: Path) -> ModuleType:
    """The module in a file, under a name that no other project's file has."""
    name = f"switchyard_{FOLDER}_{path.stem}_{zlib.crc32(str(path.absolute()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no module")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pydantic look their module up while it runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").strip().lower()
    known = {"": default, "on": True, "1": True, "true": True, "off": False, "0": False, "false": False}
    if text not in known:
        raise ConfigError("write on or off", key=name)
    return known[text]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
