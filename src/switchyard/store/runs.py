"""Runs: syncs, evaluations and deliveries, with what they counted.

A run's counts are written in the transactions whose rows they count, so that those of a run that was cut off stand
for exactly what it committed.
"""

from collections.abc import Mapping

from sqlmodel import Session, col, update

from switchyard.store.clock import now
from switchyard.store.tables import Run

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
"""Under way; ended well; ended with an error; its process died."""
_COLUMNS = frozenset({"read", "mapped", "quarantined", "duplicate"})


def started(session: Session, kind: str, name: str) -> int:
    """Record that a run starts, and give its id. `kind` is "sync", "evaluate" or "deliver", `name` what it is of."""
    run = Run(kind=kind, name=name, started_at=now(), state=RUNNING)
    session.add(run)
    session.flush()
    if run.id is None:
        raise AssertionError("a flushed run has an id")
    return run.id


def counted(session: Session, run_id: int, counts: Mapping[str, int]) -> None:
    """Add to what the run counted: read, mapped, quarantined and duplicate are columns, all else is `detail`.

    Raises:
        sqlalchemy.exc.NoResultFound: there is no such run.
    """
    run = session.get_one(Run, run_id)
    for name in _COLUMNS & counts.keys():
        setattr(run, name, getattr(run, name) + counts[name])
    if rest := {name: count for name, count in counts.items() if name not in _COLUMNS}:
        known = run.detail or {}
        # A new dict: a change within the old one would not be noticed.
        run.detail = known | {name: known.get(name, 0) + count for name, count in rest.items()}
    session.add(run)


def finished(
    session: Session, run_id: int, counts: Mapping[str, int], state: str = DONE, error: str | None = None
) -> None:
    """Record that a run ended.

    Args:
        counts: what is still to be added to what was `counted`.
        state: `DONE` or `FAILED`.
        error: for the operator; never a secret or a personal value.
    """
    counted(session, run_id, counts)
    run = session.get_one(Run, run_id)
    run.state, run.error, run.finished_at = state, error, now()
    session.add(run)


def interrupt(session: Session) -> int:
    """Mark runs that a dead process left running; how many there were. For the holder of the hub's lock, at start."""
    left = update(Run).where(col(Run.state) == RUNNING).values(state=INTERRUPTED, finished_at=now())
    return session.exec(left).rowcount
