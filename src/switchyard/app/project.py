"""A project: its configuration joined with the plugins, and checked as far as that goes without the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from switchyard.api.connectors import ConnectorConfig, SourceSpec, Stream
from switchyard.api.errors import ConfigError
from switchyard.api.transforms import Definition, ProfileTransformSpec, RecordTransform
from switchyard.config import Connection, Loaded, load
from switchyard.config.errors import Problems
from switchyard.config.loader import FILE
from switchyard.plugins.manager import load_plugins
from switchyard.plugins.registry import Registry


@dataclass(frozen=True)
class Project:
    """What a project's folder says, with its plugins."""

    loaded: Loaded
    registry: Registry

    @property
    def folder(self) -> Path:
        return self.loaded.folder

    @property
    def places(self) -> tuple[str, Path, Path]:
        """Where the hub keeps what it knows: a hub at work cannot move."""
        return self.loaded.store_url, self.loaded.log, self.loaded.work

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Names the state of the configuration's files: another stamp, and something was written."""
        found = [self.folder / FILE, *self.folder.glob("segments/*.y*ml")]
        stats = [(str(path), path.stat()) for path in sorted(found) if path.exists()]
        return tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats)

    def reloaded(self) -> "Project":
        """The configuration as it now is, with the plugins that are loaded.

        Raises:
            ConfigError: something in it is wrong, with the place.
        """
        return _loaded(self.folder, self.registry)

    @cached_property
    def connections(self) -> Mapping[str, Connection]:
        return {name: each for name, each in self.loaded.project.connections.items() if each.enabled}

    def connection(self, name: str) -> Connection:
        """Raises ConfigError where there is none of that name, or it is switched off."""
        if name not in self.loaded.project.connections:
            raise ConfigError(
                f"there is no connection '{name}'; known: {', '.join(sorted(self.connections)) or 'none'}"
            )
        if name not in self.connections:
            raise ConfigError(
                f"connection '{name}' is switched off; remove `enabled: false`", key=f"connections.{name}"
            )
        return self.connections[name]

    def config(self, name: str) -> ConnectorConfig:
        """A connection's own configuration, checked by its connector's model."""
        try:
            model = self.registry.config_model(self.connection(name).connector)
        except ConfigError as error:
            raise self.loaded.error(error.message, ("connections", name, "connector")) from None
        return self.loaded.validate(("connections", name, "config"), model)

    @cached_property
    def sources(self) -> Mapping[str, SourceSpec]:
        """Connection → its source, for those that have one and something to read by it."""
        found = {
            name: self.registry.source(each.connector)
            for name, each in self.connections.items()
            if "source" in self.registry.families(each.connector)
        }
        return {name: spec for name, spec in found.items() if is_pulled(spec) or self._is_pushed_to(name, spec)}

    def streams(self, name: str) -> Sequence[Stream]:
        """The streams of a connection that are switched on.

        Raises:
            ConfigError: the configuration names a stream that the connector does not have.
        """
        spec, configured = self.sources[name], self.connection(name).streams
        asked_for = spec.objects(self.config(name)) if spec.objects else ()
        known = {stream.name: stream for stream in (*spec.streams, *asked_for)}
        for stream in configured:
            if stream not in known:
                message = f"connector '{spec.name}' has no stream '{stream}'; known: {', '.join(known)}"
                raise self.loaded.error(message, ("connections", name, "streams", stream))
        return [each for each in known.values() if each.name not in configured or configured[each.name].enabled]

    def pushed(self, name: str) -> Sequence[Stream]:
        """The streams of a connection that are read when something was pushed to it."""
        return [each for each in self.streams(name) if each.pushed or not self.sources[name].pulled]

    def transforms(self, name: str, stream: Stream) -> list[RecordTransform]:
        """The record transforms of a stream, built, in the order written."""
        configured = self.connection(name).streams.get(stream.name)
        built = []
        for transform in configured.transforms if configured else ():
            spec = self.registry.record_transform(transform)
            path = ("connections", name, "streams", stream.name, "transforms", transform)
            built.append(spec.build(self.loaded.validate(path, spec.config)))
        return built

    def definitions(self) -> list[tuple[ProfileTransformSpec, list[Definition]]]:
        """Every profile transform that has definitions, with them."""
        found = [
            (spec, [each for each in self.loaded.definitions if spec.key in each.body])
            for spec in self.registry.profile_transforms()
        ]
        return [(spec, definitions) for spec, definitions in found if definitions]

    def check(self) -> None:
        """Check all that needs no data.

        Raises:
            ConfigErrors: everything that is wrong.
        """
        problems = Problems()
        for name in self.connections:
            with problems.collect():
                self.config(name)
            with problems.collect():
                self._check_schedule(name)
            with problems.collect():
                for stream in self.streams(name) if name in self.sources else ():
                    self.loaded.mapping(name, stream)
                    self.transforms(name, stream)
        for name, audience in self.loaded.project.audiences.items():
            with problems.collect():
                self._check_sink(name, audience.connection)
            if audience.segment not in {each.name for each in self.loaded.definitions}:
                problems.add(self.loaded.error(f"no segment '{audience.segment}'", ("audiences", name, "segment")))
        problems.raise_if_any()

    def _is_pushed_to(self, name: str, spec: SourceSpec) -> bool:
        try:
            return spec.receiver is not None and spec.receiver(self.config(name)) is not None
        except ConfigError:
            # What is wrong with it is for the check to say.
            return True

    def _check_schedule(self, name: str) -> None:
        if self.connections[name].schedule and name in self.sources and not is_pulled(self.sources[name]):
            message = "what is pushed is read as it comes; remove the schedule"
            raise self.loaded.error(message, ("connections", name, "schedule"))

    def _check_sink(self, audience: str, connection: str) -> None:
        connector = self.connection(connection).connector
        try:
            # A connector that is not known at all is an error of the connection.
            if self.registry.families(connector):
                self.registry.delivered(connector)
        except ConfigError as error:
            raise self.loaded.error(error.message, ("audiences", audience, "connection")) from None


def is_pulled(spec: SourceSpec) -> bool:
    """Whether there is something to read on a schedule."""
    return spec.receiver is None or spec.pulled


def open_project(folder: Path) -> Project:
    """Load a project's plugins and configuration.

    Raises:
        ConfigError: something in it is wrong, with the place.
    """
    return _loaded(folder, Registry(load_plugins(folder)))


def _loaded(folder: Path, registry: Registry) -> Project:
    return Project(load(folder, registry.resolve_secret, registry.definition_keys or ("segment",)), registry)
