"""The YAML spelling of a rule → syntax tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from switchyard.api.records import JSON
from switchyard_plugins.segmentation import ast, vocabulary
from switchyard_plugins.segmentation.ast import Place, fault
from switchyard_plugins.segmentation.parser import parse
from switchyard_plugins.segmentation.vocabulary import DEEPEST

_SHAPES: Final = ("all", "any", "none", "not", "did")
_TIMES: Final = re.compile(r"(<=|>=|!=|<|>|=) *(\d+)")
_DID_KEYS: Final = ("did", "where", "times", "last", "between")


def read(node: JSON, key: str = "where", depth: int = 1) -> ast.Condition:
    """The tree of a `where`: text, or a mapping with one of `all`, `any`, `none`, `not`, `did`.

    Raises:
        SegmentError: the text or the shape is wrong; its `key` says where, as in `where.all[2].not`.
    """
    place = Place(key=key)
    if depth > DEEPEST:
        raise fault(f"conditions nest at most {DEEPEST} deep", place)
    if isinstance(node, str):
        return parse(node, key)
    if not isinstance(node, Mapping):
        hint = "a list of conditions says how they combine, under all: or any:" if isinstance(node, list) else ""
        raise fault(hint or "a condition is text or a mapping", place, ["text", *_SHAPES])
    if "did" in node:
        return _did(node, key, depth)
    if len(node) != 1:
        raise fault("a condition that is a mapping has one key", place, _SHAPES)
    shape, inner = next(iter(node.items()))
    return _shaped(shape, inner, key, depth)


def _shaped(shape: str, inner: JSON, key: str, depth: int) -> ast.Condition:
    place = Place(key=key)
    if shape == "not":
        return ast.negate(read(inner, f"{key}.not", depth + 1))
    if shape in ("all", "any", "none"):
        if not isinstance(inner, list) or not inner:
            raise fault(f"'{shape}' takes a list of conditions", place)
        children = [read(child, f"{key}.{shape}[{number}]", depth + 1) for number, child in enumerate(inner)]
        joined = ast.all_of(children) if shape == "all" else ast.any_of(children)
        return ast.negate(joined) if shape == "none" else joined
    if shape in vocabulary.LATER:
        raise fault(f"'{shape}' is not yet supported", place)
    raise fault(f"unknown condition '{shape}'{vocabulary.suggestion(shape, _SHAPES)}", place, _SHAPES)


def _did(node: Mapping[str, JSON], key: str, depth: int) -> ast.Condition:
    """`did:` with where, times, last or between, put together from the same pieces as the text form."""
    place = Place(key=key)
    for extra in node.keys() - set(_DID_KEYS):
        raise fault(f"unknown key '{extra}'{vocabulary.suggestion(extra, _DID_KEYS)}", place, _DID_KEYS)
    event = node["did"]
    if not isinstance(event, str) or not event:
        raise fault("'did' takes the name of an event", place)
    where = read(node["where"], f"{key}.where", depth + 1) if "where" in node else None
    aggregate = ast.Aggregate(
        "count", event.strip("`"), None, where, _window(node, key), Place(event, key=f"{key}.did")
    )
    return _times(aggregate, node.get("times", ">= 1"), f"{key}.times")


def _window(node: Mapping[str, JSON], key: str) -> ast.Window:
    if "last" in node and "between" in node:
        raise fault("'last' and 'between' are two windows, say one", Place(key=key), ["last", "between"])
    if "last" in node:
        return ast.Window(_length(node["last"], f"{key}.last"))
    if "between" in node:
        value = node["between"]
        far, divider, near = value.removesuffix(" ago").partition(" and ") if isinstance(value, str) else ("", "", "")
        if not divider:
            raise fault("'between' takes two durations", Place(key=f"{key}.between"), ["30 days and 7 days ago"])
        return ast.Window(_length(far, f"{key}.between"), _length(near, f"{key}.between"))
    return ast.EVER


def _length(value: JSON, key: str) -> int:
    words = value.split() if isinstance(value, str) else []
    if len(words) != 2:
        raise fault("a duration is a number and a unit", Place(str(value), key=key), ["7 days"])
    return vocabulary.seconds(words[0], words[1], Place(str(value), key=key))


def _times(aggregate: ast.Aggregate, times: JSON, key: str) -> ast.Condition:
    match = _TIMES.fullmatch(times) if isinstance(times, str) else None
    if not match:
        raise fault("'times' is an operator and a whole number", Place(str(times), key=key), ['">= 3"'])
    operator = cast(ast.Operator, match[1])
    return ast.Comparison(aggregate, operator, ast.Constant(Decimal(match[2]), aggregate.place), aggregate.place)
