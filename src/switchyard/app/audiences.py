"""Audiences: delivered, planned, verified, listed."""

from collections.abc import Callable
from dataclasses import asdict

from sqlmodel import Session, col, func, select

from switchyard.activation.members import PLACED
from switchyard.activation.report import Report
from switchyard.activation.task import Consent, Route
from switchyard.api.connectors import SinkSpec
from switchyard.api.errors import ConfigError, QuotaExhausted, SwitchyardError, TransientError
from switchyard.app.control import Answer
from switchyard.app.failing import failure, said
from switchyard.app.hub import Hub
from switchyard.app.profiles import plain
from switchyard.evaluation.versions import Versions
from switchyard.store import runs
from switchyard.store.tables import FEED, Audience, AudienceMember, Proof, Run, SegmentVersion

_UNREAD = dict.fromkeys(("missing", "extra", "settling", "exact", "read_at"))
"""What only a read-back can tell."""


def deliver(
    hub: Hub,
    audience: str | None = None,
    dry_run: bool = False,
    confirm_removals: bool = False,
    recreate_list: bool = False,
) -> list[Answer]:
    """Deliver one audience, or all. An audience that fails does not keep the others from their turn.

    Args:
        dry_run: say what would be done, without a call.
        confirm_removals: let removals pass that the guard would hold back.
        recreate_list: fill the list that has the audience's name, found or created, instead of the known one.

    Raises:
        ConfigError: there is no such audience; or lists are to be recreated, and it is not said which.
    """
    if recreate_list and audience is None:
        raise ConfigError("say which list is to be a new one: switchyard deliver AUDIENCE --recreate-list")
    consent = Consent(confirm_removals, recreate_list)
    hub.refresh()
    if dry_run:
        return [_planned(hub, name, consent) for name in _chosen(hub, audience)]

    def run(run_id: int) -> Callable[[Route], Report]:
        return lambda route: hub.delivery.run(run_id, route, consent)

    return [_as_run(hub, "deliver", name, run) for name in _chosen(hub, audience)]


def send(hub: Hub, audience: str) -> Answer:
    """Deliver one audience for the moment: what changed is sent, and the list is read back by the next `deliver`."""
    return _as_run(hub, "deliver", audience, lambda run_id: lambda route: hub.delivery.send(run_id, route))


def verify(hub: Hub, audience: str | None = None) -> list[Answer]:
    """Read lists back and compare them with their segments, without a change. Of all audiences, those that have one."""
    hub.refresh()
    return [
        _as_run(hub, "verify", name, lambda run_id: lambda route: hub.delivery.verify(run_id, route))
        for name in _chosen(hub, audience)
        if audience is not None or _has_list(hub, name)
    ]


def listed(hub: Hub) -> Answer:
    """Every audience with its last proof."""
    with hub.database.read() as session:
        return {"audiences": [_summary(session, hub, name) for name in hub.project.loaded.project.audiences]}


def show(hub: Hub, audience: str, limit: int = 100) -> Answer:
    """One audience: its last proof, how many members are in which state, and who is not on the list, or is there
    with values that the vendor refused, with the reasons. `last_error` is that of its last delivery, if that failed.
    """
    (name,) = _chosen(hub, audience)
    hub.refresh()
    skipped = hub.delivery.skipped(hub.project.loaded.project.audiences[name])
    with hub.database.read() as session:
        members = _states(session, name) | ({"skipped": len(skipped)} if skipped else {})
        refused = _refused(session, name, limit)
        summary = _summary(session, hub, name) | {"last_error": _last_error(session, name)}
    passed_over = [
        {"profile": profile, "state": "skipped", "code": None, "reason": why} for profile, why in skipped.items()
    ]
    return summary | {"members": members, "not_listed": [*refused, *passed_over][:limit]}


def _last_error(session: Session, audience: str) -> str | None:
    query = select(Run.error).where(Run.kind == "deliver", Run.name == audience).order_by(col(Run.id).desc())
    return session.exec(query.limit(1)).first()


def _states(session: Session, audience: str) -> dict[str, int]:
    query = (
        select(AudienceMember.state, func.count())
        .join(Audience, col(Audience.id) == col(AudienceMember.audience_id))
        .where(Audience.name == audience)
        .group_by(AudienceMember.state)
    )
    return dict(session.exec(query).all())


def _refused(session: Session, audience: str, limit: int) -> list[Answer]:
    query = (
        select(AudienceMember.profile_id, AudienceMember.state, AudienceMember.code, AudienceMember.reason)
        .join(Audience, col(Audience.id) == col(AudienceMember.audience_id))
        .where(Audience.name == audience)
        .where(col(AudienceMember.state).not_in(PLACED) | col(AudienceMember.code).is_not(None))
        .order_by(col(AudienceMember.profile_id))
        .limit(limit)
    )
    return [{"profile": p, "state": s, "code": c, "reason": r} for p, s, c, r in session.exec(query)]


def _has_list(hub: Hub, audience: str) -> bool:
    """Whether the audience has a list, and is not told of changes only."""
    connection = hub.project.loaded.project.audiences[audience].connection
    try:
        return not isinstance(hub.project.registry.delivered(hub.project.connection(connection).connector), SinkSpec)
    except ConfigError:
        # What is wrong with it is to be said of it.
        return True


def _chosen(hub: Hub, audience: str | None) -> list[str]:
    known = hub.project.loaded.project.audiences
    if audience is None:
        return list(known)
    if audience not in known:
        raise ConfigError(f"there is no audience '{audience}'; known: {', '.join(sorted(known)) or 'none'}")
    return [audience]


def _planned(hub: Hub, name: str, consent: Consent) -> Answer:
    answer = _attempt(hub, name, lambda route: hub.delivery.plan(route, consent), alone=False) | _UNREAD
    notes = [*answer.get("notes", ()), *_unevaluated(hub, hub.project.loaded.project.audiences[name].segment)]
    if answer.get("blocked"):
        notes.append(blocked(name, answer["blocked"]))
    return answer | {"notes": notes}


def blocked(audience: str, removals: int) -> str:
    """What to say where the guard holds removals back."""
    return (
        f"{removals:,} removals are more than the guard lets pass; if they are meant: "
        f"switchyard deliver {audience} --confirm-removals"
    )


def _unevaluated(hub: Hub, segment: str) -> list[str]:
    """What to say where a segment was edited since it was evaluated."""
    try:
        compiled = hub.evaluation.compiled(hub.authored())
    except ConfigError as error:
        return [f"segments as they are written now cannot be evaluated: {error}"]
    with hub.database.read() as session:
        fresh = segment in Versions(session, compiled).fresh
    edited = (
        f"segment '{segment}' was edited since it was evaluated; this is of its old text, until: switchyard evaluate"
    )
    return [edited] if fresh else []


def _as_run(hub: Hub, kind: str, name: str, work: Callable[[int], Callable[[Route], Report]]) -> Answer:
    with hub.database.write() as session:
        run_id = runs.started(session, kind, name)
    hub.project.registry.observe("switchyard_run_started", kind=kind, name=name)
    try:
        answer = _attempt(hub, name, work(run_id))
    except Exception as error:
        _end(hub, run_id, kind, name, {"error": said(hub, error), "exit_code": 1})
        raise
    if kind == "deliver" and answer.get("settling"):
        late = f"the list does not show {answer['settling']:,} confirmed changes yet; the next delivery proves them"
        answer["notes"] = [*answer["notes"], late]
    _end(hub, run_id, kind, name, answer)
    return answer


def _end(hub: Hub, run_id: int, kind: str, name: str, answer: Answer) -> None:
    error = answer.get("error")
    counts: dict[str, int] = {key: answer[key] for key in ("upserted", "added", "removed", "calls") if key in answer}
    # By its exit code `status` says what to do.
    coded = {"exit_code": answer["exit_code"]} if error else {}
    with hub.database.write() as session:
        runs.finished(session, run_id, counts | coded, runs.FAILED if error else runs.DONE, error)
    hub.project.registry.observe("switchyard_run_finished", kind=kind, name=name, counts=counts, error=error)


def _attempt(hub: Hub, name: str, work: Callable[[Route], Report], alone: bool = True) -> Answer:
    audience = hub.project.loaded.project.audiences[name]
    about = {"audience": name, "list": audience.list, "connection": audience.connection}
    try:
        _require_evaluated(hub, audience.segment)
        with hub.route(name, alone) as route:
            report = work(route)
    except SwitchyardError as error:
        return about | failure(hub, error)
    answer = about | {key: plain(value) for key, value in asdict(report).items()} | {"exact": report.exact}
    del answer["is_list"]
    return answer | _waiting(hub, report)


def _waiting(hub: Hub, report: Report) -> Answer:
    """What is said of a delivery that could not do everything now: the account's quota was too small, or a sink that
    is told of changes did not take some.
    """
    if report.waits_until is None and not report.waiting:
        return {}
    if report.waits_until is None:
        later = f"{report.waiting:,} changes were not taken; they are told again by the next delivery"
        return failure(hub, TransientError(f"{later}; see: switchyard audiences show {report.audience}"))
    waiting = [f"{report.waiting:,} people"] if report.waiting else []
    left = " and ".join([*waiting, "the read-back"] if report.is_list else waiting) or "the rest"
    message = (
        f"the account's quota for today does not cover the whole delivery; {left} wait until "
        f"{report.waits_until:%Y-%m-%d %H:%M} UTC, and the next delivery after that goes on"
    )
    return failure(hub, QuotaExhausted(message, until=report.waits_until))


def _require_evaluated(hub: Hub, segment: str) -> None:
    """A segment that was never evaluated has no members; that must not empty a list."""
    with hub.database.read() as session:
        if session.exec(select(SegmentVersion).where(SegmentVersion.segment == segment)).first() is None:
            raise ConfigError(f"segment '{segment}' was never evaluated; run: switchyard evaluate")


def _summary(session: Session, hub: Hub, name: str) -> Answer:
    audience = hub.project.loaded.project.audiences[name]
    row = session.exec(select(Audience).where(Audience.name == name)).first()
    about: Answer = {"audience": name, "segment": audience.segment, "connection": audience.connection}
    about |= {
        "list": (row and row.list_name) or audience.list,
        "list_id": row.list_id if row and row.list_id != FEED else None,
    }
    proof = None
    if row is not None:
        query = select(Proof).where(Proof.audience_id == row.id).order_by(col(Proof.id).desc())
        proof = session.exec(query).first()
    shown = ("wanted", "held", "missing", "extra", "settling", "rejected", "read_at")
    return about | {"proof": {key: plain(getattr(proof, key)) for key in shown} if proof else None}
