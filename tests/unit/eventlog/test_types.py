import json
from decimal import Decimal

import pyarrow as pa
import pytest

from switchyard.api.errors import ConfigError, PermanentError
from switchyard.eventlog.types import arrow_type, conform, duckdb_type, json_shape, type_text

SPELLINGS = [
    ("text", pa.string(), "VARCHAR"),
    ("integer", pa.int64(), "BIGINT"),
    ("decimal", pa.decimal128(18, 4), "DECIMAL(18,4)"),
    ("number", pa.float64(), "DOUBLE"),
    ("boolean", pa.bool_(), "BOOLEAN"),
    ("timestamp", pa.timestamp("us"), "TIMESTAMP"),
    ("date", pa.date32(), "DATE"),
    ("list", pa.list_(pa.string()), "VARCHAR[]"),
    (
        "items(sku text, price decimal)",
        pa.list_(pa.struct([("sku", pa.string()), ("price", pa.decimal128(18, 4))])),
        'STRUCT("sku" VARCHAR, "price" DECIMAL(18,4))[]',
    ),
]


@pytest.mark.parametrize(("text", "arrow", "duckdb"), SPELLINGS)
def test_the_spellings_of_a_type(text, arrow, duckdb):
    assert arrow_type(text) == arrow
    assert type_text(arrow) == text
    assert duckdb_type(text) == duckdb


@pytest.mark.parametrize(
    ("arrow", "text"),
    [
        (pa.large_string(), "text"),
        (pa.dictionary(pa.int32(), pa.string()), "text"),
        (pa.null(), "text"),
        (pa.int32(), "integer"),
        (pa.decimal128(10, 2), "decimal"),
        (pa.float32(), "number"),
        (pa.timestamp("ns"), "timestamp"),
        (pa.large_list(pa.string()), "list"),
    ],
)
def test_other_arrow_types_have_a_text_too(arrow, text):
    assert type_text(arrow) == text


@pytest.mark.parametrize(
    "arrow", [pa.timestamp("us", "UTC"), pa.binary(), pa.time64("us"), pa.map_(pa.string(), pa.string())]
)
def test_a_type_that_no_property_has_is_refused(arrow):
    with pytest.raises(ConfigError, match="cast it in the mapping"):
        type_text(arrow)


@pytest.mark.parametrize("name", ["two words", "a,b", "1st", ""])
def test_a_field_of_items_has_a_plain_name(name):
    with pytest.raises(ConfigError, match="letters, digits and underscores"):
        type_text(pa.list_(pa.struct([(name, pa.string())])))


def test_items_hold_single_values():
    with pytest.raises(ConfigError, match="is a list"):
        type_text(pa.list_(pa.struct([("tags", pa.list_(pa.string()))])))


def test_the_shape_of_json():
    shape = json.loads(json_shape({"total": "decimal", "tags": "list", "items": "items(sku text)"}))
    assert shape == {"total": "DECIMAL(18,4)", "tags": ["VARCHAR"], "items": [{"sku": "VARCHAR"}]}


def test_conform_rounds_decimals_to_four_places():
    table = pa.table({"total": pa.array([Decimal("1.00005"), Decimal("-1.00005")], pa.decimal128(10, 5))})
    assert conform(table, {"total": "decimal"})["total"].to_pylist() == [Decimal("1.0001"), Decimal("-1.0001")]


def test_conform_adds_fields_of_items_that_are_missing():
    table = pa.table({"items": pa.array([[{"sku": "a"}], None], pa.list_(pa.struct([("sku", pa.string())])))})
    grown = conform(table, {"items": "items(price decimal, sku text)"})
    assert grown["items"].to_pylist() == [[{"price": None, "sku": "a"}], None]


def test_a_value_that_does_not_fit_is_named_by_its_column_only():
    table = pa.table({"age": ["ann@x.org"]})
    with pytest.raises(PermanentError, match="property 'age' is registered as integer") as caught:
        conform(table, {"age": "integer"})
    assert "ann" not in str(caught.value)
