"""Between full passes: whom news and time touch, at which instants they enter and leave, what the log says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.projects import Spine, rows_of

from switchyard.api import PermanentError, Stream
from switchyard.api.transforms import Definition
from switchyard.evaluation import scope, standing, walk
from switchyard.evaluation.compiled import Authored, Compiled
from switchyard.evaluation.evaluation import Evaluation, Outcome, Vocabulary
from switchyard.evaluation.working import WorkingDatabase
from switchyard.store import runs
from switchyard.store.tables import EvaluationState, SegmentVersion
from switchyard_plugins.segmentation.transform import Segmentation

PEOPLE = Stream(name="people", key=("id",))
MAPPING = {
    "subject": "id",
    "observed_at": "CAST(seen AS TIMESTAMP)",
    "identifiers": {"email": "email"},
    "attributes": {"city": "city"},
    "events": {
        "order_completed": {"at": "CAST(seen AS TIMESTAMP)", "id": "order_id", "when": "order_id IS NOT NULL"},
    },
}
VOCABULARY = Vocabulary({"city": "text"}, {"order_completed": {}})
RULES = {
    "recent": "count(order_completed, last 7 days) >= 1",
    "lapsed": "count(order_completed) >= 1 and not in segment recent",
    "parisian": 'city = "Paris"',
}


def day(number: float) -> datetime:
    return datetime(2026, 1, 1) + timedelta(days=number)


class Shop:
    """A spine with an evaluation whose clock stands where it is set."""

    def __init__(self, folder: Path) -> None:
        self.now = day(0)
        self.rules: dict[str, Any] = dict(RULES)
        self._folder = folder
        self._orders = 0
        self._open()

    def _open(self) -> None:
        self._spine = Spine(self._folder, PEOPLE, MAPPING)
        self.database = self._spine.database
        self.working = WorkingDatabase(self._folder / "work.duckdb", self.database)
        self.evaluation = Evaluation(self.database, self._spine.log, self.working, VOCABULARY, lambda: self.now)

    def close(self) -> None:
        self.working.close()
        self._spine.close()

    def reopen(self, without_working: bool = False) -> None:
        self.close()
        if without_working:
            (self._folder / "work.duckdb").unlink()
        self._open()

    def says(self, person: str, at: datetime, **fields: Any) -> None:
        """A record of a person who can be recognised, without an order."""
        plain = {"id": person, "email": f"{person}@x.org", "city": None, "order_id": None}
        self._spine.feed([plain | fields | {"seen": at.isoformat(" ")}])

    def orders(self, person: str, at: datetime, **fields: Any) -> None:
        self._orders += 1
        self.says(person, at, order_id=str(self._orders), **fields)

    def evaluate(self, now: datetime, full: bool = False) -> list[Outcome]:
        self.now = now
        with self.database.write() as session:
            run_id = runs.started(session, "evaluate", "all")
        definitions = [Definition(name, {"where": where}) for name, where in self.rules.items()]
        return self.evaluation.run(run_id, [Authored("segmentation", Segmentation(), definitions)], full)

    def log(self, *columns: str) -> list[tuple[Any, ...]]:
        """The membership log in the order of its evaluations: segment, the person's e-mail without its end, whether
        they entered, and these columns.
        """
        listed = "".join(f', l."{name}"' for name in columns)
        with self._spine.log.snapshot() as snapshot, duckdb.connect() as connection:
            snapshot.view(connection, "membership", "", None, "log")
            query = f'SELECT l.segment, l.profile_id, l.entered{listed} FROM log l ORDER BY l.run_id, l."at", l.segment'
            rows = connection.execute(query).fetchall()
        names = dict(
            self.working.connection.execute("SELECT profile_id, split_part(email, '@', 1) FROM profile").fetchall()
        )
        return [(segment, names.get(profile, profile), *rest) for segment, profile, *rest in rows]

    def members(self, segment: str) -> set[str]:
        query = """
            SELECT split_part(email, '@', 1) FROM membership JOIN profile USING (profile_id) WHERE segment = ?
        """
        return {name for (name,) in self.working.connection.execute(query, [segment]).fetchall()}


@pytest.fixture
def shop(tmp_path: Path, sqlite_template: Path) -> Iterator[Shop]:
    (tmp_path / "spine.db").write_bytes(sqlite_template.read_bytes())
    one = Shop(tmp_path)
    yield one
    one.close()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """The definitions of every query that is made."""
    made: list[frozenset[str]] = []
    evaluate = Compiled.evaluate

    def counting(compiled: Compiled, scope: Any, names: frozenset[str]) -> None:
        made.append(names)
        evaluate(compiled, scope, names)

    monkeypatch.setattr(Compiled, "evaluate", counting)
    return made


def test_time_alone_moves_people_at_its_instant(shop: Shop) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    shop.evaluate(day(20))
    assert shop.log("at", "noticed", "reason") == [
        ("recent", "ann", True, day(2), day(2), "definition new"),
        ("lapsed", "ann", True, day(8), day(20), "time"),
        ("recent", "ann", False, day(8), day(20), "time"),
    ]


def test_news_move_people_at_the_instant_of_the_event(shop: Shop) -> None:
    shop.evaluate(day(2))
    shop.orders("ann", day(2.5))
    shop.evaluate(day(3))
    assert shop.log("at", "noticed", "reason") == [("recent", "ann", True, day(2.5), day(3), "event")]


def test_what_came_and_went_between_two_evaluations_is_told(shop: Shop) -> None:
    shop.evaluate(day(2))
    shop.orders("ann", day(3))
    shop.orders("ann", day(12))
    shop.evaluate(day(30))
    told = [(segment, entered, at) for segment, _, entered, at in shop.log("at") if segment == "recent"]
    assert told == [
        ("recent", True, day(3)),
        ("recent", False, day(10)),
        ("recent", True, day(12)),
        ("recent", False, day(19)),
    ]


def test_a_late_event_counts_from_its_instant_and_the_past_stays_as_it_was_told(shop: Shop) -> None:
    shop.says("ann", day(0))
    shop.evaluate(day(20))
    shop.orders("ann", day(1))
    shop.orders("ann", day(15))
    shop.evaluate(day(21))
    assert shop.log("at", "reason") == [("recent", "ann", True, day(15), "event")]
    shop.evaluate(day(23))
    assert shop.log("at", "reason")[1:] == [
        ("lapsed", "ann", True, day(22), "time"),
        ("recent", "ann", False, day(22), "time"),
    ]


def test_a_very_late_event_is_followed_through_so_many_changes_only(shop: Shop, counted: list[frozenset[str]]) -> None:
    shop.says("ann", day(0))
    shop.evaluate(day(300))
    for number in range(40):
        shop.orders("ann", day(10 * number))
    counted.clear()
    shop.evaluate(day(301))
    assert len(counted) == walk.PAST_ROUNDS + 1
    assert shop.log("at") == [("recent", "ann", True, day(300))], "no later than the last evaluation"


def test_late_events_of_very_many_people_are_not_followed_into_the_past(
    shop: Shop, counted: list[frozenset[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (walk, scope, standing):
        monkeypatch.setattr(module, "FEW", 2)
    shop.evaluate(day(20))
    for person in ("ann", "bob", "cat"):
        shop.orders(person, day(1))
        shop.orders(person, day(15))
    counted.clear()
    shop.evaluate(day(21))
    assert len(counted) == 1
    assert shop.members("recent") == {"ann", "bob", "cat"}
    assert {at for *_, at in shop.log("at")} == {day(20)}


def test_an_event_of_the_future_counts_from_its_time_on(shop: Shop) -> None:
    shop.evaluate(day(1))
    shop.orders("ann", day(5))
    shop.evaluate(day(2))
    assert shop.log() == []
    shop.evaluate(day(6))
    assert shop.log("at", "reason") == [("recent", "ann", True, day(5), "event")]


def test_an_attribute_counts_from_when_it_is_known(shop: Shop) -> None:
    shop.says("ann", day(1), city="Lyon")
    shop.evaluate(day(2))
    shop.says("ann", day(1.5), city="Paris")
    shop.evaluate(day(3))
    assert shop.log("at", "reason") == [("parisian", "ann", True, day(3), "profile")]


def test_people_who_become_one_are_walked_as_one(shop: Shop) -> None:
    shop.rules = {"loyal": "count(order_completed) >= 2"}
    shop.orders("ann", day(1))
    shop.orders("bob", day(1), city="Paris")
    shop.rules["parisian"] = RULES["parisian"]
    shop.evaluate(day(2))
    bob = shop.log()[0][1]
    shop.says("ann", day(2), email="bob@x.org")
    shop.evaluate(day(3))
    moves = shop.log("at", "reason")[1:]
    assert bob == "bob"
    assert [move[0] for move in moves] == ["loyal", "parisian", "parisian"]
    assert {(at, reason) for *_, at, reason in moves} == {(day(3), "profile"), (day(3), "profile gone")}
    assert len(shop.members("loyal")) == len(shop.members("parisian")) == 1


def test_nothing_new_and_nothing_due_writes_nothing(shop: Shop, counted: list[frozenset[str]]) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    counted.clear()
    (before,) = rows_of(shop.database, EvaluationState)
    assert [(each.members, each.entered) for each in shop.evaluate(day(3))] == [(0, 0), (0, 0), (1, 0)]
    (after,) = rows_of(shop.database, EvaluationState)
    assert (after.number, after.at) == (before.number, before.at)
    assert counted == []


def test_a_new_definition_is_asked_of_everybody_and_the_others_are_not(
    shop: Shop, counted: list[frozenset[str]]
) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    shop.rules["buyers"] = "count(order_completed) >= 1"
    counted.clear()
    shop.evaluate(day(3))
    assert counted == [{"buyers"}]
    assert shop.log("at", "reason")[-1] == ("buyers", "ann", True, day(3), "definition new")


def test_an_edited_definition_takes_those_that_read_it_with_it(shop: Shop, counted: list[frozenset[str]]) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    shop.rules["recent"] = "count(order_completed, last 1 days) >= 1"
    counted.clear()
    shop.evaluate(day(3))
    assert counted == [{"recent", "lapsed"}]
    assert shop.log("at", "reason", "version")[1:] == [
        ("lapsed", "ann", True, day(3), "definition changed", 1),
        ("recent", "ann", False, day(3), "definition changed", 2),
    ]


def test_time_goes_on_for_the_other_definitions_before_a_new_one_is_asked(shop: Shop) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    shop.rules["quiet"] = "count(order_completed) >= 1 and not in segment recent"
    shop.evaluate(day(9))
    assert shop.log("at", "reason")[1:] == [
        ("lapsed", "ann", True, day(8), "time"),
        ("recent", "ann", False, day(8), "time"),
        ("quiet", "ann", True, day(9), "definition new"),
    ]


def test_a_definition_that_comes_back_is_a_new_version(shop: Shop) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    lapsed = shop.rules.pop("lapsed")
    shop.evaluate(day(9))
    shop.rules["lapsed"] = lapsed
    shop.evaluate(day(10))
    assert shop.members("lapsed") == {"ann"}
    versions = [
        (row.version, row.text is None) for row in rows_of(shop.database, SegmentVersion) if row.segment == "lapsed"
    ]
    assert sorted(versions) == [(1, False), (2, True), (3, False)]


def test_another_zone_of_the_hub_is_another_meaning(shop: Shop, counted: list[frozenset[str]]) -> None:
    shop.evaluate(day(2))
    counted.clear()
    shop.evaluation = Evaluation(
        shop.database,
        shop._spine.log,
        shop.working,
        Vocabulary(VOCABULARY.attributes, VOCABULARY.events, timezone="Europe/Paris"),
        lambda: shop.now,
    )
    shop.evaluate(day(3))
    assert counted == [RULES.keys()]


@pytest.mark.parametrize("without_working", [False, True])
def test_a_hub_that_stood_still_catches_up(shop: Shop, without_working: bool) -> None:
    shop.orders("ann", day(1))
    shop.orders("bob", day(2))
    shop.evaluate(day(3))
    shop.orders("bob", day(4))
    shop.reopen(without_working)
    shop.evaluate(day(30))
    told = {(segment, name, entered, at) for segment, name, entered, at in shop.log("at") if at > day(3)}
    assert told == {
        ("recent", "ann", False, day(8)),
        ("lapsed", "ann", True, day(8)),
        ("recent", "bob", False, day(11)),
        ("lapsed", "bob", True, day(11)),
    }


def test_a_clock_that_was_set_back_does_not_make_the_log_go_backwards(shop: Shop) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(10))
    shop.orders("ann", day(9))
    shop.evaluate(day(5))
    assert [(at, noticed) for *_, at, noticed in shop.log("at", "noticed") if at != day(10)] == [
        (day(9), day(10)),
        (day(9), day(10)),
    ]


def test_asking_everybody_finds_nothing_more(shop: Shop) -> None:
    for number, person in enumerate(("ann", "bob", "cat")):
        shop.orders(person, day(number))
    shop.evaluate(day(4))
    shop.orders("dan", day(4.5))
    found = shop.evaluate(day(9), full=True)
    assert "audit" not in {reason for *_, reason in shop.log("reason")}
    assert {each.segment: each.members for each in found} == {"recent": 1, "lapsed": 3, "parisian": 0}


def test_what_was_compiled_for_some_serves_everybody(shop: Shop) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    shop.reopen()
    shop.orders("bob", day(3))
    shop.evaluate(day(4))
    shop.evaluate(day(5), full=True)
    assert shop.members("recent") == {"ann", "bob"}


def test_asking_everybody_mends_what_is_not_so(shop: Shop) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))
    shop.working.connection.execute("DELETE FROM membership")
    shop.evaluate(day(3), full=True)
    assert shop.log("reason")[1:] == [("recent", "ann", True, "audit")]


def test_a_transform_that_does_not_go_forward_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.orders("ann", day(1))
    shop.evaluate(day(2))

    class Stuck:
        def __init__(self, transform: Segmentation, program: Any) -> None:
            self._program = program
            self.reads: Mapping[str, Any] = program.reads

        def evaluate(self, scope: Any, definitions: Any) -> Any:
            table = self._program.evaluate(scope, definitions)
            return table.mutate(next_change=table.next_change.nullif(table.next_change))

    compile = Segmentation.compile
    monkeypatch.setattr(Segmentation, "compile", lambda *args: Stuck(args[0], compile(*args)))
    shop.reopen()
    shop.orders("ann", day(2.5))
    with pytest.raises(PermanentError, match="gives a next change that is not after"):
        shop.evaluate(day(3))


def test_the_clock_is_utc() -> None:
    assert abs(Evaluation.__init__.__defaults__[0]() - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)  # type: ignore[index]
