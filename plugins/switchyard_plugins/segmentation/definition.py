"""One definition: the body of its file → a rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from switchyard.api.errors import SegmentError
from switchyard.api.transforms import Definition
from switchyard_plugins.segmentation import ast, tree, vocabulary
from switchyard_plugins.segmentation.ast import Place, fault
from switchyard_plugins.segmentation.schema import NULLS, SCHEMA

_KEYS: Final = tuple(SCHEMA["properties"])


@dataclass(frozen=True, slots=True)
class Rule:
    """A definition, read and not yet checked against names and types."""

    name: str
    condition: ast.Condition
    nulls_match: bool = False
    timezone: str | None = None
    everybody: bool = False
    file: str | None = None


@contextmanager
def placed(file: str | None) -> Iterator[None]:
    """Says the file in the errors raised inside."""
    try:
        yield
    except SegmentError as error:
        error.file = error.file or file
        raise


def read(definition: Definition) -> Rule:
    """The rule of a definition.

    Raises:
        SegmentError: a key is unknown or missing, or the rule does not parse.
    """
    with placed(definition.file):
        return _read(definition)


def _read(definition: Definition) -> Rule:
    body = definition.body
    for key in body.keys() - set(_KEYS):
        raise fault(f"unknown key '{key}'{vocabulary.suggestion(key, _KEYS)}", Place(key=key), _KEYS)
    if "where" not in body:
        raise fault(f"segment '{definition.name}' has no 'where'", Place(key="where"), ["where"])
    nulls, zone, everybody = body.get("nulls", NULLS[0]), body.get("timezone"), body.get("everybody", False)
    if nulls not in NULLS:
        raise fault("'nulls' is one of two words", Place(str(nulls), key="nulls"), NULLS)
    if not isinstance(everybody, bool):
        raise fault("'everybody' is true or false", Place(str(everybody), key="everybody"), ["true", "false"])
    if zone is not None and not _is_zone(zone):
        raise fault(f"unknown time zone '{zone}'", Place(str(zone), key="timezone"), ["a name as in Europe/Paris"])
    return Rule(
        name=definition.name,
        condition=tree.read(body["where"]),
        nulls_match=nulls == "match",
        timezone=str(zone) if zone is not None else None,
        everybody=everybody,
        file=definition.file,
    )


def _is_zone(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return False
