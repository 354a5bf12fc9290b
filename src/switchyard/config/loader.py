"""A project's folder → its checked configuration, or every error in it at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from switchyard.api.connectors import Stream
from switchyard.api.errors import ConfigError
from switchyard.api.records import JSON
from switchyard.api.transforms import Definition
from switchyard.config import environment
from switchyard.config.definitions import read_definitions
from switchyard.config.document import Document, KeyPath, Position, parse, read
from switchyard.config.errors import ConfigErrors, Problems, from_validation, placed, suggestion
from switchyard.config.mapping import Mapping, merge_mapping
from switchyard.config.models import Project
from switchyard.config.references import remember_written, revealed, secret_place, unresolved
from switchyard.config.secrets import Resolver, Secrets

FILE = "switchyard.yaml"
_SQLITE = "sqlite:///"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration.

    `project` holds secret references, never what they stand for, and may be printed whole. `document` knows where
    each key of `switchyard.yaml` stands, `sources` the document of each definition.
    """

    folder: Path
    project: Project
    document: Document
    definitions: tuple[Definition, ...]
    sources: dict[str, Document]
    secrets: Secrets = field(repr=False)

    @property
    def store_url(self) -> str:
        """The store's URL with its secrets; a relative SQLite path is made absolute."""
        url = self.secrets.reveal(self.project.hub.store)
        path = url.removeprefix(_SQLITE)
        local = path != url and path and not path.startswith((":memory:", "file:"))
        return f"{_SQLITE}{(self.folder / path).as_posix()}" if local else url

    @property
    def log(self) -> Path:
        return self.folder / self.project.hub.log

    @property
    def work(self) -> Path:
        return self.folder / self.project.hub.work

    def validate(self, path: KeyPath, model: type[M]) -> M:
        """What stands at `path` of `switchyard.yaml`, checked by a plugin's model, with secrets where they may stand.

        `("connections", "crm", "config")` with the connector's model; `("connections", "crm", "streams", "contacts",
        "transforms", "quality")` with the transform's. Nothing there counts as an empty mapping.

        Raises:
            ConfigErrors: with file, line and key path.
        """
        data: Any = self.document.data
        for part in path:
            data = data.get(part) if isinstance(data, dict) else None
        data = {} if data is None else data
        if secret_place(path):
            data = revealed(data, self.secrets)
        try:
            checked = model.model_validate(data)
        except ValidationError as error:
            # A plugin's own validator may quote the value.
            errors = from_validation(error, model, self.document, path)
            raise ConfigErrors([self._redacted(each) for each in errors]) from None
        remember_written(checked, self.secrets)
        return checked

    def mapping(self, connection: str, stream: Stream) -> Mapping:
        """The mapping of one stream: the connector's default with the user's laid over it.

        Raises:
            ConfigErrors: together they are no mapping.
        """
        configured = self.project.connections[connection].streams.get(stream.name)
        try:
            return merge_mapping(stream.mapping, configured.mapping if configured else None)
        except ValidationError as error:
            path = ("connections", connection, "streams", stream.name, "mapping")
            raise ConfigErrors(from_validation(error, Mapping, self.document, path)) from None

    def error(self, message: str, path: KeyPath) -> ConfigError:
        """A ConfigError placed at a key of `switchyard.yaml`, for checks that need more than the configuration."""
        return self._redacted(placed(message, self.document, path))

    def locate(self, definition: str, text: str) -> Position | None:
        """Where `text`, one condition of a definition, begins in the definition's file."""
        return self.sources[definition].find(text) if definition in self.sources else None

    def _redacted(self, error: ConfigError) -> ConfigError:
        return ConfigError(self.secrets.redact(error.message), file=error.file, line=error.line, key=error.key)


def load(project: Path, resolve: Resolver | None = None, keys: Collection[str] = ("segment",)) -> Loaded:
    """Read and check `switchyard.yaml` and `segments/*.yaml` of a project's folder.

    Args:
        project: the folder.
        resolve: resolves secrets of schemes that plugins add.
        keys: the keys by which the profile transforms recognise their definitions.

    Raises:
        ConfigErrors: with everything that is wrong.
    """
    folder, problems = project.absolute(), Problems()
    secrets = Secrets(folder, resolve)
    found = read_definitions(folder, keys, problems)
    # Where a definition cannot be read, its name is not known either.
    names = None if problems.errors else {each.definition.name for each in found}
    try:
        checked, document = _project(folder, secrets, names)
    except ConfigError as error:
        problems.add(error)
        raise ConfigErrors(problems.errors) from None
    problems.raise_if_any()
    sources = {each.definition.name: each.document for each in found}
    return Loaded(folder, checked, document, tuple(each.definition for each in found), sources, secrets)


def _project(folder: Path, secrets: Secrets, segments: set[str] | None) -> tuple[Project, Document]:
    if not (folder / FILE).exists():
        raise ConfigError(f"there is no {FILE} in {folder}; create one with `switchyard init`")
    documents = read(folder / FILE, FILE) or parse("{}", FILE)
    if len(documents) > 1:
        raise placed("must hold one YAML document, and this is a second one", documents[1], ())
    document, problems = documents[0], Problems()
    data: Any = {} if document.data is None else document.data
    with problems.collect():
        changed = environment.overrides()
        if isinstance(data, dict) and isinstance(hub := data.get("hub") or {}, dict):
            data = data | {"hub": hub | changed}
    for problem in (*unresolved(data, document, secrets), *_unknown_names(data, document, segments)):
        problems.add(problem)
    try:
        project = Project.model_validate(data)
    except ValidationError as error:
        for problem in from_validation(error, Project, document):
            problems.add(problem)
        # The cause would show the values.
        raise ConfigErrors(problems.errors) from None
    problems.raise_if_any()
    return project, document


def _unknown_names(data: JSON, document: Document, segments: set[str] | None) -> Iterator[ConfigError]:
    """Audiences that name a connection or a segment that is not there. `segments` None: not known for sure."""
    if not isinstance(data, dict) or not isinstance(audiences := data.get("audiences"), dict):
        return
    connections = data.get("connections")
    known = {"connection": set(connections) if isinstance(connections, dict) else set(), "segment": segments}
    for audience, body in audiences.items():
        for key, names in known.items():
            name = body.get(key) if isinstance(body, dict) else None
            if isinstance(name, str) and names is not None and name not in names:
                yield placed(f"no {key} '{name}'{suggestion(name, names)}", document, ("audiences", audience, key))
