"""YAML text as plain data that remembers where every key stood.

The scalars are those of YAML 1.2: `no`, `12:30`, `2024-01-31` and `007` are text. Anchors and merge keys work; tags
are refused, so that a file can construct nothing but texts, numbers, booleans, null, lists and mappings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml

from switchyard.api.errors import ConfigError
from switchyard.api.records import JSON
from switchyard.config.errors import ConfigErrors, Problems

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 2_000_000
MAX_DEPTH = 64
MAX_NODES = 200_000

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, JSON] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _Node:
    value: JSON
    position: Position
    children: Mapping[str | int, tuple[Position, _Node]] = field(default_factory=dict)
    size: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document. `file` is its name in messages."""

    file: str
    _root: _Node = field(repr=False)

    @property
    def data(self) -> JSON:
        return self._root.value

    def known(self, path: KeyPath) -> KeyPath:
        """The path without the parts that the document does not have."""
        node, found = self._root, list[str | int]()
        for part in path:
            if part in node.children:
                node = node.children[part][1]
                found.append(part)
        return tuple(found)

    def position(self, path: KeyPath) -> Position:
        """Where the key (or list item) at the end of the path stands, or the nearest one above it."""
        node, position = self._root, self._root.position
        for part in path:
            if part in node.children:
                position, node = node.children[part]
        return position

    def find(self, text: str) -> Position | None:
        """Where the first scalar with this text begins."""
        return next((node.position for node in _walk(self._root) if node.value == text), None)


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for _, child in node.children.values():
        yield from _walk(child)


def read(path: Path, name: str) -> list[Document]:
    """The documents of a file. `name` is the file's name in messages.

    Raises:
        ConfigErrors: the file is missing, too large, not UTF-8, not YAML, or has a key twice.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigErrors([ConfigError(f"cannot be read: {error.strerror}", file=name)]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigErrors([ConfigError(f"is larger than {MAX_BYTES:,} bytes", file=name)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([ConfigError("is not UTF-8; save it as UTF-8", file=name, line=line)]) from error
    return parse(text, name)


def parse(text: str, file: str) -> list[Document]:
    """The documents of a text.

    Raises:
        ConfigErrors: the text is not YAML, has a key twice, or asks for more than plain data.
    """
    builder = _Builder(text, file)
    try:
        documents = list(builder.documents())
    except yaml.YAMLError as error:
        builder.problems.add(_syntax_error(error, text, file))
    except ConfigError as error:
        builder.problems.add(error)
    builder.problems.raise_if_any()
    return documents


def _syntax_error(error: yaml.YAMLError, text: str, file: str) -> ConfigError:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        what = " ".join(part for part in (error.problem, error.context) if part)
        return ConfigError(f"is not YAML: {what} (column {mark.column + 1})", file=file, line=mark.line + 1)
    # What is left is a character that YAML forbids; the parser counts it in bytes.
    before = text.encode()[: getattr(error, "position", 0)]
    message = f"is not YAML: {getattr(error, 'reason', 'unreadable')}"
    return ConfigError(message, file=file, line=before.count(b"\n") + 1)


class _Builder:
    """Builds nodes from the parser's events: nothing is constructed before its depth and size are known."""

    def __init__(self, text: str, file: str) -> None:
        self.problems = Problems()
        self._file = file
        self._anchors: dict[str, _Node] = {}
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events = cast("Iterator[Any]", yaml.parse(text, Loader=loader))

    def documents(self) -> Iterator[Document]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                yield Document(self._file, self._node(next(self._events), 1))

    def _node(self, event: Any, depth: int) -> _Node:
        position = _position(event)
        if depth > MAX_DEPTH:
            raise self._error(f"is nested deeper than {MAX_DEPTH} levels", position)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._error(f"unknown anchor '{event.anchor}'", position)
            node = self._anchors[event.anchor]
        else:
            if event.tag is not None:
                self.problems.add(self._error("tags are not supported; put text in quotes", position))
            node = self._new(event, position, depth)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
        if depth + node.depth - 1 > MAX_DEPTH or node.size > MAX_NODES:
            raise self._error(f"is larger than {MAX_NODES:,} values or deeper than {MAX_DEPTH} levels", position)
        return node

    def _new(self, event: Any, position: Position, depth: int) -> _Node:
        if isinstance(event, yaml.MappingStartEvent):
            children = self._entries(depth)
            value: JSON = {str(key): node.value for key, (_, node) in children.items()}
        elif isinstance(event, yaml.SequenceStartEvent):
            children = dict(enumerate(self._items(depth)))
            value = [node.value for _, node in children.values()]
        else:
            return _Node(_scalar(event.value) if event.implicit[0] else event.value, position)
        inner = [node for _, node in children.values()]
        size = 1 + sum(node.size for node in inner)
        return _Node(value, position, children, size, 1 + max((node.depth for node in inner), default=0))

    def _items(self, depth: int) -> Iterator[tuple[Position, _Node]]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield _position(event), self._node(event, depth + 1)

    def _entries(self, depth: int) -> dict[str | int, tuple[Position, _Node]]:
        own: dict[str | int, tuple[Position, _Node]] = {}
        merged: dict[str | int, tuple[Position, _Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            position = _position(event)
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if key is None:
                self.problems.add(self._error("a key must be plain text", position))
                self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            if key == "<<" and event.implicit[0]:
                for inherited in self._inherited(node):
                    merged = dict(inherited.children) | merged
            elif key in own:
                lines = f"{own[key][0].line} and {position.line}"
                self.problems.add(self._error(f"the key '{key}' stands twice, on lines {lines}", position))
            elif key is not None:
                own[key] = (position, node)
        return merged | own

    def _inherited(self, node: _Node) -> list[_Node]:
        sources = [node] if isinstance(node.value, dict) else [child for _, child in node.children.values()]
        if not sources or not all(isinstance(source.value, dict) for source in sources):
            self.problems.add(self._error("'<<' takes a mapping or a list of mappings", node.position))
            return []
        return sources

    def _error(self, message: str, position: Position) -> ConfigError:
        return ConfigError(message, file=self._file, line=position.line)


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _scalar(text: str) -> JSON:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    # A number too long for an integer stays text, as does one too large for a float.
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit() and math.isfinite(number := float(text)):
        return number
    return text
