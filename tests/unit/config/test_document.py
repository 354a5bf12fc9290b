import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.config.document import MAX_DEPTH, Position, parse, read
from switchyard.config.errors import ConfigErrors


def one(text):
    (document,) = parse(text, "x.yaml")
    return document


def refused(text):
    with pytest.raises(ConfigErrors) as caught:
        parse(text, "x.yaml")
    return [str(error) for error in caught.value.errors]


def test_every_key_and_item_has_a_position_from_one():
    document = one("a:\n  b: [x, {c: 1}]\n  'd': 2\n")
    assert document.data == {"a": {"b": ["x", {"c": 1}], "d": 2}}
    assert document.position(()) == Position(1, 1)
    assert document.position(("a", "b")) == Position(2, 3)
    assert document.position(("a", "b", 1)) == Position(2, 10)
    assert document.position(("a", "b", 1, "c")) == Position(2, 11)
    assert document.position(("a", "d")) == Position(3, 3)


def test_a_path_that_leads_nowhere_stands_at_the_nearest_key():
    document = one("a:\n  b: 1\n")
    assert document.position(("a", "tag", "b", "zzz")) == Position(2, 3)
    assert document.known(("a", "tag", "b", "zzz")) == ("a", "b")


def test_text_is_found_where_it_begins():
    assert one("a:\n  - count(x) > 1\n  - y\n").find("y") == Position(3, 5)
    assert one("a: 1").find("b") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("12:30", "12:30"), ("2024-01-31", "2024-01-31"), ("007", "007"), ("1_000", "1_000"),
        (".inf", ".inf"), ("1e999", "1e999"), ("9" * 19, "9" * 19), ("'1'", "1"), ("0x1f", "0x1f"),
        ("12", 12), ("-3", -3), ("0", 0), ("1.50", 1.5), ("1e3", 1000.0), (".5", 0.5),
        ("true", True), ("False", False), ("~", None), ("null", None), ("", None),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert one(f"a: {text}").data == {"a": value}


# JSON writes what lies beyond the basic plane as two escapes, and YAML knows no such pairs.
TEXT = st.text(st.characters(max_codepoint=0xD7FF))
# A key that shares its line with its value may have 1,024 characters in YAML, and an escape has six.
KEY = st.text(st.characters(max_codepoint=0xD7FF), max_size=150)
JSON = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers(-(10**17), 10**17),
    lambda inner: st.lists(inner) | st.dictionaries(KEY, inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_as_it_is(value):
    assert one(json.dumps(value)).data == value


def test_a_key_given_twice_names_both_lines():
    assert refused("a: 1\nb: 2\na: 3\nb: 4\n") == [
        "x.yaml:3: the key 'a' stands twice, on lines 1 and 3",
        "x.yaml:4: the key 'b' stands twice, on lines 2 and 4",
    ]


def test_anchors_and_merges_work_and_own_keys_win():
    document = one("base: &b {x: 1, y: 2}\nused:\n  <<: *b\n  y: 3\nlist: [*b]\n")
    assert document.data == {"base": {"x": 1, "y": 2}, "used": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}]}
    assert document.position(("used", "x")).line == 1
    assert document.position(("used", "y")).line == 4


def test_of_several_merged_mappings_the_first_wins():
    assert one("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n").data["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object:os.system x", "x.yaml:1: tags are not supported; put text in quotes"),
        ("a: 1\nb: !env X", "x.yaml:2: tags are not supported; put text in quotes"),
        ("? [1, 2]\n: x", "x.yaml:1: a key must be plain text"),
        ("a: *nobody", "x.yaml:1: unknown anchor 'nobody'"),
        ("a: &a [*a]", "x.yaml:1: unknown anchor 'a'"),
        ("a: {<<: 3}", "x.yaml:1: '<<' takes a mapping or a list of mappings"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"x.yaml:1: is nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_not_plain_data_is_refused(text, message):
    assert refused(text) == [message]


def test_a_syntax_error_has_its_line():
    (error,) = refused("a:\n  b: 1\n c: 2\n")
    assert error.startswith("x.yaml:3: is not YAML: ")


def test_a_forbidden_character_has_its_line():
    (error,) = refused("a: é\nb: \x00\n")
    assert error == "x.yaml:2: is not YAML: control characters are not allowed"


def test_aliases_cannot_blow_up():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (error,) = refused("\n".join(lines))
    assert "is larger than" in error


def test_depth_counts_through_aliases():
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 1))]
    (error,) = refused("\n".join(lines))
    assert "deeper than" in error


def test_a_file_may_hold_several_documents_and_each_knows_its_lines():
    first, second = parse("a: 1\n---\nb: 2\n", "x.yaml")
    assert (first.position(("a",)).line, second.position(("b",)).line) == (1, 3)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(tmp_path / "x.yaml", "x.yaml")[0].data == {"a": 1}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: 1\nb: \xff\n", "x.yaml:2: is not UTF-8; save it as UTF-8"),
        (b"#" * 2_000_001, "x.yaml: is larger than 2,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, raw, message):
    (tmp_path / "x.yaml").write_bytes(raw)
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path / "x.yaml", "x.yaml")
    assert str(caught.value) == message


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(ConfigErrors, match=r"x\.yaml: cannot be read: No such file"):
        read(tmp_path / "gone.yaml", "x.yaml")
