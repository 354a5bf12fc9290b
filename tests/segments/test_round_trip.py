"""`parse(text(x)) == x` for any tree the language can say, sensible or not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard_plugins.segmentation import ast
from switchyard_plugins.segmentation.definition import Rule
from switchyard_plugins.segmentation.parser import parse
from switchyard_plugins.segmentation.printer import text
from switchyard_plugins.segmentation.sentence import explain

PARTS = st.sampled_from(["city", "last", "not", "in", "a b", "é", "_x1", "segment", "true", "1st", "any", "count"])
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(".".join)
LENGTHS = st.integers(1, 36_500 * 86_400)
ATTRIBUTES = st.builds(ast.Attribute, NAMES)
CONSTANTS = st.builds(
    ast.Constant,
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.booleans(),
        st.decimals(-(10**12), 10**12, places=4).map(lambda number: number.normalize() + 0),
        st.dates(),
        st.datetimes(),
        st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC)),
    ),
)
WINDOWS = st.one_of(
    st.just(ast.EVER),
    st.builds(ast.Window, LENGTHS),
    st.builds(ast.Window, LENGTHS, LENGTHS),
)


def aggregates(where: st.SearchStrategy[ast.Condition]) -> st.SearchStrategy[ast.Aggregate]:
    filters = st.none() | where
    of_property = st.sampled_from(["sum", "avg", "min", "max", "first", "last", "distinct"])
    return st.builds(ast.Aggregate, st.just("count"), PARTS, st.none(), filters, WINDOWS) | st.builds(
        ast.Aggregate, of_property, PARTS, NAMES, filters, WINDOWS
    )


def leaves(where: st.SearchStrategy[ast.Condition]) -> st.SearchStrategy[ast.Condition]:
    elements = st.builds(ast.Elements, st.sampled_from(["any", "all"]), ATTRIBUTES)
    operands = st.one_of(ATTRIBUTES, elements, aggregates(where))
    operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with"])
    return st.one_of(
        st.builds(ast.Comparison, operands, operators, CONSTANTS | ATTRIBUTES),
        st.builds(ast.OneOf, operands, st.lists(CONSTANTS, min_size=1, max_size=3).map(tuple)),
        st.builds(ast.Presence, ATTRIBUTES, st.booleans()),
        st.builds(ast.Relative, ATTRIBUTES, st.sampled_from(["last", "next", "ago"]), LENGTHS),
        st.builds(ast.InSegment, NAMES),
        st.builds(
            ast.Comparison,
            st.builds(ast.Aggregate, st.just("count"), PARTS),
            st.just(">="),
            st.just(ast.Constant(Decimal(1))),
        ),
    )


def joined(children: st.SearchStrategy[ast.Condition]) -> st.SearchStrategy[ast.Condition]:
    several = st.lists(children, min_size=2, max_size=3)
    return st.one_of(several.map(ast.all_of), several.map(ast.any_of), children.map(ast.negate))


CONDITIONS = st.recursive(leaves(leaves(st.nothing())), joined, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(CONDITIONS)
def test_printing_and_parsing_gives_the_same_tree(condition: ast.Condition) -> None:
    printed = text(condition)
    assert parse(printed) == condition
    assert text(parse(printed)) == printed


@settings(max_examples=100, deadline=None)
@given(CONDITIONS)
def test_pushing_negations_down_twice_changes_nothing(condition: ast.Condition) -> None:
    pushed = ast.negations_at_leaves(condition)
    assert ast.negations_at_leaves(pushed) == pushed
    assert ast.negations_at_leaves(ast.negate(pushed)) == ast.negations_at_leaves(ast.negate(condition))


@settings(max_examples=100, deadline=None)
@given(CONDITIONS)
def test_every_rule_is_one_sentence(condition: ast.Condition) -> None:
    sentence = explain(Rule("s", condition))
    assert sentence.startswith("People ")
    assert sentence.endswith(".")
