"""What the plugins contribute, by name, with who contributed it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from switchyard.api.connectors import ConnectorConfig, ConnectorSpec, ListSinkSpec, SinkSpec, SourceSpec
from switchyard.api.errors import ConfigError
from switchyard.api.transforms import ProfileTransformSpec, RecordTransformSpec, TransformSpec
from switchyard.plugins.manager import Owner, Plugins

Family: TypeAlias = Literal["source", "sink", "list_sink"]
_FAMILIES: tuple[tuple[type[ConnectorSpec], Family], ...] = (
    (SourceSpec, "source"), (SinkSpec, "sink"), (ListSinkSpec, "list_sink")
)  # fmt: skip
Watcher: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""(hook, its arguments)."""

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

S = TypeVar("S", bound=ConnectorSpec | TransformSpec)
T = TypeVar("T", bound=SourceSpec | SinkSpec | ListSinkSpec)


@dataclass(frozen=True, slots=True)
class Owned(Generic[S]):
    """A spec, and the plugin it came from."""

    spec: S
    owner: Owner


class Registry:
    """The connectors and transforms of a project.

    Raises:
        ConfigError: at construction, where a hook fails or returns something else than specs, or where two plugins
            contribute the same name; both are named.
    """

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.watchers: list[Watcher] = []
        """Told the same as the observers among the plugins; they must not raise."""
        self.connectors: dict[tuple[str, Family], Owned[ConnectorSpec]] = {}
        self.transforms: dict[str, Owned[TransformSpec]] = {}
        for connector in _contributed(plugins, "switchyard_connectors", SourceSpec | SinkSpec | ListSinkSpec):
            self._add_connector(connector)
        for transform in _contributed(plugins, "switchyard_transforms", RecordTransformSpec | ProfileTransformSpec):
            self._add_transform(transform)

    @property
    def definition_keys(self) -> tuple[str, ...]:
        """The keys by which the profile transforms recognise their definitions."""
        return tuple(spec.key for spec in self.profile_transforms())

    def source(self, name: str) -> SourceSpec:
        return self._connector(name, "source", SourceSpec)

    def sink(self, name: str) -> SinkSpec:
        return self._connector(name, "sink", SinkSpec)

    def list_sink(self, name: str) -> ListSinkSpec:
        return self._connector(name, "list_sink", ListSinkSpec)

    def delivered(self, name: str) -> ListSinkSpec | SinkSpec:
        """What an audience is delivered to: the connector's list sink, or where it has none its sink.

        Raises:
            ConfigError: it has neither.
        """
        if "sink" in self.families(name) and "list_sink" not in self.families(name):
            return self.sink(name)
        return self.list_sink(name)

    def families(self, name: str) -> tuple[Family, ...]:
        """What the connector of this name is, none where there is no such connector."""
        return tuple(family for known, family in self.connectors if known == name)

    def config_model(self, name: str) -> type[ConnectorConfig]:
        """The model of the configuration of a connector, whatever its families.

        Raises:
            ConfigError: there is no such connector.
        """
        for family in self.families(name):
            return self.connectors[name, family].spec.config
        raise self._unknown("connector", name, {known for known, _ in self.connectors})

    def record_transform(self, name: str) -> RecordTransformSpec:
        """Raises ConfigError where there is no such record transform."""
        owned = self.transforms.get(name)
        if owned is None or not isinstance(owned.spec, RecordTransformSpec):
            known = {each.spec.name for each in self.transforms.values() if isinstance(each.spec, RecordTransformSpec)}
            raise self._unknown("record transform", name, known)
        return owned.spec

    def profile_transform(self, key: str) -> ProfileTransformSpec:
        """The profile transform whose definitions have this top-level key.

        Raises:
            ConfigError: there is none.
        """
        for spec in self.profile_transforms():
            if spec.key == key:
                return spec
        raise self._unknown("kind of definition", key, self.definition_keys)

    def profile_transforms(self) -> tuple[ProfileTransformSpec, ...]:
        return tuple(each.spec for each in self.transforms.values() if isinstance(each.spec, ProfileTransformSpec))

    def observe(self, hook: str, **arguments: Any) -> None:
        """Tell the observers. One that fails is logged and harms nobody."""
        for watch in self.watchers:
            watch(hook, arguments)
        for call in self.plugins.calls(hook, **arguments):
            try:
                call()
            except (Exception, SystemExit) as error:
                # Its text may hold anything.
                _log.warning("%s of plugin %s failed: %s", hook, call.owner.plugin, type(error).__name__)

    def resolve_secret(self, scheme: str, reference: str) -> str | None:
        """The first answer of a plugin that is not None. What a plugin raises is passed on."""
        for call in self.plugins.calls("switchyard_resolve_secret", scheme=scheme, reference=reference):
            answer = call()
            if answer is not None and not isinstance(answer, str):
                raise ConfigError(f"plugin {call.owner}: switchyard_resolve_secret must return text or None")
            if answer is not None:
                return answer
        return None

    def _connector(self, name: str, family: Family, kind: type[T]) -> T:
        owned = self.connectors.get((name, family))
        if owned is None or not isinstance(owned.spec, kind):
            if others := self.families(name):
                raise ConfigError(f"connector '{name}' is no {family}, but a {' and a '.join(others)}")
            raise self._unknown(
                f"{family} connector", name, {known for known, each in self.connectors if each == family}
            )
        return owned.spec

    def _unknown(self, what: str, name: str, known: Iterable[str]) -> ConfigError:
        near = get_close_matches(name, known := sorted(known), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known) or 'none'}"
        lost = "".join(f"; plugin {each.owner} could not be loaded: {each.error}" for each in self.plugins.broken)
        return ConfigError(f"no {what} '{name}'{hint}{lost}")

    def _add_connector(self, new: Owned[ConnectorSpec]) -> None:
        name = new.spec.name
        family = next(family for kind, family in _FAMILIES if isinstance(new.spec, kind))
        for (known, other), old in self.connectors.items():
            if known != name:
                continue
            if old.owner != new.owner or other == family:
                raise _clash("connector", name, old.owner, new.owner)
            if old.spec.config is not new.spec.config:
                raise ConfigError(
                    f"plugin {new.owner}: the {other} and the {family} '{name}' must share a config model"
                )
        self.connectors[name, family] = new

    def _add_transform(self, new: Owned[TransformSpec]) -> None:
        if old := self.transforms.get(new.spec.name):
            raise _clash("transform", new.spec.name, old.owner, new.owner)
        for old in self.transforms.values():
            key = getattr(new.spec, "key", None)
            if key is not None and key == getattr(old.spec, "key", None):
                raise _clash("kind of definition", key, old.owner, new.owner)
        self.transforms[new.spec.name] = new


def _clash(what: str, name: str, first: Owner, second: Owner) -> ConfigError:
    if first == second:
        return ConfigError(f"plugin {first} contributes the {what} '{name}' twice")
    return ConfigError(f"the {what} '{name}' comes from two plugins: {first} and {second}; remove one of them")


def _contributed(plugins: Plugins, hook: str, kinds: Any) -> Iterator[Owned[Any]]:
    for call in plugins.calls(hook):
        try:
            specs = call()
        except (Exception, SystemExit) as error:
            raise ConfigError(f"plugin {call.owner}: {hook} failed: {type(error).__name__}: {error}") from error
        if not isinstance(specs, Sequence) or not all(isinstance(spec, kinds) for spec in specs):
            raise ConfigError(f"plugin {call.owner}: {hook} must return a sequence of specs")
        for spec in specs:
            if not _NAME.fullmatch(spec.name):
                raise ConfigError(
                    f"plugin {call.owner}: '{spec.name}' is no name; use lower-case letters, digits and underscores"
                )
            yield Owned(spec, call.owner)
