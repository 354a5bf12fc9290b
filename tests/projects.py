"""Small real projects for tests: a spine without an application, whole projects, and what must hold in every store.

`invariants` is a fixture; a folder whose conftest imports it has every hub that its tests close checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from sqlmodel import select

from switchyard.api import Page, Reject, Stream
from switchyard.api.records import JSON, Cursor
from switchyard.api.transforms import RecordTransform
from switchyard.app import commands
from switchyard.app.hub import Hub
from switchyard.app.project import Project, open_project
from switchyard.config.mapping import MappingPatch, merge_mapping
from switchyard.config.models import Identity
from switchyard.eventlog.log import EventLog
from switchyard.pipeline.intake import Arrival, Counts, Intake
from switchyard.pipeline.mapping import Mapper
from switchyard.pipeline.people import Rules
from switchyard.pipeline.plan import compile_mapping
from switchyard.store import names, runs, schema
from switchyard.store.catalogue import StoreCatalogue
from switchyard.store.database import Database
from switchyard.store.tables import Identifier, Quarantine, Run, SharedValue, Subject
from switchyard.store.tables import Page as CommittedPage

Records = pa.Table | Sequence[Mapping[str, JSON]]


class Spine:
    """One stream's way into a store: mapping, identities, commit. No configuration files, no plugins.

    Args:
        folder: of the store and the log; opened again, they are as they were left.
        mapping: as in YAML.
        url: of the store; SQLite in the folder where it is not given. Its tables must be there.
        intake: arguments of `Intake`.
    """

    def __init__(
        self,
        folder: Path,
        stream: Stream,
        mapping: Mapping[str, Any],
        *,
        url: str | None = None,
        identity: Identity | None = None,
        region: str | None = None,
        transforms: Sequence[RecordTransform] = (),
        **intake: Any,
    ) -> None:
        self.database = Database(url or f"sqlite:///{folder / 'spine.db'}")
        schema.prepare(self.database)
        self.log = EventLog(folder / "log", StoreCatalogue(self.database))
        self.log.open()
        self.intake = Intake(self.database, self.log, Rules(identity or Identity(), region), **intake)
        merged = merge_mapping(stream.mapping, MappingPatch.model_validate(mapping))
        self.mapper = Mapper(compile_mapping("shop", stream, merged), transforms)
        with self.database.write() as session:
            self.stream_id = names.stream(session, "shop", stream.name).id

    def feed(
        self,
        records: Records,
        *,
        rejected: Sequence[Reject] = (),
        cursor: Cursor = None,
        origin: str | None = None,
        marks: Sequence[str] = (),
    ) -> Counts:
        """Map and commit one page in a run of its own."""
        with self.database.write() as session:
            run = runs.started(session, "sync", "shop/test")
        mapped = self.mapper.map(Page(records, cursor, rejected, marks, origin))
        counts = self.intake.commit(self.stream_id, self.mapper, Arrival(run, mapped, cursor, marks))
        with self.database.write() as session:
            runs.finished(session, run, {})
        return counts

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """All events of a type, oldest first."""
        return events_of(self.log, event_type)

    def rows(self, table: type) -> list[Any]:
        return rows_of(self.database, table)

    def close(self) -> None:
        check_invariants(self.database)
        self.intake.close()
        self.log.close()
        self.database.close()


def rows_of(database: Database, table: type) -> list[Any]:
    """All rows of a table, detached."""
    with database.read() as session:
        found = list(session.exec(select(table)).all())
        session.expunge_all()
    return found


def events_of(log: EventLog, event_type: str) -> list[dict[str, Any]]:
    """All events of a type, oldest first; none where the type is unknown."""
    with log.snapshot(memberships=False) as snapshot:
        if event_type not in snapshot.types:
            return []
        import duckdb

        with duckdb.connect() as connection:
            snapshot.view(connection, "event", event_type, None, "everything")
            rows = connection.execute("SELECT * FROM everything ORDER BY _at, _id").to_arrow_table()
    return rows.to_pylist()


def check_invariants(database: Database) -> None:
    """What holds in every store, whatever happened to it.

    Every record read has one end, in every page and every run; a profile is what shared identifiers join, and nothing
    else; its id is that of its smallest subject.
    """
    with database.read() as session:
        for page in session.exec(select(CommittedPage)):
            assert page.read == page.mapped + page.quarantined + page.duplicate, f"page {page.id} lost records"
            query = select(Quarantine.id).where(Quarantine.page_id == page.id)
            assert len(session.exec(query).all()) == page.quarantined, f"page {page.id} quarantined others than it says"
        for run in session.exec(select(Run).where(Run.kind == "sync")):
            assert run.read == run.mapped + run.quarantined + run.duplicate, f"run {run.id} lost records"
            pages = session.exec(select(CommittedPage.read).where(CommittedPage.run_id == run.id)).all()
            assert run.read == sum(pages), f"run {run.id} counted otherwise than its pages"
        profiles = dict(session.exec(select(Subject.id, Subject.profile_id)).all())
        shared = set(session.exec(select(SharedValue.kind_id, SharedValue.value)).all())
        holders: dict[tuple[int, str], list[int]] = {}
        for kind, value, subject in session.exec(select(Identifier.kind_id, Identifier.value, Identifier.subject_id)):
            if (kind, value) not in shared:
                holders.setdefault((kind, value), []).append(subject)
    assert profiles == joined(profiles, holders.values()), "profiles are not what shared identifiers join"


def joined(subjects: Iterator[int] | Mapping[int, Any], groups: Any) -> dict[int, int | None]:
    """Subject → the smallest subject it is joined with over these groups; None for one that is in no group."""
    parent = {subject: subject for subject in subjects}

    def root(subject: int) -> int:
        while parent[subject] != subject:
            parent[subject] = subject = parent[parent[subject]]
        return subject

    grouped = set()
    for group in groups:
        grouped.update(group)
        for one, other in pairwise(group):
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    return {subject: root(subject) if subject in grouped else None for subject in parent}


@pytest.fixture(autouse=True)
def invariants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the store of every hub that closes."""
    leave = Hub.__exit__

    def checked(hub: Hub, *error: Any) -> None:
        try:
            if error[0] is None:
                check_invariants(hub.database)
        finally:
            leave(hub, *error)

    monkeypatch.setattr(Hub, "__exit__", checked)


def full_pass(hub: Hub) -> dict[str, Any]:
    """What `switchyard run` does."""
    return commands.carry_out(hub, "run", {}, lambda *_: None)


@dataclass
class Folder:
    """A project's folder: `switchyard.yaml`, segments, a drop folder for tickets, and a plugin folder."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    segments: dict[str, Any] = field(default_factory=dict)

    @property
    def drop(self) -> Path:
        return self.path / "drop"

    def write(self) -> Folder:
        """(Re)write the configuration."""
        (self.path / "segments").mkdir(parents=True, exist_ok=True)
        self.drop.mkdir(exist_ok=True)
        (self.path / "switchyard.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True))
        for old in (self.path / "segments").glob("*.yaml"):
            old.unlink()
        for name, where in self.segments.items():
            body = yaml.safe_dump({"segment": name, "where": where}, sort_keys=False, allow_unicode=True)
            (self.path / "segments" / f"{name}.yaml").write_text(body)
        return self

    def project(self) -> Project:
        return open_project(self.path)

    @contextmanager
    def hub(self) -> Iterator[Hub]:
        with Hub(self.project()) as hub:
            yield hub

    def put(self, name: str, text: str) -> Path:
        """Drop a file, complete when its name appears."""
        self.drop.mkdir(parents=True, exist_ok=True)
        part = self.drop / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        return part.replace(self.drop / name)


TILLS = {
    "connector": "pos_csv",
    "config": {"folder": "drop", "ready": "rename", "formats": "%d/%m/%Y %H:%M", "timezone": "Europe/Paris"},
}
"""The generated retailer's tills (`switchyard.demo.retailer`): its headers are the roles, but for the line's number."""
TILLS["config"] |= {"columns": {"line_id": "line_no"}}


def shop(path: Path, store: str | None = None, crm: str | None = None, **hub: Any) -> Folder:
    """The generated retailer's project.

    Args:
        store: database URL; SQLite in the folder where it is not given.
        crm: base URL of a HubSpot; no audience without it.
        hub: further settings of the hub.
    """
    config: dict[str, Any] = {
        "hub": {"default_region": "FR", "timezone": "Europe/Paris", **({"store": store} if store else {}), **hub},
        "connections": {"tills": TILLS},
        "identity": {"kinds": {"phone": {"limit": 10}, "email": {"blocked": ["test@test.com"]}}},
    }
    folder = Folder(path, config, {"buyers": "count(order_completed) >= 2"})
    if crm is not None:
        config["connections"]["crm"] = {
            "connector": "hubspot",
            "config": {"base_url": crm, "token": "${file:secrets/token}", "tier": "enterprise"},
        }
        config["audiences"] = {
            "buyers": {
                "segment": "buyers",
                "connection": "crm",
                "list": "Buyers",
                "fields": {"email": "email", "firstname": "first_name"},
            }
        }
        secret = path / "secrets" / "token"
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text("pat-na1-simulator\n")
    return folder.write()
