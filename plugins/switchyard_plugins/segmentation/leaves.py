"""The leaves of all rules: for each profile, is it true, and when may that change next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import ibis
import ibis.expr.types as ir

from switchyard.api.transforms import NEVER, Schema, Scope
from switchyard_plugins.segmentation import ast, plan, zones
from switchyard_plugins.segmentation.checker import kind_of
from switchyard_plugins.segmentation.events import measured
from switchyard_plugins.segmentation.expressions import Row, average, matching, settle, truth
from switchyard_plugins.segmentation.nodes import Node

_SEGMENT_KEY: Final = "_segment_profile"


def leaf_columns(schema: Schema, scope: Scope, leaves: Sequence[Node], names: Mapping[Node, str]) -> ir.Table:
    """The profiles' `profile_id` and `at`, with `_value…` and `_next…` for each leaf."""
    found = {node: event for node in leaves if (event := plan.event_leaf(node.leaf, node.policy))}
    measures = dict.fromkeys(measure for event in found.values() for measure in event.measures())
    measure_columns = {measure: f"_measure{number}" for number, measure in enumerate(measures)}
    segments = dict.fromkeys(node.leaf.segment for node in leaves if isinstance(node.leaf, ast.InSegment))
    segment_columns = {segment: f"_segment{number}" for number, segment in enumerate(segments)}
    wide = measured(scope.profiles, scope, measure_columns, schema)
    if segments:
        wide = _with_memberships(wide, scope, segment_columns)
    columns: dict[str, ir.Value] = {}
    for node in leaves:
        if node in found:
            answer = _EventAnswer(wide, measure_columns, found[node], node)
            value, change = answer.value(schema), answer.change()
        elif isinstance(node.leaf, ast.InSegment):
            value, change = _membership(wide, segment_columns[node.leaf.segment], node.negated)
        elif isinstance(node.leaf, ast.Relative):
            value, change = _relative(wide, schema, node.leaf, node)
        else:
            row = Row(wide, schema.attributes, node.policy)
            value, change = truth(node.leaf, row, negated=node.negated), _instant(NEVER)
        columns |= {f"_value{names[node]}": value, f"_next{names[node]}": change}
    return wide.select("profile_id", "at", **columns)


def _instant(moment: datetime) -> ir.TimestampScalar:
    return ibis.literal(moment, "timestamp(6)")


def _or_never(moment: ir.TimestampValue) -> ir.TimestampValue:
    return moment.fill_null(_instant(NEVER))


def _with_memberships(wide: ir.Table, scope: Scope, names: Mapping[str, str]) -> ir.Table:
    held = scope.memberships()
    held = held.filter(held.segment.isin(list(names)))
    columns: dict[str, ir.Value] = {}
    for segment, name in names.items():
        this = held.segment == segment
        columns[name] = (this & held.value).any()
        columns[f"{name}_next"] = ibis.ifelse(this, held.next_change, ibis.null("timestamp(6)")).min()
    memberships = held.group_by(held.profile_id.name(_SEGMENT_KEY)).agg(**columns)
    return wide.left_join(memberships, wide.profile_id == memberships[_SEGMENT_KEY]).drop(_SEGMENT_KEY)


def _membership(wide: ir.Table, name: str, negated: bool) -> tuple[ir.BooleanValue, ir.TimestampValue]:
    held = wide[name].fill_null(False)
    return ~held if negated else held, _or_never(wide[f"{name}_next"])


def _relative(
    wide: ir.Table, schema: Schema, leaf: ast.Relative, node: Node
) -> tuple[ir.BooleanValue, ir.TimestampValue]:
    """True from `start` on, and until before `end` where there is one."""
    name = leaf.attribute.name
    moment = wide[name]
    if schema.attributes[name] == "date":
        moment = zones.midnight(moment, node.policy.zone)
    length, never, now = ibis.interval(seconds=leaf.seconds), _instant(NEVER), wide["at"]
    start, end = {
        "last": (moment, moment + length),
        "next": (moment - length, moment),
        "ago": (moment + length, None),
    }[leaf.direction]
    inside, change = now >= start, never
    if end is not None:
        inside, change = inside & (now < end), ibis.ifelse(now < end, end, never)
    change = ibis.ifelse(now < start, start, change)
    return settle(inside, node.policy, negated=node.negated), ibis.least(change, never)


class _EventAnswer:
    """The answer of one condition on events, from the columns of its measures."""

    def __init__(self, wide: ir.Table, columns: Mapping[plan.Measure, str], leaf: plan.EventLeaf, node: Node) -> None:
        self._wide = wide
        self._columns = columns
        self._leaf = leaf
        self._node = node

    def _column(self, measure: plan.Measure) -> ir.Value:
        return self._wide[self._columns[measure]]

    def value(self, schema: Schema) -> ir.BooleanValue:
        leaf, node = self._leaf, self._node
        value = self._column(leaf.value)
        if leaf.bound:
            reached = self._leaving().notnull() if leaf.leaving else value.fill_null(0) >= leaf.bound.least
            return ~reached if leaf.bound.negated != node.negated else reached
        kind = kind_of(leaf.aggregate, {}, schema)
        if leaf.count:
            matches = average(leaf.condition, value, self._column(leaf.count), kind)
        elif leaf.aggregate.function in ("count", "sum", "distinct"):
            matches = matching(leaf.condition, value.fill_null(0), kind, node.policy)
        else:
            matches = matching(leaf.condition, value, kind, node.policy)
        return settle(matches, node.policy, negated=node.negated)

    def change(self) -> ir.TimestampValue:
        leaf, window = self._leaf, self._leaf.aggregate.window
        moments = [_or_never(self._column(leaf.upcoming) + ibis.interval(seconds=window.near))]
        if window.near:
            moments.append(_or_never(self._column(leaf.after)))
        if window.far is not None:
            moments.append(_or_never(self._leaving() + ibis.interval(seconds=window.far)))
        return ibis.least(*moments, _instant(NEVER))

    def _leaving(self) -> ir.TimestampValue:
        """The event time that decides: of a threshold n the n-th newest in the window, otherwise the oldest."""
        if self._leaf.leaving is None:
            raise TypeError("nothing leaves a window without an end")
        column = self._column(self._leaf.leaving)
        if self._leaf.leaving.kind != "times" or self._leaf.bound is None:
            return column
        least = self._leaf.bound.least
        # The lists are sorted, oldest first.
        place = (column.length() - least).cast("int32")
        return ibis.ifelse(column.length() >= least, column[place], ibis.null("timestamp(6)"))
