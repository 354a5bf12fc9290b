"""The type of a property in its spellings: the registry's text, Arrow, DuckDB, and the shape of its JSON.

The text is a `switchyard.api.transforms.DataType`; `items` names its fields too: `items(sku text, quantity decimal)`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from switchyard.api.errors import ConfigError, PermanentError
from switchyard.api.transforms import DataType

DECIMAL = pa.decimal128(18, 4)
_SCALARS: dict[str, tuple[pa.DataType, str]] = {
    "text": (pa.string(), "VARCHAR"),
    "integer": (pa.int64(), "BIGINT"),
    "decimal": (DECIMAL, "DECIMAL(18,4)"),
    "number": (pa.float64(), "DOUBLE"),
    "boolean": (pa.bool_(), "BOOLEAN"),
    "timestamp": (pa.timestamp("us"), "TIMESTAMP"),
    "date": (pa.date32(), "DATE"),
    "list": (pa.list_(pa.string()), "VARCHAR[]"),
}
# The registry's text is split at commas and blanks, here and in the store, so a field's name holds neither.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def data_type(text: str) -> DataType:
    """The type that a registry text names; `items` without its fields."""
    return cast("DataType", text.split("(")[0])


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type of a registry text."""
    if text.startswith("items("):
        return pa.list_(pa.struct([pa.field(name, arrow_type(kind)) for name, kind in _fields(text).items()]))
    return _SCALARS[text][0]


def type_text(arrow: pa.DataType) -> str:
    """The registry text that holds values of an Arrow type, as expressions of a mapping yield them.

    Raises:
        ConfigError: there is none.
    """
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        if pa.types.is_struct(arrow.value_type):
            return f"items({', '.join(_item_field(field) for field in arrow.value_type)})"
        return "list"
    for matches, text in _FAMILIES:
        if matches(arrow):
            return text
    raise ConfigError(f"a property cannot be of the type {arrow}; cast it in the mapping, to VARCHAR for instance")


def duckdb_type(text: str) -> str:
    """DuckDB's name for the type of a registry text."""
    if text.startswith("items("):
        fields = ", ".join(f'"{name}" {duckdb_type(kind)}' for name, kind in _fields(text).items())
        return f"STRUCT({fields})[]"
    return _SCALARS[text][1]


def json_shape(types: Mapping[str, str]) -> str:
    """What DuckDB's `from_json` takes to read a JSON object of these properties."""

    def shape(text: str) -> Any:
        if text.startswith("items("):
            return [{name: shape(kind) for name, kind in _fields(text).items()}]
        return ["VARCHAR"] if text == "list" else duckdb_type(text)

    return json.dumps({name: shape(text) for name, text in types.items()})


def conform(table: pa.Table, types: Mapping[str, str]) -> pa.Table:
    """The table with the named columns cast to the types registered for them. Decimals are rounded to four places.

    Raises:
        PermanentError: a value of a column does not fit; names the column, never the value.
    """
    for name, text in types.items():
        column, wanted = table[name], arrow_type(text)
        if column.type.equals(wanted):
            continue
        try:
            if pa.types.is_decimal(column.type) and pa.types.is_decimal(wanted) and column.type.scale > wanted.scale:
                column = pc.round(column, wanted.scale, round_mode="half_towards_infinity")
            cast = column.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # Arrow's message quotes the value.
            raise PermanentError(
                f"property '{name}' is registered as {text} and holds values that are not; "
                "cast it in the mapping, or give it another name"
            ) from None
        table = table.set_column(table.schema.get_field_index(name), pa.field(name, wanted), cast)
    return table


def _fields(text: str) -> dict[str, str]:
    return dict(part.split(" ") for part in text.removeprefix("items(").removesuffix(")").split(", "))


def _item_field(field: pa.Field) -> str:
    kind = type_text(field.type)
    if not _FIELD.fullmatch(field.name):
        raise ConfigError(f"'{field.name}' cannot name a field of items; use letters, digits and underscores")
    if kind == "list" or kind.startswith("items("):
        raise ConfigError(f"the field '{field.name}' of items is a list; items hold single values")
    return f"{field.name} {kind}"


def _is_text(arrow: pa.DataType) -> bool:
    if pa.types.is_dictionary(arrow):
        return _is_text(arrow.value_type)
    return any(is_(arrow) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


_FAMILIES = (
    (_is_text, "text"),
    (pa.types.is_null, "text"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_floating, "number"),
    (pa.types.is_boolean, "boolean"),
    (lambda arrow: pa.types.is_timestamp(arrow) and arrow.tz is None, "timestamp"),
    (pa.types.is_date, "date"),
)
