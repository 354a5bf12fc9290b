"""What rules mean, line by line: truth at chosen instants, and when it may change next."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from switchyard.api.transforms import NEVER, Definition, Schema
from switchyard_plugins.segmentation.transform import Segmentation

from .naive import Event, Person, decimal
from .scope import MemoryScope

NOON = datetime(2026, 3, 29, 12)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
SCHEMA = Schema(
    attributes={
        "city": "text",
        "country": "text",
        "points": "integer",
        "credit": "decimal",
        "joined": "timestamp",
        "birthday": "date",
        "interests": "list",
    },
    events={
        "order": {"total": "decimal", "channel": "text", "rating": "integer"},
        "view": {"sku": "text"},
    },
    segments=frozenset({"vip"}),
)


def order(at: datetime, number: int = 0, **properties: Any) -> Event:
    return Event("order", at, number.to_bytes(2, "big"), properties)


def answers(where: Any, people: list[Person], vip: Any = (), **body: Any) -> list[tuple[bool, datetime]]:
    definition = Definition("s", {"segment": "s", "where": where, "everybody": True, **body})
    scope = MemoryScope(people, SCHEMA)
    scope.remember([{"profile_id": n, "segment": "vip", "value": v, "next_change": c} for n, v, c in vip])
    rows = Segmentation().compile([definition], SCHEMA).evaluate(scope, ["s"]).to_pyarrow().to_pylist()
    rows.sort(key=lambda row: row["profile_id"])
    return [(row["value"], row["next_change"]) for row in rows]


def over(where: Any, instants: list[datetime], events: list[Event] = [], **attributes: Any) -> list[Any]:  # noqa: B006
    """The answers for one person at several instants."""
    return answers(where, [Person(n, at, attributes, events) for n, at in enumerate(instants)])


def held(where: Any, people: list[Person], **body: Any) -> list[bool]:
    return [value for value, _ in answers(where, people, **body)]


def of(*attributes: dict[str, Any]) -> list[Person]:
    return [Person(number, NOON, each) for number, each in enumerate(attributes)]


def test_a_window_begins_after_its_far_edge_and_includes_now() -> None:
    instants = [NOON - TICK, NOON, NOON + 30 * DAY - TICK, NOON + 30 * DAY]
    assert over("did(order, last 30 days)", instants, [order(NOON)]) == [
        (False, NOON),
        (True, NOON + 30 * DAY),
        (True, NOON + 30 * DAY),
        (False, NEVER),
    ]


def test_a_day_is_24_hours_across_a_clock_change() -> None:
    before = datetime(2026, 3, 28, 12)
    (answer,) = answers("did(order, last 1 day)", [Person(0, before, {}, [order(before)])], timezone="Europe/Paris")
    assert answer == (True, before + timedelta(hours=24))


def test_a_window_between_has_both_edges() -> None:
    week, month = NOON + 7 * DAY, NOON + 30 * DAY
    instants = [NOON - DAY, NOON, week - TICK, week, month - TICK, month]
    assert over("did(order, between 30 days and 7 days ago)", instants, [order(NOON)]) == [
        (False, NOON),
        (False, week),
        (False, week),
        (True, month),
        (True, month),
        (False, NEVER),
    ]


def test_a_threshold_changes_when_the_nth_newest_leaves() -> None:
    events = [order(NOON - days * DAY, days) for days in (9, 5, 3, 1)]
    assert over("count(order, last 10 days) >= 3", [NOON], events) == [(True, NOON + 5 * DAY)]
    assert over("count(order, last 10 days) > 3", [NOON], events) == [(True, NOON + 1 * DAY)]
    assert over("count(order, last 10 days) < 3", [NOON], events) == [(False, NOON + 5 * DAY)]
    assert over("count(order, last 10 days) <= 2", [NOON], events) == [(False, NOON + 5 * DAY)]
    assert over("count(order, last 10 days) > 4", [NOON], events) == [(False, NEVER)]


def test_other_aggregates_may_change_when_the_oldest_leaves() -> None:
    events = [order(NOON - days * DAY, days, total=decimal("10")) for days in (9, 5)]
    for rule in ("sum(order.total, last 10 days) > 15", "count(order, last 10 days) = 2"):
        assert over(rule, [NOON], events) == [(True, NOON + DAY)]


def test_events_after_now_count_from_their_time_on() -> None:
    later = [order(NOON + DAY)]
    assert over("did(order)", [NOON, NOON + DAY], later) == [(False, NOON + DAY), (True, NEVER)]
    assert over("not did(order)", [NOON], later) == [(True, NOON + DAY)]
    assert over("did(order, between 9 days and 2 days ago)", [NOON], later) == [(False, NOON + DAY)]


def test_all_time_aggregates_do_not_change_by_themselves() -> None:
    assert over("sum(order.total) > 5", [NOON], [order(NOON, total=decimal("10"))]) == [(True, NEVER)]


def test_a_comparison_with_a_missing_value_is_no_match_and_so_is_its_negation() -> None:
    people = of({"city": "Paris"}, {"city": "Pau"}, {})
    assert held('city = "Paris"', people) == [True, False, False]
    assert held('not city = "Paris"', people) == [False, True, False]
    assert held('city != "Paris"', people) == [False, True, False]
    assert held('city not in ("Paris")', people) == [False, True, False]
    assert held('not (city = "Paris" or points > 3)', people) == [False, False, False]


def test_nulls_match_makes_both_a_match() -> None:
    people = of({"city": "Paris"}, {"city": "Pau"}, {})
    assert held('city = "Paris"', people, nulls="match") == [True, False, True]
    assert held('not city = "Paris"', people, nulls="match") == [False, True, True]


def test_presence_is_never_unknown() -> None:
    people = of({"city": "Paris"}, {})
    assert held("city exists", people) == [True, False]
    assert held("city is missing", people) == [False, True]
    assert held("not city is missing", people, nulls="match") == [True, False]


def test_nothing_sums_to_zero_and_has_no_average() -> None:
    nobody = [Person(0, NOON)]
    assert held("count(order) = 0", nobody) == [True]
    assert held("sum(order.total) = 0", nobody) == [True]
    assert held("distinct(order.channel) = 0", nobody) == [True]
    for function in ("avg", "min", "max", "first", "last"):
        assert held(f"{function}(order.total) >= 0", nobody) == [False]
        assert held(f"not {function}(order.total) >= 0", nobody) == [False]
        assert held(f"{function}(order.total) >= 0", nobody, nulls="match") == [True]


def test_an_average_is_exact() -> None:
    thirds = [order(NOON, number, total=decimal("0.1"), rating=number) for number in range(3)]
    assert over("avg(order.total) = 0.1", [NOON], thirds)[0][0]
    assert over("avg(order.rating) = 1", [NOON], thirds)[0][0]
    assert over("avg(order.rating) in (1, 7)", [NOON], thirds)[0][0]
    assert not over("avg(order.rating) > 1", [NOON], thirds)[0][0]


def test_first_and_last_are_by_time_then_id_among_events_that_have_the_property() -> None:
    events = [
        order(NOON - DAY, 2, channel="shop"),
        order(NOON - DAY, 1, channel="web"),
        order(NOON, 3, channel="app"),
        order(NOON, 4),
    ]
    assert over('first(order.channel) = "web"', [NOON], events)[0][0]
    assert over('last(order.channel) = "app"', [NOON], events)[0][0]
    assert over("distinct(order.channel) = 3", [NOON], events)[0][0]


def test_where_chooses_among_events() -> None:
    events = [order(NOON, 1, total=decimal("60"), channel="web"), order(NOON, 2, total=decimal("70"))]
    assert over('count(order where total > 50 and channel = "web") = 1', [NOON], events)[0][0]
    assert over('did(order where not channel = "web")', [NOON], events) == [(False, NEVER)]
    assert over("sum(order.total where channel is missing) = 70", [NOON], events)[0][0]
    assert over('did(order where channel in ("web", "app") or total = 1)', [NOON], events)[0][0]


def test_texts_are_compared_as_they_are() -> None:
    people = of({"city": "Paris"}, {"city": "paris"}, {"city": "50%_off"})
    assert held('city starts with "Pa"', people) == [True, False, False]
    assert held('city ends with "is"', people) == [True, True, False]
    assert held('city contains "%_"', people) == [False, False, True]
    assert held('city in ("paris", "Pau")', people) == [False, True, False]


def test_attributes_are_compared_with_each_other() -> None:
    people = of({"points": 3, "credit": decimal("2.5")}, {"points": 2, "credit": decimal("2.5")}, {"points": 9})
    assert held("points > credit", people) == [True, False, False]
    assert held("not points > credit", people) == [False, True, False]


def test_lists_are_compared_by_their_elements() -> None:
    people = of({"interests": ["golf", "go"]}, {"interests": ["tea", None]}, {"interests": []}, {})
    assert held('any(interests) starts with "g"', people) == [True, False, False, False]
    assert held('not any(interests) starts with "g"', people) == [False, True, True, False]
    assert held('all(interests) in ("golf", "go", "tea")', people) == [True, True, True, False]
    assert held('interests contains "golf"', people) == [True, False, False, False]


def test_relative_dates_change_at_their_edges() -> None:
    week = 7 * DAY
    assert over("joined in last 7 days", [NOON - TICK, NOON, NOON + week - TICK, NOON + week], joined=NOON) == [
        (False, NOON),
        (True, NOON + week),
        (True, NOON + week),
        (False, NEVER),
    ]
    assert over("joined in next 7 days", [NOON - week - TICK, NOON - week, NOON - TICK, NOON], joined=NOON) == [
        (False, NOON - week),
        (True, NOON),
        (True, NOON),
        (False, NEVER),
    ]
    assert over("joined more than 7 days ago", [NOON, NOON + week - TICK, NOON + week], joined=NOON) == [
        (False, NOON + week),
        (False, NOON + week),
        (True, NEVER),
    ]
    assert over("joined in last 7 days", [NOON]) == over("not joined in last 7 days", [NOON]) == [(False, NEVER)]


def test_a_date_is_its_midnight_in_the_zone_of_the_rule() -> None:
    # Clocks in Paris go forward in the night to 29 March 2026: midnight is at 23:00 UTC on both sides of the 29th
    # and 22:00 UTC the night after.
    for day, midnight in {date(2026, 3, 29): (28, 23), date(2026, 3, 30): (29, 22)}.items():
        begins = datetime(2026, 3, *midnight)
        people = [Person(n, at, {"birthday": day}) for n, at in enumerate((begins - TICK, begins))]
        found = answers("birthday in last 1 day", people, timezone="Europe/Paris")
        assert found == [(False, begins), (True, begins + DAY)]


def test_dates_without_a_time_are_whole_days_of_the_zone() -> None:
    begins, ends = datetime(2026, 3, 28, 23), datetime(2026, 3, 29, 22)
    people = of(*({"joined": at} for at in (begins - TICK, begins, ends - TICK, ends)))
    zone = {"timezone": "Europe/Paris"}
    assert held("joined = 2026-03-29", people, **zone) == [False, True, True, False]
    assert held("joined before 2026-03-29", people, **zone) == [True, False, False, False]
    assert held("joined after 2026-03-29", people, **zone) == [False, False, False, True]
    assert held("joined >= 2026-03-29", people, **zone) == [False, True, True, True]
    assert held("joined <= 2026-03-29", people, **zone) == [True, True, True, False]
    assert held("joined != 2026-03-29", people, **zone) == [True, False, False, True]
    assert held("joined < 2026-03-29T00:00:00", people, **zone) == [True, False, False, False]
    assert held("joined < 2026-03-28T23:00:00Z", people, **zone) == [True, False, False, False]


def test_another_segment_passes_its_change_on() -> None:
    people = [Person(number, NOON) for number in range(3)]
    vip = [(0, True, NOON + DAY), (1, False, NEVER)]
    assert answers("in segment vip", people, vip) == [(True, NOON + DAY), (False, NEVER), (False, NEVER)]
    assert answers("not in segment vip", people, vip) == [(False, NOON + DAY), (True, NEVER), (True, NEVER)]


def test_and_changes_with_its_first_child_while_true_and_its_last_false_child_while_false() -> None:
    events = [order(NOON - 1 * DAY), Event("view", NOON - 2 * DAY, b"v", {})]
    both = "did(order, last 10 days) and did(view, last 10 days)"
    assert over(both, [NOON], events) == [(True, NOON + 8 * DAY)]
    neither = "not did(order, last 10 days) and not did(view, last 10 days)"
    assert over(neither, [NOON], events) == [(False, NOON + 9 * DAY)]
    one = "did(order, last 10 days) and not did(view, last 10 days)"
    assert over(one, [NOON], events) == [(False, NOON + 8 * DAY)]


def test_or_is_the_dual() -> None:
    events = [order(NOON - 1 * DAY), Event("view", NOON - 2 * DAY, b"v", {})]
    assert over("did(order, last 10 days) or did(view, last 10 days)", [NOON], events) == [(True, NOON + 9 * DAY)]
    neither = "not did(order, last 10 days) or not did(view, last 10 days)"
    assert over(neither, [NOON], events) == [(False, NOON + 8 * DAY)]


def test_the_readings_of_an_ambiguous_rule_are_different_rules() -> None:
    events = [Event("view", NOON - 8 * DAY, b"v", {}), order(NOON - 40 * DAY)]
    dormant = "did(order) and not did(order, last 30 days)"
    silent = "did(order) and not did(order, last 30 days) and not did(view, last 30 days)"
    assert over(dormant, [NOON], events) == [(True, NEVER)]
    assert over(silent, [NOON], events) == [(False, NOON + 22 * DAY)]


def test_every_profile_has_its_own_instant_and_every_definition_a_row() -> None:
    people = [Person(n, NOON + n * DAY, {}, [order(NOON + DAY)]) for n in range(3)]
    rules = {"a": "did(order)", "b": "did(order, last 1 day)"}
    definitions = [Definition(name, {"where": where}) for name, where in rules.items()]
    program = Segmentation().compile(definitions, SCHEMA)
    table = program.evaluate(MemoryScope(people, SCHEMA), ["a", "b"])
    assert {name: str(kind) for name, kind in table.schema().items()} == {
        "profile_id": "int64",
        "definition": "string",
        "value": "boolean",
        "next_change": "timestamp(6)",
    }
    found = {(row["definition"], row["profile_id"]): row["value"] for row in table.to_pyarrow().to_pylist()}
    assert found == {
        ("a", 0): False,
        ("a", 1): True,
        ("a", 2): True,
        ("b", 0): False,
        ("b", 1): True,
        ("b", 2): False,
    }


def test_what_is_read_is_said_exactly() -> None:
    where = 'did(order where channel = "web") and max(order.total) > 3 and did(view) and city = country and '
    where += 'birthday in last 3 days and any(interests) = "go" and in segment vip and points exists'
    program = Segmentation().compile([Definition("s", {"where": where})], SCHEMA)
    reads = program.reads["s"]
    assert reads.events == {"order": {"channel", "total"}, "view": set()}
    assert reads.attributes == {"city", "country", "birthday", "interests", "points"}
    assert reads.segments == {"vip"}
