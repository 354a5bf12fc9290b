"""Mapping: what an expression cannot read is refused by itself, and an expression reads nothing but its record."""

import json
import math

import duckdb
import pyarrow as pa
import pytest

from switchyard.api import Page, Stream
from switchyard.api.errors import ConfigError
from switchyard.config.mapping import Mapping
from switchyard.pipeline.mapping import Mapper, declared
from switchyard.pipeline.plan import compile_mapping, sandbox

CONTACTS = Stream(name="contacts", key=("id",))


def mapper(stream=CONTACTS, **mapping):
    return Mapper(compile_mapping("crm", stream, Mapping.model_validate({"subject": "id", **mapping})))


def column(mapped, name):
    return mapped.records[name].to_pylist()


def rejects(mapped):
    (found,) = mapped.rejects
    return found


@pytest.mark.parametrize("bad", [[], [0], [6], [2, 3], [0, 1, 2, 3, 4, 5], list(range(7))], ids=str)
def test_records_that_an_expression_fails_on_are_refused_by_themselves(bad):
    records = [{"id": str(n), "age": "old" if n in bad else str(n)} for n in range(7)]
    mapped = mapper(attributes={"age": "CAST(age AS INTEGER)"}).map(Page(records, None))
    assert column(mapped, "attribute.age") == [n for n in range(7) if n not in bad]
    assert [reject.record for reject in rejects(mapped)] == [records[n] for n in bad]
    assert {reject.code for reject in rejects(mapped)} == ({"bad_value"} if bad else set())


@pytest.mark.parametrize("every", [1, 2, 10])
def test_many_bad_records_take_no_query_each(every):
    records = [{"id": str(n), "age": "old" if n % every == 0 else str(n)} for n in range(10_000)]
    mapped = mapper(attributes={"age": "CAST(age AS INTEGER)"}).map(Page(records, None))
    refused = [str(n) for n in range(0, 10_000, every)]
    assert mapped.records.num_rows == 10_000 - len(refused)
    assert [reject.record["id"] for reject in rejects(mapped)] == refused


def test_where_an_expression_cannot_be_tried_the_bad_records_are_found_all_the_same():
    records = [{"id": str(n), "age": "old" if n in (3, 7) else str(n)} for n in range(20)]
    mapped = mapper(attributes={"age": "CAST(age AS INTEGER) + 0 * random()"}).map(Page(records, None))
    assert mapped.records.num_rows == 18
    assert [reject.record["id"] for reject in rejects(mapped)] == ["3", "7"]


def test_a_refused_record_is_kept_whole_with_its_place():
    table = pa.table(
        {
            "id": ["1", "2"],
            "age": ["7", "x"],
            "_id": ["a", "b"],
            "other": [1.5, None],
            "_line": [4, 9],
            "_byte": [40, 90],
        }
    )
    (reject,) = rejects(mapper(attributes={"age": "CAST(age AS INTEGER)"}).map(Page(table, None)))
    assert reject.record == {"id": "2", "age": "x", "_id": "b", "other": None}
    assert (reject.line, reject.byte) == (9, 90)
    assert "Could not convert string" in reject.reason


def test_a_field_no_record_has_is_missing():
    mapped = mapper(attributes={"city": "city", "shout": "upper(city)"}).map(Page([{"id": "1"}], None))
    assert column(mapped, "attribute.city") == column(mapped, "attribute.shout") == [None]


def test_a_field_some_records_have():
    mapped = mapper(attributes={"city": "city"}).map(Page([{"id": "1"}, {"id": "2", "city": "Lyon"}], None))
    assert column(mapped, "attribute.city") == [None, "Lyon"]


def test_records_without_any_field_are_read_and_refused():
    mapped = mapper().map(Page([{}, {}], None))
    assert [reject.code for reject in rejects(mapped)] == ["no_subject", "no_subject"]
    assert mapped.records.num_rows == 0


@pytest.mark.parametrize("name", ["_row", "_source", "_line", "_byte", "_record", "_subject", "page"])
def test_a_field_may_be_called_as_one_of_the_hubs_own(name):
    mapped = mapper(attributes={"age": "CAST(age AS INTEGER)"}).map(
        Page([{"id": "1", name: "x", "age": "1"}, {"id": "2", name: 7, "age": "old"}], None)
    )
    assert column(mapped, "attribute.age") == [1]
    assert [reject.record["id"] for reject in rejects(mapped)] == ["2"]


def test_fields_that_differ_in_case_only():
    mapped = mapper(attributes={"mail": "email"}).map(Page([{"id": "1", "email": "a", "Email": "b"}], None))
    assert column(mapped, "attribute.mail") == ["a"]


def test_values_of_several_types_and_nested_ones_are_json_text():
    records = [{"id": "1", "v": [1, "a"]}, {"id": "2", "v": {"a": True}}, {"id": "3", "v": 4}, {"id": "4", "v": "5"}]
    mapped = mapper(attributes={"v": "v"}).map(Page(records, None))
    assert column(mapped, "attribute.v") == ['[1, "a"]', '{"a": true}', "4", "5"]


def test_integers_beyond_64_bits_stay_exact():
    mapped = mapper(attributes={"v": "v"}).map(Page([{"id": "1", "v": 2**80}, {"id": "2", "v": 1}], None))
    assert column(mapped, "attribute.v") == [str(2**80), "1"]


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_missing(given):
    mapped = mapper(
        attributes={"v": "v"}, observed_at="TIMESTAMP '2026-01-01'", events={"seen": {"properties": {"v": "v"}}}
    ).map(Page([{"id": "1", "v": given}, {"id": "2", "v": 1.5}], None))
    assert column(mapped, "attribute.v") == [None, 1.5]
    assert column(mapped, "event.seen.v") == [None, 1.5]


@pytest.mark.parametrize("broken", ["a\0b", "\0"])
def test_a_text_no_store_can_keep_refuses_the_record(broken):
    mapped = mapper(attributes={"v": "v"}).map(Page([{"id": "1", "v": broken}, {"id": "2", "v": "fine"}], None))
    assert column(mapped, "attribute.v") == ["fine"]
    assert [reject.code for reject in rejects(mapped)] == ["nul_character"]


def test_a_text_that_only_an_expression_makes_unkeepable_refuses_the_record():
    records = [{"id": "1", "v": {"t": "a\0b"}}, {"id": "2", "v": {"t": "fine"}}]
    mapped = mapper(identifiers={"card": {"value": "v ->> 't'"}}, attributes={"v": "v ->> 't'"}).map(
        Page(records, None)
    )
    assert column(mapped, "attribute.v") == ["fine"]
    assert [(reject.code, reject.record["id"]) for reject in rejects(mapped)] == [("nul_character", "1")]


def test_half_a_surrogate_pair_refuses_the_record():
    mapped = mapper().map(Page([{"id": "1", "v": "\ud83d"}, {"id": "2", "v": "\N{GRINNING FACE}"}], None))
    assert column(mapped, "_subject") == ["2"]
    assert [reject.code for reject in rejects(mapped)] == ["bad_text"]
    json.dumps(rejects(mapped)[0].record)


def test_a_record_about_nobody_and_an_event_without_a_time_are_refused():
    wanted = mapper(events={"seen": {"at": "CAST(seen_at AS TIMESTAMP)", "when": "kind = 'seen'"}})
    mapped = wanted.map(
        Page(
            [
                {"id": "  ", "kind": "seen", "seen_at": "2026-01-01"},
                {"id": "2", "kind": "seen", "seen_at": None},
                {"id": "3", "kind": "other", "seen_at": None},
                {"id": "4", "kind": "seen", "seen_at": "2026-01-01 10:00:00"},
            ],
            None,
        )
    )
    assert column(mapped, "_subject") == ["3", "4"]
    assert [(reject.code, reject.record["id"]) for reject in rejects(mapped)] == [
        ("no_subject", "  "),
        ("no_time", "2"),
    ]


def test_an_instant_without_end_is_no_instant():
    wanted = mapper(observed_at="CAST(seen_at AS TIMESTAMP)", events={"seen": {}})
    mapped = wanted.map(Page([{"id": "1", "seen_at": "infinity"}, {"id": "2", "seen_at": "2026-01-01"}], None))
    assert column(mapped, "_subject") == ["2"]
    assert [reject.record["id"] for reject in rejects(mapped)] == ["1"]


def test_an_expression_that_fits_no_record_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="does not fit the records"):
        mapper(attributes={"v": "v + 1"}).map(Page([{"id": "1", "v": {"a": 1}}], None))


def test_a_function_that_does_not_exist_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="does not fit the records"):
        declared(compile_mapping("crm", CONTACTS, Mapping.model_construct(subject="id", attributes={"v": "nosuch(1)"})))


def test_the_reason_of_a_refused_record_quotes_no_value():
    mapped = mapper(attributes={"v": "CAST(email AS INTEGER)"}).map(Page([{"id": "1", "email": "ann@x.org"}], None))
    (reject,) = rejects(mapped)
    assert "Could not convert" in reject.reason
    assert "ann" not in reject.reason


def test_the_natural_id_of_an_event_falls_back_to_the_record():
    wanted = mapper(observed_at="TIMESTAMP '2026-01-01'", events={"seen": {"id": "token"}})
    mapped = wanted.map(Page([{"id": "1", "token": None}, {"id": "2", "token": None}, {"id": "3", "token": "t"}], None))
    assert len(set(column(mapped, "event.seen._id"))) == 3


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT 1)",
        "1 FROM page",
        "(FROM read_csv('/etc/passwd') LIMIT 1)",
        "(SELECT content FROM read_text('/etc/passwd'))",
        "EXISTS (SELECT 1 FROM duckdb_settings())",
        "id IN (SELECT name FROM duckdb_secrets())",
        "id; SELECT 2",
        "id, 2",
        "id) AS a, (id",
        "id WHERE true",
        "id AS other",
        "id -- a comment",
        "id /* a comment",
        "id ORDER BY 1",
        "SET threads = 4",
        "COPY page TO '/tmp/x'",
        "",
        "lower(",
        "*",
        "COLUMNS(*)",
        "id UNION SELECT 'x'",
    ],
)
def test_what_is_not_an_expression_over_one_record_is_refused(expression):
    with pytest.raises(ConfigError):
        declared(compile_mapping("crm", CONTACTS, Mapping.model_construct(subject="id", attributes={"v": expression})))


@pytest.mark.parametrize(
    "expression", ["sum(id)", "row_number() OVER ()", "lag(id) OVER (ORDER BY id)", "unnest([1, 2])"]
)
def test_an_expression_that_looks_beyond_its_record_is_refused(expression):
    with pytest.raises(ConfigError):
        declared(compile_mapping("crm", CONTACTS, Mapping.model_construct(subject="id", attributes={"v": expression})))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/switchyard-must-not-be'",
        "ATTACH '/tmp/switchyard-must-not-be.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 8",
    ],
)
def test_the_sandbox_itself_reaches_nothing(statement):
    with sandbox() as connection, pytest.raises(duckdb.Error):
        connection.execute(statement)


def test_declared_says_what_a_mapping_gives_before_any_record_came():
    stream = Stream(name="lines", key=("id",), fields={"paid": "decimal"})
    mapping = Mapping.model_validate(
        {
            "subject": "id",
            "attributes": {"n": "CAST(n AS INTEGER)", "name": "name"},
            "events": {
                "seen": {"at": "TIMESTAMP '2026-01-01'", "properties": {"paid": "paid"}},
                "bought": {
                    "group": "id",
                    "at": "min(TIMESTAMP '2026-01-01')",
                    "properties": {"total": "sum(paid)"},
                    "items": {"paid": "paid"},
                },
            },
        }
    )
    assert declared(compile_mapping("crm", stream, mapping)) == (
        {"n": "integer", "name": "text"},
        {"seen": {"paid": "decimal"}, "bought": {"total": "decimal", "items": "items(paid decimal)"}},
    )
