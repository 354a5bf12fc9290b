"""Conditions as the compiler sees them: under their rule's policy, shared between rules, ordered by height."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.plan import Policy


@dataclass(frozen=True, slots=True)
class Node:
    """A condition under a policy; `Not` stands on leaves only. Equal nodes are computed once."""

    condition: ast.Condition
    policy: Policy

    @property
    def children(self) -> tuple[Node, ...]:
        """What AND and OR join; empty for a leaf."""
        if isinstance(self.condition, ast.All | ast.Any):
            return tuple(Node(child, self.policy) for child in self.condition.children)
        return ()

    @property
    def leaf(self) -> ast.Condition:
        """The leaf without its negation."""
        return self.condition.child if isinstance(self.condition, ast.Not) else self.condition

    @property
    def negated(self) -> bool:
        """Whether the leaf is negated."""
        return isinstance(self.condition, ast.Not)


def levels_of(roots: Iterable[Node]) -> list[list[Node]]:
    """Every node once: the leaves first, then level by level what is made of the levels before."""
    heights: dict[Node, int] = {}

    def height(node: Node) -> int:
        if node not in heights:
            heights[node] = 1 + max((height(child) for child in node.children), default=-1)
        return heights[node]

    top = max(height(root) for root in roots)
    return [[node for node, found in heights.items() if found == level] for level in range(top + 1)]
