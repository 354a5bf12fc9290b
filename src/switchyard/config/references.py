"""Where secret references stand in a configuration, and what they become there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from switchyard.api.errors import ConfigError
from switchyard.api.records import JSON
from switchyard.config.document import Document, KeyPath
from switchyard.config.errors import placed
from switchyard.config.secrets import REFERENCE, Secrets


def unresolved(data: JSON, document: Document, secrets: Secrets) -> Iterator[ConfigError]:
    """Errors of secret references: what cannot be resolved, and what stands where none is resolved."""
    for path, text in _texts(data):
        if secret_place(path) and not _disabled(data, path):
            try:
                value = secrets.reveal(text)
            except ConfigError as error:
                yield placed(error.message, document, path)
            else:
                if path == ("hub", "store") and (password := _password(value)):
                    secrets.remember(password)
        elif not secret_place(path) and (match := REFERENCE.search(text)) and match.group(2):
            message = "secrets are resolved only in `connections.*.config` and `hub.store`"
            yield placed(message, document, path)


def _texts(data: JSON, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _texts(value, (*path, index))


def secret_place(path: KeyPath) -> bool:
    return path == ("hub", "store") or (len(path) > 2 and path[0] == "connections" and path[2] == "config")


def _disabled(data: Any, path: KeyPath) -> bool:
    return path[0] == "connections" and data["connections"][path[1]].get("enabled") is False


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def revealed(data: Any, secrets: Secrets) -> Any:
    if isinstance(data, str):
        return secrets.reveal(data)
    if isinstance(data, dict):
        return {key: revealed(value, secrets) for key, value in data.items()}
    return [revealed(value, secrets) for value in data] if isinstance(data, list) else data


def remember_written(value: Any, secrets: Secrets) -> None:
    """Secrets that were written out in the configuration must not be printed either."""
    if isinstance(value, SecretStr):
        secrets.remember(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for inner in value.__dict__.values():
            remember_written(inner, secrets)
    elif isinstance(value, dict):
        for inner in value.values():
            remember_written(inner, secrets)
    elif isinstance(value, list | tuple):
        for inner in value:
            remember_written(inner, secrets)
