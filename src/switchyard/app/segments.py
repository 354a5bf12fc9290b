"""Segments: evaluated, listed, explained."""

from sqlmodel import func, select

from switchyard.api.errors import ConfigError
from switchyard.api.transforms import Explainable, Printable
from switchyard.app.control import Answer
from switchyard.app.failing import coded, said
from switchyard.app.hub import Hub
from switchyard.app.profiles import shown
from switchyard.store import runs
from switchyard.store.tables import Merge, SharedValue


def evaluate(hub: Hub, full: bool = False) -> Answer:
    """Bring every segment up to now, and commit who entered and who left.

    Args:
        full: ask everybody, and not only those whom news or time touched. It finds nothing more, and proves it.
    """
    segments = evaluated(hub, full)
    return _people(hub) | {"segments": segments}


def evaluated(hub: Hub, full: bool = False) -> list[Answer]:
    """The same without a count of all people; an answer for every segment."""
    authored = hub.authored()
    with hub.database.write() as session:
        run_id = runs.started(session, "evaluate", "all")
    hub.project.registry.observe("switchyard_run_started", kind="evaluate", name="all")
    try:
        outcomes = hub.evaluation.run(run_id, authored, full)
    except BaseException as error:
        why = said(hub, error)
        with hub.database.write() as session:
            runs.finished(session, run_id, coded(error), runs.FAILED, why)
        hub.project.registry.observe("switchyard_run_finished", kind="evaluate", name="all", counts={}, error=why)
        raise
    counts = {"entered": sum(each.entered for each in outcomes), "left": sum(each.left for each in outcomes)}
    sizes = {f"members.{each.segment}": each.members for each in outcomes}
    with hub.database.write() as session:
        runs.finished(session, run_id, counts | sizes)
    for each in outcomes:
        if each.entered or each.left:
            hub.project.registry.observe(
                "switchyard_membership_changed", segment=each.segment, entered=each.entered, left=each.left
            )
    hub.project.registry.observe("switchyard_run_finished", kind="evaluate", name="all", counts=counts, error=None)
    return [
        {"segment": each.segment, "members": each.members, "entered": each.entered, "left": each.left}
        for each in outcomes
    ]


def listed(hub: Hub) -> Answer:
    """Every segment with its size as last evaluated."""
    hub.evaluation.refresh()
    sizes = dict(hub.working.connection.execute("SELECT segment, count(*) FROM membership GROUP BY segment").fetchall())
    return {
        "segments": [
            {
                "segment": definition.name,
                "name": definition.body.get("name") or definition.name,
                "members": sizes.get(definition.name, 0),
                "transform": spec.name,
                "file": definition.file,
            }
            for spec, definitions in hub.project.definitions()
            for definition in definitions
        ]
    }


def show(hub: Hub, segment: str) -> Answer:
    """One segment: what it says, in a sentence, in its canonical text, and how many are in it."""
    hub.evaluation.refresh()
    for one in hub.authored():
        for definition in one.definitions:
            if definition.name == segment:
                transform = one.transform
                return {
                    "segment": segment,
                    "file": definition.file,
                    "sentence": transform.explain(definition) if isinstance(transform, Explainable) else None,
                    "text": transform.canonical(definition) if isinstance(transform, Printable) else None,
                    "members": _count(hub, "SELECT count(*) FROM membership WHERE segment = ?", segment),
                }
    raise _unknown(hub, segment)


def members(hub: Hub, segment: str, limit: int = 100) -> Answer:
    """Who is in a segment, first come first, with what identifies them."""
    if segment not in {each.name for each in hub.project.loaded.definitions}:
        raise _unknown(hub, segment)
    hub.evaluation.refresh()
    rows = hub.working.connection.execute(
        """
        SELECT m.entered_at, p.* FROM membership m JOIN profile p USING (profile_id)
        WHERE m.segment = ? ORDER BY m.entered_at, m.profile_id LIMIT ?
        """,
        [segment, limit],
    ).to_arrow_table()
    total = _count(hub, "SELECT count(*) FROM membership WHERE segment = ?", segment)
    return {"segment": segment, "members": total, "profiles": shown(rows)}


def _people(hub: Hub) -> Answer:
    """How many people there are, and of how many subjects they were made."""
    with hub.database.read() as session:
        merges = session.exec(select(func.count()).select_from(Merge)).one()
        shared = session.exec(select(func.count()).select_from(SharedValue)).one()
    return {
        "profiles": _count(hub, "SELECT count(*) FROM profile"),
        "subjects": _count(hub, "SELECT count(*) FROM subject_profile"),
        "merges": merges,
        "shared_values": shared,
    }


def _count(hub: Hub, query: str, *values: object) -> int:
    row = hub.working.connection.execute(query, list(values)).fetchone()
    return int(row[0]) if row else 0


def _unknown(hub: Hub, segment: str) -> ConfigError:
    known = ", ".join(sorted(each.name for each in hub.project.loaded.definitions)) or "none"
    return ConfigError(f"there is no segment '{segment}'; known: {known}")
