"""Secret references `${scheme:reference}`: what they stand for, and how to keep it out of everything printed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from switchyard.api.errors import ConfigError, SwitchyardError
from switchyard.config.errors import suggestion

Resolver: TypeAlias = Callable[[str, str], str | None]
"""(scheme, reference) → value, or None where the scheme is unknown."""

REFERENCE = re.compile(r"\$(\$)?\{(?:([a-z][a-z0-9_]*):)?([^{}]*)\}?")
_MAX_BYTES = 65_536
# Shorter values would be found in every second word.
_SHORTEST = 4
_HIDDEN = "***"


class Secrets:
    """Resolves references and remembers what they stand for.

    Args:
        project: the folder at which `${file:…}` starts.
        resolve: asked for every scheme but `env` and `file`.
    """

    def __init__(self, project: Path, resolve: Resolver | None = None) -> None:
        self._project = project
        self._resolve = resolve
        self._values: set[str] = set()

    def reveal(self, text: str) -> str:
        """The text with its references resolved; `$${` stands for `${`.

        Raises:
            ConfigError: a reference is malformed, or what it names is not there. Carries no place.
        """
        return REFERENCE.sub(self._replace, text)

    def remember(self, value: str) -> None:
        """Hide this value, too."""
        if len(value) >= _SHORTEST:
            self._values |= {value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1]}

    def redact(self, text: str) -> str:
        """The text with every remembered value hidden: the last resort before something is printed or logged."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, _HIDDEN)
        return text

    def _replace(self, match: re.Match[str]) -> str:
        escaped, scheme, reference = match.groups()
        if escaped:
            return match.group().removeprefix("$")
        if scheme is None or not match.group().endswith("}"):
            raise ConfigError("a secret reference is written ${env:NAME} or ${file:path}; `$${` stands for `${`")
        value = self._value(scheme, reference)
        self.remember(value)
        return value

    def _value(self, scheme: str, reference: str) -> str:
        if scheme == "env":
            if not (value := os.environ.get(reference)):
                raise ConfigError(f"the environment variable {reference} is not set or empty")
            return value
        if scheme == "file":
            return self._content(reference)
        try:
            found = self._resolve(scheme, reference) if self._resolve else None
        except SwitchyardError as error:
            raise ConfigError(f"${{{scheme}:{reference}}} cannot be resolved: {error}") from error
        except Exception as error:
            # The text of a stranger's error may hold anything.
            raise ConfigError(f"${{{scheme}:{reference}}} cannot be resolved: {type(error).__name__}") from error
        if found is None:
            raise ConfigError(f"no plugin resolves '{scheme}' secrets{suggestion(scheme, ('env', 'file'))}")
        return found

    def _content(self, reference: str) -> str:
        try:
            with (self._project / reference).open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
            value = raw.decode().rstrip("\r\n")
        except OSError as error:
            raise ConfigError(f"the secret file {reference} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            # The cause would show bytes of the secret.
            raise ConfigError(f"the secret file {reference} is not UTF-8") from None
        if not value or len(raw) > _MAX_BYTES:
            raise ConfigError(f"the secret file {reference} is empty or larger than {_MAX_BYTES:,} bytes")
        return value
