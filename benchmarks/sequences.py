"""Two steps in order, as a profile transform: what the segment language will compile `sequence` to.

`then`: A, then B at most D later; `then_not`: A, and no B up to D later, true from A's time + D on. A lies in the last
W before now; steps are ordered by time and id; an event exactly D later counts as B.

A hash join of each person's As with their Bs, or an anti join. It grows with the square of one person's events inside
the window; window functions do not, and take three times as long on usual people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import ibis
import ibis.expr.types as ir

from switchyard.api.transforms import NEVER, Definition, Reads, Schema, Scope


@dataclass(frozen=True)
class Steps:
    """`first` then (or then not) `second` `within` seconds, with `first` in the last `window` seconds."""

    name: str
    kind: Literal["then", "then_not"]
    first: str
    second: str
    within: int
    window: int


@dataclass(frozen=True)
class Program:
    """See `switchyard.api.transforms.Program`."""

    steps: dict[str, Steps]
    reads: dict[str, Reads] = field(default_factory=dict)

    def evaluate(self, scope: Scope, definitions: Sequence[str]) -> ir.Table:
        tables = [_evaluated(scope, self.steps[name]) for name in definitions]
        return ibis.union(*tables, distinct=False) if len(tables) > 1 else tables[0]


class Sequences:
    """See `switchyard.api.transforms.ProfileTransform`."""

    def compile(self, definitions: Sequence[Definition], schema: Schema) -> Program:
        del schema
        steps = {one.name: Steps(one.name, **_body(one)) for one in definitions}
        reads = {name: Reads(events={one.first: frozenset(), one.second: frozenset()}) for name, one in steps.items()}
        return Program(steps, reads)


def _body(definition: Definition) -> dict[str, Any]:
    return dict(definition.body)


def _evaluated(scope: Scope, steps: Steps) -> ir.Table:
    profiles, never = scope.profiles, ibis.literal(NEVER, "timestamp(6)")
    # One bound for all lets an engine skip while it reads, before the bound of each profile.
    oldest = profiles["at"].min().as_scalar() - ibis.interval(seconds=steps.window)
    sides = [
        scope.events(name).select("profile_id", "at", "event_id").filter(lambda event: event["at"] > oldest)
        for name in (steps.first, steps.second)
    ]
    found = _found(profiles, steps, *sides).rename(_found="profile_id")
    coming = _upcoming(profiles, *sides).rename(_coming="profile_id")
    wide = profiles.left_join(found, profiles.profile_id == found._found)
    wide = wide.left_join(coming, wide.profile_id == coming._coming)
    changes = [wide._upcoming, wide._newest + ibis.interval(seconds=steps.window)]
    if steps.kind == "then_not":
        changes.append(wide._pending + ibis.interval(seconds=steps.within))
    return wide.select(
        "profile_id",
        definition=ibis.literal(steps.name),
        value=wide._newest.notnull(),
        next_change=ibis.least(*(change.fill_null(never) for change in changes), never),
    )


def _found(profiles: ir.Table, steps: Steps, first: ir.Table, second: ir.Table) -> ir.Table:
    """Per profile: `_newest`, the newest A that makes it true, and `_pending`, the oldest A that still may."""
    window, within = ibis.interval(seconds=steps.window), ibis.interval(seconds=steps.within)
    now = profiles.select("profile_id", _now=profiles["at"], _from=profiles["at"] - window)
    first = first.join(now, "profile_id")
    first = first.filter((first["at"] > first._from) & (first["at"] <= first._now))
    first = first.mutate(_until=ibis.least(first["at"] + within, first._now))
    second = second.rename(_second="profile_id", _at="at", _id="event_id")
    same = first.profile_id == second._second
    if steps.kind == "then":
        pairs = first.join(second, [same, second._at <= first._until])
        later = (pairs._at > pairs["at"]) | ((pairs._at == pairs["at"]) & (pairs._id > pairs.event_id))
        return pairs.filter(later).group_by("profile_id").agg(_newest=pairs["at"].max())
    # Two joins by plain comparisons: with OR in it, DuckDB's anti join compares everybody with everybody.
    clean = first.anti_join(second, [same, second._at > first["at"], second._at <= first._until])
    tied = second.view()
    clean = clean.anti_join(
        tied, [clean.profile_id == tied._second, tied._at == clean["at"], tied._id > clean.event_id]
    )
    null = ibis.null("timestamp(6)")
    over = clean["at"] + within <= clean._now
    clean = clean.mutate(_over=ibis.ifelse(over, clean["at"], null), _open=ibis.ifelse(over, null, clean["at"]))
    return clean.group_by("profile_id").agg(_newest=clean._over.max(), _pending=clean._open.min())


def _upcoming(profiles: ir.Table, first: ir.Table, second: ir.Table) -> ir.Table:
    """Per profile: `_upcoming`, the first event of either type after now."""
    earliest = profiles["at"].min().as_scalar()
    later = ibis.union(first, second, distinct=False).select("profile_id", "at")
    later = later.filter(later["at"] > earliest)
    later = later.join(profiles.select("profile_id", _now=profiles["at"]), "profile_id")
    later = later.filter(later["at"] > later._now)
    return later.group_by("profile_id").agg(_upcoming=later["at"].min())
