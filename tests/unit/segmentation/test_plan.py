from __future__ import annotations

from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.parser import parse
from switchyard_plugins.segmentation.plan import AGGREGATES_PER_QUERY, EventLeaf, Policy, event_leaf, queries, reach

POLICY = Policy(nulls_match=False, zone="UTC")


def leaves(*rules: str) -> list[EventLeaf]:
    found = [event_leaf(parse(rule), POLICY) for rule in rules]
    return [leaf for leaf in found if leaf]


def test_conditions_on_attributes_need_no_events() -> None:
    assert event_leaf(parse('city = "Paris"'), POLICY) is None
    assert event_leaf(ast.InSegment("vip"), POLICY) is None


def test_a_window_that_ends_now_needs_two_aggregates_for_did() -> None:
    (did,) = leaves("did(order, last 7 days)")
    assert {measure.kind for measure in did.measures()} == {"newest", "upcoming"}


def test_a_higher_threshold_needs_the_times() -> None:
    (often,) = leaves("count(order, last 7 days) > 3")
    assert {measure.kind for measure in often.measures()} == {"times", "upcoming"}


def test_what_two_conditions_share_is_measured_once() -> None:
    both = leaves("count(order, last 7 days) > 3", "count(order, last 7 days) <= 5", "did(order, last 7 days)")
    ((event, measures),) = queries(measure for leaf in both for measure in leaf.measures())
    assert event == "order"
    assert sorted(measure.kind for measure in measures) == ["newest", "times", "upcoming"]


def test_filters_keep_measures_apart() -> None:
    both = leaves("did(order where total > 5)", "did(order where total > 6)")
    # Two counts, and the first order after now, which is the same for both.
    assert len({measure for leaf in both for measure in leaf.measures()}) == 3


def test_queries_hold_one_event_type_and_at_most_so_many_aggregates() -> None:
    many = leaves(*(f"sum(order.p{n}, last {n} days) > 3" for n in range(1, 10)), "did(view)")
    groups = queries(measure for leaf in many for measure in leaf.measures())
    assert all(len(measures) <= AGGREGATES_PER_QUERY for _, measures in groups)
    assert all(measure.selection.event == event for event, measures in groups for measure in measures)
    total = {measure for leaf in many for measure in leaf.measures()}
    assert sum(len(measures) for _, measures in groups) == len(total)


def test_a_measure_reaches_back_as_far_as_its_window() -> None:
    (between,) = leaves("did(order, between 30 days and 7 days ago)")
    assert reach(between.value) == 30 * 86_400
    assert reach(between.upcoming) == 7 * 86_400
    (ever,) = leaves("did(order)")
    assert reach(ever.value) is None
