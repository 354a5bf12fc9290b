import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session
from tests.projects import Folder, shop

from switchyard.app.hazards import file_system, of_place, of_store
from switchyard.app.health import now
from switchyard.store import schema
from switchyard.store.database import Database
from switchyard.store.inbox import Delivery, Inbox
from switchyard.store.tables import EventType, JournalEvent, Lease

MOUNTS = "/dev/sda1 / ext4 rw 0 0\nfiler:/x /srv nfs4 rw 0 0\n/dev/sdb /srv/a\\040b xfs rw 0 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return shop(tmp_path / "shop", flush_rows=1)


@pytest.fixture
def database(folder: Folder) -> Iterator[Database]:
    project = folder.project()
    database = Database(project.loaded.store_url, project.folder)
    schema.prepare(database)
    yield database
    database.close()


def states(folder: Folder, database: Database, *rows: object) -> dict[str, str]:
    with database.write() as session:
        for row in rows:
            session.add(row)
    return looked(folder, database)


def looked(folder: Folder, database: Database) -> dict[str, str]:
    with database.read() as session:
        found = list(of_store(folder.project(), session))
    assert all(each.mend for each in found if each.state != "ok")
    return {each.check: each.state for each in found}


def lease(holder: str, seconds: float) -> Lease:
    return Lease(name="engine", holder=holder, fence=1, expires_at=now() + timedelta(seconds=seconds))


def test_the_nearest_mount_says_what_a_folder_is_on():
    kinds = [file_system(Path(name), MOUNTS) for name in ("/home", "/srv/x", "/srv/a b/c", "/srvx")]
    assert kinds == ["ext4", "nfs4", "xfs", "ext4"]


def test_a_store_on_a_network_file_system_is_named(folder: Folder):
    (found,) = of_place(folder.project(), "filer:/x / nfs4 rw 0 0\n")
    assert (found.state, found.check) == ("fail", "file system")


def test_a_quiet_store_has_no_hazard(folder: Folder, database: Database):
    assert set(looked(folder, database).values()) == {"ok"}


@pytest.mark.parametrize(
    ("holder", "seconds", "state"),
    [("elsewhere:/shop", 20, "fail"), ("elsewhere:/shop", -20, "ok"), (f"{socket.gethostname()}:/other", 20, "warn")],
)
def test_another_hub_on_the_store(folder: Folder, database: Database, holder: str, seconds: float, state: str):
    assert states(folder, database, lease(holder, seconds))["lease"] == state


def test_a_process_that_does_not_renew_its_lease(folder: Folder, database: Database):
    with folder.hub() as hub:
        assert looked(folder, database)["lease"] == "ok"
        with database.write() as session:
            row = session.get_one(Lease, "engine")
            row.expires_at = now() - timedelta(seconds=40)
        assert looked(folder, database)["lease"] == "fail"
        hub.lease.renew()


def test_what_waits_and_nobody_reads(folder: Folder, database: Database):
    hook = {"connector": "webhook", "config": {"scheme": "shared_secret", "secrets": "a-secret-of-this-test"}}
    folder.config["connections"]["hook"] = hook
    folder.write()
    inbox = Inbox(database)
    inbox.append([Delivery("hook", "1", {}, b"{}", now())])
    inbox.close()
    assert looked(folder, database)["inbox"] == "warn"


def test_a_journal_that_nobody_flushes(folder: Folder, database: Database):
    def put(session: Session, count: int) -> None:
        for number in range(count):
            event = JournalEvent(
                event_type_id=1, event_id=bytes([number]), subject_id=1, at_us=1, page_id=1, properties="{}"
            )
            session.add(event)

    with database.write() as session:
        session.add(EventType(id=1, name="seen"))
        session.flush()
        put(session, 4)
    assert looked(folder, database)["journal"] == "ok"
    with database.write() as session:
        put(session, 1)
    assert looked(folder, database)["journal"] == "warn"
