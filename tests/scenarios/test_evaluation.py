"""Evaluation through the application: versions, layers, what changed and why, and the loss of what is derived."""

import pytest
from tests.projects import Folder, rows_of, shop

from switchyard.api.errors import ConfigError
from switchyard.app.segments import evaluate, members
from switchyard.app.syncs import sync_all
from switchyard.store.tables import JournalMembership, Run, SegmentVersion

HEADER = "order_id,line_no,sold_at,sku,quantity,price,email\n"


@pytest.fixture
def folder(tmp_path, database_url) -> Folder:
    folder = shop(tmp_path / "shop", database_url)
    rows = [f"{email}{n},1,01/06/2026 10:00,A,1,10.00,{email}@x.org\n" for email, count in
            (("ann", 1), ("bob", 2), ("cat", 3)) for n in range(count)]  # fmt: skip
    folder.put("tickets.csv", HEADER + "".join(rows))
    folder.segments = {"buyers": "count(order_completed) >= 2", "best": "count(order_completed) >= 3"}
    folder.write()
    with folder.hub() as hub:
        sync_all(hub)
    return folder


def sizes(folder: Folder) -> dict[str, tuple[int, int, int]]:
    with folder.hub() as hub:
        found = evaluate(hub)["segments"]
    return {each["segment"]: (each["members"], each["entered"], each["left"]) for each in found}


def journal(folder: Folder) -> list[JournalMembership]:
    with folder.hub() as hub:
        return rows_of(hub.database, JournalMembership)


def emails(folder: Folder, segment: str) -> set[str]:
    with folder.hub() as hub:
        return {profile["email"] for profile in members(hub, segment)["profiles"]}


def test_who_enters_is_written_once(folder):
    assert sizes(folder) == {"best": (1, 1, 0), "buyers": (2, 2, 0)}
    assert sizes(folder) == {"best": (1, 0, 0), "buyers": (2, 0, 0)}
    assert len(journal(folder)) == 3
    assert emails(folder, "buyers") == {"bob@x.org", "cat@x.org"}


def test_a_definition_is_a_new_version_only_where_its_meaning_is_new(folder):
    sizes(folder)
    folder.segments["buyers"] = {"all": ["count( order_completed )>=2"]}
    folder.write()
    sizes(folder)
    folder.segments["buyers"] = "count(order_completed) >= 3"
    folder.write()
    assert sizes(folder)["buyers"] == (1, 0, 1)
    with folder.hub() as hub:
        versions = [(row.segment, row.version) for row in rows_of(hub.database, SegmentVersion)]
    assert versions.count(("buyers", 1)) == 1
    last = [row for row in journal(folder) if not row.entered]
    assert [(row.segment, row.reason) for row in last] == [("buyers", "definition changed")]


def test_a_definition_that_is_removed_lets_everybody_go(folder):
    sizes(folder)
    del folder.segments["best"]
    folder.write()
    assert sizes(folder) == {"buyers": (2, 0, 0)}
    gone = [row for row in journal(folder) if not row.entered]
    assert [(row.segment, row.reason) for row in gone] == [("best", "definition removed")]


def test_segments_that_read_others_come_after_them(folder):
    folder.segments = {
        "a_first": {"all": ["in segment z_last", {"none": ["in segment best"]}]},
        "z_last": "count(order_completed) >= 2",
        "best": "count(order_completed) >= 3",
    }
    folder.write()
    assert sizes(folder)["a_first"] == (1, 1, 0)
    assert emails(folder, "a_first") == {"bob@x.org"}


def test_segments_that_read_each_other_in_a_circle_change_nothing(folder):
    sizes(folder)
    folder.segments = {"a": "in segment b", "b": "in segment a"}
    folder.write()
    with pytest.raises(ConfigError, match="circle"):
        sizes(folder)
    assert len(journal(folder)) == 3
    with folder.hub() as hub:
        assert [row.state for row in rows_of(hub.database, Run) if row.kind == "evaluate"] == ["done", "failed"]


@pytest.mark.parametrize("lost", ["work.duckdb", "log/seen"])
def test_what_is_derived_may_be_lost(folder, lost):
    import shutil

    sizes(folder)
    path = folder.path / ".switchyard" / lost
    assert path.exists()
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert sizes(folder) == {"best": (1, 0, 0), "buyers": (2, 0, 0)}
    assert emails(folder, "buyers") == {"bob@x.org", "cat@x.org"}


def test_an_evaluation_killed_before_it_told_the_working_database(folder, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("switchyard.evaluation.standing.Standing.settle", dies)
        with pytest.raises(Killed):
            sizes(folder)
    assert sizes(folder) == {"best": (1, 0, 0), "buyers": (2, 0, 0)}
    assert len(journal(folder)) == 3


def test_people_who_become_one_are_evaluated_as_one(folder):
    sizes(folder)
    head = HEADER.strip() + ",loyalty_card\n"
    rows = [f"m{n},1,02/06/2026 10:00,A,1,1.00,{name}@x.org,77\n" for n, name in enumerate(("ann", "bob"))]
    folder.put("merge.csv", head + "".join(rows))
    with folder.hub() as hub:
        sync_all(hub)
    # ann and bob together have five orders, and cat three.
    assert sizes(folder)["best"] == (2, 1, 0)
    left = [row for row in journal(folder) if not row.entered]
    assert [row.reason for row in left] in ([], ["profile gone"])
