from __future__ import annotations

import pytest

from switchyard.api.errors import SegmentError
from switchyard.api.transforms import Definition, Schema
from switchyard_plugins.segmentation.transform import Segmentation

SCHEMA = Schema(attributes={"points": "integer"}, events={"order": {}})


def compile_all(**rules: str) -> None:
    definitions = [Definition(name, {"where": where}, file=f"{name}.yaml") for name, where in rules.items()]
    Segmentation().compile(definitions, SCHEMA)


def test_a_circle_of_segments_names_its_members() -> None:
    with pytest.raises(SegmentError, match=r"a → b → c → a|b → c → a → b|c → a → b → c") as caught:
        compile_all(a="in segment b", b="in segment c", c="in segment a or points > 1", d="in segment a")
    assert caught.value.file in ("a.yaml", "b.yaml", "c.yaml")


def test_a_long_chain_of_segments_is_no_circle() -> None:
    compile_all(s0="points > 1", **{f"s{n}": f"in segment s{n - 1}" for n in range(1, 1500)})


@pytest.mark.parametrize(
    "text", ["not (points = 1 or " * 300 + "points = 1" + ")" * 300, "(" * 300 + "points = 1" + ")" * 300]
)
def test_depth_is_capped_by_conditions_and_not_by_parentheses(text: str) -> None:
    if "or" not in text:
        compile_all(a=text)
        return
    with pytest.raises(SegmentError, match="at most 20 deep"):
        compile_all(a=text)


def test_a_yaml_tree_of_any_depth_is_refused_and_not_followed() -> None:
    node: object = "points = 1"
    for _ in range(5_000):
        node = {"not": node}
    with pytest.raises(SegmentError, match="at most 20 deep"):
        Segmentation().compile([Definition("a", {"where": node})], SCHEMA)  # type: ignore[dict-item]


def test_size_is_capped() -> None:
    with pytest.raises(SegmentError, match="at most 500 conditions"):
        compile_all(a=" or ".join(["points = 1"] * 600))
    with pytest.raises(SegmentError, match="at most 20000 characters"):
        compile_all(a="points = 1" + " " * 20_000)


@pytest.mark.parametrize(
    "where", ["count(order) = 0", "sum(order.total) < 5", "not in segment b", "not did(order) or points > 1"]
)
def test_a_rule_that_nobody_has_to_do_anything_for_says_so(where: str) -> None:
    schema = Schema(attributes={"points": "integer"}, events={"order": {"total": "decimal"}}, segments=frozenset({"b"}))
    with pytest.raises(SegmentError, match="everybody whom nothing excludes"):
        Segmentation().compile([Definition("a", {"where": where})], schema)
    Segmentation().compile([Definition("a", {"where": where, "everybody": True})], schema)
    Segmentation().compile([Definition("a", {"where": {"all": [where, "points > 1"]}})], schema)
