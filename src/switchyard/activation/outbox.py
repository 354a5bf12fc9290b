"""The outbox: what was handed to a sink and is not known to be done. One row per `ListSink.apply`."""

import hashlib
from collections.abc import Mapping, Sequence
from uuid import uuid4

from sqlmodel import Session, col, select, update

from switchyard.api.sinks import Member
from switchyard.store.clock import now
from switchyard.store.tables import Outbox

SENT, ACCEPTED, DONE, SETTLED = "sent", "accepted", "done", "settled"
"""Under way, or its process died; the vendor is at work on it; every answer is known; a read-back said the rest."""


def unfinished(session: Session, audience_id: int) -> list[Outbox]:
    """What is not known to be done, oldest first."""
    query = select(Outbox).where(Outbox.audience_id == audience_id, col(Outbox.state).in_((SENT, ACCEPTED)))
    found = list(session.exec(query.order_by(col(Outbox.begun_at))))
    for row in found:
        session.expunge(row)
    return found


def begun(
    session: Session,
    audience_id: int,
    run_id: int,
    parts: tuple[Sequence[Member], Sequence[Member], Sequence[Member]],
    digests: Mapping[int, str],
    earlier: Sequence[Outbox] = (),
) -> str:
    """Record that changes (upserts, adds, removals) go out, and give their id.

    Args:
        digests: profile → the digest of its fields.
        earlier: what earlier runs left unfinished; the same changes keep the id that they had there.
    """
    digest = _digest(parts, digests)
    row = next((each for each in earlier if each.digest == digest), None)
    if row is None:
        row = Outbox(id=uuid4().hex, audience_id=audience_id, run_id=run_id, digest=digest, upserts=len(parts[0]),
                     adds=len(parts[1]), removals=len(parts[2]), state=SENT, begun_at=now())  # fmt: skip
    row.run_id, row.state, row.tickets, row.begun_at, row.ended_at = run_id, SENT, None, now(), None
    session.merge(row)
    return row.id


def accepted(session: Session, id: str, tickets: Sequence[str]) -> None:
    """Keep the tickets under which the vendor is at work."""
    row = session.get_one(Outbox, id)
    row.state, row.tickets = ACCEPTED, list(tickets)
    session.add(row)


def ended(session: Session, id: str, state: str) -> None:
    """Record that the changes are `DONE` or `SETTLED`."""
    row = session.get_one(Outbox, id)
    row.state, row.tickets, row.ended_at = state, None, now()
    session.add(row)


def settle(session: Session, audience_id: int) -> None:
    """Record that a read-back, or the loss of the list, settled all that was unfinished."""
    open_ones = col(Outbox.audience_id) == audience_id, col(Outbox.state).in_((SENT, ACCEPTED))
    session.exec(update(Outbox).where(*open_ones).values(state=SETTLED, tickets=None, ended_at=now()))


def _digest(parts: tuple[Sequence[Member], Sequence[Member], Sequence[Member]], digests: Mapping[int, str]) -> str:
    upserts = "\n".join(f"{member.key} {digests[int(member.key)]}" for member in parts[0])
    places = ("\n".join(f"{member.key} {member.remote_id}" for member in part) for part in parts[1:])
    return hashlib.sha256("\n\n".join([upserts, *places]).encode()).hexdigest()
