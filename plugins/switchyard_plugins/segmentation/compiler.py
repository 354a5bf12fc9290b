"""Rules → one Ibis expression: for every profile and rule, is it true, and when may that change next.

Stages, each a table over the profiles: measures of events, then the leaves of all rules, then what is made of them
by AND and OR, level by level. A leaf or a branch that several rules share is computed once.
"""

from __future__ import annotations

import operator as op
from collections.abc import Mapping, Sequence
from functools import reduce

import ibis
import ibis.expr.types as ir

from switchyard.api.transforms import Reads, Schema, Scope
from switchyard_plugins.segmentation import ast, plan
from switchyard_plugins.segmentation.definition import Rule
from switchyard_plugins.segmentation.leaves import leaf_columns
from switchyard_plugins.segmentation.nodes import Node, levels_of


class Program:
    """Compiled, checked rules; see `switchyard.api.transforms.Program`."""

    def __init__(self, rules: Sequence[Rule], schema: Schema) -> None:
        self._schema = schema
        self._roots = {
            rule.name: Node(
                ast.negations_at_leaves(rule.condition),
                plan.Policy(rule.nulls_match, rule.timezone or schema.timezone),
            )
            for rule in rules
        }
        self.reads: Mapping[str, Reads] = {rule.name: plan.reads(rule.condition) for rule in rules}

    def evaluate(self, scope: Scope, definitions: Sequence[str]) -> ir.Table:
        """One row per profile and definition: `profile_id`, `definition`, `value`, `next_change`."""
        roots = {name: self._roots[name] for name in definitions}
        levels = levels_of(roots.values())
        names = {node: str(number) for number, node in enumerate(node for level in levels for node in level)}
        table = leaf_columns(self._schema, scope, levels[0], names)
        for level in levels[1:]:
            table = table.mutate(**_branches(table, level, names))
        return _long(table, {name: names[root] for name, root in roots.items()})


def _branches(table: ir.Table, level: Sequence[Node], names: Mapping[Node, str]) -> dict[str, ir.Value]:
    """AND and OR of columns that the table has."""
    columns: dict[str, ir.Value] = {}
    for node in level:
        values = [table[f"_value{names[child]}"] for child in node.children]
        changes = [table[f"_next{names[child]}"] for child in node.children]
        conjunction = isinstance(node.condition, ast.All)
        value = reduce(op.and_ if conjunction else op.or_, values)
        # Held by every child: the first to change may end it. Held by some (the false ones of an AND that is false,
        # the true ones of an OR that is true): none of them alone can, so not before the last of these has changed.
        earliest = ibis.least(*changes)
        holding = [~child if conjunction else child for child in values]
        held = zip(holding, changes, strict=True)
        latest = ibis.greatest(*(ibis.ifelse(holds, change, table["at"]) for holds, change in held))
        columns[f"_value{names[node]}"] = value
        ends = (earliest, latest) if conjunction else (latest, earliest)
        columns[f"_next{names[node]}"] = ibis.ifelse(value, *ends)
    return columns


def _long(table: ir.Table, columns: Mapping[str, str]) -> ir.Table:
    answers = [
        ibis.struct(
            {"definition": ibis.literal(name), "value": table[f"_value{key}"], "next_change": table[f"_next{key}"]}
        )
        for name, key in columns.items()
    ]
    return table.select("profile_id", answer=ibis.array(answers).unnest()).unpack("answer")
