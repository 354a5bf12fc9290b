from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api import ConfigError
from switchyard_plugins import quality

(SPEC,) = quality.switchyard_transforms()


def apply(config, **columns):
    """Columns are named with `__` for the dot."""
    named = {name.replace("__", "."): values for name, values in columns.items()}
    length = len(next(iter(named.values())))
    page = pa.table({"_row": pa.array(range(10, 10 + length), pa.int64())} | named)
    return SPEC.build(SPEC.config.model_validate(config)).apply(page)


def verdicts(rule, values):
    """True for each value that keeps the rule."""
    page, _ = apply({"attribute.x": rule | {"on_failure": "flag"}}, attribute__x=values)
    return [not failed for failed in page["flag.x"].to_pylist()]


def test_a_broken_rule_quarantines_the_record_with_row_code_and_reason():
    page, rejects = apply(
        {"identifier.email": {"format": "email"}}, identifier__email=["ann@x.org", "bob", None], attribute__n=[1, 2, 3]
    )
    assert page.to_pydict() == {"_row": [10, 12], "identifier.email": ["ann@x.org", None], "attribute.n": [1, 3]}
    (reject,) = rejects
    assert (reject.code, reject.record, reject.field) == ("bad_format", 11, "identifier.email")
    assert reject.reason == "identifier.email is no email"


def test_a_broken_rule_drops_the_value_and_keeps_the_record():
    page, rejects = apply({"attribute.x": {"one_of": ["a"], "on_failure": "drop_value"}}, attribute__x=["a", "b"])
    assert page.to_pydict() == {"_row": [10, 11], "attribute.x": ["a", None]}
    assert list(rejects) == []


def test_a_broken_rule_flags_the_record_and_keeps_the_value():
    page, _ = apply(
        {"event.order_completed.total": {"range": {"max": 5}, "on_failure": "flag"}},
        event__order_completed__total=[5, 6],
    )
    assert page.to_pydict() == {
        "_row": [10, 11], "event.order_completed.total": [5, 6], "flag.order_completed_total": [False, True],
    }  # fmt: skip


def test_rules_with_one_name_share_a_flag():
    flag = {"on_failure": "flag", "name": "odd"}
    page, _ = apply(
        {"attribute.x": {"one_of": ["a"]} | flag, "attribute.y": {"one_of": ["a"]} | flag},
        attribute__x=["a", "b", "a"],
        attribute__y=["a", "a", "b"],
    )
    assert page["flag.odd"].to_pylist() == [False, True, True]


def test_each_rule_sees_what_those_before_it_left():
    rules = [{"format": "email", "on_failure": "drop_value"}, {"required": True}]
    page, rejects = apply({"identifier.email": rules}, identifier__email=["ann@x.org", "bob", None])
    assert page["_row"].to_pylist() == [10]
    assert [(each.code, each.record) for each in rejects] == [("missing", 11), ("missing", 12)]


def test_a_record_is_refused_once():
    _, rejects = apply({"attribute.x": [{"format": "[a-z]"}, {"one_of": ["a"]}]}, attribute__x=["1"])
    assert [each.code for each in rejects] == ["bad_format"]


def test_several_checks_in_one_rule_are_rules_one_after_the_other():
    assert verdicts({"format": "[a-z]+", "one_of": ["a", "1"]}, ["a", "1", "b"]) == [True, False, False]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (["a", "", "  ", "\u00a0", None], [True, False, False, False, False]),
        (pa.array([["a"], [], None], pa.list_(pa.string())), [True, False, False]),
        ([0, None], [True, False]),
        ([False, None], [True, False]),
        ([0.0, float("nan"), None], [True, False, False]),
    ],
    ids=["text", "list", "integer", "boolean", "number"],
)
def test_required(values, kept):
    assert verdicts({"required": True}, values) == kept


def test_a_property_is_required_only_where_the_record_has_the_event():
    _, rejects = apply(
        {"event.page_viewed.url": {"required": True}},
        event__page_viewed___when=[True, True, False],
        event__page_viewed__url=["/", None, None],
    )
    assert [each.record for each in rejects] == [11]


@pytest.mark.parametrize(
    "address",
    ["ann@x.org", "a.b+c@sub.x.co.uk", "o'neil@x.org", "émile@exämple.fr", "x@1x.org", "a@xn--bcher-kva.example"],
)
def test_what_is_an_email(address):
    assert verdicts({"format": "email"}, [address]) == [True]


@pytest.mark.parametrize(
    "address",
    ["ann", "@x.org", "ann@", "ann@x", "a b@x.org", "ann@x..org", ".a@x.org", "a.@x.org", "a..b@x.org", "ann@x.org\n",
     " ann@x.org", "ann@-x.org", "ann@x.1", "a@b@x.org", f"{'a' * 250}@x.org", ""],
)  # fmt: skip
def test_what_is_no_email(address):
    assert verdicts({"format": "email"}, [address]) == [False]


@given(st.dates(min_value=date(1, 1, 1)))
def test_every_day_is_a_date(day):
    assert verdicts({"format": "date"}, [day.isoformat()]) == [True]


@pytest.mark.parametrize(
    "text", ["2023-02-29", "2024-02-30", "2024-13-01", "2024-1-1", "20240101", "2024-01-01 ", "x", ""]
)
def test_what_is_no_date(text):
    assert verdicts({"format": "date"}, [text]) == [False]


def test_a_column_of_dates_or_instants_has_no_bad_date():
    assert verdicts({"format": "date"}, [date(2024, 1, 1), None]) == [True, True]
    assert verdicts({"format": "date"}, [datetime(2024, 1, 1)]) == [True]


def test_an_expression_matches_the_whole_text():
    assert verdicts({"format": "a|bc"}, ["a", "bc", "abc", "xa", "a\n", None]) == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("wanted", "values", "kept"),
    [
        ({"min": 1, "max": 3}, [0, 1, 3, 4, None], [False, True, True, False, True]),
        ({"min": 0.5}, [0, 1], [False, True]),
        ({"max": 0.1}, pa.array([Decimal("0.1"), Decimal("0.1001")], pa.decimal128(18, 4)), [True, False]),
        ({"min": 1}, [0.5, 1.0], [False, True]),
        ({"min": "2024-01-01"}, [date(2023, 12, 31), date(2024, 1, 1)], [False, True]),
        ({"max": "2024-01-01T12:00:00"}, [datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 12, 0, 0, 1)], [True, False]),
    ],
)
def test_range_has_both_its_ends(wanted, values, kept):
    assert verdicts({"range": wanted}, values) == kept


@pytest.mark.parametrize(
    ("allowed", "values", "kept"),
    [
        (["a", 75001], ["a", "75001", "b", None], [True, True, False, True]),
        ([1, 2], [1, 3, None], [True, False, True]),
        ([0.1], pa.array([Decimal("0.1"), Decimal("0.2")], pa.decimal128(18, 4)), [True, False]),
        (["2024-01-01"], [date(2024, 1, 1), date(2024, 1, 2)], [True, False]),
    ],
)
def test_one_of(allowed, values, kept):
    assert verdicts({"one_of": allowed}, values) == kept


@given(
    st.lists(st.text(max_size=8) | st.none()),
    st.sampled_from(
        [{"required": True}, {"format": "email"}, {"format": "date"}, {"format": r"\w+"}, {"one_of": ["a"]}]
    ),
)
def test_every_record_goes_on_or_is_refused_and_the_rest_pass_again(values, rule):
    column = pa.array(values, pa.string())
    page, rejects = apply({"attribute.x": rule}, attribute__x=column)
    assert sorted([*page["_row"].to_pylist(), *(each.record for each in rejects)]) == list(range(10, 10 + len(values)))
    assert list(apply({"attribute.x": rule}, attribute__x=page["attribute.x"])[1]) == []


def test_an_unknown_column_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"attribute\.town: .*; did you mean 'attribute\.towns'\?"):
        apply({"attribute.town": {"required": True}}, attribute__towns=["x"])


def test_columns_of_the_hub_are_not_offered():
    with pytest.raises(ConfigError, match=r"known: attribute\.x$"):
        apply({"zzz": {"required": True}}, _subject=["s"], attribute__x=["x"])


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ({"format": "email"}, [1]),
        ({"format": "date"}, [1]),
        ({"range": {"min": 1}}, ["x"]),
        ({"range": {"min": "x"}}, [1]),
        ({"range": {"min": "x"}}, [datetime(2024, 1, 1)]),
        ({"range": {"min": 1}}, pa.array([["x"]])),
        ({"one_of": ["x"]}, [1]),
        ({"one_of": [0.5]}, [1]),
        ({"one_of": ["x"]}, [date(2024, 1, 1)]),
    ],
)
def test_a_rule_that_does_not_fit_the_column_is_a_configuration_error(rule, values):
    with pytest.raises(ConfigError, match=r"attribute\.x: the rule .* does not fit a column of type"):
        apply({"attribute.x": rule}, attribute__x=values)


def test_a_bad_expression_is_found_before_any_page():
    with pytest.raises(ConfigError, match=r"attribute\.x: '\(' is no regular expression of RE2"):
        SPEC.build(SPEC.config.model_validate({"attribute.x": {"format": "("}}))


def test_no_reason_shows_a_value():
    config = {"attribute.x": [{"format": "email"}]}
    _, rejects = apply(config, attribute__x=["private"])
    assert "private" not in rejects[0].reason
