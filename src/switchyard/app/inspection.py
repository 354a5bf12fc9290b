"""What there is to build a project from: connectors, plugins, the schema of the files."""

from pathlib import Path

from switchyard.api.connectors import SourceSpec
from switchyard.app.control import Answer
from switchyard.app.simulators import simulated
from switchyard.config import project_schema
from switchyard.config.schema import definition_schema
from switchyard.plugins.manager import Owner, load_plugins
from switchyard.plugins.registry import Registry


def connectors(folder: Path) -> Answer:
    """Every connector: its families, streams, plugin, and whether there is a simulator."""
    registry = Registry(load_plugins(folder))
    stand_ins = simulated(registry)
    found: dict[str, Answer] = {}
    for (name, family), owned in sorted(registry.connectors.items()):
        about = found.setdefault(
            name,
            {
                "connector": name,
                "title": owned.spec.title,
                "families": [],
                "streams": [],
                "simulator": name in stand_ins,
                "plugin": owned.owner.plugin,
                "distribution": _distribution(owned.owner),
            },
        )
        about["families"].append(family)
        if isinstance(owned.spec, SourceSpec):
            about["streams"] += [stream.name for stream in owned.spec.streams]
    return {"connectors": list(found.values())}


def plugins(folder: Path) -> Answer:
    """Every plugin that is loaded, with what it contributes, and every one that is broken."""
    registry = Registry(load_plugins(folder))
    contributed: dict[str, list[str]] = {name: [] for name in registry.plugins.owners}
    for (name, family), connector in registry.connectors.items():
        contributed[connector.owner.plugin].append(f"{family} {name}")
    for name, transform in registry.transforms.items():
        contributed[transform.owner.plugin].append(f"transform {name}")
    return {
        "plugins": [
            {"plugin": name, "distribution": _distribution(owner), "contributes": contributed[name]}
            for name, owner in sorted(registry.plugins.owners.items())
        ],
        "broken": [
            {"plugin": each.owner.plugin, "distribution": _distribution(each.owner), "error": each.error}
            for each in registry.plugins.broken
        ],
    }


def schema(folder: Path, of_segments: bool = False) -> Answer:
    """The JSON Schema of `switchyard.yaml`, or of the files under `segments/`, with what the plugins add."""
    registry = Registry(load_plugins(folder))
    transforms = [owned.spec for owned in registry.transforms.values()]
    if of_segments:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | definition_schema(transforms)
    return project_schema([owned.spec for owned in registry.connectors.values()], transforms)


def _distribution(owner: Owner) -> str | None:
    return f"{owner.distribution} {owner.version}" if owner.distribution else None
