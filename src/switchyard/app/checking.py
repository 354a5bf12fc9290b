"""What is wrong with a project, as far as that can be said without its data, and whether its connections work."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from switchyard.api.connectors import Checkable, Stream
from switchyard.api.errors import ConfigError, SegmentError, SwitchyardError
from switchyard.api.transforms import Definition, Schema
from switchyard.app.control import Answer
from switchyard.app.hub import Hub
from switchyard.app.project import Project
from switchyard.config.document import KeyPath
from switchyard.config.errors import Problems, suggestion
from switchyard.config.mapping import Mapping
from switchyard.eventlog.types import data_type
from switchyard.pipeline.mapping import declared
from switchyard.pipeline.plan import compile_mapping


def check(project: Project) -> Answer:
    """Check all that needs no data: settings, mappings with their types, segments, the fields of audiences.

    Raises:
        ConfigErrors: everything that is wrong, with file, line and key.
    """
    problems = Problems()
    with problems.collect():
        project.check()
    schema = _vocabulary(project, problems)
    if not problems.errors:
        # Where a mapping is wrong, what it would give is not known, and every use of it would be one more error.
        _check_segments(project, schema, problems)
        _check_audiences(project, schema, problems)
    problems.raise_if_any()
    return {
        "connections": [
            {
                "connection": name,
                "connector": connection.connector,
                "families": list(project.registry.families(connection.connector)),
                "streams": [stream.name for stream in project.streams(name)] if name in project.sources else [],
            }
            for name, connection in project.connections.items()
        ],
        "segments": [each.name for each in project.loaded.definitions],
        "audiences": list(project.loaded.project.audiences),
        "broken_plugins": [each.owner.plugin for each in project.registry.plugins.broken],
    }


def connected(hub: Hub) -> list[Answer]:
    """Try every connection whose connector can be tried; what fails is in the answer."""
    answers = []
    for name, connection in hub.project.connections.items():
        answer: Answer = {"connection": name, "connector": connection.connector, "reached": None}
        try:
            with hub.connector(name) as connector:
                if isinstance(connector, Checkable):
                    connector.check()
                    answer["reached"] = True
        except SwitchyardError as error:
            message = hub.project.loaded.secrets.redact(str(error))
            answer |= {"reached": False, "error": message, "exit_code": error.exit_code}
        answers.append(answer)
    return answers


def _vocabulary(project: Project, problems: Problems) -> Schema:
    """What definitions may speak of, as far as the mappings say."""
    attributes: dict[str, str] = {}
    events: dict[str, dict[str, str]] = {}
    for connection in project.sources:
        with problems.collect():
            for stream in project.streams(connection):
                mapping = project.loaded.mapping(connection, stream)
                attributes |= dict.fromkeys(mapping.identifiers, "text")
                try:
                    gives, happens = declared(compile_mapping(connection, stream, mapping))
                except ConfigError as error:
                    place = ("connections", connection, "streams", stream.name, "mapping")
                    whole = project.loaded.error(error.message, place)
                    for blamed in _blamed(project, connection, stream, mapping) or [whole]:
                        problems.add(blamed)
                    continue
                attributes |= gives
                for name, properties in happens.items():
                    events[name] = events.get(name, {}) | properties
    return Schema(
        attributes={name: data_type(text) for name, text in attributes.items()},
        events={name: {each: data_type(text) for each, text in types.items()} for name, types in events.items()},
        segments=frozenset(each.name for each in project.loaded.definitions),
        timezone=project.loaded.project.hub.timezone,
    )


def _blamed(project: Project, connection: str, stream: Stream, mapping: Mapping) -> list[ConfigError]:
    """The entries that a user wrote and that are wrong by themselves, each at its place."""
    above = ("connections", connection, "streams", stream.name, "mapping")
    found: list[ConfigError] = []
    wrong: list[KeyPath] = []
    for path, part in _parts(mapping):
        if path[:2] in wrong or project.loaded.document.known((*above, *path)) != (*above, *path):
            continue
        try:
            declared(compile_mapping(connection, stream, part))
        except ConfigError as error:
            wrong.append(path)
            found.append(project.loaded.error(error.message, (*above, *path)))
    return found


def _parts(mapping: Mapping) -> Iterator[tuple[KeyPath, Mapping]]:
    """Every entry of a mapping as a mapping of its own, with the least that it needs beside it."""
    yield ("subject",), Mapping(subject=mapping.subject)
    yield ("observed_at",), Mapping(subject="1", observed_at=mapping.observed_at)
    for kind, identifier in mapping.identifiers.items():
        yield ("identifiers", kind), Mapping(subject="1", identifiers={kind: identifier})
    for name, expression in mapping.attributes.items():
        yield ("attributes", name), Mapping(subject="1", attributes={name: expression})
    for name, event in mapping.events.items():
        bare = event.model_copy(update={"at": event.at or "TIMESTAMP '2000-01-01'", "properties": {}, "items": None})
        yield ("events", name), Mapping(subject="1", events={name: bare})
        for kind in ("properties", "items"):
            for entry, expression in (getattr(event, kind) or {}).items():
                one = bare.model_copy(update={kind: {entry: expression}, "when": None})
                yield ("events", name, kind, entry), Mapping(subject="1", events={name: one})


def _check_segments(project: Project, schema: Schema, problems: Problems) -> None:
    reads: dict[str, frozenset[str]] = {}
    for spec, definitions in project.definitions():
        transform = spec.build()
        for definition in definitions:
            try:
                program = transform.compile([definition], schema)
            except SegmentError as error:
                problems.add(_placed(project, definition, error))
            else:
                reads |= {name: each.segments for name, each in program.reads.items()}
    try:
        TopologicalSorter({name: read & reads.keys() for name, read in reads.items()}).prepare()
    except CycleError as error:
        circle = error.args[1]
        (file,) = {each.file for each in project.loaded.definitions if each.name == circle[0]}
        problems.add(ConfigError(f"segments read each other in a circle: {' → '.join(circle)}", file=file))


def _placed(project: Project, definition: Definition, error: SegmentError) -> ConfigError:
    """The error at its place in the definition's file: its own line and column count within one text there."""
    begins = project.loaded.locate(definition.name, error.text) if error.text else None
    key = (error.key or "").split(".")[0]
    place = begins or project.loaded.sources[definition.name].position((key,))
    line = place.line + (error.line or 1) - 1 if begins else place.line
    column = f"column {error.column}: " if error.text else ""
    hint = f"; expected {', '.join(error.expected)}" if error.expected else ""
    text = f" in '{error.text}'" if error.text else ""
    return ConfigError(f"{column}{error.message}{hint}{text}", file=definition.file, line=line, key=error.key)


def _check_audiences(project: Project, schema: Schema, problems: Problems) -> None:
    for name, audience in project.loaded.project.audiences.items():
        shown = {"key": audience.fields.get(audience.key, audience.key)} | {
            f"fields.{vendor}": field for vendor, field in audience.fields.items()
        }
        for place, field in shown.items():
            if field not in schema.attributes:
                message = f"no mapping gives '{field}'{suggestion(field, schema.attributes)}"
                problems.add(project.loaded.error(message, ("audiences", name, *place.split(".", 1))))
