"""A project's configuration: YAML with places, typed models, secret references, JSON Schema."""

from switchyard.config.errors import ConfigErrors
from switchyard.config.loader import Loaded, load
from switchyard.config.mapping import EventMapping, Identifier, Mapping, MappingPatch, merge_mapping
from switchyard.config.models import Audience, Connection, Guard, Hub, Identity, KindRule, Project, StreamConfig
from switchyard.config.schema import project_schema
from switchyard.config.secrets import Secrets

__all__ = [
    "Audience",
    "ConfigErrors",
    "Connection",
    "EventMapping",
    "Guard",
    "Hub",
    "Identifier",
    "Identity",
    "KindRule",
    "Loaded",
    "Mapping",
    "MappingPatch",
    "Project",
    "Secrets",
    "StreamConfig",
    "load",
    "merge_mapping",
    "project_schema",
]
