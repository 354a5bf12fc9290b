"""Turns what pydantic says into errors with a file, a line, a key path and a suggestion; gathers them."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from switchyard.api.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from switchyard.config.document import Document, KeyPath

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
_SHOWN = 12


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration: `errors`, one per place, by file and line."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: (error.file or "", error.line or 0)))
        first = self.errors[0]
        super().__init__(first.message, file=first.file, line=first.line, key=first.key)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Problems:
    """Errors met so far, so that a person sees all of them at once."""

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    def add(self, error: ConfigError) -> None:
        self.errors.extend(error.errors if isinstance(error, ConfigErrors) else [error])

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep a ConfigError raised inside, and go on behind the block."""
        try:
            yield
        except ConfigError as error:
            self.add(error)

    def raise_if_any(self) -> None:
        if self.errors:
            raise ConfigErrors(self.errors)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the known words where none is near and they are few, or nothing."""
    known = sorted(known)
    if near := get_close_matches(word, known, n=1):
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= _SHOWN else ""


def key_text(path: KeyPath) -> str:
    """`("a", 0, "b")` as `a[0].b`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def placed(text: str, document: Document, path: KeyPath) -> ConfigError:
    """A ConfigError that says where in the document `path` stands."""
    return ConfigError(text, file=document.file, line=document.position(path).line, key=key_text(path) or None)


def from_validation(
    error: ValidationError, model: type[BaseModel], document: Document, base: KeyPath = ()
) -> list[ConfigError]:
    """One ConfigError per place that pydantic complains of; `base` is where the model's data stands.

    Never shows the input: it may be a secret.
    """
    messages: dict[KeyPath, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        # The alternatives of a union complain of one place, each with its tag in `loc`.
        path = document.known(base + detail["loc"])
        if detail["type"] == "missing":
            path += detail["loc"][-1:]
        known = messages.setdefault(path, [])
        if (text := message(detail, model)) not in known:
            known.append(text)
    return [placed("; or ".join(texts), document, path) for path, texts in messages.items()]


def message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What pydantic complains of, in our words."""
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        return f"unknown key '{loc[-1]}'{suggestion(str(loc[-1]), _keys_at(model, loc))}"
    if kind == "missing":
        return f"the key '{loc[-1]}' is missing"
    if kind == "string_pattern_mismatch" and detail.get("ctx", {}).get("pattern") == NAME_PATTERN:
        return "a name starts with a lower-case letter and has only lower-case letters, digits and underscores"
    text = detail["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """The keys that the model knows where `loc` ends."""
    kinds: list[Any] = [model]
    for part in loc[:-1]:
        # A part that leads nowhere is the tag of a union's alternative.
        kinds = [inner for kind in _alternatives(kinds) for inner in _step(kind, part)] or kinds
    models = [kind for kind in _alternatives(kinds) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return {field.alias or name for kind in models for name, field in kind.model_fields.items()}


def _alternatives(kinds: Iterable[Any]) -> Iterator[Any]:
    for kind in kinds:
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            yield from _alternatives(get_args(kind))
        elif origin is Annotated:
            yield from _alternatives(get_args(kind)[:1])
        elif isinstance(kind, type) and issubclass(kind, RootModel):
            yield from _alternatives([kind.model_fields["root"].annotation])
        else:
            yield kind


def _step(kind: Any, part: str | int) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.annotation for name, field in kind.model_fields.items() if part in (name, field.alias)]
    origin = get_origin(kind)
    if not isinstance(origin, type):
        return []
    if issubclass(origin, Mapping) and isinstance(part, str):
        return [get_args(kind)[1]]
    return list(get_args(kind)[:1]) if issubclass(origin, Sequence) and isinstance(part, int) else []
