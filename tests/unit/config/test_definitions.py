import pytest

from switchyard.config import ConfigErrors, load

KEYS = ("segment", "toy_segment")


def errors(folder):
    with pytest.raises(ConfigErrors) as caught:
        load(folder, keys=KEYS)
    return [str(error) for error in caught.value.errors]


def test_definitions_come_by_file_name_and_document(write):
    folder = write(b="segment: two\n", a="toy_segment: one\nmin_orders: 3\n---\nsegment: three\n")
    (folder / "segments" / ".hidden.yaml").write_text("segment: no")
    (folder / "segments" / "README.md").write_text("no")
    loaded = load(folder, keys=KEYS)
    assert [each.name for each in loaded.definitions] == ["one", "three", "two"]
    assert loaded.definitions[0].body["min_orders"] == 3
    assert loaded.sources["three"].position(("segment",)).line == 4


def test_empty_documents_are_passed_over(write):
    assert load(write(a="# nothing yet\n---\n")).definitions == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "segments/x.yaml:1: must be a mapping with one of the keys segment, toy_segment"),
        (
            "name: X\n",
            "segments/x.yaml:1: must say what it defines by one of the keys segment, toy_segment",
        ),
        (
            "name: X\nsegmnt: x\n",
            "segments/x.yaml:1: must say what it defines by one of the keys segment, toy_segment; "
            "did you mean 'segment'?",
        ),
        (
            "segment: a\ntoy_segment: b\n",
            "segments/x.yaml:2: toy_segment: has the keys segment and toy_segment, and defines one thing only",
        ),
        (
            "where: x\nsegment: High Value\n",
            "segments/x.yaml:2: segment: "
            "must be a name: a lower-case letter, then such letters, digits and underscores",
        ),
    ],
)
def test_a_document_says_what_it_defines(write, text, message):
    assert errors(write(x=text)) == [message]


def test_a_name_is_defined_once_whatever_the_kind(write):
    assert errors(write(a="segment: x\n", b="\ntoy_segment: x\n")) == [
        "segments/b.yaml:2: 'x' is already defined in segments/a.yaml:1"
    ]


def test_audiences_are_not_blamed_for_a_segment_that_cannot_be_read(write):
    text = "audiences: {a: {segment: x, connection: c, list: L}}\nconnections: {c: {connector: k}}\n"
    assert errors(write(text, x="segment: [x]\n")) == [
        "segments/x.yaml:1: segment: must be a name: a lower-case letter, then such letters, digits and underscores"
    ]
