"""Events → one table per query: a row per profile that has any, a column per measure."""

from __future__ import annotations

import operator as op
from collections.abc import Mapping, Sequence
from functools import reduce

import ibis
import ibis.expr.types as ir

from switchyard.api.transforms import Schema, Scope
from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.expressions import Row, truth
from switchyard_plugins.segmentation.plan import Measure, Selection, queries, reach

_TIME, _NOW, _KEY = "_time", "_now", "_profile"


def measured(profiles: ir.Table, scope: Scope, measures: Mapping[Measure, str], schema: Schema) -> ir.Table:
    """The profiles with a column for each measure, named as given; NULL where a profile has no events of the type."""
    wide = profiles
    for number, (event, group) in enumerate(queries(measures)):
        events = _joined(scope.events(event), profiles, group)
        key = f"{_KEY}{number}"
        table = _aggregated(events, group, measures, schema).rename({key: "profile_id"})
        wide = wide.left_join(table, wide.profile_id == table[key]).drop(key)
    return wide


def _joined(events: ir.Table, profiles: ir.Table, group: Sequence[Measure]) -> ir.Table:
    """The events with their profile's instant, without those too old for any measure of the group."""
    reaches = [reach(measure) for measure in group]
    known = [length for length in reaches if length is not None]
    farthest = max(known) if len(known) == len(reaches) else None
    if farthest is not None:
        # One bound for all: an engine can skip those events while it reads, where a bound per profile needs a join.
        oldest = profiles["at"].min().as_scalar() - ibis.interval(seconds=farthest)
        events = events.filter(events["at"] > oldest)
    lengths = {edge for measure in group for edge in (measure.window.near, measure.window.far) if edge}
    # Per profile, not per event: there are fewer of them.
    edges = {f"{_NOW}{length}": profiles["at"] - ibis.interval(seconds=length) for length in sorted(lengths)}
    now = profiles.select(**{_KEY: profiles.profile_id, _NOW: profiles["at"]}, **edges)
    joined = events.rename({_TIME: "at"}).join(now, events.profile_id == now[_KEY])
    return joined if farthest is None else joined.filter(joined[_TIME] > _ago(joined, farthest))


def _aggregated(events: ir.Table, group: Sequence[Measure], names: Mapping[Measure, str], schema: Schema) -> ir.Table:
    """Filters and windows become columns first, so that measures share them; then one GROUP BY."""
    filters = {measure.selection: f"_filter{number}" for number, measure in enumerate(group)}
    windows = {(measure.kind == "upcoming", measure.window): f"_window{i}" for i, measure in enumerate(group)}
    flags = {name: _selected(events, selection, schema) for selection, name in filters.items()}
    plain = [measure for measure in group if not measure.selection.where]
    if all(measure.kind == "upcoming" for measure in plain):
        matter = [flag for selection, flag in zip(filters, flags.values(), strict=True) if selection.where]
        matter += [~_inside(events, measure.window, upcoming=False) for measure in plain]
        events = events.filter(reduce(op.or_, matter))
    flags |= {name: _inside(events, window, upcoming) for (upcoming, window), name in windows.items()}
    flagged = events.mutate(**flags)
    columns = {}
    for measure in group:
        window = windows[measure.kind == "upcoming", measure.window]
        columns[names[measure]] = _aggregate(flagged, measure, flagged[filters[measure.selection]] & flagged[window])
    table = flagged.group_by("profile_id").agg(**columns)
    lists = [names[measure] for measure in group if measure.kind == "times"]
    return table.mutate(**{name: table[name].sort() for name in lists}) if lists else table


def _selected(events: ir.Table, selection: Selection, schema: Schema) -> ir.BooleanValue:
    chosen: list[ir.BooleanValue] = []
    if selection.where is not None and selection.policy is not None:
        chosen.append(truth(selection.where, Row(events, schema.events[selection.event], selection.policy)))
    if selection.prop is not None:
        chosen.append(events[selection.prop].notnull())
    return reduce(op.and_, chosen) if chosen else ibis.literal(True)


def _inside(events: ir.Table, window: ast.Window, upcoming: bool) -> ir.BooleanValue:
    entered = events[_TIME] <= _ago(events, window.near)
    if upcoming:
        return ~entered
    return entered if window.far is None else entered & (events[_TIME] > _ago(events, window.far))


def _ago(events: ir.Table, length: int) -> ir.TimestampValue:
    return events[f"{_NOW}{length}"] if length else events[_NOW]


def _aggregate(events: ir.Table, measure: Measure, counts: ir.BooleanValue) -> ir.Value:
    # An expression inside the aggregate, where engines optimise a FILTER clause differently or not at all.
    def counted(column: ir.Value) -> ir.Value:
        return ibis.ifelse(counts, column, ibis.null(column.type()))

    time = events[_TIME]
    match measure.kind:
        case "count":
            return counted(ibis.literal(1)).count()
        case "oldest" | "upcoming":
            return counted(time).min()
        case "newest":
            return counted(time).max()
        case "times":
            return counted(time).collect()
        case kind:
            return _of_property(counted(events[measure.selection.prop]), kind, events)


def _of_property(column: ir.Value, kind: str, events: ir.Table) -> ir.Value:
    match kind:
        case "sum" | "avg":
            return column.sum()
        case "min":
            return column.min()
        case "max":
            return column.max()
        case "first":
            return column.first(order_by=[events[_TIME], events.event_id])
        case "last":
            return column.last(order_by=[events[_TIME], events.event_id])
        case _:
            return column.nunique()
