"""The working database is derived: whatever became of it or of the store, it says what the store says."""

import shutil
from pathlib import Path

import pytest
from tests.projects import Spine

from switchyard.api import Stream
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import names

PEOPLE = Stream(name="people", key=("id",))
MAPPING = {
    "subject": "id",
    "observed_at": "CAST(seen AS TIMESTAMP)",
    "identifiers": {"email": "email", "card": "card"},
    "attributes": {"city": "city", "points": "CAST(points AS DECIMAL(18,4))"},
}


def person(key, day=1, **fields):
    return {
        "id": key,
        "seen": f"2026-01-{day:02d}",
        "email": None,
        "card": None,
        "city": None,
        "points": None,
        **fields,
    }


@pytest.fixture
def spine(tmp_path: Path, sqlite_template: Path):
    (tmp_path / "spine.db").write_bytes(sqlite_template.read_bytes())
    one = Spine(tmp_path, PEOPLE, MAPPING)
    yield one
    one.close()


@pytest.fixture
def profiles(tmp_path: Path):
    """Read the profiles of a store as of now."""
    opened: list[WorkingDatabase] = []

    def read(spine: Spine) -> list[dict]:
        if not opened:
            opened.append(WorkingDatabase(tmp_path / "work.duckdb", spine.database))
        opened[0]._database = spine.database
        with spine.database.read() as session:
            attributes = names.attribute_types(session)
        opened[0].refresh(attributes)
        return opened[0].connection.execute("SELECT * FROM profile ORDER BY profile_id").to_arrow_table().to_pylist()

    yield read
    for each in opened:
        each.close()


def test_a_profile_shows_the_newest_of_what_its_subjects_say(spine, profiles):
    spine.feed([person("1", 2, email="a@x.org", card="7", city="Lyon"), person("2", 3, email="b@x.org", card="7")])
    spine.feed([person("2", 1, city="Brest", points="1.50")])
    (found,) = profiles(spine)
    assert (found["city"], str(found["points"]), found["card"]) == ("Lyon", "1.5000", "7")
    assert found["email"] in {"a@x.org", "b@x.org"}
    spine.feed([person("1", 4, email="c@x.org")])
    assert profiles(spine)[0]["email"] == "c@x.org", "the identifier seen last"


def test_whose_values_are_altered_is_told_once_and_by_column(spine, profiles):
    spine.feed([person("1", email="a@x.org", city="Lyon"), person("2", email="b@x.org", city="Lyon", points="2")])
    first, second = (row["profile_id"] for row in profiles(spine))
    work = WorkingDatabase(Path(spine.database.engine.url.database).with_name("other.duckdb"), spine.database)

    def altered():
        with spine.database.read() as session:
            work.refresh(names.attribute_types(session))
        found = work.altered.taken()
        return found and {column: each.tolist() for column, each in found.items()}

    assert altered() is None, "nobody knows what it was before"
    assert altered() == {}
    spine.feed([person("1", 2, email="a@x.org", city="Brest"), person("2", 2, email="b@x.org", city="Lyon")])
    spine.feed([person("2", 3, email="c@x.org", points="3")])
    assert altered() == {"city": [first], "email": [second], "points": [second]}
    spine.feed([{"id": "1", "seen": None, "_deleted": True}, person("3", email="d@x.org", city="Lyon")])
    assert altered() == {"city": [first]}, "who is new has not altered"
    assert altered() == {}
    work.close()


def test_a_deleted_record_lends_its_address_to_nobody_who_has_one(spine, profiles):
    spine.feed([person("1", email="a@x.org", card="7"), person("2", email="b@x.org", card="7")])
    assert profiles(spine)[0]["email"] == "b@x.org"
    spine.feed([{"id": "2", "seen": None, "_deleted": True}])
    assert profiles(spine)[0]["email"] == "a@x.org", "2 was merged into 1"
    spine.feed([{"id": "1", "seen": None, "_deleted": True}])
    assert profiles(spine)[0]["email"] in {"a@x.org", "b@x.org"}, "an address is better than none"


def test_a_new_attribute_is_a_new_column(spine, profiles):
    spine.feed([person("1", email="a@x.org", city="Lyon")])
    assert "points" not in profiles(spine)[0]
    spine.feed([person("2", email="b@x.org", points="2")])
    assert [row["points"] for row in profiles(spine)] == [None, 2]


def test_another_store_in_the_same_place_is_read_anew(spine, profiles, tmp_path, sqlite_template):
    for number in range(3):
        spine.feed([person(str(number), email=f"p{number}@x.org", city="Lyon")])
    assert len(profiles(spine)) == 3
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(sqlite_template, other / "spine.db")
    fresh = Spine(other, PEOPLE, MAPPING)
    fresh.feed([person("9", email="new@x.org", city="Nice")])
    assert [row["email"] for row in profiles(fresh)] == ["new@x.org"]
    fresh.close()


def test_a_store_restored_from_a_backup_is_read_anew(spine, profiles, tmp_path):
    spine.feed([person("1", email="a@x.org", city="Lyon")])
    spine.database.close()
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path, backup, ignore=shutil.ignore_patterns("backup", "work.duckdb*"))
    spine.feed([person("2", email="b@x.org", city="Lyon")])
    assert len(profiles(spine)) == 2
    restored = Spine(backup, PEOPLE, MAPPING)
    assert [row["email"] for row in profiles(restored)] == ["a@x.org"]
    restored.feed([person("1", 2, city="Nice")])
    assert [(row["email"], row["city"]) for row in profiles(restored)] == [("a@x.org", "Nice")]
    restored.close()
