"""What is to be done again and again while the hub serves, and when it was done last."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from switchyard.app.project import Project, is_pulled
from switchyard.config.schedule import Schedule
from switchyard.store.tables import FEED, Audience, Proof, Run

SYNC, PROVE = "sync", "prove"
_SOURCES = Schedule(every=timedelta(minutes=15))
_PROOFS = Schedule(every=timedelta(hours=1))


@dataclass(frozen=True)
class Job:
    """Something to be done by a schedule.

    Args:
        kind: `SYNC` a stream, or read back and `PROVE` an audience.
        name: `connection/stream`, or the audience.
        zone: of a schedule that names none.
    """

    kind: str
    name: str
    schedule: Schedule
    zone: str


def jobs(project: Project) -> Iterator[Job]:
    """Every stream that is pulled, and every audience."""
    zone = project.loaded.project.hub.timezone
    for name, spec in project.sources.items():
        if is_pulled(spec):
            connection = project.connection(name)
            for stream in project.streams(name):
                said = connection.streams.get(stream.name)
                schedule = (said.schedule if said else None) or connection.schedule or _SOURCES
                yield Job(SYNC, f"{name}/{stream.name}", schedule, zone)
    for name, audience in project.loaded.project.audiences.items():
        yield Job(PROVE, name, audience.schedule or _PROOFS, zone)


def last_done(session: Session, job: Job) -> datetime | None:
    """When a job was begun last, whatever became of it; None for never."""
    if job.kind == SYNC:
        begun = select(Run.started_at).where(Run.kind == "sync", Run.name == job.name)
        return session.exec(begun.order_by(col(Run.id).desc()).limit(1)).first()
    read = select(func.max(Proof.read_at)).join(Audience, col(Audience.id) == col(Proof.audience_id))
    proven = session.exec(read.where(Audience.name == job.name)).one()
    return proven or _told(session, job.name)


def _told(session: Session, audience: str) -> datetime | None:
    """When a delivery began last to a sink that keeps no list, and has no proof."""
    begun = select(Run.started_at).join(Audience, col(Audience.name) == col(Run.name))
    begun = begun.where(Run.kind == "deliver", Run.name == audience, Audience.list_id == FEED)
    return session.exec(begun.order_by(col(Run.id).desc()).limit(1)).first()
