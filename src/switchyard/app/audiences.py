"""Audiences: delivered, planned, verified, listed."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlmodel import col, func, select

from switchyard.activation.delivery import Report, Route
from switchyard.api.errors import ConfigError, SwitchyardError
from switchyard.app.hub import Hub
from switchyard.app.profiles import plain
from switchyard.store import runs
from switchyard.store.tables import Audience, AudienceMember, Proof, SegmentVersion

Answer = dict[str, Any]


def deliver(
    hub: Hub, audience: str | None = None, dry_run: bool = False, confirm_removals: bool = False
) -> list[Answer]:
    """Deliver one audience, or all. An audience that fails does not keep the others from their turn.

    Args:
        dry_run: say what would be done, without a call.
        confirm_removals: let removals pass that the guard would hold back.
    """
    hub.evaluation.refresh()
    if dry_run:
        unread = dict.fromkeys(("missing", "extra", "exact", "read_at"))
        return [
            _attempt(hub, name, lambda route: hub.delivery.plan(route, confirm_removals)) | unread
            for name in _chosen(hub, audience)
        ]

    def run(run_id: int) -> Callable[[Route], Report]:
        return lambda route: hub.delivery.run(run_id, route, confirm_removals)

    return [_as_run(hub, name, run) for name in _chosen(hub, audience)]


def verify(hub: Hub, audience: str | None = None) -> list[Answer]:
    """Read lists back and compare them with their segments, without a change."""
    hub.evaluation.refresh()
    return [
        _as_run(hub, name, lambda run_id: lambda route: hub.delivery.verify(run_id, route))
        for name in _chosen(hub, audience)
    ]


def listed(hub: Hub) -> Answer:
    """Every audience with its last proof."""
    with hub.database.read() as session:
        return {"audiences": [_summary(session, hub, name) for name in hub.project.loaded.project.audiences]}


def show(hub: Hub, audience: str, limit: int = 100) -> Answer:
    """One audience: its last proof, and the members of whom the vendor refused something, with its reasons."""
    (name,) = _chosen(hub, audience)
    with hub.database.read() as session:
        query = (
            select(AudienceMember.profile_id, AudienceMember.state, AudienceMember.code, AudienceMember.reason)
            .join(Audience, col(Audience.id) == col(AudienceMember.audience_id))
            .where(Audience.name == name)
            .where((col(AudienceMember.state) != "listed") | col(AudienceMember.code).is_not(None))
            .order_by(col(AudienceMember.profile_id))
            .limit(limit)
        )
        refused = [{"profile": p, "state": s, "code": c, "reason": r} for p, s, c, r in session.exec(query)]
        states = (
            select(AudienceMember.state, func.count())
            .join(Audience, col(Audience.id) == col(AudienceMember.audience_id))
            .where(Audience.name == name)
            .group_by(AudienceMember.state)
        )
        members = dict(session.exec(states).all())
        return _summary(session, hub, name) | {"members": members, "not_listed": refused}


def _chosen(hub: Hub, audience: str | None) -> list[str]:
    known = hub.project.loaded.project.audiences
    if audience is None:
        return list(known)
    if audience not in known:
        raise ConfigError(f"there is no audience '{audience}'; known: {', '.join(sorted(known)) or 'none'}")
    return [audience]


def _as_run(hub: Hub, name: str, work: Callable[[int], Callable[[Route], Report]]) -> Answer:
    with hub.database.write() as session:
        run_id = runs.started(session, "deliver", name)
    hub.project.registry.observe("switchyard_run_started", kind="deliver", name=name)
    answer = _attempt(hub, name, work(run_id))
    error = answer.get("error")
    counts: dict[str, int] = {key: answer[key] for key in ("upserted", "added", "removed", "calls") if key in answer}
    with hub.database.write() as session:
        runs.finished(session, run_id, counts, runs.FAILED if error else runs.DONE, error)
    hub.project.registry.observe("switchyard_run_finished", kind="deliver", name=name, counts=counts, error=error)
    return answer


def _attempt(hub: Hub, name: str, work: Callable[[Route], Report]) -> Answer:
    audience = hub.project.loaded.project.audiences[name]
    about = {"audience": name, "list": audience.list, "connection": audience.connection}
    try:
        _require_evaluated(hub, audience.segment)
        with hub.route(name) as route:
            report = work(route)
    except SwitchyardError as error:
        return about | {"error": hub.project.loaded.secrets.redact(str(error)), "exit_code": error.exit_code}
    return about | {key: plain(value) for key, value in asdict(report).items()} | {"exact": report.exact}


def _require_evaluated(hub: Hub, segment: str) -> None:
    """A segment that was never evaluated has no members; that must not empty a list."""
    with hub.database.read() as session:
        if session.exec(select(SegmentVersion).where(SegmentVersion.segment == segment)).first() is None:
            raise ConfigError(f"segment '{segment}' was never evaluated; run: switchyard evaluate")


def _summary(session: Any, hub: Hub, name: str) -> Answer:
    audience = hub.project.loaded.project.audiences[name]
    row = session.exec(select(Audience).where(Audience.name == name)).first()
    about: Answer = {"audience": name, "segment": audience.segment, "connection": audience.connection}
    about |= {"list": audience.list, "list_id": row.list_id if row else None}
    proof = None
    if row is not None:
        query = select(Proof).where(Proof.audience_id == row.id).order_by(col(Proof.id).desc())
        proof = session.exec(query).first()
    shown = ("wanted", "held", "missing", "extra", "rejected", "read_at")
    return about | {"proof": {key: plain(getattr(proof, key)) for key in shown} if proof else None}
