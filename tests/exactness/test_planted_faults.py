"""Faults put in on purpose: the comparison finds each of them, and nothing where there is none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pytest

from switchyard.api.transforms import NEVER, Definition, ProfileTransform, Program, Reads, Schema, Scope
from switchyard.identity.resolution import Resolution
from switchyard.pipeline import intake
from switchyard_plugins.segmentation import ast, compiler, expressions, plan
from switchyard_plugins.segmentation.nodes import Node
from switchyard_plugins.segmentation.transform import Segmentation

from .comparison import Comparison
from .story import Story


@dataclass(frozen=True)
class Spoiled:
    """A profile transform whose next change is another one."""

    next_change: Callable[[ir.Table], ir.Value]

    def compile(self, definitions: Sequence[Definition], schema: Schema) -> Program:
        return SpoiledProgram(Segmentation().compile(definitions, schema), self.next_change)

    def canonical(self, definition: Definition) -> str:
        return Segmentation().canonical(definition)


@dataclass(frozen=True)
class SpoiledProgram:
    program: Program
    next_change: Callable[[ir.Table], ir.Value]

    @property
    def reads(self) -> Mapping[str, Reads]:
        return self.program.reads

    def evaluate(self, scope: Scope, definitions: Sequence[str]) -> ir.Table:
        table = self.program.evaluate(scope, definitions)
        return table.mutate(next_change=self.next_change(table))


def never() -> ir.Value:
    return ibis.literal(NEVER, "timestamp(6)")


def an_hour_late(table: ir.Table) -> ir.Value:
    return ibis.least(table.next_change + ibis.interval(hours=1), never())


def only_while_true(table: ir.Table) -> ir.Value:
    return ibis.ifelse(table.value, table.next_change, never())


def take_at_least_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    threshold = plan.threshold

    def wrong(comparison: ast.Comparison) -> plan.Threshold | None:
        return threshold(replace(comparison, operator=">=" if comparison.operator == ">" else comparison.operator))

    monkeypatch.setattr(plan, "threshold", wrong)
    monkeypatch.setitem(expressions._OPERATORS, ">", expressions._OPERATORS[">="])


def pass_not_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's negation takes the opposite of its value, and its next change as it is."""
    branches, children = compiler._branches, Node.children.fget

    def over_a_group(node: Node) -> bool:
        return node.negated and isinstance(node.leaf, ast.All | ast.Any)

    def children_too(node: Node) -> tuple[Node, ...]:
        return (Node(node.leaf, node.policy),) if over_a_group(node) else children(node)

    def wrong(table: ir.Table, level: Sequence[Node], names: Mapping[Node, str]) -> dict[str, ir.Value]:
        columns = branches(table, [node for node in level if not over_a_group(node)], names)
        for node in filter(over_a_group, level):
            child = names[node.children[0]]
            columns |= {f"_value{names[node]}": ~table[f"_value{child}"], f"_next{names[node]}": table[f"_next{child}"]}
        return columns

    monkeypatch.setattr(ast, "negations_at_leaves", lambda condition: condition)
    monkeypatch.setattr(Node, "children", property(children_too))
    monkeypatch.setattr(compiler, "_branches", wrong)


def ignore_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of profiles that became one nobody is told."""
    resolve = intake.resolve

    def wrong(*args: Any) -> Resolution:
        resolution = resolve(*args)
        merges = resolution.merges
        gone = np.concatenate([merges[name].to_numpy() for name in ("profile_id", "merged_id")])
        return replace(resolution, changed=np.setdiff1d(resolution.changed, gone))

    monkeypatch.setattr(intake, "resolve", wrong)


def wrong_memberships(folder: Path, template: Path, transform: ProfileTransform | None = None) -> Iterator[str]:
    comparison = Comparison(folder, template, transform)
    lines = comparison.differences(Story(8, people=120, rules=8).steps(6))
    return (line for line in lines if "reference says" in line)


def test_without_a_fault_nothing_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    assert list(wrong_memberships(tmp_path, sqlite_template)) == []


@pytest.mark.parametrize("next_change", [an_hour_late, only_while_true])
def test_a_wrong_timer_is_found(
    tmp_path: Path, sqlite_template: Path, next_change: Callable[[ir.Table], ir.Value]
) -> None:
    assert next(wrong_memberships(tmp_path, sqlite_template, Spoiled(next_change)), None)


@pytest.mark.parametrize("plant", [take_at_least_for_more, pass_not_through, ignore_merges])
def test_a_wrong_meaning_is_found(
    tmp_path: Path, sqlite_template: Path, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert next(wrong_memberships(tmp_path, sqlite_template), None)
