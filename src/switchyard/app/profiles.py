"""Profiles: found by what identifies them, shown with the evidence."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlmodel import Session, col, select

from switchyard.api.errors import ConfigError
from switchyard.app.control import Answer
from switchyard.app.hub import Hub
from switchyard.identity.normalise import normalised
from switchyard.store import names
from switchyard.store.tables import Identifier, IdentifierKind, Merge, Page, SharedValue, Stream, Subject


def find(hub: Hub, what: str) -> Answer:
    """Profiles that an identifier leads to.

    Args:
        what: `kind=value` (`email=ann@x.org`), or a value of any kind.
    """
    kind, mark, value = what.partition("=")
    with hub.database.read() as session:
        kinds = names.known_kinds(session)
        if mark and kind not in kinds:
            raise ConfigError(f"there is no kind of identifier '{kind}'; known: {', '.join(sorted(kinds)) or 'none'}")
        wanted = {kind: value} if mark else dict.fromkeys(kinds, what)
        found: dict[int, list[Answer]] = {}
        for name, text in wanted.items():
            spellings = _spellings(hub, name, text)
            query = (
                select(Subject.profile_id, Identifier.value)
                .join(Identifier, col(Identifier.subject_id) == col(Subject.id))
                .where(Identifier.kind_id == kinds[name], col(Identifier.value).in_(spellings))
                .where(col(Subject.profile_id).is_not(None))
                .distinct()
                .limit(100)
            )
            for profile, spelled in session.exec(query):
                found.setdefault(profile or 0, []).append({"kind": name, "value": spelled})
    return {"profiles": [{"profile": profile, "by": by} for profile, by in sorted(found.items())]}


def show(hub: Hub, profile: int) -> Answer:
    """One profile: its attributes, subjects, identifiers with their evidence, merges, segments, latest events.

    Any id that ever was a profile's leads to the profile it is part of now.
    """
    hub.evaluation.refresh()
    with hub.database.read() as session:
        subject = session.get(Subject, profile)
        if subject is None or subject.profile_id is None:
            raise ConfigError(f"there is no profile {profile}; find one with: switchyard profiles find email=…")
        now = subject.profile_id
        subjects = session.exec(
            select(Subject.id, Stream.connection, Stream.name, Subject.key)
            .join(Stream, col(Stream.id) == col(Subject.stream_id))
            .where(Subject.profile_id == now)
            .order_by(col(Subject.id))
        ).all()
        evidence = _evidence(session, [each[0] for each in subjects])
        merges = session.exec(
            select(Merge.merged_id, IdentifierKind.name, Merge.value)
            .join(IdentifierKind, col(IdentifierKind.id) == col(Merge.kind_id))
            .where(Merge.profile_id == now)
        ).all()
    connection = hub.working.connection
    row = connection.execute("SELECT * FROM profile WHERE profile_id = ?", [now]).to_arrow_table()
    segments = connection.execute(
        "SELECT segment, entered_at FROM membership WHERE profile_id = ? ORDER BY segment", [now]
    ).fetchall()
    return {
        "profile": now,
        "attributes": {name: value for name, value in (shown(row) or [{}])[0].items() if value is not None},
        "subjects": [{"id": i, "connection": c, "stream": s, "key": k} for i, c, s, k in subjects],
        "identifiers": evidence,
        "merges": [{"merged": merged, "kind": kind, "value": value} for merged, kind, value in merges],
        "segments": [{"segment": segment, "entered_at": plain(at)} for segment, at in segments],
        "events": _events(hub, [each[0] for each in subjects]),
    }


def _evidence(session: Session, subjects: list[int]) -> list[Answer]:
    """Every identifier of the subjects, with the page and line that first said so."""
    parked = (col(SharedValue.kind_id) == Identifier.kind_id) & (col(SharedValue.value) == Identifier.value)
    query = (
        select(Identifier, IdentifierKind.name, Page.origin, col(SharedValue.value).is_not(None))
        .join(IdentifierKind, col(IdentifierKind.id) == Identifier.kind_id)
        .join(Page, col(Page.id) == Identifier.page_id)
        .outerjoin(SharedValue, parked)
        .where(col(Identifier.subject_id).in_(subjects))
        .order_by(col(Identifier.subject_id), col(Identifier.kind_id), col(Identifier.value))
    )
    return [
        {
            "kind": kind,
            "value": row.value,
            "subject": row.subject_id,
            "origin": origin,
            "line": row.line,
            "shared": shared,
        }
        for row, kind, origin, shared in session.exec(query)
    ]


def _events(hub: Hub, subjects: list[int], latest: int = 20) -> list[Answer]:
    ids = pa.array(subjects, pa.int64())
    found: list[Answer] = []
    with hub.log.snapshot(subjects=ids, memberships=False) as snapshot:
        for event_type in [each for each in snapshot.types if not each.startswith("_")]:
            rows = snapshot.history(event_type, ids).sort_by([("_at", "descending")]).slice(0, latest)
            for row in rows.to_pylist():
                properties = {n: plain(v) for n, v in row.items() if not n.startswith("_") and v is not None}
                found.append({"event": event_type, "at": plain(row["_at"]), "properties": properties})
    return sorted(found, key=lambda each: str(each["at"]), reverse=True)[:latest]


def _spellings(hub: Hub, kind: str, text: str) -> list[str]:
    """What was typed as it is, and as the hub spells it."""
    region = hub.project.loaded.project.hub.default_region
    column = pa.chunked_array([pa.array([text])])
    connections = list(hub.project.connections) if kind == "source_key" else [""]
    spelled = [normalised(kind, column, region, connection)[0].as_py() for connection in connections]
    return [text, *(each for each in spelled if each is not None)]


def shown(rows: pa.Table) -> list[Answer]:
    """Rows as JSON can hold them."""
    return [{name: plain(value) for name, value in row.items()} for row in rows.to_pylist()]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: instants in ISO 8601 with a Z, money as text."""
    if isinstance(value, dt.datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value
